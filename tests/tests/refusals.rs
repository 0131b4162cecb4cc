//! What the application's triggers, constraints and encodings do not let a worker write or read: the
//! row fails alone, with a reason that says what to do.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use postgres::Client;
use tests::postgres::{Database, Server};
use tests::process::Process;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::Stub;

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// A table of texts with a vectorizer that gives up at the first failure.
fn create(destination: &str, chunking: &str) -> String {
    format!(
        "create table t (id int primary key, body text);
         insert into t select n, 'text ' || n from generate_series(1, 5) n;
         select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body', retries => 0),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => {chunking},
           destination => {destination})"
    )
}

const WORDS: &str = "ai.chunking_character_text_splitter(4, 0, ' ')";
const STORE: &str = "ai.destination_table(target_table => 's')";
const COLUMN: &str = "ai.destination_column('vector')";

/// Keys that were given up, with the reasons.
fn failed(stage: &mut Stage) -> Vec<(i32, String)> {
    let sql = "select id, failure_reason from ai._vectorizer_q_failed_1 order by 1";
    let rows = stage.sql.query(sql, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[track_caller]
fn assert_failed(stage: &mut Stage, key: i32, reason: &str) {
    let failed = failed(stage);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, key);
    assert!(failed[0].1.contains(reason), "{failed:?}");
    let recorded = format!(
        "select count(*) from ai.vectorizer_errors where details ->> 'error_reason' like '%{reason}%'"
    );
    assert_eq!(stage.number(&recorded), 1);
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
}

/// A function for triggers that refuse without a word.
const NOTHING: &str =
    "create function nothing() returns trigger language plpgsql as $$ begin return null; end $$";

#[test]
fn a_chunk_that_a_trigger_does_not_let_in_is_not_taken_for_written() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&create(STORE, WORDS));
        stage.run(NOTHING);
        // The second chunk of one row.
        stage.run(
            "create trigger refuse before insert on s for each row
             when (new.id = 3 and new.chunk_seq = 1) execute function nothing()",
        );
        stage.once(shell);
        assert_failed(
            &mut stage,
            3,
            "a trigger on the table that holds the vectors returned NULL",
        );
        assert_eq!(stage.number("select count(*) from s where id <> 3"), 8);

        stage.run("drop trigger refuse on s");
        stage.worker(shell, &["retry", "v"]).wait(PATIENCE);
        stage.once(shell);
        assert_eq!(stage.number("select count(*) from s"), 10);
        assert!(failed(&mut stage).is_empty());
    }
}

#[test]
fn a_chunk_that_a_trigger_does_not_let_change_or_go_is_not_taken_for_done() {
    for (event, edit) in [
        ("update", "update t set body = 'other 3' where id = 3"),
        ("delete", "update t set body = 'text' where id = 3"),
    ] {
        let mut stage = Stage::new();
        stage.run(&create(STORE, WORDS));
        stage.once("worker");
        stage.run(NOTHING);
        stage.run(&format!(
            "create trigger refuse before {event} on s for each row execute function nothing(); {edit};
             update t set body = body || ' more' where id = 4"
        ));
        stage.once("worker");
        assert_failed(&mut stage, 3, "returned NULL");
        assert_eq!(
            stage.number("select count(*) from s where id = 4"),
            3,
            "{event}"
        );
    }
}

#[test]
fn a_row_whose_column_a_trigger_does_not_let_change_is_not_taken_for_done() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&create(COLUMN, "ai.chunking_none()"));
        stage.run(NOTHING);
        stage.run(
            "create trigger refuse before update on t for each row
             when (new.id = 3) execute function nothing()",
        );
        stage.once(shell);
        assert_failed(&mut stage, 3, "returned NULL");
        assert_eq!(stage.number("select count(vector) from t"), 4);
    }
}

#[test]
fn a_trigger_that_suppresses_only_updates_that_change_nothing_is_no_obstacle() {
    let mut stage = Stage::new();
    stage.run(&create(COLUMN, "ai.chunking_none()"));
    stage.run(
        "create trigger z before update on t for each row execute function suppress_redundant_updates_trigger()",
    );
    stage.once("worker");
    // The vector is right already.
    stage.run("update t set body = body || '!'; update t set body = rtrim(body, '!')");
    stage.once("worker");
    assert!(failed(&mut stage).is_empty());
    assert_eq!(stage.number("select count(vector) from t"), 5);
}

#[test]
fn an_insert_that_a_trigger_on_the_source_drops_queues_nothing() {
    for destination in [STORE, COLUMN] {
        let mut stage = Stage::new();
        stage.run(&create(destination, "ai.chunking_none()"));
        stage.once("worker");
        stage.run(NOTHING);
        stage.run(
            "create trigger refuse before insert or delete on t for each row execute function nothing();
             insert into t values (9, 'nine'); delete from t where id = 1",
        );
        assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
    }
}

#[test]
fn the_old_vector_of_a_row_that_is_given_up_goes_from_its_column() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&create(COLUMN, "ai.chunking_none()"));
        stage.once(shell);
        stage.stub.refuse_inputs_with("poison");
        stage.run(
            "update t set body = 'poison' where id = 3; update t set body = 'new' where id = 4",
        );
        stage.once(shell);
        assert_failed(&mut stage, 3, "NaN or Inf");
        let left = "select count(*) from t where vector is null and id = 3";
        assert_eq!(stage.number(left), 1);
        assert_eq!(stage.number("select count(vector) from t"), 4);

        // It is back as soon as its text can be embedded.
        stage.run("update t set body = 'good' where id = 3");
        stage.once(shell);
        assert_eq!(stage.number("select count(vector) from t"), 5);
        assert!(failed(&mut stage).is_empty());
    }
}

#[test]
fn a_row_whose_vector_cannot_be_cleared_fails_all_the_same_and_says_so() {
    let mut stage = Stage::new();
    stage.run(&create(COLUMN, "ai.chunking_none()"));
    stage.once("worker");
    stage.run("alter table t alter column vector set not null");
    stage.stub.refuse_inputs_with("poison");
    stage.run("update t set body = 'poison' where id in (3, 4)");
    stage.run("update t set body = 'new' where id = 5");
    stage.once("worker");
    let failed = failed(&mut stage);
    assert_eq!(failed.len(), 2, "{failed:?}");
    for (_, reason) in failed {
        assert!(reason.contains("its old vector stays"), "{reason}");
    }
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
}

/// A database of another encoding than UTF-8.
struct Foreign {
    database: Database,
    sql: Client,
    stub: Stub,
}

impl Foreign {
    /// The table `t` with the text key `k`, and three rows with good keys.
    fn new(encoding: &str) -> Self {
        let clauses = format!("encoding '{encoding}' lc_collate 'C' lc_ctype 'C'");
        let database = Server::shared().database_with(&clauses);
        database.install();
        let mut sql = database.client();
        sql.batch_execute(&format!(
            "create table t (k text, n int, body text, primary key (k, n));
             insert into t values ('a', 1, 'one'), ('b', 1, 'two'), ('c', 1, 'three');
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body', retries => 0),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => ai.destination_table(target_table => 's'))"
        ))
        .unwrap();
        let stub = Stub::start_with(DIMENSIONS);
        Self {
            database,
            sql,
            stub,
        }
    }

    /// A value of these bytes in the database's own encoding.
    fn bytes(encoding: &str, hex: &str) -> String {
        format!("convert_from('\\x{hex}', '{encoding}')")
    }

    fn worker(&self, shell: &str, arguments: &[&str]) -> Process {
        let url = self.stub.url();
        Process::worker(
            shell,
            arguments,
            &[("DB_URL", self.database.url()), ("OLLAMA_HOST", &url)],
        )
    }

    fn number(&mut self, sql: &str) -> i64 {
        self.sql.query_one(sql, &[]).unwrap().get(0)
    }
}

/// Bytes that are a text there, and no text in UTF-8 or another one on the way back.
const UNREADABLE: [(&str, &str); 3] = [
    // No UTF-8 at all.
    ("SQL_ASCII", "e4"),
    // A place of JIS X 0212 that is not taken.
    ("EUC_JP", "8fa1a1"),
    // Half a character of UTF-8.
    ("SQL_ASCII", "61e282"),
];

#[test]
fn a_row_whose_key_utf_8_lacks_fails_alone() {
    for (encoding, hex) in UNREADABLE {
        for shell in SHELLS {
            let mut foreign = Foreign::new(encoding);
            let key = Foreign::bytes(encoding, hex);
            foreign
                .sql
                .batch_execute(&format!(
                    "insert into t values ({key}, 1, 'never'); insert into t values ('z', 1, 'last');
                     delete from t where k = 'a'"
                ))
                .unwrap();
            let mut worker = foreign.worker(shell, &["--once"]);
            assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{encoding} {hex}");
            worker.wait_for_line("row failed for good", PATIENCE);
            assert_eq!(foreign.number("select count(*) from s"), 3);
            assert_eq!(foreign.number("select count(*) from ai._vectorizer_q_1"), 0);
            let gone = format!("select count(*) from ai._vectorizer_q_failed_1 where k = {key}");
            assert_eq!(foreign.number(&gone), 1);
            let recorded = format!(
                "select count(*) from ai.vectorizer_errors where details #>> '{{key,0}}' = '\\x{hex}'"
            );
            assert_eq!(foreign.number(&recorded), 1);

            // An operator can see it, and say that it be tried again.
            let mut errors = foreign.worker(shell, &["errors"]);
            assert_eq!(errors.wait(PATIENCE).code(), Some(0));
            assert!(errors.lines().join("\n").contains(&format!("x{hex}")));
            let mut retry = foreign.worker(shell, &["retry", "v"]);
            assert_eq!(retry.wait(PATIENCE).code(), Some(0));
            assert_eq!(foreign.number("select count(*) from ai._vectorizer_q_1"), 1);
        }
    }
}

#[test]
fn a_row_whose_text_utf_8_lacks_fails_alone() {
    for (encoding, hex) in UNREADABLE {
        let mut foreign = Foreign::new(encoding);
        let text = Foreign::bytes(encoding, hex);
        foreign
            .sql
            .batch_execute(&format!("insert into t values ('x', 1, {text})"))
            .unwrap();
        let mut worker = foreign.worker("worker", &["--once"]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));
        assert_eq!(foreign.number("select count(*) from s"), 3);
        let failed = "select count(*) from ai._vectorizer_q_failed_1 where k = 'x' and failure_step = 'loading'";
        assert_eq!(foreign.number(failed), 1);
    }
}

#[test]
fn many_keys_that_utf_8_lacks_do_not_end_a_run_before_the_good_ones() {
    let mut foreign = Foreign::new("SQL_ASCII");
    foreign
        .sql
        .batch_execute(
            "truncate t; insert into t select convert_from('\\xe4', 'SQL_ASCII') || n, 1, 'x' from generate_series(1, 120) n;
             insert into t values ('good', 1, 'x')",
        )
        .unwrap();
    let mut worker = foreign.worker("worker", &["--once"]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    assert_eq!(foreign.number("select count(*) from s"), 1);
    assert_eq!(
        foreign.number("select count(*) from ai._vectorizer_q_failed_1"),
        120
    );
}

#[test]
fn a_definition_that_utf_8_lacks_stops_no_other_vectorizer() {
    let mut foreign = Foreign::new("SQL_ASCII");
    foreign
        .sql
        .batch_execute(&format!(
            "create table other (id int primary key, body text);
             insert into other values (1, 'x');
             do $$ begin execute format('alter table other add column %I int', convert_from('\\xe4', 'SQL_ASCII')); end $$;
             select ai.create_vectorizer('other', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), destination => ai.destination_column('v'),
               chunking => ai.chunking_none())"
        ))
        .unwrap();
    let worker = foreign.worker(
        "worker",
        &["--poll-interval", "1s", "--exit-on-error=false"],
    );
    worker.wait_for_line("vectorizer cannot run", PATIENCE);
    foreign
        .database
        .wait_until("(select count(*) = 3 from s)", PATIENCE);
    foreign.database.wait_until(
        "exists (select from ai.vectorizer_errors where details ->> 'error_reason' like '%characters that UTF-8 lacks%')",
        PATIENCE,
    );
}
