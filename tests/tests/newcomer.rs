//! A newcomer's mistakes: each gives one message, and the message says what to do.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use tests::postgres::{Database, Server};
use tests::process::Process;
use tests::stub::{Behaviour, Stub};

const PATIENCE: Duration = Duration::from_secs(60);

const WORKERS: [&str; 2] = ["worker", "worker-blocking"];

/// Runs both workers into the same mistake, which must end them with `code`. Each says one thing
/// about it, and all of `wanted` is in that.
#[track_caller]
fn mistake(arguments: &[&str], environment: &[(&str, &str)], code: i32, wanted: &[&str]) {
    for worker in WORKERS {
        let mut process = Process::worker(worker, arguments, environment);
        let status = process.wait(PATIENCE);
        let lines = process.lines();
        let all = lines.join("\n");
        assert_eq!(status.code(), Some(code), "{worker}: {all}");
        let [message] = complaints(&lines).try_into().unwrap_or_else(|found| {
            panic!("{worker}: one message, not {found:#?}\n{all}");
        });
        for words in wanted {
            assert!(
                message.contains(words),
                "{worker}: no {words:?} in {message}"
            );
        }
        // The last line repeats why the exit code is what it is.
        for line in lines.iter().filter(|line| line.contains("worker stopped")) {
            assert!(line.contains("failure="), "{worker}: {line}");
        }
    }
}

/// What a worker complains about: all errors and warnings of its log but for the summary at the
/// end, and what it writes without a log.
fn complaints(lines: &[String]) -> Vec<String> {
    let complains = |line: &&String| {
        let logged = ["[error   ]", "[warning ]"]
            .iter()
            .any(|level| line.contains(level));
        (logged && !line.contains("worker stopped")) || line.starts_with("error:")
    };
    lines.iter().filter(complains).cloned().collect()
}

fn installed() -> Database {
    let database = Server::shared().database();
    database.install();
    database
}

/// With a table of two rows and a vectorizer that embeds it like this.
fn with_vectorizer(embedding: &str) -> Database {
    let database = installed();
    let create = format!(
        "create table blog (id int primary key, body text);
         insert into blog values (1, 'one'), (2, 'two');
         select ai.create_vectorizer('blog', loading => ai.loading_column('body'), embedding => {embedding})"
    );
    database.client().batch_execute(&create).unwrap();
    database
}

fn errors(database: &Database) -> i64 {
    let count = "select count(*) from ai.vectorizer_errors";
    database.client().query_one(count, &[]).unwrap().get(0)
}

/// Whether all rows still wait, none of them blamed.
fn rows_wait(database: &Database) -> bool {
    let question = "select ai.vectorizer_queue_pending(1, true) = 2
                    and not exists (select from ai._vectorizer_q_failed_1)";
    database.client().query_one(question, &[]).unwrap().get(0)
}

#[test]
fn a_url_that_is_none() {
    for arguments in [&["--once"][..], &["install"]] {
        mistake(
            arguments,
            &[("DB_URL", "localhost:5432/blog")],
            2,
            &[
                "the database URL is malformed",
                "postgres://user:password@host:5432/name",
            ],
        );
    }
}

#[test]
fn a_server_that_is_not_there() {
    // Nobody listens on the first port.
    let url = "postgres://postgres:secret@127.0.0.1:1/blog";
    for arguments in [&["--once"][..], &["install"]] {
        let wanted = [
            "unable to connect to database: 127.0.0.1:1: ",
            "refused",
            "check that the server runs",
            "--db-url or DB_URL",
        ];
        mistake(arguments, &[("DB_URL", url)], 1, &wanted);
    }
}

#[test]
fn a_database_that_is_not_there() {
    let database = Server::shared().database();
    let url = database.url().replace(database.name(), "no_such_database");
    for arguments in [&["--once"][..], &["install"]] {
        let wanted = [
            "unable to connect to database",
            "database \"no_such_database\" does not exist",
            "--db-url or DB_URL",
        ];
        mistake(arguments, &[("DB_URL", &url)], 1, &wanted);
    }
}

#[test]
fn a_server_without_pgvector() {
    let server = Server::start_with(18, &[("extension_control_path", "/nonexistent")]);
    let database = server.database();
    let wanted = [
        "the extension vector (pgvector) is not installed on this server",
        "postgresql-NN-pgvector",
        "pgvector/pgvector",
    ];
    mistake(&["install"], &[("DB_URL", database.url())], 1, &wanted);
}

#[test]
fn a_schema_that_is_not_installed() {
    let database = Server::shared().database();
    let wanted = [
        "pgai is not installed in the database",
        // By the name that it was started with.
        " install`",
        "sql/setup.sql",
    ];
    mistake(&["--once"], &[("DB_URL", database.url())], 1, &wanted);
}

/// A role without rights, and the URL by which it reaches a database.
struct Nobody {
    name: String,
}

impl Nobody {
    fn new(database: &Database) -> Self {
        let name = format!("nobody_{}", database.name());
        let create = format!("create role {name} login");
        database.client().batch_execute(&create).unwrap();
        Self { name }
    }

    fn url(&self, database: &Database) -> String {
        let (_, host) = database.url().rsplit_once('@').unwrap();
        format!("postgres://{}@{host}", self.name)
    }

    fn go(&self, database: &Database) {
        let drop = format!("drop owned by {0}; drop role {0}", self.name);
        database.client().batch_execute(&drop).unwrap();
    }
}

#[test]
fn a_role_that_may_not_install() {
    let database = Server::shared().database();
    let nobody = Nobody::new(&database);
    let url = nobody.url(&database);
    let grant = format!(
        "grant create on database {} to {}",
        database.name(),
        nobody.name
    );
    mistake(
        &["install"],
        &[("DB_URL", &url)],
        1,
        &["permission denied for database", &grant],
    );
    // Done as it says, the next thing it lacks is the extension, where that is not trusted.
    let mut client = database.client();
    client.batch_execute(&grant).unwrap();
    client.batch_execute("create extension vector").unwrap();
    let mut worker = Process::worker("worker", &["install"], &[("DB_URL", &url)]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    nobody.go(&database);
}

#[test]
fn a_role_that_may_not_run_the_worker() {
    let database = with_vectorizer("ai.embedding_ollama('stub', 3)");
    let nobody = Nobody::new(&database);
    let url = nobody.url(&database);
    let advice = "select ai.grant_worker_usage(";
    mistake(
        &["--once"],
        &[("DB_URL", &url)],
        1,
        &[
            "permission denied for schema ai",
            "the owner of the schema ai",
            advice,
        ],
    );

    // Where only one table is kept from it, the vectorizer is at fault, and the advice is the same.
    let mut client = database.client();
    let grant = format!(
        "select ai.grant_worker_usage('{0}'); revoke select on blog from {0}",
        nobody.name
    );
    client.batch_execute(&grant).unwrap();
    let stub = Stub::start_with(3);
    let environment = [("DB_URL", url.as_str()), ("OLLAMA_HOST", &stub.url())];
    mistake(
        &["--once"],
        &environment,
        1,
        &["permission denied for table blog", advice],
    );

    let grant = format!("select ai.grant_worker_usage('{}')", nobody.name);
    client.batch_execute(&grant).unwrap();
    let mut worker = Process::worker("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    nobody.go(&database);
}

#[test]
fn a_key_that_is_not_set() {
    let database = with_vectorizer("ai.embedding_openai('text-embedding-3-small', 3)");
    mistake(
        &["--once"],
        &[("DB_URL", database.url())],
        1,
        &[
            "ApiKeyNotFoundError",
            "set the environment variable OPENAI_API_KEY for the worker",
        ],
    );
    assert!(rows_wait(&database));
    // A newcomer's variable that exists, but is not one for vectorizers to use.
    let database = with_vectorizer(
        "ai.embedding_openai('text-embedding-3-small', 3, api_key_name => 'OPENAI_TOKEN')",
    );
    mistake(
        &["--once"],
        &[("DB_URL", database.url()), ("OPENAI_TOKEN", "x")],
        1,
        &["OPENAI_TOKEN", "--secret-names OPENAI_TOKEN"],
    );
}

#[test]
fn a_provider_that_does_not_run() {
    let database = with_vectorizer("ai.embedding_ollama('stub', 3)");
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", "127.0.0.1:1")];
    mistake(
        &["--once"],
        &environment,
        1,
        &[
            "ollama at http://127.0.0.1:1",
            "refused",
            "`ollama serve`",
            "OLLAMA_HOST",
        ],
    );
    assert_eq!(errors(&database), 2, "one of each worker");
    assert!(rows_wait(&database));

    let database = with_vectorizer(
        "ai.embedding_openai('m', 3, base_url => 'http://127.0.0.1:1/v1', api_key_name => null)",
    );
    mistake(
        &["--once"],
        &[("DB_URL", database.url())],
        1,
        &[
            "openai at http://127.0.0.1:1/v1",
            "refused",
            "check the base_url",
        ],
    );
}

#[test]
fn a_model_that_ollama_neither_has_nor_finds() {
    let database = with_vectorizer("ai.embedding_ollama('nomic-embed-txt', 3)");
    let stub = Stub::start_with(3);
    stub.remove_model("nomic-embed-txt");
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", &stub.url())];
    mistake(
        &["--once"],
        &environment,
        1,
        &[
            "nomic-embed-txt",
            "not found",
            "fetching it failed, too: pull model manifest: file does not exist",
            "check the model's name in the vectorizer's embedding",
            "ollama pull nomic-embed-txt",
        ],
    );
    assert_eq!(errors(&database), 2, "one of each worker");
    assert!(rows_wait(&database));
}

#[test]
fn a_model_that_an_openai_server_does_not_have() {
    let stub = Stub::start_with(3);
    stub.remove_model("text-embedding-9");
    let embedding = format!(
        "ai.embedding_openai('text-embedding-9', 3, base_url => '{}', api_key_name => null)",
        stub.openai_url()
    );
    let database = with_vectorizer(&embedding);
    mistake(
        &["--once"],
        &[("DB_URL", database.url())],
        1,
        &[
            "text-embedding-9",
            "check the model's name in the vectorizer's embedding",
        ],
    );
    assert!(rows_wait(&database));
}

#[test]
fn dimensions_that_are_not_the_models() {
    let database = with_vectorizer("ai.embedding_ollama('stub', 3)");
    let stub = Stub::start_with(3);
    stub.behave(|_| Behaviour::WrongDimensions(768));
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", &stub.url())];
    mistake(
        &["--once"],
        &environment,
        1,
        &[
            "768 dimensions and the vectorizer's 3",
            "create it with dimensions => 768",
        ],
    );
    assert!(rows_wait(&database));
}

#[test]
fn a_table_without_a_primary_key() {
    let database = installed();
    let mut client = database.client();
    client
        .batch_execute("create table notes (body text)")
        .unwrap();
    let create = "select ai.create_vectorizer('notes', loading => ai.loading_column('body'),
                    embedding => ai.embedding_ollama('stub', 3))";
    let error = client.batch_execute(create).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(
        error.message(),
        "source table must have a primary key constraint"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .contains("alter table public.notes add primary key")
    );
}
