//! Measurements: how much a search with a narrow filter finds, and how long a hybrid search takes among many chunks.
//! `cargo test --release -p tests --test search measure -- --ignored --nocapture --test-threads 1`

#![allow(clippy::print_stdout, reason = "a measurement shows what it found")]

use std::io::Write as _;
use std::time::{Duration, Instant};

use postgres::Client;
use tests::postgres::Server;
use tests::stage::Stage;

use crate::generated::Generated;

const QUESTIONS: u64 = 100;

fn stage() -> (Server, Stage) {
    let settings = [
        ("maintenance_work_mem", "3GB"),
        ("max_wal_size", "8GB"),
        ("shared_buffers", "4GB"),
    ];
    let server = Server::start_with(18, &settings);
    let stage = Stage::on_server(&server);
    (server, stage)
}

/// A table of so many rows with a chunk each, whose column `part` is one of a hundred numbers.
fn fill(stage: &mut Stage, chunks: u64, dimensions: usize, words: usize) {
    let began = Instant::now();
    stage.run(&format!(
        "create table docs (id int primary key, part int, body text);
         insert into docs select n, n % 100, '' from generate_series(1, {chunks}) n;
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {dimensions}), chunking => ai.chunking_none(),
           destination => ai.destination_table(target_table => 'docs_store'), enqueue_existing => false)"
    ));
    let mut generated = Generated::new(7, dimensions);
    let copy = "copy docs_store (id, chunk_seq, chunk, embedding) from stdin";
    let mut writer = stage.sql.copy_in(copy).unwrap();
    for id in 1..=chunks {
        let (words, vector) = (generated.words(words), generated.vector());
        writeln!(writer, "{id}\t0\t{words}\t{vector}").unwrap();
    }
    writer.finish().unwrap();
    stage.run("vacuum analyze docs_store");
    stage.run("vacuum analyze docs");
    println!(
        "{chunks} chunks of {words} words with {dimensions} dimensions: filled in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    stage.run("create index on docs_store using hnsw (embedding vector_cosine_ops)");
    println!("hnsw index: {:.0} s", began.elapsed().as_secs_f64());
}

fn ids(sql: &mut Client, query: &str) -> Vec<i32> {
    let rows = sql
        .query(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The median, the 95th percentile and the longest, in milliseconds.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| {
        times[((times.len() - 1) as f64 * part).round() as usize].as_secs_f64() * 1000.0
    };
    format!(
        "p50 {:.1} ms, p95 {:.1} ms, longest {:.1} ms",
        at(0.5),
        at(0.95),
        at(1.0)
    )
}

#[test]
#[ignore = "takes some minutes"]
fn measure_a_filter_of_one_percent() {
    let (_server, mut stage) = stage();
    fill(&mut stage, 100_000, 384, 5);
    let mut generated = Generated::new(99, 384);
    let questions: Vec<String> = (0..QUESTIONS).map(|_| generated.vector()).collect();
    for (name, filter, condition) in [
        ("no filter", "null", "true"),
        ("1 %, filter", r#"'{"part": 7}'"#, "part = 7"),
        (
            "1 %, the rarest 1,000 ids",
            r#"'{"id": {"<=": 1000}}'"#,
            "d.id <= 1000",
        ),
        ("0.05 %", r#"'{"id": {"<=": 50}}'"#, "d.id <= 50"),
        ("50 %", r#"'{"part": {"<": 50}}'"#, "part < 50"),
    ] {
        let (mut found, mut times, mut short) = (0, vec![], 0);
        for question in &questions {
            let exact = format!(
                "select s.id from docs_store s join docs d on d.id = s.id where {condition}
                 order by (s.embedding <=> '{question}') + 0 limit 10"
            );
            let exact = ids(&mut stage.sql, &exact);
            let began = Instant::now();
            let query = format!(
                "select (key ->> 'id')::int from ai.search('docs', '{question}', 10, filter => {filter})"
            );
            let got = ids(&mut stage.sql, &query);
            times.push(began.elapsed());
            short += usize::from(got.len() < 10);
            found += exact.iter().filter(|id| got.contains(id)).count();
        }
        let recall = found as f64 / (10 * questions.len()) as f64;
        println!(
            "{name}: recall@10 {recall:.3}, {short} answers shorter than 10, {}",
            spread(times)
        );
        assert_eq!(short, 0);
        assert!(
            recall >= if condition == "true" { 0.9 } else { 0.95 },
            "{recall}"
        );
    }
}

#[test]
#[ignore = "takes half an hour, 10 GB of disk and 8 GB of memory"]
fn measure_hybrid_search_among_many_chunks() {
    let chunks =
        std::env::var("PGAI_TEST_CHUNKS").map_or(1_000_000, |chunks| chunks.parse().unwrap());
    let (_server, mut stage) = stage();
    fill(&mut stage, chunks, 64, 80);
    let began = Instant::now();
    stage.run("select ai.enable_hybrid('docs')");
    println!("ai.enable_hybrid: {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    stage.worker_url = stage.database.url().to_owned();
    stage.stub.add_model("stub", 64);
    let mut worker = stage.worker("worker", &["--once"]);
    let status = worker.wait(Duration::from_secs(3600));
    assert!(status.success(), "{:?}", worker.lines());
    println!(
        "a worker has filled and indexed it: {:.0} s",
        began.elapsed().as_secs_f64()
    );
    stage.run("vacuum analyze ai._vectorizer_text_1");
    let size = stage.number("select pg_total_relation_size('ai._vectorizer_text_1')");
    println!("its size: {} MB", size >> 20);
    let mut generated = Generated::new(99, 64);
    let rare = |generated: &mut Generated| {
        format!("w{}", 10_000 + (generated.uniform() * 200_000.0) as u32)
    };
    let questions: Vec<[String; 3]> = (0..QUESTIONS)
        .map(|_| {
            let vector = generated.vector();
            let mixed = format!("w1 w2 w3 {} {}", rare(&mut generated), generated.words(3));
            [mixed, generated.words(5), vector]
        })
        .collect();
    let ask = |stage: &mut Stage, words: &str, vector: &str| {
        let query =
            format!("select count(*)::int from ai.hybrid_search('docs', '{words}', {vector}, 10)");
        let began = Instant::now();
        let count = ids(&mut stage.sql, &query)[0];
        (count, began.elapsed())
    };
    for round in ["first", "second"] {
        for (name, which, with_vector) in [
            ("words only, three common, one rare, three drawn", 0, false),
            ("words only, five drawn", 1, false),
            ("hybrid, three common, one rare, three drawn", 0, true),
            ("hybrid, five drawn", 1, true),
        ] {
            let mut times = vec![];
            for question in &questions {
                let vector = if with_vector {
                    format!("'{}'", question[2])
                } else {
                    "null".to_owned()
                };
                times.push(ask(&mut stage, &question[which], &vector).1);
            }
            println!("{round} round: {name}: {}", spread(times));
        }
        let times = (1..=20)
            .map(|_| ask(&mut stage, "w1 w2 w3", "null").1)
            .collect();
        println!(
            "{round} round: words only, the three most common: {}",
            spread(times)
        );
    }
}
