//! A resync of a million rows while an application writes: `cargo bench -p tests --bench resync`; a number
//! behind `--` is another number of rows.
//!
//! A thousandth of the rows lacks its chunk, as many chunks have no row, and as many have another text.
//! Printed are the time, the worker's memory before and at its peak, and the slowest write.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use tests::measure::{Canned, Usage};
use tests::postgres::{Database, Server};
use tests::process::{Process, worker_path};

/// Small vectors: the comparison is what is measured.
const DIMENSIONS: usize = 4;

/// What is compared: whether texts are, the vectorizer's template, and a row's text with it.
const CASES: [(&str, bool, &str, &str); 3] = [
    ("keys", false, "$chunk", "body"),
    ("texts, by the server", true, "$chunk", "body"),
    (
        "texts, by the worker",
        true,
        "$id: $chunk",
        "id || ': ' || body",
    ),
];

fn main() {
    let rows = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let rows: i64 = rows.unwrap_or(1_000_000);
    // Built now, while no clock runs.
    worker_path("worker");
    let server = Server::start(18);
    for (case, verify_text, template, chunk) in CASES {
        println!("\n{rows} rows, {case}");
        let database = server.database();
        let mut client = prepare(&database, rows, template, chunk);
        resync(&database, &mut client, verify_text, rows);
    }
}

fn prepare(database: &Database, rows: i64, template: &str, chunk: &str) -> Client {
    database.install();
    let mut client = database.client();
    client
        .batch_execute(&format!(
            "create table t (id bigint primary key, body text not null);
             select ai.create_vectorizer('t', name => 't', loading => ai.loading_column('body'),
               chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               formatting => ai.formatting_python_template('{template}'),
               destination => ai.destination_table(target_table => 's'));
             alter table t disable trigger all;
             insert into t select n, 'row ' || n || ' ' || repeat(md5(n::text), 6)
               from generate_series(1, {rows}) n;
             insert into s (id, chunk_seq, chunk, embedding) select id, 0, {chunk}, '[1, 2, 3, 4]' from t;
             delete from s where id % 1000 = 7;
             delete from t where id % 1000 = 8;
             update t set body = body || '!' where id % 1000 = 9"
        ))
        .unwrap();
    // As the triggers were made: those on rows are for replicas only.
    let triggers = "select quote_ident(t.tgname), case when t.tgtype & 1 = 1 then 'replica'
          when t.tgtype & 32 = 32 then 'always' else '' end
        from pg_trigger t where t.tgrelid = 't'::regclass and not t.tgisinternal";
    for row in client.query(triggers, &[]).unwrap() {
        let (name, how): (String, String) = (row.get(0), row.get(1));
        let enable = format!("alter table t enable {how} trigger {name}");
        client.batch_execute(&enable).unwrap();
    }
    for statement in ["vacuum analyze", "checkpoint"] {
        client.batch_execute(statement).unwrap();
    }
    client
}

fn resync(database: &Database, client: &mut Client, verify_text: bool, rows: i64) {
    let provider = Canned::start(DIMENSIONS, Duration::ZERO);
    let url = provider.url();
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", url.as_str())];
    let worker = Process::worker("worker", &[], &environment);
    worker.wait_for_line("finished processing vectorizer", Duration::from_secs(60));
    let idle = Usage::of(worker.id()).unwrap_or_default().peak;
    let is_over = AtomicBool::new(false);
    let (writes, slowest) = thread::scope(|scope| {
        let writer = scope.spawn(|| write(database, rows, &is_over));
        let ask = format!("select ai.resync_vectorizer('t', {verify_text})");
        client.batch_execute(&ask).unwrap();
        let began = Instant::now();
        let state = "select state in ('done', 'failed') from ai.vectorizer_resync";
        while !client.query_one(state, &[]).unwrap().get::<_, bool>(0) {
            assert!(began.elapsed() < Duration::from_secs(900), "it never ends");
            thread::sleep(Duration::from_millis(10));
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let usage = Usage::of(worker.id()).unwrap_or_default();
    let found = "select state, extract(epoch from finished_at - started_at)::float8, rows_compared,
          missing, orphans, stale, reason
        from ai.vectorizer_resync";
    let row = client.query_one(found, &[]).unwrap();
    let (state, seconds): (String, f64) = (row.get(0), row.get(1));
    let counts: [i64; 4] = [row.get(2), row.get(3), row.get(4), row.get(5)];
    println!(
        "  {state} in {seconds:.1} s: {} rows compared, {} missing, {} orphans, {} stale",
        counts[0], counts[1], counts[2], counts[3]
    );
    println!(
        "  the worker: {} KiB at its peak ({idle} KiB before), {:.1} s of its processor",
        usage.peak,
        usage.cpu.as_secs_f64()
    );
    println!("  the application: {writes} writes, the slowest {slowest:.1?}");
    assert_eq!(state, "done", "{:?}", row.get::<_, Option<String>>(6));
    let each = rows / 1_000;
    let stale = if verify_text { each } else { 0 };
    // A row that the application changes meanwhile may be found, too: that does no harm.
    let [_, missing, orphans, found] = counts;
    assert_eq!((missing, orphans), (each, each));
    assert!(
        (stale..=stale + i64::from(writes)).contains(&found),
        "{found} stale"
    );
}

/// Changes rows that are in sync, as an application would; returns how many, and the longest that one took.
fn write(database: &Database, rows: i64, is_over: &AtomicBool) -> (u32, Duration) {
    let mut client = database.client();
    let (mut writes, mut slowest) = (0, Duration::ZERO);
    while !is_over.load(Ordering::Relaxed) {
        let id = 1 + i64::from(writes) * 7_919 % rows;
        if !(7..=9).contains(&(id % 1_000)) {
            let began = Instant::now();
            let sql = "update t set body = 'changed ' || $2::text where id = $1";
            client.execute(sql, &[&id, &writes.to_string()]).unwrap();
            slowest = slowest.max(began.elapsed());
        }
        writes += 1;
        thread::sleep(Duration::from_millis(5));
    }
    (writes, slowest)
}
