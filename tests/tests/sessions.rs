//! The workers' sessions: what one of them meets in the database is its own trouble, and nobody else's.

#![allow(clippy::print_stdout, reason = "a test tells what it tries")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::{Duration, Instant};

use tests::postgres::Server;
use tests::process::Signal;
use tests::stage::{PATIENCE, Stage};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

fn create(table: &str) -> String {
    format!(
        "create table {table} (id int primary key, body text);
         select ai.create_vectorizer('{table}', name => '{table}', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
           destination => ai.destination_table('{table}_e'));"
    )
}

#[test]
fn what_an_idle_transaction_holds_keeps_nobody_else_waiting() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&(create("notes") + &create("pages")));
        stage.run("insert into notes values (1, 'claimed')");
        let hold = stage.stub.hold();
        let _worker = stage.worker(shell, &["--poll-interval", "1", "-c", "1"]);
        stage.stub.wait_for_waiting(1, PATIENCE);
        let mut application = stage.database.client();
        let mut idle = application.transaction().unwrap();
        idle.execute("update notes set body = 'held' where id = 1", &[])
            .unwrap();
        hold.release();
        stage.run("insert into notes values (2, 'free'); insert into pages values (1, 'free')");
        // The lease is 180 s: whoever waited for the row would wait for half of that.
        for table in ["notes", "pages"] {
            stage.database.wait_until(
                &format!("(select count(*) = 1 from {table}_e_store where chunk = 'free')"),
                PATIENCE,
            );
        }
        idle.commit().unwrap();
        stage.wait_until_done();
        let held = "select count(*) from notes_e_store where chunk = 'held'";
        assert_eq!(stage.number(held), 1, "{shell}");
    }
}

#[test]
fn a_table_that_an_idle_transaction_has_locked_keeps_no_other_vectorizer_waiting() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&(create("notes") + &create("pages")));
        stage.run("insert into notes select n, 'n' || n from generate_series(1, 200) n");
        let hold = stage.stub.hold();
        let _worker = stage.worker(shell, &["--poll-interval", "1"]);
        stage.stub.wait_for_waiting(1, PATIENCE);
        let mut application = stage.database.client();
        let mut idle = application.transaction().unwrap();
        idle.batch_execute("lock table notes_e_store").unwrap();
        hold.release();
        for id in 1..=5 {
            stage.run(&format!("insert into pages values ({id}, 'free')"));
            let done = format!("(select count(*) = {id} from pages_e_store)");
            stage.database.wait_until(&done, PATIENCE);
        }
        idle.rollback().unwrap();
        stage.wait_until_done();
        assert_eq!(
            stage.number("select count(*) from notes_e_store"),
            200,
            "{shell}"
        );
    }
}

/// Two vectorizers whose stores have a trigger that sleeps, and one without.
#[test]
fn a_trigger_that_sleeps_holds_only_its_own_vectorizer() {
    let mut stage = Stage::new();
    stage.run(&(create("notes") + &create("pages")));
    stage.run(
        "create function sleep() returns trigger language plpgsql as
           $$ begin perform pg_sleep(20); return new; end $$;
         create trigger sleep before insert on notes_e_store for each row execute function sleep();
         insert into notes select n, 'n' || n from generate_series(1, 1000) n",
    );
    let _worker = stage.worker("worker", &["--poll-interval", "1", "-c", "8"]);
    let sleeping = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event = 'PgSleep'";
    stage
        .database
        .wait_until(&format!("({sleeping}) = 2"), PATIENCE);
    let began = Instant::now();
    for id in 1..=20 {
        stage.run(&format!("insert into pages values ({id}, 'free')"));
        let done = format!("(select count(*) = {id} from pages_e_store)");
        stage.database.wait_until(&done, Duration::from_secs(10));
        assert!(
            stage.number(sleeping) <= 2,
            "more than two connections of one vectorizer"
        );
    }
    println!(
        "20 rows beside a trigger that sleeps: {:.1?}",
        began.elapsed()
    );
}

#[test]
fn once_ends_where_there_is_no_schema_whatever_it_shall_exit_with() {
    let database = Server::shared().database();
    for shell in SHELLS {
        for (exit_on_error, code) in [("false", 0), ("true", 1)] {
            let arguments = ["--once", &format!("--exit-on-error={exit_on_error}")];
            let mut worker =
                tests::process::Process::worker(shell, &arguments, &[("DB_URL", database.url())]);
            let status = worker.wait(PATIENCE);
            assert_eq!(status.code(), Some(code), "{shell}, {exit_on_error}");
            worker.wait_for_line("pgai is not installed in the database", PATIENCE);
        }
    }
}

/// A template shows a `timestamptz` as psycopg does, in the zone that the server, the database, the
/// role or the connection sets.
#[test]
fn both_workers_render_times_in_the_zone_that_psycopg_sees() {
    let python = tests::python::with(&["psycopg[binary]==3.3.9"]).unwrap();
    let tokyo = Server::start_with(18, &[("timezone", "Asia/Tokyo")]);
    let mut stage = Stage::on_server(&tokyo);
    let name = stage.database.name().to_owned();
    stage.run(
        "create table notes (id int primary key, at timestamptz, body text);
         select ai.create_vectorizer('notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
           formatting => ai.formatting_python_template('$at $chunk'),
           destination => ai.destination_table('notes_e'));
         insert into notes values (1, '2024-07-01 12:00:00.5+00', 'x')",
    );
    let plain = stage.worker_url.clone();
    let with_options = format!("{plain}?options=-c%20timezone%3DAmerica%2FNew_York");
    let levels = [
        (
            "server",
            "",
            &plain,
            "",
            "2024-07-01 21:00:00.500000+09:00 x",
        ),
        (
            "database",
            "alter database {} set timezone = 'Europe/Berlin'",
            &plain,
            "",
            "2024-07-01 14:00:00.500000+02:00 x",
        ),
        (
            "role",
            "alter role embedder in database {} set timezone = 'Asia/Kathmandu'",
            &plain,
            "",
            "2024-07-01 17:45:00.500000+05:45 x",
        ),
        (
            "connection",
            "",
            &with_options,
            "",
            "2024-07-01 08:00:00.500000-04:00 x",
        ),
        (
            "environment",
            "",
            &with_options,
            "UTC",
            "2024-07-01 12:00:00.500000+00:00 x",
        ),
    ];
    for (level, set, url, zone, wanted) in levels {
        stage.run(&set.replace("{}", &name));
        let show = "import os, psycopg\n\
            with psycopg.connect(os.environ['DB_URL']) as c:\n\
            \x20   print(c.execute('select at from notes').fetchone()[0], 'x')";
        let mut oracle = std::process::Command::new(&python);
        oracle.args(["-c", show]).env("DB_URL", url);
        if !zone.is_empty() {
            oracle.env("PGTZ", zone);
        }
        let output = oracle.output().unwrap();
        let seen = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(seen, wanted, "psycopg, {level}: {output:?}");
        for shell in SHELLS {
            stage.run("update notes set body = '' ; update notes set body = 'x'");
            let mut environment = vec![("DB_URL", url.as_str())];
            if !zone.is_empty() {
                environment.push(("PGTZ", zone));
            }
            let mut worker = stage.worker_with(shell, &["--once"], &environment);
            assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}, {level}");
            let row = stage.sql.query_one("select chunk from notes_e_store", &[]);
            assert_eq!(row.unwrap().get::<_, String>(0), wanted, "{shell}, {level}");
        }
    }
}

/// What is wrong with one vectorizer is one error of it, and the others run.
#[test]
fn one_vectorizers_trouble_is_its_own() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run("create schema closed");
        stage.run(&(create("pages") + &create("notes") + &create("odd")));
        stage.run(
            "create table closed.t (id int primary key, body text);
             select ai.create_vectorizer('closed.t', name => 'closed', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
               destination => ai.destination_table('closed_e'));
             revoke usage on schema closed from embedder;
             alter table ai.vectorizer disable trigger user;
             update ai.vectorizer set config = config
               || jsonb_build_object('more', (select string_agg(md5(n::text), '') from generate_series(1, 600000) n))
             where name = 'notes';
             update ai.vectorizer set config = '{\"version\": 1}' where name = 'odd';
             insert into pages values (1, 'x')",
        );
        let mut worker = stage.worker(shell, &["--poll-interval", "1", "--exit-on-error=false"]);
        stage
            .database
            .wait_until("(select count(*) = 1 from pages_e_store)", PATIENCE);
        for (name, reason) in [
            ("closed", "permission denied for schema closed"),
            ("notes", "larger than 1 MB"),
            ("odd", "cannot be read"),
        ] {
            let errors = format!(
                "(select count(*) = 1 from ai.vectorizer_errors where name = '{name}'
                   and details->>'error_reason' like '%{reason}%')"
            );
            stage.database.wait_until(&errors, PATIENCE);
        }
        assert!(worker.is_running());
        // Commands do what can be done, too.
        let status = tests::process::Process::worker(
            shell,
            &["doctor", "--offline"],
            &[("DB_URL", &stage.worker_url)],
        );
        status.wait_for_line("larger than 1 MB", PATIENCE);
    }
}
/// A worker that is frozen while the rows of a read are on their way holds no lock on the source.
#[test]
fn a_frozen_worker_keeps_no_migration_waiting() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&create("notes"));
        stage.run(
            "alter table notes alter column body set storage external;
             insert into notes
             select n, repeat(md5(n::text), 300000) from generate_series(1, 8) n",
        );
        let mut worker = stage.worker(shell, &["--poll-interval", "1"]);
        let mut longest = Duration::ZERO;
        for round in 0..12 {
            // At another moment of its work each time.
            std::thread::sleep(Duration::from_millis(37 * round));
            worker.signal(Signal::Stop);
            let began = Instant::now();
            stage.run(
                "set statement_timeout = '10s'; alter table notes add column more int;
                 alter table notes drop column more; reset statement_timeout",
            );
            longest = longest.max(began.elapsed());
            worker.signal(Signal::Cont);
        }
        println!("{shell}: the longest migration took {longest:.1?}");
    }
}
