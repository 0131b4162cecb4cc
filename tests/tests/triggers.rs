//! What triggers meet besides changes of the table: rows that are touched twice, replication, references to the store,
//! isolation levels, and many writers who all want to wake the worker.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::fallible_iterator::FallibleIterator as _;
use tests::postgres::{Server, Shutdown};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// Two columns that refer to one parent, what happens to the parent, and what both columns are then.
const TWICE: &[(&str, &str, &str)] = &[
    (
        "on delete set null",
        "delete from parent where id = 1",
        "None None",
    ),
    (
        "on delete set default",
        "delete from parent where id = 1",
        "9 9",
    ),
    (
        "on update cascade",
        "update parent set id = 5 where id = 1",
        "5 5",
    ),
    (
        "on update set null",
        "update parent set id = 5 where id = 1",
        "None None",
    ),
];

#[test]
fn referential_actions_may_touch_a_row_twice_in_one_statement() {
    let mut stage = Stage::new();
    for (number, (action, change, _)) in TWICE.iter().enumerate() {
        for (place, level) in LEVELS.iter().enumerate() {
            for rows in [1, 1_200] {
                let schema = format!("s{number}_{place}_{rows}");
                stage.run(&format!(
                    "create schema {schema}; set search_path = {schema}, public;
                     create table parent (id int primary key); insert into parent values (1), (9);
                     create table child (id int primary key, a int default 9 references parent {action},
                       b int default 9 references parent {action}, body text);
                     insert into child select n, 1, 1, 'x' from generate_series(1, {rows}) n;
                     select ai.create_vectorizer('child', name => 'v{schema}', loading => ai.loading_column('body'),
                       chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}), enqueue_existing => false,
                       formatting => ai.formatting_python_template('$a $b $chunk'))"
                ));
                stage.run(&format!("begin isolation level {level}; {change}; commit"));
                let queued =
                    format!("select ai.vectorizer_queue_pending('v{schema}', exact_count => true)");
                assert_eq!(
                    stage.number(&queued),
                    rows,
                    "{action}, {level}, {rows} rows"
                );
            }
        }
    }
    stage.once("worker");
    for (number, (action, _, wanted)) in TWICE.iter().enumerate() {
        for place in 0..LEVELS.len() {
            for rows in [1, 1_200] {
                let stored = format!(
                    "select count(*) from s{number}_{place}_{rows}.child_embedding_store where chunk = '{wanted} x'"
                );
                assert_eq!(stage.number(&stored), rows, "{action}");
            }
        }
    }
}

#[test]
fn a_reference_to_the_store_does_not_stop_a_truncate() {
    for (action, left) in [("on delete cascade", 0), ("on delete restrict", 10)] {
        let mut stage = Stage::with_blog();
        stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 10) n");
        stage.once("worker");
        stage.run(&format!(
            "create table liked (chunk uuid references blog_store {action}); insert into liked select embedding_uuid from blog_store;
             truncate blog"
        ));
        assert_eq!(
            stage.number("select count(*) from blog_store"),
            left,
            "{action}"
        );
    }
}

/// What replication applies fires row triggers only, and only those that are meant for a replica.
#[test]
fn a_subscription_that_comes_later_is_followed() {
    let publisher = Server::start_with(18, &[("wal_level", "logical")]);
    let source = publisher.database();
    let mut theirs = source.client();
    theirs
        .batch_execute(
            "create table blog (id int primary key, title text, body text, views int default 0);
             insert into blog select n, 't', 'copied' from generate_series(1, 5) n;
             create publication p for table blog",
        )
        .unwrap();
    let mut stage = Stage::with_blog();
    stage.run(&format!(
        "create subscription s connection '{}' publication p",
        source.url()
    ));
    stage
        .database
        .wait_until("(select count(*) = 5 from ai._vectorizer_q_1)", PATIENCE);
    stage.once("worker");
    assert_eq!(
        stage.number("select count(*) from blog_store where chunk = 't: copied'"),
        5
    );
    theirs
        .batch_execute(
            "insert into blog values (6, 't', 'applied'); update blog set body = 'changed' where id = 1;
             update blog set id = 20 where id = 2; delete from blog where id = 3; insert into blog values (7, 't', 'last')",
        )
        .unwrap();
    stage
        .database
        .wait_until("(select count(*) = 1 from blog where id = 7)", PATIENCE);
    stage.once("worker");
    stage.assert_true();
    theirs.batch_execute("truncate blog").unwrap();
    stage
        .database
        .wait_until("(select count(*) = 0 from blog)", PATIENCE);
    assert_eq!(stage.number("select count(*) from blog_store"), 0);
    stage.run("drop subscription s");
}

/// As before a switch to a new major version: everything is replicated, the queue too.
#[test]
fn a_replica_that_gets_the_queue_as_well_queues_nothing_itself() {
    let publisher = Server::start_with(18, &[("wal_level", "logical")]);
    let database = publisher.database();
    database.install();
    let mut theirs = database.client();
    let create = "create table blog (id int primary key, body text);
        select ai.create_vectorizer('blog', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3))";
    theirs.batch_execute(create).unwrap();
    theirs
        .batch_execute("create publication p for all tables")
        .unwrap();
    let mut stage = Stage::new();
    stage.run(create);
    stage.run(&format!(
        "create subscription s connection '{}' publication p with (copy_data = false)",
        database.url()
    ));
    theirs.batch_execute("insert into blog values (1, 'one'); update blog set body = 'two'; insert into blog values (2, 'x'); delete from blog where id = 2").unwrap();
    theirs
        .batch_execute("insert into blog values (3, 'last')")
        .unwrap();
    stage
        .database
        .wait_until("(select count(*) = 1 from blog where id = 3)", PATIENCE);
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 3);
    assert_eq!(
        stage.number("select sum(apply_error_count)::bigint from pg_stat_subscription_stats where subname = 's'"),
        0
    );
    stage.run("drop subscription s");
}

#[test]
fn sessions_in_the_role_of_a_replica_are_followed() {
    let mut stage = Stage::with_blog();
    stage.run("set session_replication_role = replica");
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 10) n");
    stage.once("worker");
    stage.run("update blog set body = 'changed' where id < 4; delete from blog where id > 8; update blog set id = 50 where id = 5");
    stage.once("worker");
    stage.assert_true();
    stage.run("truncate blog");
    assert_eq!(stage.number("select count(*) from blog_store"), 0);
}

/// Crash of the server: an unlogged table is empty, and so must be what is stored for it.
#[test]
fn an_unlogged_source_has_an_unlogged_store() {
    let server = Server::start(18);
    let database = server.database();
    database.install();
    let mut client = database.client();
    client
        .batch_execute(
            "create unlogged table t (id int primary key, body text);
             select ai.create_vectorizer('t', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3));
             insert into t values (1, 'x');
             insert into t_embedding_store (id, chunk_seq, chunk, embedding) values (1, 0, 'x', '[1,2,3]')",
        )
        .unwrap();
    drop(client);
    server.restart(Shutdown::Immediate);
    let count: i64 = database
        .client()
        .query_one(
            "select (select count(*) from t) + (select count(*) from t_embedding_store)",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(count, 0);
}

/// Who rings is the only one for 20 ms.
#[test]
fn many_writers_send_few_notifications() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' from generate_series(1, 10) n");
    let mut listener = stage.database.client();
    listener.batch_execute("listen ai_vectorizer").unwrap();
    let began = Instant::now();
    for n in 0..300 {
        stage.run(&format!(
            "update blog set body = 'b{n}' where id = 1 + {n} % 10"
        ));
    }
    let took = began.elapsed();
    let heard = listener
        .notifications()
        .timeout_iter(Duration::from_millis(200))
        .count()
        .unwrap();
    let most = usize::try_from(took.as_millis() / 20).unwrap() + 1;
    assert!(
        (1..=most).contains(&heard),
        "{heard} notifications in {took:?}"
    );
}

/// The bell is not transactional: what a rolled-back writer silenced is found by polling.
#[test]
fn a_ringer_that_rolls_back_delays_others_by_a_poll_at_most() {
    let mut stage = Stage::with_blog();
    let _worker = stage.worker("worker", &["--poll-interval", "2"]);
    stage.run("insert into blog values (1, 't', 'first')");
    stage.wait_until_done();
    // The worker sleeps: it promises nothing any more.
    std::thread::sleep(Duration::from_secs(4));
    stage.run("begin; insert into blog values (2, 't', 'never'); rollback; insert into blog values (3, 't', 'silent')");
    stage.database.wait_until(
        "exists (select from blog_store where id = 3)",
        Duration::from_secs(10),
    );
}

/// In REPEATABLE READ and SERIALIZABLE a key whose item somebody else has queued since the snapshot is a serialization
/// failure, as docs/sql.md says: the queue has one item for each key. The next attempt succeeds.
#[test]
fn a_key_that_was_queued_since_the_snapshot_is_a_serialization_failure() {
    for meanwhile in [
        "delete from blog where id = 1",
        "update blog set body = body || '!' where id = 2; delete from blog where id = 1",
    ] {
        for level in &LEVELS[1..] {
            let mut stage = Stage::with_blog();
            stage.run("insert into blog values (1, 't', 'one'), (2, 't', 'two')");
            stage.once("worker");
            let mut older = stage.database.client();
            older
                .batch_execute(&format!(
                    "begin isolation level {level}; select 1 from blog"
                ))
                .unwrap();
            stage.run(meanwhile);
            let insert = "insert into blog values (1, 't', 'again') on conflict (id) do update set body = 'again'";
            let error = older.batch_execute(insert).unwrap_err();
            assert_eq!(
                error.code(),
                Some(&SqlState::T_R_SERIALIZATION_FAILURE),
                "{level}"
            );
            older
                .batch_execute(&format!(
                    "rollback; begin isolation level {level}; {insert}; commit"
                ))
                .unwrap();
            stage.once("worker");
            stage.assert_true();
        }
    }
}

/// With a column destination, what a worker writes is no change. Only roles that may write leases are believed to be one.
#[test]
fn only_a_worker_can_write_without_being_queued() {
    let mut stage = Stage::new();
    let forger = format!("{}_forger", stage.database.name());
    stage.run(&format!(
        "create table docs (id int primary key, body text); insert into docs values (1, 'x');
         select ai.create_vectorizer('docs', loading => ai.loading_column('body'), chunking => ai.chunking_none(),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), destination => ai.destination_column('vector'));
         create role {forger} login; grant select, update on docs to {forger}, embedder"
    ));
    for (role, queued) in [(forger.as_str(), 1), ("embedder", 0)] {
        stage.run("truncate ai._vectorizer_q_1");
        stage.run(&format!(
            "set session authorization {role}; begin; set local ai.own_write = '1';
             update docs set body = body || '!'; commit; reset session authorization"
        ));
        assert_eq!(
            stage.number("select count(*) from ai._vectorizer_q_1"),
            queued,
            "{role}"
        );
        // The role that a session has taken counts, not the one that it logged in with.
        stage.run("truncate ai._vectorizer_q_1");
        stage.run(&format!(
            "set role {role}; begin; set local ai.own_write = '1'; update docs set body = body || '!'; commit; reset role"
        ));
        assert_eq!(
            stage.number("select count(*) from ai._vectorizer_q_1"),
            queued,
            "{role}"
        );
    }
    stage.run(&format!("drop owned by {forger}; drop role {forger}"));
}

/// Many rows are first tried as new ones, in a subtransaction, which saves the look whether each is queued. One item is
/// not of it: that of the row with which the trigger began.
#[test]
fn many_rows_that_are_not_queued_are_tried_as_new_ones() {
    let mut stage = Stage::with_blog();
    for change in [
        "insert into blog select n, 't', 'b' from generate_series(1, 2000) n",
        "update blog set body = 'c'",
        "update blog set id = -id",
        "delete from blog",
    ] {
        stage.run("truncate ai._vectorizer_q_1");
        stage.run(&format!(
            "begin; {change}; create table seen as select xmin::text <> pg_current_xact_id()::text as in_subtransaction
               from ai._vectorizer_q_1; commit"
        ));
        let queued = if change.contains("-id") { 4_000 } else { 2_000 };
        assert_eq!(
            stage.number("select count(*) from seen"),
            queued,
            "{change}"
        );
        let new = "select count(*) from seen where in_subtransaction";
        assert_eq!(stage.number(new), queued - 1, "{change}");
        stage.run("drop table seen");
    }
}

/// An UPDATE of one row that keeps its key takes a path of its own: what it must leave to the other path,
/// and what it must not queue.
#[test]
fn an_update_of_few_rows_queues_what_has_changed() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog values (1, 't', 'b', 0), (2, 't', 'b', 0), (3, 't', 'b', 0)");
    for (change, queued) in [
        ("update blog set body = body || 'x' where id = 1", "1"),
        ("update blog set body = body || 'x' where id < 3", "1,2"),
        ("update blog set views = views + 1 where id = 1", ""),
        ("update blog set views = views + 1", ""),
        (
            "update blog set body = case id when 2 then body || 'y' else body end",
            "2",
        ),
        ("update blog set body = body || 'z' where id = 9", ""),
        ("update blog set id = 4 where id = 3", "3,4"),
        ("update blog set id = 3, body = 'new' where id = 4", "3,4"),
        (
            "begin isolation level repeatable read; update blog set body = body || 'r' where id = 1; commit",
            "1",
        ),
    ] {
        stage.run("truncate ai._vectorizer_q_1");
        stage.run(change);
        let keys =
            "select coalesce(string_agg(id::text, ',' order by id), '') from ai._vectorizer_q_1";
        let keys: String = stage.sql.query_one(keys, &[]).unwrap().get(0);
        assert_eq!(keys, queued, "{change}");
    }
}
