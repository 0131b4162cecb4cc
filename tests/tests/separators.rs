//! Separators that are regexes and never come to an end, beside other rows: they keep one thread of the
//! worker busy, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use tests::process::{Process, Signal};
use tests::stage::{PATIENCE, Stage};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];
/// Rows whose texts have the regex try some 2^30 ways.
const HOSTILE: i64 = 200;

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table hostile (id int primary key, body text);
         insert into hostile select i, repeat('a', 30) || i from generate_series(1, {HOSTILE}) i;
         create table friendly (id int primary key, body text);
         select ai.create_vectorizer('hostile', name => 'hostile',
           loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 8),
           chunking => ai.chunking_character_text_splitter(10, 0, '(a+)+$', true),
           destination => ai.destination_table('hostile_store'));
         select ai.create_vectorizer('friendly', name => 'friendly',
           loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 8),
           destination => ai.destination_table('friendly_store'))"
    ));
    stage
}

fn given_up(stage: &mut Stage) -> i64 {
    stage.number("select count(*) from ai._vectorizer_q_failed_1")
}

/// A worker that has begun with the hostile rows, whose leases are short.
fn busy_worker(stage: &Stage, shell: &str) -> Process {
    let worker = stage.worker(shell, &["--lease", "3"]);
    worker.wait_for_line("hostile", PATIENCE);
    stage.database.wait_until(
        "exists (select from ai._vectorizer_lease_1 where _until > now())",
        PATIENCE,
    );
    worker
}

/// The other vectorizer's row is embedded before a second hostile row has come to its end.
#[test]
fn another_vectorizer_does_not_wait_for_them() {
    for shell in SHELLS {
        let mut stage = stage();
        let worker = busy_worker(&stage, shell);
        let before = given_up(&mut stage);
        let began = std::time::Instant::now();
        stage.run("insert into friendly values (1, 'a word')");
        stage
            .database
            .wait_until("exists (select from friendly_store)", PATIENCE);
        let took = began.elapsed();
        let meanwhile = given_up(&mut stage) - before;
        assert!(meanwhile <= 2, "{shell}: {meanwhile} rows in {took:?}");
        drop(worker);
    }
}

#[test]
fn a_signal_ends_the_worker_all_the_same() {
    for shell in SHELLS {
        let stage = stage();
        let mut worker = busy_worker(&stage, shell);
        worker.signal(Signal::Term);
        // The default of --grace-period, and a moment.
        let status = worker.wait(Duration::from_secs(8 + 4));
        assert_eq!(status.code(), Some(0), "{shell}");
        // What it held is given back.
        stage.database.wait_until(
            "not exists (select from ai._vectorizer_lease_1 where _claim <> 0)",
            Duration::ZERO,
        );
    }
}

/// One row after the other comes to its end, and nobody else claims what waits meanwhile.
#[test]
fn the_lease_is_extended_meanwhile() {
    for shell in SHELLS {
        let mut stage = stage();
        let _worker = busy_worker(&stage, shell);
        let until = "select (extract(epoch from max(_until)) * 1000)::bigint from ai._vectorizer_lease_1 \
            where _claim <> 0";
        let first = stage.number(until);
        let extended = format!(
            "exists (select from ai._vectorizer_lease_1 where _claim <> 0
               and extract(epoch from _until) * 1000 > {first} + 1000)"
        );
        stage.database.wait_until(&extended, PATIENCE);
        assert_eq!(
            stage.number(
                "select count(distinct _claim) from ai._vectorizer_lease_1 where _claim <> 0"
            ),
            stage.number(
                "select count(distinct _claim) from ai._vectorizer_lease_1 where _until > now()"
            ),
            "{shell}: leases ran out"
        );
    }
}
