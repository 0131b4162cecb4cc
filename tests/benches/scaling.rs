//! Several workers on one queue: `cargo bench -p tests --bench scaling`. 2,000 documents of 2,500
//! characters; the provider takes 100 ms for a request, and each worker has one batch at a time, so
//! that it is the provider that limits it.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::io::Write as _;
use std::time::{Duration, Instant};

use tests::measure::{Canned, text};
use tests::postgres::{Database, Server};
use tests::process::{Process, worker_path};

const DOCUMENTS: u64 = 2_000;
const DIMENSIONS: usize = 768;
const LATENCY: Duration = Duration::from_millis(100);

fn main() {
    // Built now, while no clock runs.
    worker_path("worker");
    println!("{DOCUMENTS} documents, {DIMENSIONS} dimensions, {LATENCY:?} a request");
    for (binary, workers) in [
        ("worker-blocking", [1, 2, 4, 8, 16]),
        ("worker", [1, 2, 4, 8, 16]),
    ] {
        let mut one = None;
        for count in workers {
            let (took, requests) = drain(binary, count);
            let one = *one.get_or_insert(took);
            println!(
                "  {count:>2} {binary:<16} {:>6.2} s, {:>5.1} times as fast as one, {requests} requests",
                took.as_secs_f64(),
                one.as_secs_f64() / took.as_secs_f64()
            );
        }
    }
}

fn drain(binary: &str, workers: usize) -> (Duration, u64) {
    let database = backlog();
    let provider = Canned::start(DIMENSIONS, LATENCY);
    let url = provider.url();
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", url.as_str())];
    let began = Instant::now();
    let mut processes: Vec<_> = (0..workers)
        .map(|_| Process::worker(binary, &["--once", "--concurrency", "1"], &environment))
        .collect();
    for process in &mut processes {
        let status = process.wait(Duration::from_secs(300));
        assert!(status.success(), "{status}");
    }
    let took = began.elapsed();
    let sql = "select count(distinct id) from t_store";
    let rows: i64 = database.client().query_one(sql, &[]).unwrap().get(0);
    assert_eq!(rows, i64::try_from(DOCUMENTS).unwrap());
    (took, provider.take_counts().0)
}

fn backlog() -> Database {
    let database = Server::shared().database();
    database.install();
    let mut client = database.client();
    client
        .batch_execute("create table t (id int primary key, body text not null)")
        .unwrap();
    let mut rows = client.copy_in("copy t from stdin").unwrap();
    for id in 0..DOCUMENTS {
        let body = text(id, 2_500).replace('\n', "\\n");
        writeln!(rows, "{id}\t{body}").unwrap();
    }
    rows.finish().unwrap();
    client
        .batch_execute(&format!(
            "select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               chunking => ai.chunking_recursive_character_text_splitter(800, 400),
               destination => ai.destination_table(target_table => 't_store'))"
        ))
        .unwrap();
    for statement in ["vacuum analyze", "checkpoint"] {
        client.batch_execute(statement).unwrap();
    }
    database
}
