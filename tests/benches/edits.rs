//! What an edit costs: `cargo bench -p tests --bench edits`. 500 documents of 10 paragraphs are
//! embedded; then one paragraph of each changes, then a column that nobody embeds. Printed is what
//! the provider was sent, against what all of it was at the beginning.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::time::{Duration, Instant};

use tests::measure::{Canned, until_end};
use tests::postgres::{Database, Server};
use tests::process::{Process, worker_path};

const DOCUMENTS: i64 = 500;
const DIMENSIONS: usize = 768;

fn main() {
    // Built now, while no clock runs.
    worker_path("worker");
    let provider = Canned::start(DIMENSIONS, Duration::ZERO);
    let database = Server::shared().database();
    database.install();
    let mut client = database.client();
    client
        .batch_execute(&format!(
            "create table t (id int primary key, body text not null, seen int not null default 0);
             insert into t select d, string_agg(
                 repeat(format('Paragraph %s of document %s speaks of something. ', p, d), 8),
                 E'\\n\\n' order by p)
               from generate_series(1, {DOCUMENTS}) d, generate_series(1, 10) p group by d;
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               chunking => ai.chunking_recursive_character_text_splitter(800, 0),
               destination => ai.destination_table(target_table => 't_store'))"
        ))
        .unwrap();
    let all = settle(&database, &provider);
    let chunks: i64 = client
        .query_one("select count(*) from t_store", &[])
        .unwrap()
        .get(0);
    println!("{DOCUMENTS} documents, {chunks} chunks");
    print("everything", all, all);
    for (what, statement) in [
        (
            "one paragraph of each document edited",
            "update t set body = replace(body, format('Paragraph 5 of document %s ', id), 'A new paragraph ')",
        ),
        (
            "a paragraph put before each document",
            "update t set body = repeat(format('Something comes first in %s. ', id), 20) || E'\\n\\n' || body",
        ),
        (
            "an unrelated column of each document",
            "update t set seen = seen + 1",
        ),
    ] {
        client.batch_execute(statement).unwrap();
        let counts = settle(&database, &provider);
        print(what, counts, all);
    }
}

/// Lets a worker do what is queued; requests, inputs and bytes that it sent.
fn settle(database: &Database, provider: &Canned) -> (u64, u64, u64) {
    let url = provider.url();
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", url.as_str())];
    let began = Instant::now();
    until_end(Process::worker("worker", &["--once"], &environment), began);
    provider.take_counts()
}

fn print(what: &str, counts: (u64, u64, u64), all: (u64, u64, u64)) {
    let (requests, inputs, bytes) = counts;
    let times = if inputs > 0 {
        format!("{:.1} times fewer inputs", all.1 as f64 / inputs as f64)
    } else {
        "nothing is sent".to_owned()
    };
    println!("  {what:<40} {requests:>4} requests, {inputs:>5} inputs, {bytes:>8} bytes: {times}");
}
