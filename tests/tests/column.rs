//! Vectors in a column of the source: what differs from a store, statement by statement, on a real
//! PostgreSQL.

#![allow(clippy::print_stdout, reason = "a test says what it does")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use pgai_core::Query;
use postgres::Client;
use tests::hand::Hand;
use tests::postgres::{Database, Server};
use tests::stub::vector_of;

const PATIENCE: Duration = Duration::from_secs(60);

struct Stage {
    database: Database,
    application: Client,
}

impl Stage {
    /// These tables with these vectorizers, each by its table, its template and its column.
    fn with(tables: &str, vectorizers: &[(&str, &str, &str)]) -> Self {
        let database = Server::shared().database();
        database.install();
        let mut application = database.client();
        application.batch_execute(tables).unwrap();
        for (table, template, column) in vectorizers {
            create(&mut application, table, template, column).unwrap();
        }
        Self {
            database,
            application,
        }
    }

    /// The table `t (id, body, views)` with rows 1 (`one`), 2 (`two`) and 3 (`three`).
    fn new() -> Self {
        let mut stage = Self::with(
            "create table t (id int primary key, body text, views int default 0)",
            &[("t", "$chunk", "vector")],
        );
        stage.run("insert into t values (1, 'one'), (2, 'two'), (3, 'three')");
        stage
    }

    fn run(&mut self, sql: &str) {
        self.application.batch_execute(sql).unwrap();
    }

    fn hand(&self) -> Hand {
        Hand::new(self.database.client(), 1)
    }

    fn number(&mut self, sql: &str) -> i64 {
        self.application.query_one(sql, &[]).unwrap().get(0)
    }

    /// The message and SQLSTATE of a statement that must fail.
    #[track_caller]
    fn refusal(&mut self, sql: &str) -> (String, String) {
        let error = self.application.batch_execute(sql).unwrap_err();
        let error = error.as_db_error().unwrap();
        (error.message().to_owned(), error.code().code().to_owned())
    }

    /// Every row of `t` has the vector of its text, and nothing waits.
    #[track_caller]
    fn assert_true(&mut self) {
        self.assert_vectors("t", "body", "vector");
        assert_eq!(self.number("select count(*) from ai._vectorizer_q_1"), 0);
    }

    #[track_caller]
    fn assert_vectors(&mut self, table: &str, text: &str, column: &str) {
        let sql = format!("select nullif({text}, ''), {column}::real[] from {table}");
        for row in self.application.query(&sql, &[]).unwrap() {
            let (text, vector): (Option<String>, Option<Vec<f32>>) = (row.get(0), row.get(1));
            assert_eq!(
                vector,
                text.as_ref().map(|text| vector_of(text, 3)),
                "{table}: {text:?}"
            );
        }
    }
}

fn create(
    client: &mut Client,
    table: &str,
    template: &str,
    column: &str,
) -> Result<(), postgres::Error> {
    let sql =
        "select ai.create_vectorizer($1::text::regclass, name => 'v' || nextval('public.names'),
        loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3),
        chunking => ai.chunking_none(), formatting => ai.formatting_python_template($2),
        destination => ai.destination_column($3::text::name))";
    client.batch_execute("create sequence if not exists public.names")?;
    client.query_one(sql, &[&table, &template, &column])?;
    Ok(())
}

fn is_commit(query: &Query) -> bool {
    matches!(query, Query::Commit { .. })
}

const TOUCH: &str = "create function touch() returns trigger language plpgsql as
    $$ begin new.updated_at = clock_timestamp(); return new; end $$;";

#[test]
fn an_application_in_strict_isolation_fails_only_where_the_worker_wrote_the_same_row() {
    for level in ["repeatable read", "serializable"] {
        for name in ["claim", "read", "commit"] {
            for change in [
                "insert into t values (4, 'four')",
                "update t set body = 'changed' where id = 1",
                "update t set views = 1 where id = 1",
                "update t set id = 9 where id = 1",
                "delete from t where id = 1",
            ] {
                println!("{level}, {name}, {change}");
                let mut stage = Stage::new();
                let mut hand = stage.hand();
                let asked = hand.until(|query| {
                    matches!(
                        (name, query),
                        ("claim", Query::Claim { .. })
                            | ("read", Query::Read { .. })
                            | ("commit", Query::Commit { .. })
                    )
                });
                stage.run(&format!("begin isolation level {level}; select 1 from t"));
                hand.run(asked).unwrap();
                if name == "commit" && !change.starts_with("insert") {
                    // The row is not what the transaction has seen: it must be tried again.
                    assert_eq!(stage.refusal(change).1, "40001");
                    stage.run("rollback");
                    stage.run(&format!("begin isolation level {level}"));
                }
                stage.run(change);
                stage.run("commit");
                hand.finish();
                stage.assert_true();
            }
        }
    }
}

/// The commit's scan stops at a gate, so its snapshot is older than its row locks: a row security
/// policy that waits is the gate.
#[test]
fn a_change_between_the_snapshot_of_a_commit_and_its_locks_is_not_lost() {
    for change in [
        "update t set body = 'changed' where id = 1",
        "update t set views = 1",
        "update t set body = null where id = 1",
        "delete from t where id = 1",
        "begin; delete from t where id = 1; insert into t values (1, 'again'); commit",
        "update t set id = 9 where id = 1",
        "begin; update t set id = -1 where id = 1; update t set id = 1 where id = 2;
         update t set id = 2 where id = -1; commit",
    ] {
        println!("{change}");
        let mut stage = Stage::new();
        let role = format!("gated_{}", stage.database.name());
        stage.run(&format!(
            "create function gate() returns boolean language plpgsql volatile as $$
             begin
               perform pg_advisory_lock_shared(42);
               perform pg_advisory_unlock_shared(42);
               return true;
             end $$;
             create policy gate on t using (public.gate());
             create role {role};
             grant usage on schema ai, public to {role};
             grant all on all tables in schema ai, public to {role};
             grant all on all sequences in schema ai to {role}"
        ));
        let mut hand = stage.hand();
        hand.sql(&format!("set role {role}; set row_security = on"));
        let asked = hand.until(is_commit);
        // (A worker does not begin with a table whose policies bind it.)
        stage.run("alter table t enable row level security");
        let mut gate = stage.database.client();
        gate.batch_execute("select pg_advisory_lock(42)").unwrap();
        std::thread::scope(|scope| {
            let commit = scope.spawn(|| hand.run(asked).unwrap());
            stage.database.wait_until(
                "(select count(*) = 1 from pg_locks where locktype = 'advisory' and not granted
                  and database = (select oid from pg_database where datname = current_database()))",
                PATIENCE,
            );
            stage.run(change);
            gate.batch_execute("select pg_advisory_unlock(42)").unwrap();
            let answer = commit.join().unwrap();
            assert_eq!(answer.len(), 3);
        });
        // What has been written is right already; what has not is still queued.
        let unwritten = "select count(*) from t left join ai._vectorizer_q_1 q using (id)
            where vector is null and q.id is null and body is not null";
        assert_eq!(stage.number(unwritten), 0);
        stage.run("alter table t disable row level security");
        hand.finish();
        stage.assert_true();
        hand.sql("reset role");
        stage.run(&format!("drop owned by {role}; drop role {role}"));
    }
}

#[test]
fn what_a_trigger_makes_of_the_worker_s_write_is_no_loop_between_vectorizers() {
    let mut stage = Stage::with(
        &format!(
            "create table t (id int primary key, body text, updated_at timestamptz);
             {TOUCH} create trigger touch before update on t for each row execute function touch()"
        ),
        &[
            ("t", "$updated_at $chunk", "first"),
            ("t", "$updated_at! $chunk", "second"),
        ],
    );
    stage.run("insert into t select n, 'body ' || n from generate_series(1, 5) n");
    let mut hand = stage.hand();
    hand.finish();
    assert_eq!(hand.embedded.len(), 10);
    let unwritten = "select count(*) from t where first is null or second is null";
    assert_eq!(stage.number(unwritten), 0);
    stage.run("update t set body = 'new' where id = 1");
    hand.finish();
    assert_eq!(hand.embedded.len(), 12);
}

#[test]
fn partitions_make_no_loop_either_and_rows_move_between_them() {
    let mut stage = Stage::with(
        &format!(
            "create table t (id int, body text, updated_at timestamptz, primary key (id)) partition by range (id);
             create table t_low partition of t for values from (0) to (100);
             create table t_high partition of t for values from (100) to (200);
             {TOUCH} create trigger touch before update on t for each row execute function touch()"
        ),
        &[("t", "$updated_at $chunk", "vector"), ("t", "$chunk", "plain")],
    );
    stage.run("insert into t select n, 'body ' || n from generate_series(98, 102) n");
    let mut hand = stage.hand();
    hand.finish();
    assert_eq!(hand.embedded.len(), 10);
    stage.assert_vectors("t", "body", "plain");
    stage.run("update t set id = 150 where id = 99; insert into t_low values (1, 'direct')");
    hand.finish();
    stage.assert_vectors("t", "body", "plain");
    let unwritten = "select count(*) from t where vector is null or plain is null";
    assert_eq!(stage.number(unwritten), 0);
    stage.run("truncate t_low");
    hand.finish();
    assert_eq!(stage.number("select count(*) from t where id < 100"), 0);
}

/// What is ignored is the worker's write of its own table only.
#[test]
fn what_a_trigger_writes_to_another_table_counts() {
    let mut stage = Stage::with(
        "create table t (id int primary key, body text);
         create table digests (id int primary key, body text);
         create function digest() returns trigger language plpgsql as $$
         begin
           insert into digests values (new.id, 'digest of ' || new.body)
           on conflict (id) do update set body = digests.body || '!';
           return null;
         end $$;
         create trigger digest after update on t for each row execute function digest()",
        &[("t", "$chunk", "vector"), ("digests", "$chunk", "vector")],
    );
    stage.run("insert into t values (1, 'one')");
    let mut hand = stage.hand();
    hand.finish();
    stage.assert_vectors("t", "body", "vector");
    assert_eq!(stage.number("select count(*) from digests"), 1);
    stage.assert_vectors("digests", "body", "vector");
    stage.run("update t set body = 'two'");
    hand.finish();
    stage.assert_vectors("t", "body", "vector");
    stage.assert_vectors("digests", "body", "vector");
}

/// A row that a constraint forbids to write, added when the row was there already.
#[test]
fn a_row_that_cannot_be_written_fails_alone() {
    let mut stage = Stage::new();
    stage.run("alter table t add constraint short check (body <> 'two') not valid");
    let mut hand = stage.hand();
    hand.until(|query| matches!(query, Query::Fail { .. }));
    assert_eq!(
        stage.number("select count(*) from t where vector is not null"),
        2
    );
    assert_eq!(
        stage.number("select id::bigint from t where vector is null"),
        2
    );
}

#[test]
fn a_store_and_columns_on_one_table_go_their_own_ways() {
    let mut stage = Stage::with(
        "create table t (id int primary key, title text, body text)",
        &[("t", "$chunk", "by_body"), ("t", "$title", "by_title")].map(
            |(table, template, column)| {
                (
                    table,
                    if template == "$title" {
                        "$title$chunk"
                    } else {
                        template
                    },
                    column,
                )
            },
        ),
    );
    stage.run(
        "select ai.create_vectorizer('t', loading => ai.loading_column('body'), chunking => ai.chunking_none(),
           embedding => ai.embedding_ollama('m', 3),
           destination => ai.destination_table(target_table => 't_store'));
         insert into t select n, 't' || n, 'b' || n from generate_series(1, 4) n",
    );
    let mut hand = stage.hand();
    hand.finish();
    // Equal texts of different vectorizers are different requests.
    assert_eq!(hand.embedded.len(), 12);
    hand.embedded.clear();
    stage.run("update t set title = 'new' where id = 1");
    hand.finish();
    assert_eq!(hand.embedded, ["newb1"]);
    stage.assert_vectors("t", "body", "by_body");
    stage.assert_vectors("t", "title || body", "by_title");
    stage.assert_vectors("t_store", "chunk", "embedding");
}

#[test]
fn a_column_with_any_name_is_written() {
    let longest = "é".repeat(31) + "x";
    for column in [
        "select",
        "V v",
        "v\"); drop table t; --",
        "%I %s",
        "$1",
        "it's\n{keys}",
        &longest,
    ] {
        println!("{column}");
        let mut stage = Stage::with(
            "create table t (id int primary key, body text)",
            &[("t", "$chunk", column)],
        );
        stage.run("insert into t values (1, 'one'), (2, null)");
        let role = format!("runner_of_{}", stage.database.name());
        stage.run(&format!(
            "create role {role}; select ai.grant_worker_usage('{role}')"
        ));
        let mut hand = stage.hand();
        hand.sql(&format!("set role {role}"));
        let asked = hand.until(is_commit);
        hand.run(asked).unwrap();
        hand.sql("reset role");
        stage.run(&format!("drop owned by {role}; drop role {role}"));
        let quoted = format!("\"{}\"", column.replace('"', "\"\""));
        stage.assert_vectors("t", "body", &quoted);
        let name: String = stage
            .application
            .query_one("select embedding_column from ai.vectorizer_status", &[])
            .unwrap()
            .get(0);
        assert_eq!(name.trim_matches('"').replace("\"\"", "\""), column);
    }
}

#[test]
fn a_column_that_is_there_is_taken_if_it_fits_and_never_dropped() {
    let mut stage = Stage::with(
        "create table t (id int primary key, body text, fits vector(3), any_size vector,
           other_size vector(4), half halfvec(3), made text generated always as (body || '!') stored)",
        &[("t", "$chunk", "fits"), ("t", "$chunk", "any_size")],
    );
    stage.run("insert into t values (1, 'one', '[7,7,7]')");
    let mut hand = stage.hand();
    hand.finish();
    stage.assert_vectors("t", "body", "fits");
    stage.assert_vectors("t", "body", "any_size");
    for (column, code) in [
        ("other_size", "42804"),
        ("half", "42804"),
        ("made", "42804"),
        ("id", "42804"),
        ("body", "22023"),
        // A vectorizer writes there already.
        ("fits", "42710"),
    ] {
        println!("{column}");
        let error = create(&mut stage.application, "t", "$chunk", column).unwrap_err();
        assert_eq!(error.code().unwrap().code(), code, "{error:?}");
    }
    stage.run("select ai.drop_vectorizer(id, drop_all => true) from ai.vectorizer");
    stage.assert_vectors("t", "body", "fits");
    let left = "select count(*) from pg_trigger where tgrelid = 't'::regclass";
    assert_eq!(stage.number(left), 0);
    create(&mut stage.application, "t", "$chunk", "fits").unwrap();
}

/// Python pgai queued every change of any other column, and its worker left old vectors.
#[test]
fn a_column_of_python_pgai_goes_on_after_the_upgrade() {
    for version in ["0.11.3", "0.12.1"] {
        println!("{version}");
        let database = Server::shared().database();
        let mut application = database.client();
        for script in [
            "create extension vector",
            &tests::python::pgai_sql(version).unwrap(),
            "create table t (id int primary key, body text, views int default 0);
             insert into t values (1, 'one'), (2, 'two'), (3, null);
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3), chunking => ai.chunking_none(),
               destination => ai.destination_column('vector'));
             update t set vector = '[1,2,3]'; update t set body = 'changed' where id = 2",
        ] {
            application.batch_execute(script).unwrap();
        }
        database.install();
        let mut stage = Stage {
            database,
            application,
        };
        let mut hand = stage.hand();
        hand.finish();
        stage.assert_true();
        stage.run("update t set views = 1; update t set vector = vector");
        assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
        stage.run("update t set body = 'new' where id = 1");
        hand.finish();
        stage.assert_true();
    }
}
