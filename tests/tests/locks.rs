//! Functions that lock the application's tables: they see what was committed while they waited, and the application's
//! transactions never fail or wait long because of them.

#![allow(clippy::print_stdout, reason = "a test tells what it tries")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use tests::postgres::{Database, Server};
use tests::stage::{PATIENCE, Stage};

const CREATE: &str =
    "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
    embedding => ai.embedding_ollama('stub', 8))";

fn with_table() -> Database {
    let database = Server::shared().database();
    database.install();
    database
        .client()
        .batch_execute("create table blog (id int primary key, title text, body text); insert into blog values (1, 't', 'one')")
        .unwrap();
    database
}

/// The SQLSTATE of a statement, or nothing if it succeeds.
fn code(client: &mut Client, sql: &str) -> Option<String> {
    let error = client.batch_execute(sql).err()?;
    Some(
        error
            .code()
            .unwrap_or_else(|| panic!("{sql}: {error:?}"))
            .code()
            .to_owned(),
    )
}

fn number(database: &Database, sql: &str) -> i64 {
    let row = database.client().query_one(sql, &[]);
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// Waits until a session waits for a lock on a table.
fn wait_for_waiter(database: &Database, table: &str) {
    let waits = format!(
        "exists (select from pg_locks where not granted and relation = '{table}'::regclass)"
    );
    database.wait_until(&waits, PATIENCE);
}

#[test]
fn rows_committed_while_the_creation_waits_are_queued_or_it_refuses() {
    for (isolation, expected) in [
        ("read committed", None),
        ("repeatable read", Some("25001")),
        ("serializable", Some("25001")),
    ] {
        let database = with_table();
        let mut writer = database.client();
        let mut open = writer.transaction().unwrap();
        open.batch_execute("insert into blog values (2, 't', 'late')")
            .unwrap();
        let mut creator = database.client();
        creator
            .batch_execute(&format!(
                "set default_transaction_isolation = '{isolation}'"
            ))
            .unwrap();
        let creation = thread::spawn(move || code(&mut creator, CREATE));
        if expected.is_none() {
            wait_for_waiter(&database, "blog");
        }
        open.commit().unwrap();
        assert_eq!(creation.join().unwrap().as_deref(), expected, "{isolation}");
        let queued =
            "select coalesce(sum(ai.vectorizer_queue_pending(id)), 0)::bigint from ai.vectorizer";
        let wanted = if expected.is_none() { 2 } else { 0 };
        assert_eq!(number(&database, queued), wanted, "{isolation}");
    }
}

/// With the statements of a driver that prepares them, and in transactions that have or have not read before.
#[test]
fn an_old_snapshot_is_refused_and_one_behind_the_lock_is_not() {
    for isolation in ["repeatable read", "serializable"] {
        let database = with_table();
        let (mut creator, mut writer) = (database.client(), database.client());
        let mut within = |statements: &[&str], commits: &str, last: &str| {
            let mut transaction = creator.transaction().unwrap();
            transaction
                .batch_execute(&format!("set transaction isolation level {isolation}"))
                .unwrap();
            for statement in statements {
                transaction.batch_execute(statement).unwrap();
            }
            writer.batch_execute(commits).unwrap();
            let answer = transaction.query(last, &[]);
            answer.err().map(|error| {
                let error = error.as_db_error().unwrap().clone();
                assert!(
                    error.hint().unwrap().contains("read committed"),
                    "{error:?}"
                );
                error.code().code().to_owned()
            })
        };
        let lock = "lock table blog in share row exclusive mode";
        let refused = Some("25001".to_owned());
        assert_eq!(within(&[], "select 1", CREATE), refused, "nothing locked");
        assert_eq!(
            within(&[lock], "create table other ()", CREATE),
            None,
            "locked before"
        );
        assert_eq!(
            within(
                &["select 1"],
                "insert into blog values (2, 't', 'two')",
                CREATE
            ),
            refused
        );
        // Locked, but behind the snapshot, and something was committed in between.
        let locked_late: &[&str] = &["select 1", "select pg_sleep(0)"];
        let mut transaction = database.client();
        transaction
            .batch_execute(&format!("begin isolation level {isolation}; select 1"))
            .unwrap();
        database
            .client()
            .batch_execute("insert into blog values (3, 't', 'three')")
            .unwrap();
        transaction.batch_execute(lock).unwrap();
        assert_eq!(code(&mut transaction, CREATE), refused);
        transaction.batch_execute("rollback").unwrap();
        assert_eq!(within(locked_late, "select 1", CREATE), refused);
        let own = [
            "create table mine (id int primary key, body text)",
            "savepoint s",
        ];
        assert_eq!(
            within(
                &own,
                "create table another ()",
                &CREATE.replace("'blog'", "'mine'")
            ),
            None,
            "nobody else can have written to it"
        );
    }
}

/// What an application does that reads first and then writes, while `ddl` runs. It must not fail.
#[track_caller]
fn reads_then_writes(stage: &Stage, reads: &str, ddl: &str, waits_for: &str) {
    let mut application = stage.database.client();
    let mut transaction = application.transaction().unwrap();
    transaction.batch_execute(reads).unwrap();
    let mut session = stage.database.client();
    let statement = ddl.to_owned();
    let running = thread::spawn(move || session.batch_execute(&statement));
    wait_for_waiter(&stage.database, waits_for);
    thread::sleep(Duration::from_millis(100));
    transaction
        .batch_execute("update blog set title = 'changed' where id = 1")
        .unwrap_or_else(|error| panic!("{reads}; {ddl}: {error:?}"));
    thread::sleep(Duration::from_millis(1500));
    transaction
        .batch_execute("update blog set body = 'changed' where id = 1")
        .unwrap_or_else(|error| panic!("{reads}; {ddl}: {error:?}"));
    transaction.commit().unwrap();
    running.join().unwrap().unwrap();
}

#[test]
fn an_application_that_reads_and_then_writes_is_no_victim() {
    let column =
        "select ai.create_vectorizer('blog', name => 'other', loading => ai.loading_column('body'),
        embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
        destination => ai.destination_column('vector'))";
    let drop = "select ai.drop_vectorizer('blog', drop_all => true)";
    let refresh = "select ai.refresh_vectorizer('blog')";
    let adopt = "select ai.adopt_vectorizer('blog')";
    for (reads, ddl, waits_for) in [
        ("select from blog", column, "blog"),
        ("select from blog", drop, "blog"),
        ("select from blog_store", drop, "blog_store"),
        ("select from blog_embedding", drop, "blog_embedding"),
        ("select from ai._vectorizer_q_1", drop, "ai._vectorizer_q_1"),
        ("select from blog_store", refresh, "blog_store"),
        ("select from blog_embedding", refresh, "blog_embedding"),
        (
            "select from ai._vectorizer_q_1",
            refresh,
            "ai._vectorizer_q_1",
        ),
        ("select from blog", adopt, "blog"),
    ] {
        println!("{reads}; {ddl}");
        let mut stage = Stage::with_blog();
        stage.run("insert into blog values (1, 't', 'one')");
        reads_then_writes(&stage, reads, ddl, waits_for);
    }
}

/// A dump, or a long report, keeps only its own tables from being dropped.
#[test]
fn a_long_reader_makes_nobody_wait_elsewhere() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog values (1, 't', 'one')");
    let mut reader = stage.database.client();
    let mut report = reader.transaction().unwrap();
    report.batch_execute("select from blog_store").unwrap();
    let mut session = stage.database.client();
    let dropping = thread::spawn(move || {
        code(
            &mut session,
            "set lock_timeout = '3s'; select ai.drop_vectorizer('blog', true)",
        )
    });
    let mut slowest = Duration::ZERO;
    while !dropping.is_finished() {
        let began = Instant::now();
        stage.run("select from blog; update blog set views = views + 1");
        slowest = slowest.max(began.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(dropping.join().unwrap().as_deref(), Some("55P03"));
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    report.commit().unwrap();
    stage.run("select ai.drop_vectorizer('blog', true)");
}

#[test]
fn who_keeps_the_lock_is_told() {
    let database = with_table();
    let mut holder = database.client();
    let mut open = holder.transaction().unwrap();
    open.batch_execute("set application_name = 'the holder'; update blog set body = 'x'")
        .unwrap();
    let mut creator = database.client();
    creator
        .batch_execute("set ai.lock_timeout = '300ms'")
        .unwrap();
    let error = creator.batch_execute(CREATE).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "55P03");
    assert!(
        error.message().contains("public.blog") || error.message().contains("blog"),
        "{error:?}"
    );
    assert!(error.detail().unwrap().contains("the holder"), "{error:?}");
    let timeout: String = creator.query_one("show lock_timeout", &[]).unwrap().get(0);
    assert_eq!(timeout, "0");
}

#[test]
fn the_loser_of_two_creations_gets_the_winners_id() {
    for isolation in ["read committed", "repeatable read"] {
        let database = with_table();
        let create = CREATE.replace("embedding =>", "if_not_exists => true, embedding =>");
        let mut first = database.client();
        let mut winner = first.transaction().unwrap();
        winner.batch_execute(&create).unwrap();
        let mut second = database.client();
        let default = format!("set default_transaction_isolation = '{isolation}'");
        second.batch_execute(&default).unwrap();
        let again = create.clone();
        let loser = thread::spawn(move || {
            second
                .query_one(&again, &[])
                .map(|row| row.get::<_, i32>(0))
        });
        let waiting = "exists (select from pg_locks where not granted and locktype = 'advisory')";
        database.wait_until(waiting, PATIENCE);
        winner.commit().unwrap();
        match (isolation, loser.join().unwrap()) {
            ("read committed", answer) => assert_eq!(answer.unwrap(), 1),
            (_, answer) => {
                let code = answer.unwrap_err().code().unwrap().code().to_owned();
                assert_eq!(
                    code, "25001",
                    "its snapshot is older than the winner's commit"
                );
            }
        }
        // Eight at once, without an order.
        database
            .client()
            .batch_execute("create table more (id int primary key, body text)")
            .unwrap();
        let create = create.replace("'blog'", "'more'");
        let sessions: Vec<_> = (0..8)
            .map(|_| {
                let (mut session, create) = (database.client(), create.clone());
                thread::spawn(move || session.query_one(&create, &[]).unwrap().get::<_, i32>(0))
            })
            .collect();
        let mut ids: Vec<_> = sessions
            .into_iter()
            .map(|session| session.join().unwrap())
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
}
