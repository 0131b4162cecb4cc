//! What embeddings use and cost, and ceilings of a day, with both workers.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod ceilings;
mod counting;

use std::path::PathBuf;

use serde_json::Value;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// A text of 40 bytes: 10 tokens, as the stub counts.
const TEXT: &str = "lpad(n::text, 40, 'text of forty bytes ')";
/// A request with one of them is estimated to be this.
const ESTIMATE: i64 = 11;
const CEILING: i64 = 3_300;
/// A worker that is killed loses at most this: a block, and requests in flight.
const LOST_MAX: i64 = CEILING / 50 + ESTIMATE * 20;

/// A table with so many rows of which each is one request, and this ceiling.
fn with_ceiling(rows: u32, ceiling: i64) -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table t (id int primary key, body text);
         insert into t select n, {TEXT} from generate_series(1, {rows}) n;
         select ai.create_vectorizer('t', name => 't', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           processing => ai.processing_default(1, 20, {ceiling}), destination => ai.destination_table('d'))"
    ));
    stage
}

/// Requests that the stub has answered with vectors, and their tokens.
fn counted(stage: &Stage) -> (i64, i64) {
    let requests = stage.stub.requests();
    let tokens = requests
        .iter()
        .filter(|request| request.status == Some(200))
        .map(|request| {
            let bytes: usize = request.inputs.iter().map(String::len).sum();
            i64::try_from(bytes.div_ceil(4)).unwrap()
        });
    (i64::try_from(tokens.clone().count()).unwrap(), tokens.sum())
}

/// Tokens of all requests that have come so far, answered or not.
fn asked(stage: &Stage) -> i64 {
    let bytes = stage.stub.inputs();
    bytes
        .iter()
        .map(|text| i64::try_from(text.len().div_ceil(4)).unwrap())
        .sum()
}

fn recorded(stage: &mut Stage) -> (i64, i64, i64) {
    let row = stage
        .sql
        .query_one(
            "select sum(requests)::bigint, sum(tokens)::bigint, sum(estimated_tokens)::bigint from ai.vectorizer_usage",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn command(stage: &Stage, shell: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = stage.worker(shell, arguments);
    let code = process.wait(PATIENCE).code();
    (code, process.lines().join("\n"))
}

#[track_caller]
fn good(stage: &Stage, shell: &str, arguments: &[&str]) -> String {
    let (code, said) = command(stage, shell, arguments);
    assert_eq!(code, Some(0), "{shell} {arguments:?}: {said}");
    said
}

#[track_caller]
fn json(stage: &Stage, shell: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&good(stage, shell, arguments)).unwrap()
}

/// A file of prices, which is gone with it.
struct Prices(PathBuf);

impl Prices {
    fn new(stage: &Stage, text: &str) -> Self {
        let name = format!("prices-{}-{}", stage.database.name(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Prices {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
