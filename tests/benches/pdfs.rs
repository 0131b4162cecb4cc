//! Small PDFs in a `bytea` column: `cargo bench -p tests --bench pdfs`, or with another number than 10,000 behind
//! `--`. The provider answers at once.
//!
//! With `PGAI_PYTHON` (docs/performance.md says how to make such an environment) pgai's own worker embeds some of the
//! same files, with pymupdf4llm.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::measure::{Canned, Usage, text, until_end};
use tests::postgres::{Database, Server};
use tests::process::{Process, worker_path};
use tests::python::pgai_sql;

const DIMENSIONS: usize = 768;
/// Lines of a page, and characters of a line.
const LINES: usize = 41;
const CHARACTERS: usize = 80;
/// pgai takes a third of a second for each.
const OF_PGAI: u64 = 200;

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let count: u64 = count.unwrap_or(10_000);
    // Built now, while no clock runs.
    worker_path("worker");
    let provider = Canned::start(DIMENSIONS, Duration::ZERO);
    let url = provider.url();

    let database = table(count);
    database.install();
    vectorizer(&database, "parsing => ai.parsing_auto()");
    let began = Instant::now();
    let environment = [("OLLAMA_HOST", url.as_str()), ("DB_URL", database.url())];
    let process = Process::worker("worker", &["--once"], &environment);
    let (usage, of_parsers) = with_children(process, began);
    let ours = report("worker", count, &database, usage);
    println!(
        "  the largest process that parses: {} MB peak",
        of_parsers / 1024
    );

    let Some(python) = std::env::var_os("PGAI_PYTHON") else {
        return;
    };
    let database = table(OF_PGAI.min(count));
    let mut client = database.client();
    client.batch_execute("create extension vector").unwrap();
    client.batch_execute(&pgai_sql("0.12.1").unwrap()).unwrap();
    vectorizer(&database, "parsing => ai.parsing_pymupdf()");
    let began = Instant::now();
    let environment = [("OLLAMA_HOST", url.as_str())];
    let main = "from pgai.cli import cli; cli()";
    let call = [
        "-c",
        main,
        "vectorizer",
        "worker",
        "--once",
        "-d",
        database.url(),
    ];
    let usage = until_end(Process::spawn(python, &call, &environment), began);
    let theirs = report("pgai", OF_PGAI.min(count), &database, usage);
    println!("  {:.1} times as many a second", ours / theirs);
}

fn table(count: u64) -> Database {
    let database = Server::shared().database();
    let mut client = database.client();
    client
        .batch_execute("create table doc (id int primary key, body bytea)")
        .unwrap();
    let insert = client.prepare("insert into doc values ($1, $2)").unwrap();
    let mut transaction = client.transaction().unwrap();
    for id in 0..count {
        let page = text(id, LINES * CHARACTERS).replace('\n', " ");
        let lines: Vec<_> = page.as_bytes().chunks(CHARACTERS).collect();
        let page = String::from_utf8(lines.join(&b'\n')).unwrap();
        let row = (i32::try_from(id).unwrap(), tests::pdf::lines(&page));
        transaction.execute(&insert, &[&row.0, &row.1]).unwrap();
    }
    transaction.commit().unwrap();
    database
}

fn vectorizer(database: &Database, parsing: &str) {
    let create = format!(
        "select ai.create_vectorizer('doc', loading => ai.loading_column('body'), {parsing},
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           chunking => ai.chunking_recursive_character_text_splitter(800, 400),
           destination => ai.destination_table(target_table => 'doc_store'))"
    );
    database.client().batch_execute(&create).unwrap();
}

/// Prints what a run took, and returns the documents of a second.
fn report(name: &str, count: u64, database: &Database, usage: Usage) -> f64 {
    let sql = "select count(*), count(distinct id) from doc_store";
    let row = database.client().query_one(sql, &[]).unwrap();
    let (chunks, documents): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(
        documents,
        i64::try_from(count).unwrap(),
        "not all are embedded"
    );
    #[expect(clippy::cast_precision_loss, reason = "it is a rate")]
    let rate = count as f64 / usage.wall.as_secs_f64();
    println!(
        "{name}: {count} PDFs, {chunks} chunks: {:.1} s, {rate:.1} PDFs a second, {} MB peak",
        usage.wall.as_secs_f64(),
        usage.peak / 1024
    );
    rate
}

/// What the worker used, and the peak of the largest of its children, in KiB.
fn with_children(process: Process, began: Instant) -> (Usage, u64) {
    let (parent, is_over, peak) = (process.id(), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for child in children(parent) {
                    let now = Usage::of(child).map_or(0, |usage| usage.peak);
                    peak.fetch_max(now, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let usage = until_end(process, began);
        is_over.store(true, Ordering::Relaxed);
        (usage, peak.load(Ordering::Relaxed))
    })
}

/// The children of all threads of a process.
fn children(parent: u32) -> Vec<u32> {
    let tasks = Path::new("/proc").join(parent.to_string()).join("task");
    let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let lists = Vec::from_iter(lists).join(" ");
    lists
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}
