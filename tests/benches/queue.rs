//! A long queue: `cargo bench -p tests --bench queue`. A million short rows wait; one worker drains
//! them, once undisturbed and once while a transaction holds the xmin horizon, so that no dead row or
//! index entry can be cleaned up.
//!
//! Printed are the throughput of each tenth, the dead tuples at the end, and what claims took in the
//! server (a twentieth of them is sampled, from its log).

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::thread;
use std::time::{Duration, Instant};

use tests::measure::{Canned, percentile};
use tests::postgres::{Database, Server};
use tests::process::{Process, worker_path};

const TENTHS: u64 = 10;
/// Small vectors: the queue is what is measured.
const DIMENSIONS: usize = 4;

fn main() {
    let rows = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let rows: u64 = rows.unwrap_or(1_000_000);
    // Built now, while no clock runs.
    worker_path("worker");
    let server = Server::start(18);
    let normal = drain(&server, rows, false);
    let held = drain(&server, rows, true);
    println!(
        "\nwith the xmin horizon held: {:.0} % of the throughput without",
        100.0 * normal.as_secs_f64() / held.as_secs_f64()
    );
}

fn drain(server: &Server, rows: u64, is_held: bool) -> Duration {
    println!(
        "\n{rows} items, xmin horizon {}",
        if is_held { "held" } else { "free" }
    );
    let database = server.database();
    let mut client = prepare(&database, rows);
    let mut holder = database.client();
    if is_held {
        let begin = "begin isolation level repeatable read; select txid_current(), count(*) from t";
        holder.batch_execute(begin).unwrap();
    }
    let provider = Canned::start(DIMENSIONS, Duration::ZERO);
    let (url, log_began) = (provider.url(), server.log().len());
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", url.as_str())];
    let began = Instant::now();
    let _worker = Process::worker("worker", &["--log-level", "warning"], &environment);
    let (mut done, mut last) = (0, began);
    let mut rates = vec![];
    while rates.len() < usize::try_from(TENTHS).unwrap() {
        thread::sleep(Duration::from_millis(5));
        done += provider.take_counts().1;
        assert!(last.elapsed() < Duration::from_secs(300), "it stands still");
        let tenth = rows / TENTHS * (rates.len() as u64 + 1);
        if done >= tenth {
            rates.push(rows as f64 / TENTHS as f64 / last.elapsed().as_secs_f64());
            last = Instant::now();
        }
    }
    database.wait_until(
        "not exists (select from ai._vectorizer_q_1)",
        Duration::from_secs(60),
    );
    let took = began.elapsed();
    let shown: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    println!("  rows a second, by tenths: {}", shown.join(" "));
    println!(
        "  the last tenth at {:.0} % of the first; all in {:.0} s",
        100.0 * rates[rates.len() - 1] / rates[0],
        took.as_secs_f64()
    );
    let dead = "select n_dead_tup from pg_stat_user_tables where relname = '_vectorizer_q_1'";
    let dead: i64 = client.query_one(dead, &[]).unwrap().get(0);
    println!("  dead tuples in the queue, as the statistics know: {dead}");
    claims(&server.log()[log_began..]);
    took
}

fn prepare(database: &Database, rows: u64) -> postgres::Client {
    database.install();
    let mut client = database.client();
    let name = database.name();
    client
        .batch_execute(&format!(
            "create table t (id int primary key, body text not null);
             insert into t select n, 'row ' || n from generate_series(1, {rows}) n;
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               destination => ai.destination_table(target_table => 't_store'));
             alter database {name} set log_min_duration_sample = 0;
             alter database {name} set log_statement_sample_rate = 0.05;
             alter database {name} set log_parameter_max_length = 0"
        ))
        .unwrap();
    for statement in ["vacuum analyze", "checkpoint"] {
        client.batch_execute(statement).unwrap();
    }
    client
}

/// What the log says of claims: planning is done when parameters are bound.
fn claims(log: &str) {
    for step in ["bind", "execute"] {
        let mut times: Vec<_> = log
            .lines()
            .filter(|line| line.contains("with due as materialized") && line.contains(step))
            .filter_map(|line| {
                let time = line.split_once("duration: ")?.1.split_once(" ms")?.0;
                Some(Duration::from_secs_f64(time.parse::<f64>().ok()? / 1e3))
            })
            .collect();
        assert!(!times.is_empty(), "no claim is in the log");
        let count = times.len();
        let mut at = |percent| percentile(&mut times, percent).as_secs_f64() * 1e3;
        println!(
            "  claims, {step}: median {:.2} ms, p99 {:.2} ms, longest {:.2} ms ({count} sampled)",
            at(50),
            at(99),
            at(100)
        );
    }
}
