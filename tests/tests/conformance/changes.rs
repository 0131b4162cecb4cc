//! Rows change while a worker runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::stage::{PATIENCE, Stage, paragraph};

pub(crate) fn a_changed_paragraph_sends_only_what_changed(shell: &str) {
    let mut stage = Stage::with_blog();
    let paragraphs: Vec<_> = (0..20)
        .map(|n| paragraph(&format!("paragraph {n}")))
        .collect();
    stage.run(&format!(
        "insert into blog values (1, 'T', '{}')",
        paragraphs.join("\n\n")
    ));
    stage.once(shell);
    assert_eq!(stage.stub.inputs().len(), 20);
    stage.stub.take_requests();
    stage.run("update blog set body = replace(body, 'paragraph 7.', 'paragraph seven.')");
    stage.once(shell);
    stage.assert_true();
    let sent: Vec<_> = stage
        .stub
        .requests()
        .into_iter()
        .flat_map(|request| request.inputs)
        .collect();
    assert_eq!(
        sent,
        [format!(
            "T: {}",
            paragraph("paragraph 7").replace("7.", "seven.")
        )]
    );
}

pub(crate) fn a_column_that_is_not_embedded_queues_nothing_and_sends_nothing(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 50) n");
    stage.once(shell);
    let sent = stage.stub.requests().len();
    stage.run("update blog set views = views + 1");
    assert_eq!(
        stage.number("select ai.vectorizer_queue_pending('blog', true)"),
        0
    );
    stage.once(shell);
    assert_eq!(stage.stub.requests().len(), sent);
    // A column that the template names does count.
    stage.run("update blog set title = 'new' where id = 1");
    assert_eq!(
        stage.number("select ai.vectorizer_queue_pending('blog', true)"),
        1
    );
    stage.once(shell);
    stage.assert_true();
}

pub(crate) fn a_new_vectorizer_is_picked_up_without_a_restart(shell: &str) {
    let mut stage = Stage::new();
    let worker = stage.worker(shell, &["--poll-interval", "60"]);
    worker.wait_for_line("no vectorizers found", PATIENCE);
    stage.run("create table blog (id int primary key, title text, body text)");
    stage.run("insert into blog values (1, 't', 'text')");
    stage.run(
        "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), destination => ai.destination_table(target_table => 'blog_store'),
           formatting => ai.formatting_python_template('$title: $chunk'))",
    );
    stage
        .database
        .wait_until("(select count(*) = 1 from blog_store)", PATIENCE);
    stage.assert_true();
}

pub(crate) fn a_row_deleted_in_mid_batch_leaves_no_chunk(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 10) n");
    let hold = stage.stub.hold();
    let _worker = stage.worker(shell, &["--poll-interval", "1"]);
    stage.stub.wait_for_waiting(1, PATIENCE);
    // The application does not wait for the provider, which has not answered.
    stage.run(
        "set statement_timeout = '5s'; delete from blog where id <= 5; reset statement_timeout",
    );
    stage.run("update blog set body = 'changed' where id = 6");
    hold.release();
    stage.wait_until_done();
    stage.assert_true();
    assert_eq!(stage.number("select count(*) from blog_store"), 5);
}

pub(crate) fn an_idle_worker_is_woken_by_a_change(shell: &str) {
    let mut stage = Stage::with_blog();
    let worker = stage.worker(shell, &["--poll-interval", "600"]);
    worker.wait_for_line("finished processing vectorizer", PATIENCE);
    // Long enough for the worker to look at the queue rarely: only a notification helps.
    thread::sleep(Duration::from_secs(3));
    stage.run("insert into blog values (1, 't', 'text')");
    stage.database.wait_until(
        "(select count(*) = 1 from blog_store)",
        Duration::from_secs(2),
    );
    stage.assert_true();
}

pub(crate) fn truncate_empties_the_store(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 10) n");
    stage.once(shell);
    stage.run("insert into blog values (11, 't', 'c'); truncate blog");
    assert_eq!(stage.number("select count(*) from blog_store"), 0);
    assert_eq!(
        stage.number("select ai.vectorizer_queue_pending('blog', true)"),
        0
    );
    stage.run("insert into blog values (1, 't', 'again')");
    stage.once(shell);
    stage.assert_true();
}

/// One application in REPEATABLE READ and one in SERIALIZABLE write rows of their own while two
/// workers are busy. Without a vectorizer neither could fail, because no row is shared and only one
/// transaction at a time is serializable.
pub(crate) fn applications_in_strict_isolation_meet_no_failure(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 40) n");
    let _first = stage.worker(shell, &["--poll-interval", "1"]);
    let _second = stage.worker("worker", &["--poll-interval", "1"]);
    let stop = AtomicBool::new(false);
    let failures: Vec<String> = thread::scope(|scope| {
        let write = |level: &'static str, first: i32| {
            let mut client = stage.database.client();
            let stop = &stop;
            scope.spawn(move || {
                let mut failures = vec![];
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = first + round % 20;
                    let edit = match round % 5 {
                        0 => format!("delete from blog where id = {id}; insert into blog values ({id}, 't', 'again {round}')"),
                        1 => format!("delete from blog where id = {id}"),
                        2 => format!("insert into blog values ({id}, 't', 'in {round}') on conflict (id) do update set body = excluded.body"),
                        _ => format!("update blog set body = 'round {round}' where id = {id}"),
                    };
                    let done = client
                        .batch_execute(&format!("begin isolation level {level}; select 1 from blog where id = {id}; select pg_sleep(0.002); {edit}; commit"));
                    if let Err(error) = done {
                        failures.push(format!("{level}: {edit}: {error:?}"));
                        client.batch_execute("rollback").unwrap();
                    }
                }
                failures
            })
        };
        let writers = [write("repeatable read", 1), write("serializable", 21)];
        thread::sleep(Duration::from_secs(4));
        stop.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    assert_eq!(failures, Vec::<String>::new());
    stage.wait_until_done();
    stage.assert_true();
}
