//! Documents behind addresses of the web that are checked again, and documents that a server of Docling parses: with the
//! real workers, over real HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod docling;
mod refresh;
mod server;

use tests::process::Process;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

/// A table of addresses with a vectorizer of these arguments.
fn stage_of(addresses: &[String], arguments: &str) -> Stage {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, title text, url text)");
    stage.run(&format!(
        "select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           chunking => ai.chunking_none(), destination => ai.destination_table(target_table => 'doc_store'), {arguments})"
    ));
    for (address, id) in addresses.iter().zip(1_i32..) {
        let insert = "insert into doc values ($1, 'a', $2)";
        stage.sql.execute(insert, &[&id, address]).unwrap();
    }
    stage
}

/// Runs a worker to its end. It may load from these places.
fn once(stage: &Stage, allowed: &str, environment: &[(&str, &str)]) -> Process {
    let pattern = format!("{allowed}/*");
    let arguments = ["--once", "--allow-uri", &pattern];
    let mut worker = stage.worker_with("worker", &arguments, environment);
    worker.wait(PATIENCE);
    worker
}

/// The stored chunks of each row, in the order of keys.
fn chunks(stage: &mut Stage) -> Vec<(i32, String)> {
    let statement = "select id, chunk from doc_store order by id, chunk_seq";
    let rows = stage.sql.query(statement, &[]).unwrap();
    let rows = rows.iter();
    rows.map(|row| (row.get(0), row.get::<_, String>(1).trim().to_owned()))
        .collect()
}

/// The failures of rows: key, step and reason.
fn failures(stage: &mut Stage) -> Vec<(i32, String, String)> {
    let statement =
        "select (details -> 'key' ->> 0)::int, details ->> 'step', details ->> 'error_reason'
         from ai.vectorizer_errors where details ? 'key' order by 1, recorded";
    let rows = stage.sql.query(statement, &[]).unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

/// The vectorizers of docs/documents.md are made as they stand there.
#[test]
fn the_manual_works() {
    let manual = include_str!("../../../docs/documents.md");
    let mut stage = Stage::new();
    for begin in ["create table page", "create table scan"] {
        let (_, rest) = manual.split_once(&format!("```sql\n{begin}")).unwrap();
        let (block, _) = rest.split_once("```").unwrap();
        stage.run(&format!("{begin}{block}"));
    }
    let config = |stage: &mut Stage, path: &str| -> Option<String> {
        let statement = format!("select string_agg(config #>> '{path}', ' ') from ai.vectorizer");
        stage.sql.query_one(&statement, &[]).unwrap().get(0)
    };
    assert_eq!(config(&mut stage, "{loading,refresh}").unwrap(), "21600");
    let url = config(&mut stage, "{parsing,url}").unwrap();
    assert_eq!(url, "http://docling:5001");
}
