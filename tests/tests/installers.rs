//! `setup.sql` through everything that a user may run it with: the drivers of Python and psql.
//! Whatever runs it, the schema is the same, and there is all of it or nothing.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tests::postgres::{Database, Server, client_program};
use tests::python;

fn sql() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql"))
}

/// What the schema looks like when Rust's driver has installed it.
fn expected() -> &'static str {
    static EXPECTED: OnceLock<String> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let database = Server::shared().database();
        database.install();
        database.fingerprint()
    })
}

fn is_installed(database: &Database) -> bool {
    let question = "select to_regnamespace('ai') is not null";
    database.client().query_one(question, &[]).unwrap().get(0)
}

/// Begins every program: the arguments are the URL and the script's path.
const START: &str = "
import asyncio, sys
from pathlib import Path
from urllib.parse import urlsplit
url, path = sys.argv[1:]
script = Path(path).read_text(encoding='utf-8')
def engine_url(driver):
    return url.replace('postgres://', f'postgresql+{driver}://', 1)
";

/// Each runs the script in one call, and everything else as its documentation says.
const PROGRAMS: &[(&str, &str)] = &[
    (
        "psycopg, connection",
        "
import psycopg
with psycopg.connect(url) as connection:
    connection.execute(script)
",
    ),
    (
        "psycopg, cursor",
        "
import psycopg
with psycopg.connect(url) as connection, connection.cursor() as cursor:
    cursor.execute(script)
",
    ),
    (
        "psycopg, autocommit",
        "
import psycopg
with psycopg.connect(url, autocommit=True) as connection:
    connection.execute(script)
",
    ),
    (
        "psycopg, async",
        "
import psycopg
async def main():
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(script)
asyncio.run(main())
",
    ),
    (
        "psycopg2",
        "
import psycopg2
with psycopg2.connect(url) as connection:
    connection.cursor().execute(script)
",
    ),
    (
        "pg8000",
        "
import pg8000.dbapi
parts = urlsplit(url)
connection = pg8000.dbapi.connect(
    user=parts.username, password=parts.password, host=parts.hostname, port=parts.port,
    database=parts.path[1:])
connection.cursor().execute(script)
connection.commit()
",
    ),
    (
        "asyncpg",
        "
import asyncpg
async def main():
    connection = await asyncpg.connect(url)
    await connection.execute(script)
    await connection.close()
asyncio.run(main())
",
    ),
    (
        "SQLAlchemy, text, psycopg",
        "
from sqlalchemy import create_engine, text
with create_engine(engine_url('psycopg')).begin() as connection:
    connection.execute(text(script))
",
    ),
    (
        "SQLAlchemy, text, psycopg2",
        "
from sqlalchemy import create_engine, text
with create_engine(engine_url('psycopg2')).begin() as connection:
    connection.execute(text(script))
",
    ),
    (
        "SQLAlchemy, text, pg8000",
        "
from sqlalchemy import create_engine, text
with create_engine(engine_url('pg8000')).begin() as connection:
    connection.execute(text(script))
",
    ),
    (
        "SQLAlchemy, as it is, psycopg",
        "
from sqlalchemy import create_engine
with create_engine(engine_url('psycopg')).begin() as connection:
    connection.exec_driver_sql(script, execution_options={'no_parameters': True})
",
    ),
    (
        "SQLAlchemy, text, psycopg, async",
        "
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
async def main():
    engine = create_async_engine(engine_url('psycopg_async'))
    async with engine.begin() as connection:
        await connection.execute(text(script))
    await engine.dispose()
asyncio.run(main())
",
    ),
];

fn interpreter() -> PathBuf {
    python::with(python::DRIVERS).unwrap()
}

#[test]
fn every_driver_installs_the_same_schema_and_a_second_time() {
    let python = interpreter();
    let script = sql().join("setup.sql");
    for (name, program) in PROGRAMS {
        let database = Server::shared().database();
        let program = format!("{START}{program}");
        for round in 1..=2 {
            let arguments = ["-c", &program, database.url(), script.to_str().unwrap()];
            let ran = python::run(&python, &arguments);
            assert!(ran.is_ok(), "{name}, round {round}: {:#}", ran.unwrap_err());
            assert_eq!(database.fingerprint(), expected(), "{name}, round {round}");
        }
    }
}

#[test]
fn an_error_in_the_script_leaves_nothing_behind_whatever_the_driver() {
    let python = interpreter();
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("setup.sql");
    let setup = fs::read_to_string(sql().join("setup.sql")).unwrap();
    fs::write(&script, setup + ";\nselect 1 / 0;\n").unwrap();
    let database = Server::shared().database();
    for (name, program) in PROGRAMS {
        let program = format!("{START}{program}");
        let arguments = ["-c", &program, database.url(), script.to_str().unwrap()];
        let error = python::run(&python, &arguments).unwrap_err().to_string();
        assert!(error.contains("division by zero"), "{name}: {error}");
        assert!(!is_installed(&database), "{name}");
    }
}

/// Runs psql on a script; returns its exit code and what it said.
fn psql(database: &Database, options: &[&str], script: &Path) -> (Option<i32>, String) {
    let output = Command::new(client_program("psql"))
        .args([database.url(), "-X", "-q"])
        .args(options)
        .arg("-f")
        .arg(script)
        .env("PGCLIENTENCODING", "UTF8")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

const STOP: [&str; 2] = ["-v", "ON_ERROR_STOP=1"];

#[test]
fn psql_installs_it_with_and_without_a_transaction() {
    let setup = sql().join("setup.sql");
    for options in [&["-v", "ON_ERROR_STOP=1", "-1"][..], &STOP] {
        let database = Server::shared().database();
        for round in 1..=2 {
            let (code, said) = psql(&database, options, &setup);
            assert_eq!(code, Some(0), "{said}");
            assert!(!said.contains("WARNING"), "{said}");
            assert_eq!(database.fingerprint(), expected(), "round {round}");
        }
    }
}

#[test]
fn an_error_under_psql_with_a_transaction_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("setup.sql");
    let setup = fs::read_to_string(sql().join("setup.sql")).unwrap();
    fs::write(&script, setup + ";\nselect 1 / 0;\n").unwrap();
    let database = Server::shared().database();
    // psql calls it a success unless it is told otherwise: the manual tells it.
    for (options, expected) in [(&["-1"][..], 0), (&["-1", "-v", "ON_ERROR_STOP=1"], 3)] {
        let (code, said) = psql(&database, options, &script);
        assert_eq!(code, Some(expected), "{said}");
        assert!(said.contains("division by zero"), "{said}");
        assert!(!is_installed(&database));
    }
}

#[test]
fn a_run_that_was_cut_off_between_statements_is_mended_by_the_next() {
    let mut parts: Vec<_> = fs::read_dir(sql().join("parts"))
        .unwrap()
        .map(|part| part.unwrap().path())
        .collect();
    parts.sort();
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("some.sql");
    let mut some = String::new();
    // With all the parts but the last it is not marked as installed.
    for part in &parts[..parts.len() - 1] {
        some += &fs::read_to_string(part).unwrap();
        fs::write(&script, &some).unwrap();
        let database = Server::shared().database();
        let (code, said) = psql(&database, &STOP, &script);
        assert_eq!(code, Some(0), "{}: {said}", part.display());
        let (code, said) = psql(&database, &STOP, &sql().join("setup.sql"));
        assert_eq!(code, Some(0), "{}: {said}", part.display());
        assert_eq!(database.fingerprint(), expected(), "{}", part.display());
    }
}

#[test]
fn it_installs_in_a_database_of_another_encoding() {
    let database = Server::shared().database_with("encoding 'LATIN1' locale 'C'");
    let (code, said) = psql(&database, &STOP, &sql().join("setup.sql"));
    assert_eq!(code, Some(0), "{said}");
}

/// The SQL of the real Python package, as `pgai.install()` runs it.
#[test]
fn a_leftover_install_of_the_newest_pgai_does_nothing_over_an_older_one_that_was_upgraded() {
    let database = Server::shared().database();
    let mut client = database.client();
    client.batch_execute("create extension vector").unwrap();
    client
        .batch_execute(&python::pgai_sql("0.11.3").unwrap())
        .unwrap();
    database.install();
    let before = database.fingerprint();
    // pgai.install() takes this SQLSTATE for "already done".
    let error = client
        .batch_execute(&python::pgai_sql("0.12.1").unwrap())
        .unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42710", "{error:?}");
    assert_eq!(database.fingerprint(), before);
}
