//! Options, exit codes, and the phrases that scripts look for.

use tests::postgres::Server;
use tests::process::Process;

use crate::stage::{PATIENCE, Stage};

/// Runs a worker to its end and returns its exit code and what it printed.
fn run(shell: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut worker = Process::worker(shell, arguments, environment);
    let code = worker.wait(PATIENCE).code();
    (code, worker.lines().join("\n"))
}

pub(crate) fn usage_errors_end_with_2(shell: &str) {
    for arguments in [
        &["--nonsense"][..],
        &["--poll-interval", "abc"],
        &["--concurrency", "0"],
        &["--log-level", "loud"],
    ] {
        let (code, said) = run(shell, arguments, &[]);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains("error:"), "{said}");
    }
    let (code, said) = run(shell, &["--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(said.contains("--poll-interval"), "{said}");
}

pub(crate) fn a_schema_that_is_not_installed_is_named(shell: &str) {
    let database = Server::shared().database();
    let (code, said) = run(shell, &["--once"], &[("DB_URL", database.url())]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("pgai is not installed in the database"),
        "{said}"
    );
    let mut patient = Process::worker(
        shell,
        &["--poll-interval", "60", "--db-url", database.url()],
        &[],
    );
    patient.wait_for_line("pgai is not installed in the database", PATIENCE);
    assert!(patient.is_running());
}

pub(crate) fn no_vectorizers_is_said(shell: &str) {
    let stage = Stage::new();
    stage
        .once(shell)
        .wait_for_line("no vectorizers found", PATIENCE);
}

pub(crate) fn unknown_vectorizers_are_said(shell: &str) {
    let stage = Stage::new();
    let mut worker = stage.worker(shell, &["--once", "--vectorizer-id", "0"]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    worker.wait_for_line("invalid vectorizers, wanted: [0], got: []", PATIENCE);
}

pub(crate) fn a_missing_key_is_named(shell: &str) {
    let mut stage = Stage::new();
    stage
        .run("create table blog (id int primary key, body text); insert into blog values (1, 'x')");
    stage.run(
        "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_openai('text-embedding-3-small', 8),
           destination => ai.destination_table(target_table => 'blog_store'))",
    );
    let mut worker = stage.worker(shell, &["--once"]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    let line = worker.wait_for_line("ApiKeyNotFoundError", PATIENCE);
    assert!(line.contains("OPENAI_API_KEY"), "{line}");
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 1);
}

pub(crate) fn progress_is_tracked(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 70) n");
    stage.once(shell);
    assert_eq!(
        stage.number("select success_count::bigint from ai.vectorizer_worker_process"),
        70
    );
    assert_eq!(
        stage.number("select success_count::bigint from ai.vectorizer_worker_progress"),
        70
    );
    assert_eq!(
        stage.number("select error_count::bigint from ai.vectorizer_worker_process"),
        0
    );
    let version: String = stage
        .sql
        .query_one("select version from ai.vectorizer_worker_process", &[])
        .unwrap()
        .get(0);
    assert!(version.starts_with(shell), "{version}");
}

pub(crate) fn install_puts_the_schema_in_and_runs_again(shell: &str) {
    let database = Server::shared().database();
    for round in 1..=2 {
        let (code, said) = run(shell, &["install", "--db-url", database.url()], &[]);
        assert_eq!(code, Some(0), "round {round}: {said}");
        assert!(said.contains("installed"), "{said}");
        assert!(
            !said.contains("already exists"),
            "a second run is no cause for alarm: {said}"
        );
    }
    let (code, said) = run(shell, &["--once"], &[("DB_URL", database.url())]);
    assert_eq!(code, Some(0), "{said}");

    // A role without rights changes nothing, and the message is PostgreSQL's.
    let nobody = Server::shared().database();
    nobody.client().batch_execute("create extension vector; drop role if exists nobody_at_all; create role nobody_at_all login").unwrap();
    let url = nobody.url().replace("postgres@", "nobody_at_all@");
    assert_ne!(url, nobody.url());
    let (code, said) = run(shell, &["install", "--db-url", &url], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("permission denied"), "{said}");
    let schemas = "select count(*) from pg_namespace where nspname = 'ai'";
    let count: i64 = nobody.client().query_one(schemas, &[]).unwrap().get(0);
    assert_eq!(count, 0);
    nobody
        .client()
        .batch_execute("drop role nobody_at_all")
        .unwrap();
}
