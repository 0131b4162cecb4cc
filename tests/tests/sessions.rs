//! The workers' sessions: what one of them meets in the database is its own trouble, and nobody else's.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::{Duration, Instant};

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
    let database = tests::postgres::Server::shared().database();
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
