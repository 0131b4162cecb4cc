//! Real Alembic migrations on a real PostgreSQL. The files are those that docs/moving-from-pgai.md
//! shows, word for word.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tests::postgres::{Database, Server, client_program};
use tests::process::Process;
use tests::python;
use tests::stub::{Stub, vector_of};

const MANUAL: &str = include_str!("../../docs/moving-from-pgai.md");

const DIMENSIONS: usize = 768;

/// What the application had before.
const BLOG: &str = "
from alembic import op

revision = '0001'
down_revision = None


def upgrade():
    op.execute('create table blog (id serial primary key, title varchar, body varchar)')
    op.execute('''insert into blog (title, body) values ('one', 'first: post'), ('two', 'other')''')


def downgrade():
    op.execute('drop table blog')
";

/// An application with Alembic, as `alembic init` makes it, and its database.
struct Project {
    database: Database,
    directory: TempDir,
    python: PathBuf,
}

impl Project {
    /// With the migrations of the manual. The schema's own is the block that is called `schema`.
    fn new(driver: &str, template: &str, schema: &str) -> Self {
        let project = Self {
            database: Server::shared().database(),
            directory: tempfile::tempdir().unwrap(),
            python: python::with(python::DRIVERS).unwrap(),
        };
        project.alembic(&["init", "-t", template, "migrations"]);
        let url = format!("postgresql+{driver}://");
        let url = project.database.url().replacen("postgres://", &url, 1);
        project.edit(
            "alembic.ini",
            "driver://user:pass@localhost/dbname",
            &url.replace('%', "%%"),
        );
        project.write("migrations/versions/0001_blog.py", BLOG);
        let block = python::block(MANUAL, schema).unwrap();
        project.write("migrations/versions/0002_vectors.py", &block);
        project.copy("migrations/versions/0003_blog_vectorizer.py");
        let setup = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/setup.sql");
        fs::copy(setup, project.path("migrations/versions/setup.sql")).unwrap();
        project
    }

    fn with_psycopg() -> Self {
        Self::new("psycopg", "generic", "migrations/versions/0002_vectors.py")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a file of the manual.
    fn copy(&self, name: &str) {
        self.write(name, &python::block(MANUAL, name).unwrap());
    }

    fn edit(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "{name} of Alembic is another one");
        fs::write(self.path(name), text.replace(old, new)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let output = Command::new(&self.python)
            .args(arguments)
            .current_dir(self.directory.path())
            .env("PYTHONPATH", self.directory.path())
            .env("TEST_DATABASE_URL", self.database.url())
            .output();
        output.unwrap()
    }

    /// Runs Alembic, which must succeed, and returns what it printed.
    #[track_caller]
    fn alembic(&self, arguments: &[&str]) -> String {
        let arguments = [&["-m", "alembic"], arguments].concat();
        let output = self.run(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn number(&self, sql: &str) -> i64 {
        let row = self.database.client().query_one(sql, &[]);
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// The version that the database is at, and whether it has the schema, the store, the blog.
    fn state(&self) -> (Option<String>, [bool; 3]) {
        let mut client = self.database.client();
        let version = client.query_opt("select version_num from alembic_version", &[]);
        let exists = client
            .query_one(
                "select to_regnamespace('ai') is not null, to_regclass('blog_embedding_store') is not null,
                   to_regclass('blog') is not null",
                &[],
            )
            .unwrap();
        (
            version.ok().flatten().map(|row| row.get(0)),
            [exists.get(0), exists.get(1), exists.get(2)],
        )
    }

    #[track_caller]
    fn assert_at(&self, version: &str, objects: [bool; 3]) {
        assert_eq!(self.state(), (Some(version.to_owned()), objects));
    }
}

/// Up to the vectorizer, down again in steps, and up again.
fn goes_up_and_down_and_up(project: &Project) {
    project.alembic(&["upgrade", "head"]);
    project.assert_at("0003", [true, true, true]);
    let queued = "select ai.vectorizer_queue_pending('blog')";
    assert_eq!(project.number(queued), 2);

    project.alembic(&["downgrade", "0002"]);
    project.assert_at("0002", [true, false, true]);
    assert_eq!(project.number("select count(*) from ai.vectorizer"), 0);

    project.alembic(&["downgrade", "0001"]);
    project.assert_at("0001", [false, false, true]);
    let triggers = "select count(*) from pg_trigger where not tgisinternal";
    assert_eq!(project.number(triggers), 0);
    assert_eq!(project.number("select count(*) from blog"), 2);

    project.alembic(&["upgrade", "head"]);
    project.assert_at("0003", [true, true, true]);
    assert_eq!(project.number(queued), 2);

    let expected = Server::shared().database();
    expected.install();
    assert_eq!(project.database.fingerprint(), expected.fingerprint());
}

#[test]
fn with_psycopg_it_goes_up_and_down_and_up() {
    goes_up_and_down_and_up(&Project::with_psycopg());
}

#[test]
fn with_psycopg2_it_goes_up_and_down_and_up() {
    goes_up_and_down_and_up(&Project::new(
        "psycopg2",
        "generic",
        "migrations/versions/0002_vectors.py",
    ));
}

#[test]
fn with_psycopgs_async_engine_it_goes_up_and_down_and_up() {
    goes_up_and_down_and_up(&Project::new(
        "psycopg_async",
        "async",
        "migrations/versions/0002_vectors.py",
    ));
}

#[test]
fn with_asyncpg_it_goes_up_and_down_and_up() {
    goes_up_and_down_and_up(&Project::new(
        "asyncpg",
        "async",
        "migrations/versions/0002_vectors.py, with asyncpg",
    ));
}

/// Dropping the schema without dropping the vectorizer first leaves a source that can be written.
#[test]
fn a_downgrade_of_the_schema_alone_leaves_source_and_store_in_order() {
    let project = Project::with_psycopg();
    project.alembic(&["upgrade", "head"]);
    let mut client = project.database.client();
    client
        .batch_execute(
            "drop schema ai cascade; insert into blog (title, body) values ('three', 'x'); truncate blog",
        )
        .unwrap();
    assert_eq!(
        project.number("select count(*) from blog_embedding_store"),
        0
    );
}

#[test]
fn an_error_later_in_the_migration_leaves_nothing_behind() {
    for (driver, template, schema) in [
        ("psycopg", "generic", "migrations/versions/0002_vectors.py"),
        (
            "asyncpg",
            "async",
            "migrations/versions/0002_vectors.py, with asyncpg",
        ),
    ] {
        let project = Project::new(driver, template, schema);
        // Each migration in a transaction of its own, which the schema is then the first in.
        project.edit(
            "migrations/env.py",
            "target_metadata=target_metadata",
            "target_metadata=target_metadata, transaction_per_migration=True",
        );
        project.edit(
            "migrations/versions/0002_vectors.py",
            "\n\ndef downgrade",
            "\n    op.execute(\"select 1 / 0\")\n\n\ndef downgrade",
        );
        let output = project.run(&["-m", "alembic", "upgrade", "head"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("division by zero"), "{driver}: {said}");
        project.assert_at("0001", [false, false, true]);
    }
}

#[test]
fn alembic_can_write_it_as_a_script_for_psql() {
    let project = Project::with_psycopg();
    let script = project.alembic(&["upgrade", "head", "--sql"]);
    project.write("all.sql", &script);
    let output = Command::new(client_program("psql"))
        .args([
            project.database.url(),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-f",
        ])
        .arg(project.path("all.sql"))
        .env("PGCLIENTENCODING", "UTF8")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    project.assert_at("0003", [true, true, true]);
    let expected = Server::shared().database();
    expected.install();
    assert_eq!(project.database.fingerprint(), expected.fingerprint());
}

#[test]
fn the_models_of_the_manual_find_what_a_worker_wrote_and_autogenerate_leaves_it_alone() {
    let project = Project::with_psycopg();
    project.copy("models.py");
    project.copy("search.py");
    project.alembic(&["upgrade", "head"]);
    let stub = Stub::start_with(DIMENSIONS);
    let environment = [
        ("DB_URL", project.database.url()),
        ("OLLAMA_HOST", &stub.url()),
    ];
    let mut worker = Process::worker("worker", &["--once"], &environment);
    assert_eq!(worker.wait(Duration::from_secs(60)).code(), Some(0));

    let url = project
        .database
        .url()
        .replacen("postgres://", "postgresql+psycopg://", 1);
    let question = json!(vector_of("two: other", DIMENSIONS)).to_string();
    let search = project.path("search.py");
    let found = project.run(&[search.to_str().unwrap(), &url, &question]);
    let said = String::from_utf8_lossy(&found.stderr);
    assert_eq!(
        String::from_utf8_lossy(&found.stdout).trim_end(),
        "two | two: other | 1",
        "{said}"
    );

    let env = python::block(MANUAL, "migrations/env.py").unwrap();
    project.edit("migrations/env.py", "target_metadata = None", &env);
    project.edit(
        "migrations/env.py",
        "target_metadata=target_metadata",
        "target_metadata=target_metadata, include_object=include_object",
    );
    let said = project.alembic(&["check"]);
    assert!(said.contains("No new upgrade operations"), "{said}");
}

#[test]
fn the_fixture_of_the_manual_installs_what_a_test_needs() {
    let project = Project::with_psycopg();
    project.copy("tests/database.py");
    project.copy("tests/conftest.py");
    project.write(
        "tests/test_blog.py",
        "
def test_a_vectorizer_can_be_made(connection):
    connection.execute('create table t (id int primary key, body text)')
    made = connection.execute('''select ai.create_vectorizer('t', loading => ai.loading_column('body'),
        embedding => ai.embedding_ollama('m', 3))''')
    assert made.fetchone() == (1,)

def test_it_can_be_used_again(connection):
    assert connection.execute('select count(*) from ai.vectorizer').fetchone() == (0,)
",
    );
    let output = project.run(&["-m", "pytest", "-q", "tests"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("2 passed"), "{said}");
}

#[test]
fn the_sql_of_the_manual_does_what_it_says() {
    let project = Project::with_psycopg();
    project.alembic(&["upgrade", "head"]);
    let mut client = project.database.client();
    let block = |name: &str| python::block(MANUAL, name).unwrap();
    client
        .batch_execute(
            "truncate ai._vectorizer_q_1;
             insert into ai._vectorizer_q_failed_1 (id, failure_step) values (2, 'loading')",
        )
        .unwrap();
    // Roles are the server's: this one goes with the transaction.
    let mut transaction = client.transaction().unwrap();
    transaction.batch_execute(&block("rights.sql")).unwrap();
    transaction.rollback().unwrap();
    client.batch_execute(&block("retry.sql")).unwrap();

    let stub = Stub::start_with(DIMENSIONS);
    let environment = [
        ("DB_URL", project.database.url()),
        ("OLLAMA_HOST", &stub.url()),
    ];
    let mut worker = Process::worker("worker", &["--once"], &environment);
    assert_eq!(worker.wait(Duration::from_secs(60)).code(), Some(0));
    assert_eq!(stub.inputs(), ["two: other"]);
    let failed = "select count(*) from ai._vectorizer_q_failed_1";
    assert_eq!(project.number(failed), 0);

    client.batch_execute(&block("back.sql")).unwrap();
    project.assert_at("0003", [false, false, true]);
    client.batch_execute("truncate blog").unwrap();
}

/// The manual's files are all used above: one that nobody runs would rot.
#[test]
fn every_file_of_the_manual_is_run_here() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migration.rs");
    let sources = fs::read_to_string(sources).unwrap();
    let mut files = 0;
    for (language, block) in python::blocks(MANUAL) {
        let first = block.lines().next().unwrap_or_default();
        let name = match language {
            "python" => first.strip_prefix("# ").unwrap(),
            "sql" => first.strip_prefix("-- ").unwrap(),
            "sh" | "yaml" => continue,
            other => panic!("who runs {other}? {first}"),
        };
        assert!(sources.contains(&format!("\"{name}\"")), "{name}");
        files += 1;
    }
    assert!(files >= 11, "{files}");
}
