//! `setup.sql` over a real database of Python pgai while applications read and then write, and workers run: no application
//! fails, every vectorizer is upgraded, every row gets in sync.

#![allow(clippy::print_stdout, reason = "a test tells what it tries")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tests::postgres::{Database, Server, client_program};
use tests::process::Process;
use tests::python;
use tests::stage::{PATIENCE, Stage};
use tests::stub::Stub;

const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/setup.sql");
const TABLES: i32 = 3;

/// A database as `pgai.install()` of 0.12.1 makes it, with vectorizers on three tables.
fn of_python_pgai() -> Database {
    let database = Server::shared().database();
    let mut client = database.client();
    client.batch_execute("create extension vector").unwrap();
    client
        .batch_execute(&python::pgai_sql("0.12.1").unwrap())
        .unwrap();
    for n in 1..=TABLES {
        client
            .batch_execute(&format!(
                "create table t{n} (id int primary key, body text not null, views int default 0);
                 insert into t{n} select i, 'first ' || i from generate_series(1, 200) i;
                 select ai.create_vectorizer('t{n}', name => 't{n}', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none());
                 insert into t{n}_embedding_store (id, chunk_seq, chunk, embedding)
                   select i, 0, 'old ' || i, '[1,2,3,4,5,6,7,8]' from generate_series(1, 50) i"
            ))
            .unwrap();
    }
    database
}

fn setup(database: &Database, options: &[&str]) -> Output {
    Command::new(client_program("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url()])
        .args(options)
        .args(["-f", SETUP])
        .output()
        .unwrap()
}

#[track_caller]
fn succeeds(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("WARNING"), "{said}");
}

fn number(database: &Database, sql: &str) -> i64 {
    let row = database.client().query_one(sql, &[]);
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// Applications that read one table, or what is stored for it, think a little, and write to another one.
struct Applications {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Applications {
    /// Each writes to rows of its own: they are never in each other's way.
    fn start(database: &Database, count: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|me| {
                let (mut client, stop) = (database.client(), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut transactions = 0;
                    let mut state = u64::from(me.unsigned_abs()) + 1;
                    while !stop.load(Ordering::Relaxed) {
                        let sql = transaction(me, &mut state);
                        let ran = client.batch_execute(&sql);
                        ran.unwrap_or_else(|error| panic!("application {me}: {sql}: {error:?}"));
                        transactions += 1;
                    }
                    transactions
                })
            })
            .collect();
        Self { stop, threads }
    }

    /// How many transactions there were. None has failed.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    }
}

fn transaction(me: i32, state: &mut u64) -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let mut pick = |below: i32| {
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i32::try_from((*state >> 33) % u64::from(below.unsigned_abs())).unwrap()
    };
    let (from, to) = (pick(TABLES) + 1, pick(TABLES) + 1);
    let id = me * 1000 + pick(60);
    let read = match pick(4) {
        0 => format!("select count(*) from t{from}_embedding_store"),
        1 => format!("select count(*) from t{from}_embedding"),
        2 => format!(
            "select count(*) from t{from}; select count(*) from t{}",
            from % TABLES + 1
        ),
        _ => format!("select count(*) from t{from}"),
    };
    let text = SERIAL.fetch_add(1, Ordering::Relaxed);
    let write = match pick(6) {
        0 => format!("delete from t{to} where id = {id}"),
        1 => format!("update t{to} set views = views + 1 where id = {id}"),
        _ => format!(
            "insert into t{to} values ({id}, 'text {text}') on conflict (id) do update set body = excluded.body"
        ),
    };
    let think = pick(12);
    format!("begin; {read}; select pg_sleep(0.00{think:02}); {write}; commit")
}

fn upgrades_under_load(options: &[&str], applications: i32, calm: Duration) {
    let database = of_python_pgai();
    let stub = Stub::start_with(8);
    let url = stub.url();
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", url.as_str())];
    let arguments = ["--poll-interval", "1", "--exit-on-error=false"];
    let load = Applications::start(&database, applications);
    thread::sleep(calm);
    succeeds(&setup(&database, options));
    let _workers =
        ["worker", "worker-blocking"].map(|name| Process::worker(name, &arguments, &environment));
    thread::sleep(calm);
    // The next version: everything is renewed, with the workers at it.
    let of_old = "update ai._vectorizer_build set version = 'an older one'";
    database.client().batch_execute(of_old).unwrap();
    succeeds(&setup(&database, options));
    thread::sleep(calm);
    let transactions = load.stop();
    assert!(transactions > 50, "only {transactions} transactions ran");
    println!("{options:?}: {transactions} transactions");

    let upgraded =
        "select count(*) from ai._vectorizer_build b where b.version = ai._vectorizer_version()
        and to_regclass('ai._vectorizer_lease_' || b.id) is not null";
    assert_eq!(number(&database, upgraded), i64::from(TABLES));
    assert_eq!(
        number(
            &database,
            "select count(*) from ai.vectorizer_errors where message = 'upgrade failed'"
        ),
        0
    );
    database.wait_until(
        "(select bool_and(ai.vectorizer_queue_pending(id, true) = 0) from ai.vectorizer)",
        PATIENCE,
    );
    for n in 1..=TABLES {
        let differ = format!(
            "select count(*) from t{n} full join t{n}_embedding_store s using (id) where body is distinct from chunk or chunk_seq <> 0"
        );
        assert_eq!(number(&database, &differ), 0, "t{n}");
    }
}

#[test]
fn statement_by_statement_under_load() {
    upgrades_under_load(&[], 4, Duration::from_secs(1));
}

#[test]
fn in_one_transaction_under_load() {
    upgrades_under_load(&["-1"], 4, Duration::from_secs(1));
}

#[test]
#[ignore = "takes minutes; run with --ignored"]
fn under_heavy_load() {
    for round in 0..6 {
        upgrades_under_load(
            if round % 2 == 0 { &[] } else { &["-1"] },
            12,
            Duration::from_secs(4),
        );
    }
}

/// One that somebody keeps locked for too long is left behind: that is an error, and the next run goes on with it.
#[test]
fn one_that_is_left_behind_is_an_error_and_the_next_run_finds_it() {
    for (options, others) in [(&[][..], 2), (&["-1"], 0)] {
        let database = of_python_pgai();
        let mut client = database.client();
        let mut holder = client.transaction().unwrap();
        holder
            .batch_execute("select from t2; update t2 set body = 'held' where id = 1")
            .unwrap();
        let output = Command::new(client_program("psql"))
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url()])
            .args(options)
            .args(["-f", SETUP])
            .env("PGOPTIONS", "-c ai.lock_timeout=2s")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("t2"), "{said}");
        let upgraded =
            "select count(*) from pg_class where relname ~ '^_vectorizer_lease_' and relkind = 'r'";
        assert_eq!(number(&database, upgraded), others, "{options:?}");
        holder.commit().unwrap();
        succeeds(&setup(&database, options));
        assert_eq!(number(&database, upgraded), i64::from(TABLES));
        let queued = "select count(*) from ai._vectorizer_q_2";
        assert_eq!(
            number(&database, queued),
            200,
            "what was pending is pending"
        );
    }
}

/// A vectorizer that cannot be upgraded for another reason is one, too, and named with the reason.
#[test]
fn one_that_cannot_be_upgraded_is_an_error_with_the_reason() {
    let database = of_python_pgai();
    let mut client = database.client();
    client
        .batch_execute("create view mine as select id from ai._vectorizer_q_3")
        .unwrap();
    let output = setup(&database, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("t3 (cannot drop table"), "{said}");
    let recorded = "select count(*) from ai.vectorizer_errors where name = 't3' and message = 'upgrade failed'";
    assert_eq!(number(&database, recorded), 1);
    // One whose table is gone is in nobody's way.
    client
        .batch_execute("drop view mine; drop table t1 cascade")
        .unwrap();
    succeeds(&setup(&database, &["-1"]));
}

/// What runs in old queues is not run with the rights of whoever upgrades them.
#[test]
fn nothing_on_an_old_queue_runs() {
    let database = of_python_pgai();
    let mut client = database.client();
    client
        .batch_execute(
            "create function boom() returns trigger language plpgsql as $$ begin raise exception 'boom'; end $$;
             create trigger boom before insert or update or delete on ai._vectorizer_q_1 for each row execute function boom()",
        )
        .unwrap();
    succeeds(&setup(&database, &["-1"]));
    client
        .batch_execute("insert into t1 values (1000, 'new'); delete from t1 where id = 1")
        .unwrap();
    assert_eq!(
        number(&database, "select count(*) from ai._vectorizer_q_1"),
        201
    );
}

/// An upgrade copies what is pending: in a transaction that does not see all of it, it refuses.
#[test]
fn an_upgrade_needs_a_snapshot_of_its_own() {
    for isolation in ["repeatable read", "serializable"] {
        let database = of_python_pgai();
        let set = format!(
            "-c default_transaction_isolation={}",
            isolation.replace(' ', "\\ ")
        );
        let run = |options: &[&str]| {
            Command::new(client_program("psql"))
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url()])
                .args(options)
                .args(["-f", SETUP])
                .env("PGOPTIONS", &set)
                .output()
                .unwrap()
        };
        let output = run(&["-1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("read committed"),
            "{said}"
        );
        let mut client = database.client();
        let mut writer = client.transaction().unwrap();
        writer
            .batch_execute("insert into t1 values (500, 'late')")
            .unwrap();
        let output = thread::scope(|scope| {
            let running = scope.spawn(|| run(&[]));
            database.wait_until(
                "exists (select from pg_locks where not granted and relation = 't1'::regclass)",
                PATIENCE,
            );
            writer.commit().unwrap();
            running.join().unwrap()
        });
        succeeds(&output);
        assert_eq!(
            number(
                &database,
                "select count(*) from ai._vectorizer_q_1 where id = 500"
            ),
            1
        );
    }
}

#[test]
fn every_name_of_a_python_worker_is_known() {
    let mut stage = Stage::with_blog();
    for name in [
        "pgai-worker[1]: 0123abcd",
        "pgai-worker-heartbeat: 0123abcd",
        "pgai-worker-heartbeat-force: 0123abcd",
        "pgai-worker-error-reporter: 0123abcd",
    ] {
        let mut worker = stage.database.client();
        worker
            .batch_execute(&format!("set application_name = '{name}'"))
            .unwrap();
        let output = setup(&stage.database, &["-1"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(name), "{said}");
        for command in [
            &["status"][..],
            &["status", "--json"],
            &["doctor", "--offline"],
        ] {
            let mut said = stage.worker("worker", command);
            said.wait_for_line(name, PATIENCE);
            said.wait(PATIENCE);
        }
        drop(worker);
        let gone =
            format!("not exists (select from pg_stat_activity where application_name = '{name}')");
        stage.database.wait_until(&gone, PATIENCE);
    }
    // Ours is none.
    let mut worker = stage.worker("worker", &[]);
    stage.database.wait_until(
        "exists (select from pg_stat_activity where application_name = 'pgai-worker-rs')",
        PATIENCE,
    );
    succeeds(&setup(&stage.database, &["-1"]));
    worker.signal(tests::process::Signal::Term);
    worker.wait(PATIENCE);
    stage.run("select 1");
}
