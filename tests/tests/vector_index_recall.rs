//! A large vector index, built while rows arrive and workers are killed: how long it takes, and how many of the nearest
//! chunks it finds. Run it with
//! `cargo test -p tests --test vector_index_recall -- --ignored --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement shows what it found, and fails where it cannot go on"
)]

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use tests::postgres::Server;
use tests::process::Signal;
use tests::stage::Stage;

const ROWS: usize = 200_000;
const DIMENSIONS: usize = 768;
/// The vectors lie near a subspace of this many dimensions, as those of models do; pure noise has no neighbours.
const INNER: usize = 24;
const QUESTIONS: usize = 100;
const LONG: Duration = Duration::from_secs(3600);

/// Vectors of one distribution, from a generator of random numbers (splitmix64).
struct Vectors {
    state: u64,
    basis: Vec<f32>,
}

impl Vectors {
    fn new() -> Self {
        let mut new = Self {
            state: 1,
            basis: vec![],
        };
        new.basis = (0..INNER * DIMENSIONS).map(|_| new.normal()).collect();
        new
    }

    fn uniform(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    }

    /// The sum of four uniform numbers is nearly normal.
    fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.uniform()).sum::<f32>() - 2.0
    }

    fn next(&mut self) -> String {
        let mut vector = vec![0.0_f32; DIMENSIONS];
        for inner in 0..INNER {
            let weight = self.normal();
            let axis = &self.basis[inner * DIMENSIONS..][..DIMENSIONS];
            for (number, axis) in vector.iter_mut().zip(axis) {
                *number += weight * axis;
            }
        }
        let mut text = String::with_capacity(DIMENSIONS * 8);
        for number in vector {
            let number = number + 0.1 * self.uniform();
            text.push(if text.is_empty() { '[' } else { ',' });
            text.push_str(&format!("{number:.4}"));
        }
        text + "]"
    }
}

fn fill(stage: &mut Stage, vectors: &mut Vectors) {
    stage.run(&format!(
        "create table docs (id int primary key, body text);
         insert into docs select n, 'body ' || n from generate_series(1, {ROWS}) n;
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_table(target_table => 'docs_store'), enqueue_existing => false,
           indexing => ai.indexing_hnsw(min_rows => {ROWS}, create_when_queue_empty => false))"
    ));
    let copy = "copy docs_store (id, chunk_seq, chunk, embedding) from stdin";
    let mut writer = stage.sql.copy_in(copy).unwrap();
    for id in 1..=ROWS {
        writeln!(writer, "{id}\t0\tbody {id}\t{}", vectors.next()).unwrap();
    }
    writer.finish().unwrap();
    stage.run("analyze docs_store");
}

/// Inserts rows until it is told to stop, and returns the slowest insertion.
fn insert(mut sql: Client, stop: &AtomicBool) -> (i64, Duration) {
    let (mut rows, mut slowest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let id = i32::try_from(ROWS as i64 + 1 + rows).unwrap();
        sql.execute("insert into docs values ($1, 'new ' || $1::int)", &[&id])
            .unwrap();
        slowest = slowest.max(began.elapsed());
        rows += 1;
        thread::sleep(Duration::from_millis(20));
    }
    (rows, slowest)
}

fn build(stage: &Stage) {
    for kill_at in [Some(10), Some(40), None] {
        let began = Instant::now();
        let mut worker = stage.worker("worker", &["--poll-interval", "1"]);
        worker.wait_for_line("create index concurrently", LONG);
        let begins = began.elapsed().as_secs_f64();
        let end = if let Some(percent) = kill_at {
            let progress = format!(
                "exists (select from pg_stat_progress_create_index
                   where datname = current_database() and 100 * blocks_done >= {percent} * blocks_total
                   and phase = 'building index: loading tuples' and blocks_total > 0)"
            );
            stage.database.wait_until(&progress, LONG);
            worker.signal(Signal::Kill);
            format!("is killed at {percent} %")
        } else {
            worker.wait_for_line("vector index built", LONG);
            worker.signal(Signal::Term);
            "has built it".to_owned()
        };
        worker.wait(LONG);
        let took = began.elapsed().as_secs_f64();
        println!("a worker begins to build after {begins:.1} s, and {end} after {took:.1} s");
    }
}

/// The ids of the ten nearest, by a query that may use the index or may not.
fn nearest(sql: &mut Client, question: &str) -> Vec<i32> {
    let query = format!("select id from docs_store order by embedding <=> '{question}' limit 10");
    let rows = sql.query(&query, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
#[ignore = "takes a quarter of an hour and 2 GB of memory"]
fn a_large_index_is_built_while_rows_arrive_and_workers_are_killed() {
    let server = Server::start_with(
        18,
        &[("maintenance_work_mem", "1GB"), ("max_wal_size", "8GB")],
    );
    let mut stage = Stage::on_server(&server);
    stage.stub.add_model("stub", DIMENSIONS);
    stage.worker_url = stage.database.url().to_owned();
    let mut vectors = Vectors::new();
    let began = Instant::now();
    fill(&mut stage, &mut vectors);
    println!(
        "{ROWS} vectors of {DIMENSIONS} dimensions: filled in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let stop = AtomicBool::new(false);
    let (rows, slowest) = thread::scope(|scope| {
        let sql = stage.database.client();
        let inserted = scope.spawn(|| insert(sql, &stop));
        build(&stage);
        stop.store(true, Ordering::Relaxed);
        inserted.join().unwrap()
    });
    println!("{rows} rows arrived meanwhile; the slowest insertion took {slowest:.1?}");
    stage.once("worker");
    let stored = stage.number("select count(*) from docs_store");
    assert_eq!(stored, ROWS as i64 + rows);
    let invalid = "select count(*) from pg_index where not indisvalid";
    assert_eq!(stage.number(invalid), 0);

    let questions: Vec<String> = (0..QUESTIONS).map(|_| vectors.next()).collect();
    stage.run("set enable_indexscan = off");
    let exact: Vec<_> = questions
        .iter()
        .map(|q| nearest(&mut stage.sql, q))
        .collect();
    stage.run("set enable_indexscan = on; set enable_seqscan = off");
    for ef_search in [40, 100, 200] {
        stage.run(&format!("set hnsw.ef_search = {ef_search}"));
        let began = Instant::now();
        let found = questions.iter().zip(&exact).map(|(question, exact)| {
            let found = nearest(&mut stage.sql, question);
            exact.iter().filter(|id| found.contains(id)).count()
        });
        let found: usize = found.sum();
        let recall = found as f64 / (10 * QUESTIONS) as f64;
        let each = began.elapsed().as_secs_f64() * 1000.0 / QUESTIONS as f64;
        println!("hnsw.ef_search = {ef_search}: recall@10 {recall:.3}, {each:.1} ms a query");
        assert!(recall > 0.7, "{recall}");
    }
}
