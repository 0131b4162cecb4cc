//! Every statement of a worker against everything that an application does to its rows, on a real
//! PostgreSQL, for both destinations. Neither of the two fails or waits for more than the other's
//! statement, and in the end every row has the vector of its text, and nothing else is there.

#![allow(clippy::print_stdout, reason = "a test says what it does")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeMap;
use std::time::Duration;

use pgai_core::{DbError, Query, QueryTicket, Rows};
use postgres::Client;
use tests::hand::Hand;
use tests::postgres::{Database, Server};
use tests::stub::vector_of;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the application does to the row 1, or 5, whose deletion is still queued.
const CHANGES: [(&str, &str); 10] = [
    ("insert", "insert into t values (5, 'back')"),
    ("insert of a new row", "insert into t values (6, 'new')"),
    ("update", "update t set body = 'changed' where id = 1"),
    ("update to nothing", "update t set body = null where id = 1"),
    (
        "update of a column that is not embedded",
        "update t set views = views + 1 where id = 1",
    ),
    ("delete", "delete from t where id = 1"),
    ("truncate", "truncate t"),
    ("key change", "update t set id = 7 where id = 1"),
    (
        "keys swapped",
        "update t set id = -1 where id = 1; update t set id = 1 where id = 2; update t set id = 2 where id = -1",
    ),
    (
        "delete and insert",
        "delete from t where id = 1; insert into t values (1, 'again')",
    ),
];

#[derive(Clone, Copy, Debug)]
enum Destination {
    Column,
    Table,
}

#[derive(Clone, Copy, Debug)]
enum Statement {
    Claim,
    Commit,
    Extend,
    Fail,
    Release,
}

const STATEMENTS: [Statement; 5] = [
    Statement::Claim,
    Statement::Commit,
    Statement::Extend,
    Statement::Fail,
    Statement::Release,
];

/// The table `t (id, body, views)`, a vectorizer on it, and a worker led by the hand.
struct Stage {
    destination: Destination,
    application: Client,
    worker: Hand,
    database: Database,
}

impl Stage {
    fn new(destination: Destination) -> Self {
        let database = Server::shared().database();
        database.install();
        let mut application = database.client();
        let to = match destination {
            Destination::Column => "ai.destination_column('vector')",
            Destination::Table => "ai.destination_table(target_table => 't_store')",
        };
        application
            .batch_execute(&format!(
                "create table t (id int primary key, body text, views int default 0);
                 select ai.create_vectorizer('t', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('m', 3), chunking => ai.chunking_none(),
                   destination => {to})"
            ))
            .unwrap();
        let mut worker = Hand::new(database.client(), 1);
        worker.ages_leases = true;
        Self {
            destination,
            application,
            worker,
            database,
        }
    }

    fn run(&mut self, sql: &str) {
        self.application.batch_execute(sql).unwrap();
    }

    /// Goes on to a statement about the rows 1 to 3 and the tombstone 5.
    fn until(&mut self, statement: Statement) -> (QueryTicket, Query) {
        self.run(
            "truncate t; insert into t values (1, 'one'), (2, 'two'), (3, 'three'), (5, 'five')",
        );
        self.worker.finish();
        self.run("update t set body = body || '!'; delete from t where id = 5");
        match statement {
            Statement::Claim | Statement::Commit => {}
            Statement::Extend => self.worker.is_silent = true,
            Statement::Fail => self.worker.poison = Some("one!".to_owned()),
            Statement::Release => self.worker.refusal = Some(401),
        }
        let asked = self.worker.until(|query| {
            matches!(
                (statement, query),
                (Statement::Claim, Query::Claim { .. })
                    | (Statement::Commit, Query::Commit { .. })
                    | (Statement::Extend, Query::Extend { .. })
                    | (Statement::Fail, Query::Fail { .. })
                    | (Statement::Release, Query::Release { .. })
            )
        });
        (
            self.worker.is_silent,
            self.worker.poison,
            self.worker.refusal,
        ) = (false, None, None);
        asked
    }

    /// What stands in the column, by key; nothing where there is a store.
    fn vectors(&mut self) -> BTreeMap<i32, (Option<String>, Option<Vec<f32>>)> {
        if matches!(self.destination, Destination::Table) {
            return BTreeMap::new();
        }
        let rows = self
            .application
            .query("select id, body, vector::real[] from t", &[]);
        let rows = rows.unwrap().into_iter();
        rows.map(|row| (row.get(0), (row.get(1), row.get(2))))
            .collect()
    }

    /// Every row has the vector of its text, those without a text have none, and nothing waits.
    #[track_caller]
    fn assert_true(&mut self) {
        self.worker.finish();
        let vectors = match self.destination {
            Destination::Column => "select id, body, vector::real[] from t order by id",
            Destination::Table => {
                "select id, coalesce(s.chunk, t.body), s.embedding::real[]
                 from t full join t_store s using (id) order by id"
            }
        };
        for row in self.application.query(vectors, &[]).unwrap() {
            let (id, text): (i32, Option<String>) = (row.get(0), row.get(1));
            let vector: Option<Vec<f32>> = row.get(2);
            assert_eq!(vector, text.map(|text| vector_of(&text, 3)), "row {id}");
        }
        if matches!(self.destination, Destination::Table) {
            let wrong: i64 = self
                .application
                .query_one(
                    "select count(*) from t full join t_store s using (id)
                     where t.body is distinct from s.chunk or s.chunk_seq <> 0",
                    &[],
                )
                .unwrap()
                .get(0);
            assert_eq!(wrong, 0);
        }
        let left: i64 = self
            .application
            .query_one(
                "select (select count(*) from ai._vectorizer_q_1)
                   + (select count(*) from ai._vectorizer_q_failed_1)",
                &[],
            )
            .unwrap()
            .get(0);
        assert_eq!(left, 0);
    }
}

/// A worker never waits for a row; it may give up waiting for a table.
#[track_caller]
fn assert_not_held_up(change: &str, answer: &Result<Rows, DbError>) {
    let Err(error) = answer else { return };
    assert_eq!(change, "truncate", "{error}");
    assert_eq!(error.sqlstate.as_deref(), Some("55P03"), "{error}");
}

/// The change is committed after the worker has decided on the statement, and before that runs.
fn change_before(destination: Destination) {
    let mut stage = Stage::new(destination);
    for statement in STATEMENTS {
        for (name, change) in CHANGES {
            println!("{destination:?}, {statement:?}, {name}");
            let asked = stage.until(statement);
            let held = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                where d.datname = current_database() and l.pid <> pg_backend_pid() and l.granted";
            let held: i64 = stage.application.query_one(held, &[]).unwrap().get(0);
            assert_eq!(held, 0, "a worker between two statements holds nothing");
            stage.run(change);
            let before = stage.vectors();
            stage.worker.run(asked).unwrap();
            for (id, (text, vector)) in stage.vectors() {
                let is_own = vector == text.map(|text| vector_of(&text, 3));
                assert!(
                    is_own || vector == before[&id].1,
                    "the worker wrote another text's vector to row {id}"
                );
            }
            stage.assert_true();
        }
    }
}

/// The change is made and not committed when the worker's statement runs; after that the
/// application goes on to other rows, then commits or thinks better of it.
fn change_open(destination: Destination, end: &str) {
    let mut stage = Stage::new(destination);
    for statement in STATEMENTS {
        for (name, change) in CHANGES {
            println!("{destination:?}, {statement:?}, {name}, {end}");
            let asked = stage.until(statement);
            stage.run("begin");
            stage.run(change);
            let answer = stage.worker.run(asked);
            assert_not_held_up(name, &answer);
            stage.run("update t set body = body || '?' where id > 1");
            stage.run(end);
            stage.assert_true();
        }
    }
}

/// The worker's statement has run and is not committed when the application makes its change: it
/// waits for that commit, and for nothing else.
fn change_after(destination: Destination) {
    let mut stage = Stage::new(destination);
    let worker = stage.worker.pid();
    let application = stage.application.query_one("select pg_backend_pid()", &[]);
    let application: i32 = application.unwrap().get(0);
    for statement in STATEMENTS {
        for (name, change) in CHANGES {
            println!("{destination:?}, {statement:?}, {name}");
            let asked = stage.until(statement);
            stage.worker.sql("begin");
            stage.worker.run(asked).unwrap();
            let change = format!("begin; {change}; commit /* {statement:?} */");
            std::thread::scope(|scope| {
                let (database, client) = (&stage.database, &mut stage.application);
                let changing = scope.spawn(|| client.batch_execute(&change));
                database.wait_until(
                    &format!(
                        "(select query = $change${change}$change$
                            and (state = 'idle' or pg_blocking_pids(pid) = array[{worker}])
                          from pg_stat_activity where pid = {application})"
                    ),
                    PATIENCE,
                );
                stage.worker.sql("commit");
                changing.join().unwrap().unwrap();
            });
            stage.assert_true();
        }
    }
}

#[test]
fn a_change_of_a_row_before_each_statement_with_a_store() {
    change_before(Destination::Table);
}

#[test]
fn a_change_of_a_row_before_each_statement_with_a_column() {
    change_before(Destination::Column);
}

#[test]
fn a_change_that_is_committed_after_each_statement_with_a_store() {
    change_open(Destination::Table, "commit");
}

#[test]
fn a_change_that_is_committed_after_each_statement_with_a_column() {
    change_open(Destination::Column, "commit");
}

#[test]
fn a_change_that_is_rolled_back_after_each_statement_with_a_store() {
    change_open(Destination::Table, "rollback");
}

#[test]
fn a_change_that_is_rolled_back_after_each_statement_with_a_column() {
    change_open(Destination::Column, "rollback");
}

#[test]
fn a_change_that_meets_each_statement_waits_for_its_commit_only_with_a_store() {
    change_after(Destination::Table);
}

#[test]
fn a_change_that_meets_each_statement_waits_for_its_commit_only_with_a_column() {
    change_after(Destination::Column);
}
