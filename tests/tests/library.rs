//! Both workers as parts of another program.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::process::Command;
use std::time::Duration;

use tests::process::{Process, Signal};
use tests::site::Site;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

/// A vectorizer whose provider is named in its configuration: this process has no variables of its own.
fn blog() -> Stage {
    let mut stage = Stage::new();
    let url = stage.stub.url();
    stage.run(&format!(
        "create table blog (id int primary key, body text);
         insert into blog select n, 'body ' || n from generate_series(1, 3) n;
         select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}, base_url => '{url}'),
           destination => ai.destination_table(target_table => 'blog_store'))"
    ));
    stage
}

/// Does something in a runtime of its own.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(work)
}

#[test]
fn the_async_worker_runs_beside_other_tasks_and_stops_when_asked() {
    let mut stage = blog();
    let url = stage.worker_url.clone();
    block_on(async {
        let settings = shell_tokio::settings("library-test").unwrap();
        let (worker, mut events) = shell_tokio::Worker::start(&url, settings).unwrap();
        let mut messages = vec![];
        while let Some(event) = events.recv().await {
            let message = event.message();
            let is_done = message.starts_with("finished processing");
            messages.push(message);
            if is_done {
                break;
            }
        }
        assert_eq!(messages[0], "worker started");
        let snapshot = worker.asker().snapshot().await.unwrap();
        assert!(snapshot.is_ready, "{snapshot:?}");
        assert_eq!(snapshot.vectorizers[0].counts.rows, 3);
        let asker = worker.asker();
        assert_eq!(worker.stop().await.rows, 3);
        assert_eq!(asker.snapshot().await, None, "it has ended");
        while let Some(event) = events.recv().await {
            messages.push(event.message());
        }
        assert_eq!(messages.last().unwrap(), "worker stopped");
    });
    assert_eq!(stage.number("select count(*) from blog_store"), 3);
}

#[test]
fn the_blocking_worker_runs_beside_other_threads_and_stops_when_asked() {
    let mut stage = blog();
    let settings = shell_blocking::settings("library-test").unwrap();
    let (worker, events) = shell_blocking::Worker::start(&stage.worker_url, settings).unwrap();
    stage.wait_until_done();
    let snapshot = worker.snapshot().unwrap();
    assert_eq!(snapshot.vectorizers[0].counts.rows, 3);
    assert_eq!(worker.stop().rows, 3);
    let messages: Vec<String> = events.iter().map(|event| event.message()).collect();
    assert_eq!(messages.first().unwrap(), "worker started");
    assert_eq!(messages.last().unwrap(), "worker stopped");
    assert_eq!(stage.number("select count(*) from blog_store"), 3);
}

#[test]
fn a_worker_that_is_dropped_ends_and_one_that_runs_once_ends_by_itself() {
    let mut stage = blog();
    let mut settings = shell_blocking::settings("library-test").unwrap();
    settings.once = true;
    let (worker, _) = shell_blocking::Worker::start(&stage.worker_url, settings).unwrap();
    // Nobody reads its events, and it works all the same.
    assert_eq!(worker.finish().rows, 3);
    let settings = shell_blocking::settings("library-test").unwrap();
    let (worker, events) = shell_blocking::Worker::start(&stage.worker_url, settings).unwrap();
    drop(worker);
    let last = std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok()).last();
    assert_eq!(last.unwrap().message(), "worker stopped");
    stage.run("update blog set body = 'new' where id = 1");
    let url = stage.worker_url.clone();
    block_on(async {
        let mut settings = shell_tokio::settings("library-test").unwrap();
        settings.once = true;
        let (worker, _) = shell_tokio::Worker::start(&url, settings).unwrap();
        assert_eq!(worker.finish().await.rows, 1);
    });
}

#[test]
fn a_wrong_url_or_setting_is_refused_at_once() {
    let settings = || shell_blocking::settings("library-test").unwrap();
    assert!(shell_blocking::Worker::start("http://localhost/", settings()).is_err());
    let mut wrong = settings();
    wrong.lease = Duration::ZERO;
    let refused = shell_blocking::Worker::start("postgres://localhost/app", wrong);
    assert!(refused.unwrap_err().to_string().contains("lease"));
}

#[test]
fn the_example_is_an_application_with_a_worker_in_it() {
    let mut stage = blog();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "worker", "--example", "axum"])
        .status();
    assert!(built.unwrap().success());
    let directory = std::env::current_exe().unwrap();
    let directory = directory.parent().and_then(|deps| deps.parent()).unwrap();
    let variables = [("DATABASE_URL", stage.worker_url.as_str())];
    let program = directory.join("examples/axum");
    let mut application = Process::spawn(program, &["127.0.0.1:0"], &variables);
    let site = Site::of(&application);
    assert_eq!(site.get(""), (200, "the application".to_owned()));
    stage.wait_until_done();
    let health = site.json("health");
    assert_eq!(health["vectorizers"][0]["rows"], 3);
    application.signal(Signal::Int);
    assert_eq!(application.wait(PATIENCE).code(), Some(0));
    application.wait_for_line("3 rows are in sync", PATIENCE);
    assert_eq!(stage.number("select count(*) from blog_store"), 3);
}
