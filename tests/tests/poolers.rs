//! Workers behind a real PgBouncer, in each of its modes: they embed, and another client finds nothing of
//! them in the sessions that it gets.
//!
//! PgBouncer is the system's: Debian's package `pgbouncer`. Without it these tests are skipped, unless `CI`
//! or `PGAI_TEST_POOLER` is set.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeSet;
use std::time::Duration;

use postgres::{Client, NoTls, SimpleQueryMessage};
use tests::pgbouncer::PgBouncer;
use tests::process::Process;
use tests::stage::{PATIENCE, Stage};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

fn is_possible() -> bool {
    let is_possible = PgBouncer::program().is_some();
    let is_wanted = ["CI", "PGAI_TEST_POOLER"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    assert!(
        is_possible || !is_wanted,
        "no pooler: apt-get install pgbouncer"
    );
    if !is_possible {
        eprintln!("SKIPPED: there is no /usr/sbin/pgbouncer");
    }
    is_possible
}

/// Everything of a session that a client may set, but for what PgBouncer itself hands from client to client,
/// as this client finds it.
fn settings(client: &mut Client) -> BTreeSet<String> {
    const SETTINGS: &str = "
        select name || ' = ' || setting from pg_settings
        where name not in ('application_name', 'client_encoding', 'transaction_isolation',
            'transaction_read_only', 'transaction_deferrable')
          and not starts_with(name, 'log_')
          -- These appear when a library is loaded.
          and name not like '%.%'
        union all select 'channel ' || c from pg_listening_channels() c
        union all select 'statement ' || name from pg_prepared_statements
        union all select 'cursor ' || name from pg_cursors where name <> ''
        union all select 'advisory lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
        union all select 'temporary table ' || relname from pg_class
          where relpersistence = 't' and relnamespace = pg_my_temp_schema()";
    let rows = client.simple_query(SETTINGS).unwrap();
    let mut found = BTreeSet::new();
    for message in rows {
        if let SimpleQueryMessage::Row(row) = message {
            found.extend(row.get(0).map(str::to_owned));
        }
    }
    found
}

/// The client finds what it found before.
#[track_caller]
fn assert_same(client: &mut Client, before: &BTreeSet<String>, when: &str) {
    let now = settings(client);
    let other: Vec<_> = now.symmetric_difference(before).collect();
    assert!(other.is_empty(), "{when}: {other:?}");
}

fn worker(stage: &Stage, shell: &str, url: &str, arguments: &[&str]) -> Process {
    let ollama = stage.stub.url();
    Process::worker(
        shell,
        arguments,
        &[("DB_URL", url), ("OLLAMA_HOST", &ollama)],
    )
}

/// The first statement of each kind is like the later ones: `--once` fails at the first that does not run.
#[track_caller]
fn assert_drains_once(stage: &mut Stage, shell: &str, url: &str) {
    stage.run("update blog set body = 'once ' || id");
    let mut once = worker(stage, shell, url, &["--once"]);
    let status = once.wait(PATIENCE);
    assert!(status.success(), "{shell}: {:#?}", once.lines());
    let lines = once.lines();
    let troubles = lines.iter().filter(|line| !line.contains("[info "));
    assert_eq!(troubles.count(), 0, "{shell}: {lines:#?}");
    stage.wait_until_done();
}

fn a_pool_of(mode: &str, more: &str) {
    if !is_possible() {
        return;
    }
    for shell in SHELLS {
        let mut stage = Stage::with_blog();
        let bouncer = PgBouncer::start(mode, stage.database.url(), more);
        // The same user: it shares the sessions of the workers.
        let url = bouncer.url(&stage.worker_url);
        let mut client = Client::connect(&url, NoTls).unwrap();
        let before = settings(&mut client);
        let mut running = worker(&stage, shell, &url, &["--poll-interval", "1"]);
        stage.run("insert into blog select n, 't', 'body ' || n from generate_series(1, 300) n");
        while stage.number("select count(*) from blog_store") < 300 {
            assert_same(
                &mut client,
                &before,
                &format!("{shell}, {mode}: while it works"),
            );
            assert!(
                running.is_running(),
                "{shell}, {mode}: {:?}",
                running.lines()
            );
        }
        stage.run("update blog set body = 'changed ' || id where id <= 10");
        stage.wait_until_done();
        let lines = running.lines();
        let troubles = lines.iter().filter(|line| !line.contains("[info "));
        assert_eq!(troubles.count(), 0, "{shell}, {mode}: {lines:#?}");
        for sql in ["select pg_sleep(0.3)", "select 1"] {
            client.simple_query(sql).unwrap();
            assert_same(
                &mut client,
                &before,
                &format!("{shell}, {mode}: when it is idle"),
            );
        }
        running.signal(tests::process::Signal::Term);
        assert_eq!(running.wait(PATIENCE).code(), Some(0), "{shell}, {mode}");
        assert_same(
            &mut client,
            &before,
            &format!("{shell}, {mode}: afterwards"),
        );
        assert_drains_once(&mut stage, shell, &url);
        for command in [&["status"][..], &["search", "blog", "body"], &["doctor"]] {
            let mut command = worker(&stage, shell, &url, command);
            assert_eq!(
                command.wait(PATIENCE).code(),
                Some(0),
                "{:?}",
                command.lines()
            );
        }
        let says = |url: &str| {
            let mut doctor = worker(&stage, shell, url, &["doctor", "--offline"]);
            doctor.wait(PATIENCE);
            let lines = doctor.lines();
            lines
                .iter()
                .any(|line| line.contains("leads through a pooler"))
        };
        assert!(says(&url) && !says(&stage.worker_url), "{shell}, {mode}");
        assert_same(
            &mut client,
            &before,
            &format!("{shell}, {mode}: after commands"),
        );
        stage.assert_true();
    }
}

#[test]
fn in_transaction_mode_nothing_stays_in_a_session() {
    a_pool_of("transaction", "");
}

/// Many operators tell PgBouncer to ignore the startup parameter.
#[test]
fn a_pooler_that_ignores_options_is_found_out() {
    a_pool_of(
        "transaction",
        "ignore_startup_parameters = options,extra_float_digits",
    );
}

#[test]
fn in_session_mode_it_works_as_well() {
    a_pool_of(
        "session",
        "server_reset_query =\nserver_check_query = select 1",
    );
}

#[test]
fn in_statement_mode_it_says_what_to_do() {
    if !is_possible() {
        return;
    }
    for shell in SHELLS {
        let stage = Stage::with_blog();
        let bouncer = PgBouncer::start("statement", stage.database.url(), "");
        let url = bouncer.url(&stage.worker_url);
        let mut client = Client::connect(&url, NoTls).unwrap();
        let before = settings(&mut client);
        let running = worker(&stage, shell, &url, &["--poll-interval", "1"]);
        running.wait_for_line("pool_mode = transaction or session", PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        assert_same(&mut client, &before, shell);
    }
}

#[test]
fn a_direct_connection_for_notifications_makes_up_for_the_pooler() {
    if !is_possible() {
        return;
    }
    for shell in SHELLS {
        let mut stage = Stage::with_blog();
        let bouncer = PgBouncer::start("transaction", stage.database.url(), "");
        let url = bouncer.url(&stage.worker_url);
        let mut client = Client::connect(&url, NoTls).unwrap();
        let before = settings(&mut client);
        // Nothing would be polled for within the time of this test.
        let mut arguments = vec!["--poll-interval", "1h", "--listen-url", &stage.worker_url];
        // It is a pooler whether the worker finds out or is told.
        arguments.extend((shell == SHELLS[0]).then_some("--pooler"));
        let running = worker(&stage, shell, &url, &arguments);
        running.wait_for_line("finished processing vectorizer", PATIENCE);
        for id in 1..4 {
            stage.run(&format!("insert into blog values ({id}, 't', 'body')"));
            stage.wait_until_done();
        }
        assert_same(&mut client, &before, shell);
        stage.assert_true();
    }
}
