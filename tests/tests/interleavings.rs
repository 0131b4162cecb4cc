//! Application and worker on a real PostgreSQL, statement by statement, in the orders that hurt.
//! Whatever the order, no update is lost, no orphan stays, and nobody fails or waits.

#![allow(clippy::print_stdout, reason = "a test says what it does")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use pgai_core::{Query, Settings};
use postgres::Client;
use tests::hand::Hand;
use tests::postgres::{Database, Server};
use tests::stub::vector_of;

/// A table `t (id, body)` with a vectorizer that makes a chunk of every paragraph.
struct Stage {
    database: Database,
    application: Client,
}

impl Stage {
    fn new() -> Self {
        Self::with("create table t (id int primary key, body text)")
    }

    fn with(table: &str) -> Self {
        let database = Server::shared().database();
        database.install();
        let mut application = database.client();
        application.batch_execute(table).unwrap();
        application
            .batch_execute(
                "select ai.create_vectorizer('t', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('m', 3),
                   chunking => ai.chunking_character_text_splitter(1, 0, '|'),
                   destination => ai.destination_table(target_table => 't_store'))",
            )
            .unwrap();
        Self {
            database,
            application,
        }
    }

    fn hand(&self, seed: u64) -> Hand {
        Hand::new(self.database.client(), seed)
    }

    fn run(&mut self, sql: &str) {
        self.application.batch_execute(sql).unwrap();
    }

    /// A second session of the application.
    fn session(&self, sql: &str) -> Client {
        let mut client = self.database.client();
        client.batch_execute(sql).unwrap();
        client
    }

    /// Every row has exactly the chunks of its text with their own vectors, and nothing waits.
    #[track_caller]
    fn assert_true(&mut self) {
        let wanted = self.rows(
            "select t.id::text, (piece.place - 1)::text, piece.text, null
             from t, string_to_table(body, '|') with ordinality as piece(text, place)
             order by 1, 2",
        );
        let stored = self.rows(
            "select id::text, chunk_seq::text, chunk, embedding::text from t_store order by 1, 2",
        );
        let places = |rows: &[[Option<String>; 4]]| -> Vec<_> {
            rows.iter()
                .map(|[id, place, text, _]| (id.clone(), place.clone(), text.clone()))
                .collect()
        };
        assert_eq!(places(&stored), places(&wanted));
        for [_, _, text, vector] in stored {
            let vector: Vec<f32> = serde_json::from_str(&vector.unwrap()).unwrap();
            assert_eq!(vector, vector_of(&text.unwrap(), 3));
        }
        let waiting: i64 = self
            .application
            .query_one("select ai.vectorizer_queue_pending(1, true)", &[])
            .unwrap()
            .get(0);
        assert_eq!(waiting, 0);
    }

    fn rows(&mut self, sql: &str) -> Vec<[Option<String>; 4]> {
        let rows = self.application.query(sql, &[]).unwrap();
        rows.iter()
            .map(|row| [0, 1, 2, 3].map(|column| row.get(column)))
            .collect()
    }
}

fn is_claim(query: &Query) -> bool {
    matches!(query, Query::Claim { .. })
}

fn is_read(query: &Query) -> bool {
    matches!(query, Query::Read { .. })
}

fn is_commit(query: &Query) -> bool {
    matches!(query, Query::Commit { .. })
}

/// What the application does in the middle of a batch with rows 1 (`a|b`), 2 (`c`) and 3 (`d`).
const EDITS: &[(&str, &str)] = &[
    ("update", "update t set body = 'a|x' where id = 1"),
    ("update to nothing", "update t set body = null where id = 1"),
    ("delete", "delete from t where id = 1"),
    (
        "delete and insert",
        "begin; delete from t where id = 1; insert into t values (1, 'z'); commit",
    ),
    (
        "deferrable: delete and insert in one statement",
        "with gone as (delete from t where id = 1 returning id) insert into t select id, 'y' from gone",
    ),
    (
        "upsert",
        "insert into t values (1, 'u'), (4, 'v') on conflict (id) do update set body = excluded.body",
    ),
    ("key change", "update t set id = 7 where id = 1"),
    ("deferrable: keys moved on", "update t set id = id + 1"),
    (
        "deferrable: keys swapped",
        "update t set id = 3 - id where id < 3",
    ),
    ("truncate", "truncate t"),
    (
        "truncate and insert",
        "begin; truncate t; insert into t values (1, 'n'); commit",
    ),
];

fn stage_with_rows() -> Stage {
    stage_for("")
}

/// An upsert needs a key that is checked at once, a swap one that is checked at the end.
fn stage_for(edit: &str) -> Stage {
    let key = if edit.starts_with("deferrable") {
        "deferrable"
    } else {
        ""
    };
    let mut stage = Stage::with(&format!(
        "create table t (id int primary key {key}, body text)"
    ));
    stage.run("insert into t values (1, 'a|b'), (2, 'c'), (3, 'd')");
    stage
}

#[test]
fn edits_between_the_statements_of_a_fresh_batch() {
    for (name, edit) in EDITS {
        for wanted in [is_claim, is_read, is_commit] {
            println!("{name}");
            let mut stage = stage_for(name);
            let mut hand = stage.hand(1);
            let asked = hand.until(wanted);
            stage.run(edit);
            hand.run(asked).unwrap();
            hand.finish();
            stage.assert_true();
        }
    }
}

#[test]
fn edits_between_the_statements_of_a_batch_over_stored_rows() {
    for (name, edit) in EDITS {
        for wanted in [is_claim, is_read, is_commit] {
            println!("{name}");
            let mut stage = stage_for(name);
            let mut hand = stage.hand(1);
            hand.finish();
            stage.run("update t set body = body || '|more'");
            let asked = hand.until(wanted);
            stage.run(edit);
            hand.run(asked).unwrap();
            hand.finish();
            stage.assert_true();
        }
    }
}

#[test]
fn edits_that_are_not_committed_when_the_worker_writes() {
    for (name, edit) in EDITS {
        if name.contains("truncate") || edit.contains("commit") {
            continue;
        }
        println!("{name}");
        for end in ["commit", "rollback"] {
            let mut stage = stage_for(name);
            let mut hand = stage.hand(1);
            let asked = hand.until(is_commit);
            // The application holds the item: the worker must neither wait nor write.
            let mut session = stage.session("begin");
            session.batch_execute(edit).unwrap();
            let answer = hand.run(asked).unwrap();
            let outcomes: Vec<_> = answer.iter().filter_map(|row| row[1].as_deref()).collect();
            assert!(outcomes.contains(&"busy"), "{outcomes:?}");
            session.batch_execute(end).unwrap();
            hand.finish();
            stage.assert_true();
        }
    }
}

#[test]
fn a_snapshot_from_before_the_commit_leaves_no_orphan_and_meets_no_failure() {
    for level in ["repeatable read", "serializable"] {
        for edit in [
            "delete from t where id = 1",
            "update t set id = 9 where id = 1",
            "update t set body = 'q' where id = 1",
        ] {
            for wanted in [is_claim, is_commit] {
                println!("{level}: {edit}");
                let mut stage = stage_with_rows();
                let mut hand = stage.hand(1);
                let asked = hand.until(wanted);
                let mut session =
                    stage.session(&format!("begin isolation level {level}; select 1 from t"));
                hand.run(asked).unwrap();
                session.batch_execute(edit).unwrap();
                session.batch_execute("commit").unwrap();
                hand.finish();
                stage.assert_true();
            }
        }
    }
}

/// The worker leaves a changed item alone. If it moved the item to the tail of the queue with an
/// UPDATE, this transaction would fail: its trigger would find a version that its snapshot does not
/// see, though nobody else has written to the row since.
#[test]
fn a_commit_of_a_changed_row_does_not_fail_a_transaction_with_an_older_snapshot() {
    let mut stage = stage_with_rows();
    let mut hand = stage.hand(1);
    let asked = hand.until(is_commit);
    stage.run("update t set body = 'b2' where id = 1");
    let mut session = stage.session("begin isolation level repeatable read; select 1 from t");
    hand.run(asked).unwrap();
    session
        .batch_execute("update t set body = 'b3' where id = 1; commit")
        .unwrap();
    hand.finish();
    stage.assert_true();
}

#[test]
fn rows_that_a_cascade_deletes_leave_no_chunks() {
    let mut stage = Stage::with(
        "create table p (id int primary key);
         create table t (id int primary key, body text, p int references p on delete cascade on update cascade)",
    );
    stage.run(
        "insert into p values (1), (2); insert into t values (1, 'a', 1), (2, 'b', 1), (3, 'c', 2)",
    );
    for wanted in [is_read, is_commit] {
        let mut hand = stage.hand(2);
        let asked = hand.until(wanted);
        stage.run("delete from p where id = 1; update p set id = id + 10");
        hand.run(asked).unwrap();
        hand.finish();
        stage.assert_true();
        stage.run("insert into p values (1); insert into t values (1, 'a', 1), (2, 'b', 1)");
    }
}

#[test]
fn a_delete_while_the_row_is_queued_again_leaves_no_chunk() {
    let mut stage = stage_with_rows();
    let mut hand = stage.hand(1);
    hand.finish();
    // One session queues the row again, another deletes it meanwhile.
    let mut session = stage.session("begin; update t set body = 'r' where id = 1");
    let asked = hand.until(is_claim);
    hand.run(asked).unwrap();
    session.batch_execute("commit").unwrap();
    let asked = hand.until(is_commit);
    let mut other = stage.session("begin isolation level repeatable read; select 1 from t");
    hand.run(asked).unwrap();
    other
        .batch_execute("delete from t where id = 1; commit")
        .unwrap();
    hand.finish();
    stage.assert_true();
}

#[test]
fn a_stale_worker_is_fenced() {
    let mut stage = stage_with_rows();
    let mut stale = stage.hand(1);
    let late = stale.until(is_commit);
    stage.run("update ai._vectorizer_lease_1 set _until = now() - interval '1 second'");
    stage.run("update t set body = 'new' where id = 1");
    let mut fresh = stage.hand(2);
    let asked = fresh.until(is_commit);
    let answer = stale.run(late).unwrap();
    assert!(
        answer.iter().all(|row| row[1].as_deref() == Some("lost")),
        "{answer:?}"
    );
    fresh.run(asked).unwrap();
    fresh.finish();
    stage.assert_true();
}

#[test]
fn a_chunk_that_somebody_took_out_of_the_store_meanwhile_comes_back() {
    let mut stage = stage_with_rows();
    let mut hand = stage.hand(1);
    hand.finish();
    stage.run("update t set body = 'a|b|c' where id = 1");
    let asked = hand.until(is_commit);
    stage.run("delete from t_store where id = 1 and chunk_seq = 0");
    let answer = hand.run(asked).unwrap();
    assert_eq!(answer[0][1].as_deref(), Some("edited"));
    hand.finish();
    stage.assert_true();
}

#[test]
fn only_changed_chunks_are_embedded_and_the_others_keep_their_rows() {
    let mut stage = Stage::new();
    stage.run("insert into t values (1, 'one|two|three|four')");
    let mut hand = stage.hand(1);
    hand.finish();
    let before =
        stage.rows("select chunk, embedding_uuid::text, null, null from t_store order by 1");
    hand.embedded.clear();
    stage.run("update t set body = 'one|2|three|four' where id = 1");
    hand.finish();
    assert_eq!(hand.embedded, ["2"]);
    stage.assert_true();
    let after =
        stage.rows("select chunk, embedding_uuid::text, null, null from t_store order by 1");
    let kept = |rows: &[[Option<String>; 4]]| -> Vec<_> {
        let same = |row: &&[Option<String>; 4]| {
            matches!(row[0].as_deref(), Some("one" | "three" | "four"))
        };
        rows.iter().filter(same).cloned().collect()
    };
    assert_eq!(kept(&before), kept(&after));
}

/// The claim's scan stops at a gate, so its snapshot is older than its row locks: a row security
/// policy that waits is the gate.
#[test]
fn an_update_between_the_snapshot_of_a_claim_and_its_lock_is_not_lost() {
    for edit in [
        "update t set body = 'new|x' where id = 1",
        "delete from t where id = 1",
        "begin; delete from t where id = 1; insert into t values (1, 'again'); commit",
        "update t set id = 5 where id = 1",
    ] {
        println!("{edit}");
        let mut stage = stage_with_rows();
        stage.run(
            "create function gate() returns boolean language plpgsql volatile as $$
             begin
               perform pg_advisory_lock_shared(42);
               perform pg_advisory_unlock_shared(42);
               return true;
             end $$;
             alter table ai._vectorizer_q_1 enable row level security;
             create policy gate on ai._vectorizer_q_1 using (public.gate());
             create role gated;
             grant usage on schema ai, public to gated;
             grant all on all tables in schema ai, public to gated;
             grant all on all sequences in schema ai to gated",
        );
        // A role belongs to the whole server: this one lives only as long as the test.
        let mut hand = stage.hand(1);
        hand.sql("set role gated; set row_security = on");
        let asked = hand.until(is_claim);
        let mut gate = stage.session("select pg_advisory_lock(42)");
        std::thread::scope(|scope| {
            let claim = scope.spawn(|| hand.run(asked).unwrap());
            stage.database.wait_until(
                "(select count(*) = 1 from pg_locks where locktype = 'advisory' and not granted
                  and database = (select oid from pg_database where datname = current_database()))",
                std::time::Duration::from_secs(30),
            );
            stage.run(edit);
            gate.batch_execute("select pg_advisory_unlock(42)").unwrap();
            let claimed = claim.join().unwrap();
            assert!(!claimed.is_empty());
        });
        hand.finish();
        stage.assert_true();
        hand.sql("reset role");
        stage.run("drop owned by gated; drop role gated");
    }
}

/// The time of the next attempt stands in the lease. If it stood in the item, this transaction would
/// fail, as above.
#[test]
fn a_failed_row_does_not_fail_a_transaction_with_an_older_snapshot() {
    for edit in [
        "update t set body = 'good' where id = 2",
        "delete from t where id = 2",
    ] {
        let mut stage = stage_with_rows();
        let mut hand = stage.hand(1);
        hand.poison = Some("c".to_owned());
        let asked = hand.until(|query| matches!(query, Query::Fail { .. }));
        let mut session = stage.session("begin isolation level repeatable read; select 1 from t");
        let answer = hand.run(asked).unwrap();
        assert_eq!(answer[0][1].as_deref(), Some("done"));
        session.batch_execute(edit).unwrap();
        session.batch_execute("commit").unwrap();
        // A changed row is due at once, and its failures are forgotten.
        hand.finish();
        stage.assert_true();
    }
}

#[test]
fn a_failed_row_waits_and_its_failures_are_counted() {
    let mut stage = stage_with_rows();
    let mut hand = stage.hand(1);
    hand.poison = Some("c".to_owned());
    for failures in 1..=3_i64 {
        let asked = hand.until(|query| matches!(query, Query::Fail { .. }));
        hand.run(asked).unwrap();
        let put_off = "select count(*) from ai._vectorizer_lease_1
                       where _claim = 0 and _until > now() and _failures = $1::bigint";
        let count: i64 = stage
            .application
            .query_one(put_off, &[&failures])
            .unwrap()
            .get(0);
        assert_eq!(count, 1, "after {failures} failures");
        let asked = hand.until(is_claim);
        let claimed = hand.run(asked).unwrap();
        assert!(
            claimed.iter().all(|row| row[0].as_deref() != Some("2")),
            "{claimed:?}"
        );
        stage.run("update ai._vectorizer_lease_1 set _until = now() where _claim = 0");
    }
}

/// One row waits for a lock, one was refused by the provider, and only then a third one with the same
/// text is read: it is asked for again, and fails as well. (It hung in its batch for ever.)
#[test]
fn a_text_that_was_refused_before_a_lock_was_met_is_asked_for_again() {
    let mut stage = Stage::new();
    stage.run("insert into t values (1, 'one'), (2, 'bad'), (3, 'bad')");
    let mut settings = Settings::new("reads two rows at a time");
    settings.limits.bytes = 4;
    let mut hand = Hand::with(stage.database.client(), 1, settings);
    hand.poison = Some("bad".to_owned());
    let asked = hand.until(is_commit);
    let mut session = stage.session("begin; update t set body = 'changed' where id = 1");
    let answer = hand.run(asked).unwrap();
    assert_eq!(answer[0][1].as_deref(), Some("busy"));
    let asked = hand.until(is_read);
    hand.run(asked).unwrap();
    session.batch_execute("rollback").unwrap();
    hand.until(|query| {
        let Query::Fail { rows, .. } = query else {
            return false;
        };
        rows.iter().any(|row| row.key.0 == ["3"])
    });
}
