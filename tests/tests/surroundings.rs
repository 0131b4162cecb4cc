//! Databases with settings and objects that others have put there: everything works as elsewhere.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::process::Command;

use tests::postgres::{Server, client_program};
use tests::stage::{DIMENSIONS, PATIENCE, Stage, paragraph};

const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/setup.sql");

/// Every persistent table of ours, of the schema and of vectorizers, that a publication of all tables would make unwritable.
const WITHOUT_IDENTITY: &str = "
    select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and c.relpersistence = 'p' and n.nspname !~ '^(pg_|information_schema)'
    and not (c.relreplident = 'd' and exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary))";

#[test]
fn every_table_has_a_replica_identity() {
    let mut stage = Stage::with_blog();
    assert!(stage.number("select count(*) from pg_class where relkind = 'r' and relnamespace = 'ai'::regnamespace") > 9);
    assert_eq!(stage.number(WITHOUT_IDENTITY), 0);
    // Where pgai made the tables, too.
    let database = Server::shared().database();
    let mut client = database.client();
    client.batch_execute("create extension vector").unwrap();
    client
        .batch_execute(&tests::python::pgai_sql("0.12.1").unwrap())
        .unwrap();
    client
        .batch_execute(
            "create publication everything for all tables; create table t (id int primary key, body text); insert into t values (1, 'x');
             select ai.create_vectorizer('t', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3))",
        )
        .unwrap();
    database.install();
    let ours = WITHOUT_IDENTITY.to_owned() + " and c.relname !~ 'semantic_catalog'";
    assert_eq!(client.query_one(&ours, &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn with_a_publication_of_all_tables_a_row_fails_alone_and_everything_goes_on() {
    let mut stage = Stage::with_blog();
    stage.run("create publication everything for all tables");
    stage.run("update ai.vectorizer set config = jsonb_set(config, '{loading,retries}', '0')");
    stage.stub.refuse_inputs_with("poison");
    stage.run("insert into blog values (1, 't', 'good'), (2, 't', 'poison'), (3, 't', 'fine')");
    let mut worker = stage.worker("worker", &["--once"]);
    worker.wait(PATIENCE);
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_1"),
        1
    );
    assert!(stage.number("select count(*) from ai.vectorizer_errors") > 0);
    assert_eq!(stage.number("select count(*) from blog_store"), 2);
    stage.run("update blog set body = 'better' where id = 2; delete from blog where id = 1");
    stage.once("worker");
    stage.assert_true();
    // More than are kept.
    stage.run("insert into ai._vectorizer_errors (id, message) select 1, 'x' from generate_series(1, 1100)");
    stage.run("truncate blog; select ai.drop_vectorizer('blog', drop_all => true)");
}

/// All that the functions do, in a database whose sessions have other settings.
#[track_caller]
fn works_with(settings: &[&str]) {
    let database = Server::shared().database();
    let mut client = database.client();
    for setting in settings {
        client
            .batch_execute(&format!("alter database {} set {setting}", database.name()))
            .unwrap();
    }
    client.batch_execute("create extension vector").unwrap();
    for options in [&[][..], &["-1"]] {
        let output = Command::new(client_program("psql"))
            .args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                database.url(),
                "-f",
                SETUP,
            ])
            .args(options)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{settings:?}: {said}");
        assert!(!said.contains("WARNING"), "{settings:?}: {said}");
    }
    let mut stage = Stage::on(database);
    stage.run("create table blog (id int primary key, title text, body text, views int default 0)");
    stage.create_blog();
    stage.run(
        r#"create table "o'dd\ name" ("k'\1" int primary key, "b\o'dy" text, more text);
           select ai.create_vectorizer(E'"o''dd\\ name"', name => 'odd', loading => ai.loading_column(E'b\\o''dy'),
             embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
             destination => ai.destination_table(E'o''dd\\ store', view_columns => array['more']::name[]));
           create table parts (id int primary key, body text) partition by range (id);
           create table part partition of parts for values from (0) to (100);
           select ai.create_vectorizer('parts', name => 'parts', loading => ai.loading_column('body'),
             embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
             destination => ai.destination_column('vector'))"#,
    );
    let backslash = format!("{}\n\n{}", paragraph("a\\b"), paragraph("c\\\\d"));
    let insert = "insert into blog values (1, 'it''s', $1), (2, null, 'two')";
    stage.sql.execute(insert, &[&backslash]).unwrap();
    stage.run("insert into parts values (1, 'one'), (2, 'two')");
    stage.run(r#"insert into "o'dd\ name" values (1, 'x', 'y'), (2, 'z', null)"#);
    for shell in ["worker", "worker-blocking"] {
        stage.run("update blog set views = views + 1; update blog set title = title || '.'; update parts set body = body || '.'");
        stage.run(r#"update "o'dd\ name" set more = 'new', "b\o'dy" = 'other' where "k'\1" = 1"#);
        stage.once(shell);
        stage.assert_true();
        assert_eq!(
            stage.number("select count(*) from parts where vector is not null"),
            2
        );
        assert_eq!(stage.number(r#"select count(*) from "o'dd\ store""#), 2);
    }
    stage.run("update blog set id = 5 where id = 1; delete from blog where id = 2; delete from part where id = 1");
    stage.once("worker");
    stage.assert_true();
    for command in [&["status"][..], &["errors"], &["doctor", "--offline"]] {
        let mut process = stage.worker("worker", command);
        assert_eq!(process.wait(PATIENCE).code(), Some(0), "{command:?}");
    }
    stage.run(
        "select ai.recreate_view('odd'), ai.disable_vectorizer_schedule('odd'), ai.enable_vectorizer_schedule('odd'),
           ai.set_scheduling(1), ai.execute_vectorizer('odd'), ai.vectorizer_queue_pending('odd', true);
         truncate blog; truncate part; truncate parts;
         select ai.drop_vectorizer('odd', true), ai.drop_vectorizer('blog', true), ai.drop_vectorizer('parts')",
    );
}

#[test]
fn plpgsqls_extra_checks_find_nothing() {
    works_with(&[
        "plpgsql.extra_errors = 'all'",
        "plpgsql.extra_warnings = 'all'",
    ]);
}

#[test]
fn backslashes_may_be_escapes_in_strings() {
    works_with(&[
        "standard_conforming_strings = off",
        "escape_string_warning = off",
    ]);
    let setup = std::fs::read_to_string(SETUP).unwrap();
    for (line, number) in setup.lines().zip(1..) {
        let plain = line.split("E'").next().unwrap_or_default();
        let is_comment = line.trim_start().starts_with("--");
        assert!(
            is_comment || !plain.contains('\\'),
            "line {number} means something else there: {line}"
        );
    }
}

#[test]
fn a_vectors_index_may_have_the_default_operator_class() {
    let mut stage = Stage::new();
    stage.run("create table t (id int primary key, body text)");
    let config =
        "select count(*) from (select ai._validate_indexing(ai.indexing_hnsw(opclass => null))) x";
    assert_eq!(stage.number(config), 1);
    assert_eq!(DIMENSIONS, 8);
    stage.run("create table vectors (embedding vector(3)); select ai._vectorizer_create_vector_index('public', 'vectors', ai.indexing_hnsw(opclass => null))");
    let made = "select count(*) from pg_indexes where tablename = 'vectors' and indexdef like '%vector_cosine_ops%'";
    assert_eq!(stage.number(made), 1);
}
