//! The core alone, without IO: `cargo bench -p tests --bench core`. Where valgrind is installed, in
//! instructions, which are the same on every run; else in microseconds.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use pgai_core::text::Chunker;
use pgai_core::{Call, Output, Query, Response, Rows, Settings, Time, Worker};
use serde_json::{Value, json};
use tests::measure::text;
use tests::stub::vector_of;

/// Rows of one batch, and their size in characters.
const ROWS: usize = 50;
const CHARACTERS: usize = 2_500;

const UNITS: [&str; 5] = ["chunk", "tiny", "batch", "wide", "idle"];

fn name(unit: &str) -> &'static str {
    match unit {
        "chunk" => "chunking 125,000 characters (800, 400)",
        "tiny" => "a batch of 50 rows of 50 characters, 4 dimensions",
        "batch" => "a batch of 50 rows of 2,500 characters, 4 dimensions",
        "wide" => "a batch of 50 rows of 2,500 characters, 768 dimensions",
        "idle" => "1,000 polls of an idle worker",
        other => unreachable!("{other} is no unit"),
    }
}

fn main() {
    let mut words = std::env::args().skip_while(|word| word != "--unit").skip(1);
    if let (Some(unit), Some(times)) = (words.next(), words.next()) {
        let mut work = unit_of_work(&unit);
        for _ in 0..times.parse().unwrap() {
            work();
        }
        return;
    }
    for unit in UNITS {
        let (few, many) = (2, 12);
        match (instructions(unit, few), instructions(unit, many)) {
            (Some(less), Some(more)) => {
                println!(
                    "{}: {} instructions",
                    name(unit),
                    (more - less) / (many - few)
                );
            }
            _ => {
                let mut work = unit_of_work(unit);
                work();
                let began = Instant::now();
                for _ in 0..100 {
                    work();
                }
                println!(
                    "{}: {:.1} µs",
                    name(unit),
                    began.elapsed().as_secs_f64() * 1e4
                );
            }
        }
    }
}

/// Runs this program under callgrind.
fn instructions(unit: &str, times: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--unit", unit, &times.to_string()])
        .output()
        .ok()?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = said.split("Collected :").nth(1)?;
    collected.split_whitespace().next()?.parse().ok()
}

fn unit_of_work(unit: &str) -> Box<dyn FnMut()> {
    match unit {
        "chunk" => {
            let chunker = Chunker::parse(&chunking()).unwrap();
            let documents: Vec<_> = (0..50).map(|number| text(number, CHARACTERS)).collect();
            Box::new(move || {
                for document in &documents {
                    black_box(chunker.chunk(document).unwrap());
                }
            })
        }
        "tiny" => batches(50, 4),
        "batch" => batches(CHARACTERS, 4),
        "wide" => batches(CHARACTERS, 768),
        "idle" => {
            let mut world = World::new(1, 4);
            world.rows = 0;
            world.work(1);
            Box::new(move || {
                for _ in 0..1_000 {
                    let _ = black_box(world.worker.poll(world.now));
                }
            })
        }
        other => unreachable!("{other} is no unit"),
    }
}

fn batches(characters: usize, dimensions: usize) -> Box<dyn FnMut()> {
    let mut world = World::new(characters, dimensions);
    Box::new(move || world.work(ROWS))
}

fn chunking() -> Value {
    json!({
        "implementation": "recursive_character_text_splitter",
        "chunk_size": 800, "chunk_overlap": 400,
        "separators": ["\n\n", "\n", ".", "?", "!", " ", ""], "is_separator_regex": false,
    })
}

/// A worker, and everybody else's prepared answers.
struct World {
    worker: Worker,
    now: Time,
    definition: String,
    texts: Vec<String>,
    vector: String,
    rows: usize,
    claimed: usize,
    committed: usize,
}

impl World {
    fn new(characters: usize, dimensions: usize) -> Self {
        let definition = json!({
            "id": 1, "name": "blog", "disabled": false, "source_schema": "public",
            "source_table": "blog", "source_pk": [{"attname": "id"}], "queue_schema": "ai",
            "queue_table": "_vectorizer_q_1", "queue_failed_table": "_vectorizer_q_failed_1",
            "vector": {"schema": "public", "oid": 1, "array_oid": 2},
            "lease_found": true, "queue_found": true,
            "columns": [
                {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
                {"name": "body", "type": "text", "base": "text", "equals": null}],
            "config": {
                "loading": {"implementation": "column", "column_name": "body"},
                "embedding": {"implementation": "ollama", "model": "m", "dimensions": dimensions},
                "chunking": chunking(),
                "formatting": {"implementation": "python_template", "template": "$chunk"},
                "destination":
                    {"implementation": "table", "target_schema": "public", "target_table": "s"}
            }
        });
        Self {
            worker: Worker::new(Settings::new("bench"), 1).unwrap(),
            now: Time::ZERO,
            definition: definition.to_string(),
            texts: (0..ROWS).map(|row| text(row as u64, characters)).collect(),
            vector: serde_json::to_string(&vector_of("a", dimensions)).unwrap(),
            rows: ROWS,
            claimed: 0,
            committed: 0,
        }
    }

    /// Lets the worker go on until so many rows are committed, or, if there are none, until it waits.
    fn work(&mut self, rows: usize) {
        (self.claimed, self.committed) = (0, 0);
        loop {
            match self.worker.poll(self.now) {
                Output::Event(event) => drop(black_box(event)),
                Output::Query(ticket, query) => {
                    let answer = self.answer(&query);
                    black_box((query.sql(), query.params()));
                    self.worker.handle_rows(self.now, ticket, Ok(answer));
                }
                Output::Call(ticket, Call::Http(request)) => {
                    let body: Value = serde_json::from_slice(request.http.body()).unwrap();
                    let inputs = body["input"].as_array().map_or(0, Vec::len);
                    let vectors = vec![self.vector.as_str(); inputs].join(",");
                    let body = format!("{{\"embeddings\":[{vectors}]}}").into_bytes();
                    self.worker
                        .handle_call(self.now, ticket, Response::new(body).into());
                }
                Output::Wait(until) => {
                    if self.committed >= rows || self.rows == 0 {
                        return;
                    }
                    self.now = until.unwrap();
                }
                Output::Call(..) | Output::Stopped(_) => unreachable!("it asks Ollama for ever"),
            }
        }
    }

    fn answer(&mut self, query: &Query) -> Rows {
        let text = |text: &str| Some(text.to_owned());
        match query {
            Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
            Query::LoadVectorizers { .. } => vec![vec![text("1"), text(&self.definition)]],
            Query::Claim { .. } if self.claimed < self.rows => {
                self.claimed = self.rows;
                let item = |key: usize| {
                    let key = key.to_string();
                    [key.as_str(), "100", "1", "1", "now"].map(text).to_vec()
                };
                (0..self.rows).map(item).collect()
            }
            Query::Read { keys, .. } => keys
                .iter()
                .zip(1..)
                .map(|(key, number): (_, usize)| {
                    let body = &self.texts[key.0[0].parse::<usize>().unwrap()];
                    vec![text(&number.to_string()), text("true"), text(body), None]
                })
                .collect(),
            Query::Commit { rows, .. } => {
                self.committed += rows.len();
                let done = |number: usize| vec![text(&number.to_string()), text("done")];
                (1..=rows.len()).map(done).collect()
            }
            Query::StartWorker { .. } => vec![vec![text("a worker")]],
            Query::AcceptTexts { .. }
            | Query::Change { .. }
            | Query::AddUsage(_)
            | Query::Bell { .. }
            | Query::Claim { .. }
            | Query::Command { .. }
            | Query::Extend { .. }
            | Query::Fail { .. }
            | Query::Heartbeat(_)
            | Query::Index(_)
            | Query::RecordErrors(_)
            | Query::Refresh { .. }
            | Query::Release { .. }
            | Query::Resync(_)
            | Query::TakeBudget { .. }
            | Query::Waiting { .. } => vec![],
        }
    }
}
