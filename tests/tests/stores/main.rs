//! Documents in object stores: loaded by the real workers from servers that check signatures.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod azure;
mod google;
mod s3;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tests::process::Process;
use tests::python;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

const PACKAGES: &[&str] = &[
    "azure-storage-blob==12.31.1",
    "boto3==1.44.8",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "moto[s3]==5.2.5",
];

const PAGE: &str = "<html><body><h1>Ducks</h1><p>A mallard is a duck.</p></body></html>";

/// A store in a process of its own: what it says of itself. It ends with this.
struct Store {
    said: Value,
    process: Process,
}

impl Store {
    /// Starts one of the servers with these objects: bucket, key, content.
    fn start(server: &str, objects: &[(&str, &str, &[u8])]) -> Self {
        Self::start_with(server, objects, &[])
    }

    /// The same with further arguments.
    fn start_with(server: &str, objects: &[(&str, &str, &[u8])], more: &[&str]) -> Self {
        let python = python::with(PACKAGES).expect("Python with what the servers need");
        let script = format!("{}/tests/stores/{server}.py", env!("CARGO_MANIFEST_DIR"));
        let all: Vec<Value> = objects
            .iter()
            .map(|(bucket, key, body)| json!([bucket, key, hexadecimal(body)]))
            .collect();
        let all = Value::from(all).to_string();
        let mut arguments = vec![script.as_str(), all.as_str()];
        arguments.extend(more);
        let process = Process::spawn(python, &arguments, &[]);
        let line = process.wait_for_line("ready {", PATIENCE);
        Self {
            said: serde_json::from_str(line.trim_start_matches("ready ")).unwrap(),
            process,
        }
    }

    /// What it says, by its JSON pointer.
    fn said(&self, at: &str) -> &str {
        let value = self.said.pointer(at).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("{at}: {}", self.said))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A table of addresses with a vectorizer; `loading` are further arguments of `ai.loading_uri`.
fn stage_of(addresses: &[&str], loading: &str) -> Stage {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, url text)");
    stage.run(&format!(
        "select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           loading => ai.loading_uri('url', retries => 0{loading}), chunking => ai.chunking_none(),
           destination => ai.destination_table(target_table => 'doc_store'))"
    ));
    for (address, id) in addresses.iter().zip(1_i32..) {
        stage
            .sql
            .execute("insert into doc values ($1, $2)", &[&id, address])
            .unwrap();
    }
    stage
}

/// Runs a worker to its end.
fn once(stage: &Stage, arguments: &[&str], environment: &[(&str, &str)]) {
    let mut all = vec!["--once"];
    all.extend(arguments);
    let mut worker = stage.worker_with("worker", &all, environment);
    worker.wait(PATIENCE);
}

/// The stored chunks of each row, in the order of keys.
fn chunks(stage: &mut Stage) -> Vec<(i32, String)> {
    let statement = "select id, chunk from doc_store order by id, chunk_seq";
    let rows = stage.sql.query(statement, &[]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The documents are checked again: none has changed, and nothing is embedded.
#[track_caller]
fn assert_unchanged(stage: &mut Stage, environment: &[(&str, &str)]) {
    let known = "select count(*) from ai.vectorizer_document where validator like 'etag %'";
    let documents = stage.number(known);
    assert!(documents > 0);
    let embedded = stage.stub.requests().len();
    stage.run(
        "update ai.vectorizer_document set _counted_from = '-infinity', checked_at = '-infinity'",
    );
    once(stage, &[], environment);
    let checked = "select count(*) from ai.vectorizer_document where checked_at > '-infinity' and validator like 'etag %'";
    assert_eq!(stage.number(checked), documents);
    assert_eq!(stage.stub.requests().len(), embedded);
}

/// Of each row there is a chunk, or a failure with these words.
#[track_caller]
fn assert_outcomes(stage: &mut Stage, outcomes: &[Result<&str, &str>]) {
    let chunks = chunks(stage);
    let rows = stage
        .sql
        .query(
            "select (details -> 'key' ->> 0)::int, details ->> 'step', details ->> 'error_reason'
             from ai.vectorizer_errors where details ? 'key' order by 1, recorded",
            &[],
        )
        .unwrap();
    let failures: Vec<(i32, String, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    for (wanted, id) in outcomes.iter().zip(1..) {
        let chunk = chunks.iter().find(|(known, _)| *known == id);
        let chunk = chunk.map(|(_, text)| text.trim());
        let failure = failures.iter().rfind(|(known, ..)| *known == id);
        match wanted {
            Ok(text) => assert_eq!(chunk, Some(*text), "{id}: {failure:?}"),
            Err(words) => {
                let (_, step, reason) = failure.unwrap_or_else(|| panic!("{id}: {chunks:?}"));
                assert_eq!(step, "loading");
                assert!(reason.contains(words), "{id}: {reason}");
                assert_eq!(chunk, None);
            }
        }
    }
}
