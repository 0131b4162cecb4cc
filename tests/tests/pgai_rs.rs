//! Databases of pgai-rs are upgraded in place: by psql in either way, and where an extension made them.

#![allow(clippy::print_stdout, reason = "a test tells what it tries")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tests::postgres::{Database, Server, client_program};
use tests::process::Process;
use tests::stage::PATIENCE;
use tests::stub::Stub;

const FIXTURE: &str = include_str!("pgai_rs.sql");
const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/setup.sql");

fn text(database: &Database, sql: &str) -> String {
    let row = database.client().query_one(sql, &[]);
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

fn setup(database: &Database, options: &[&str]) {
    let output = Command::new(client_program("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url()])
        .args(options)
        .args(["-f", SETUP])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?}: {said}");
}

/// What must be the same before and after, but for the folded queue.
const KEPT: &str = "select concat_ws(' ',
    (select string_agg(format('%s %s %s', id, coalesce(name, '?'), config), ', ' order by id) from ai.vectorizer),
    (select string_agg(format('%s', s), ', ' order by id) from app.notes_embedding_store s),
    (select string_agg(distinct id::text, ', ') from ai._vectorizer_q_1),
    (select string_agg(distinct id::text, ', ') from ai._vectorizer_q_2),
    (select string_agg(format('%s %s', id, failure_step), ', ') from ai._vectorizer_q_failed_1),
    pg_get_viewdef('app.notes_embedding'::regclass),
    (select string_agg(message, ', ') from ai.vectorizer_errors))";

fn works_on(database: &Database) {
    let stub = Stub::start_with(8);
    let url = stub.url();
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", url.as_str())];
    let mut worker = Process::worker("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    let sentences =
        "select string_agg(chunk, ', ' order by chunk_seq) from app.papers_embedding_store";
    assert_eq!(text(database, sentences), "t: One sentence. Another one.");
    // The row that was stored before is not embedded again.
    let chunks = "select string_agg(chunk, ', ' order by id) from app.notes_embedding_store";
    assert_eq!(
        text(database, chunks),
        "t: body 1, t: changed, t: body 3, t: body 4"
    );
    let kept = "select embedding::text from app.notes_embedding_store where id = 1";
    assert_eq!(text(database, kept), "[1,2,3,4,5,6,7,8]");
    assert_eq!(
        text(database, "select count(*)::text from ai._vectorizer_q_1"),
        "0"
    );
    assert_eq!(
        text(database, "select count(*)::text from ai._vectorizer_q_2"),
        "0"
    );

    database
        .client()
        .batch_execute(
            "delete from app.notes where id = 1; update app.notes set title = 'new' where id = 3;
             insert into app.notes values (6, 't', 'body 6')",
        )
        .unwrap();
    let mut worker = Process::worker("worker", &["--once", "-i", "1"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    assert_eq!(
        text(database, chunks),
        "t: changed, new: body 3, t: body 4, t: body 6"
    );
    let mut client = database.client();
    client
        .batch_execute(
            "select ai.create_vectorizer('app.notes', name => 'new', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', 8), destination => ai.destination_table('more'));
             select ai.drop_vectorizer(2, drop_all => true), ai.drop_vectorizer(1)",
        )
        .unwrap();
    assert_eq!(text(database, "select ai.my_helper()::text"), "7");
}

#[test]
fn a_database_of_pgai_rs_is_upgraded_in_place() {
    for options in [&["-1"][..], &[]] {
        println!("{options:?}");
        let database = Server::shared().database();
        database.client().batch_execute(FIXTURE).unwrap();
        let before = text(&database, KEPT).replace("2 ? ", "2 vectorizer_2 ");
        setup(&database, options);
        assert_eq!(text(&database, KEPT), before);
        setup(&database, options);
        assert_eq!(text(&database, KEPT), before);
        works_on(&database);
    }
}

/// As any other database with vectorizers on the same tables.
#[test]
fn its_schema_is_then_that_of_a_new_one() {
    let database = Server::shared().database();
    database.client().batch_execute(FIXTURE).unwrap();
    setup(&database, &[]);
    let expected = Server::shared().database();
    expected.install();
    let functions = "select string_agg(p.oid::regprocedure::text, ', ' order by 1) from (
        select oid from pg_proc where pronamespace = 'ai'::regnamespace
        and proname !~ '^_vectorizer_src_trg|^my_helper' order by oid::regprocedure::text) p";
    assert_eq!(text(&database, functions), text(&expected, functions));
    let types = "select string_agg(format('%s %s %s', attname, atttypid::regtype, attnotnull), ', ' order by attname)
        from pg_attribute where attrelid = 'ai.vectorizer'::regclass and attnum > 0
        and attname not in ('queue_failed_table', 'queue_schema')";
    assert_eq!(text(&database, types), text(&expected, types));
}

/// Where its extension made the schema: one with the same objects.
#[test]
fn what_belonged_to_its_extension_belongs_to_the_schema() {
    let directory = tempfile::tempdir().unwrap();
    let extensions = directory.path().join("extension");
    fs::create_dir(&extensions).unwrap();
    let (_, rest) = FIXTURE.split_once("-- The extension:").unwrap();
    let (extension, application) = rest.split_once("-- The application:").unwrap();
    let control =
        "default_version = '1'\nrelocatable = false\nrequires = 'vector'\nsuperuser = true\n";
    fs::write(extensions.join("pgai_rs.control"), control).unwrap();
    fs::write(extensions.join("pgai_rs--1.sql"), extension).unwrap();
    for path in [directory.path(), &extensions] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("$system:{}", directory.path().display());
    let server = Server::start_with(18, &[("extension_control_path", &path)]);
    let database = server.database();
    database
        .client()
        .batch_execute(&format!("create extension pgai_rs cascade; {application}"))
        .unwrap();
    let members = "select count(*)::text from pg_depend d join pg_extension e on e.oid = d.refobjid
        where e.extname = 'pgai_rs' and d.deptype = 'e'";
    assert_ne!(text(&database, members), "0");
    setup(&database, &["-1"]);
    let left = "select count(*)::text from pg_extension where extname = 'pgai_rs'";
    assert_eq!(text(&database, left), "0");
    works_on(&database);
}
