//! A change from a model of 384 dimensions to one of 768, while an application updates and searches, and workers are
//! killed: `cargo bench -p tests --bench change`; a number behind `--` is another number of rows.
//!
//! Printed are failed searches, answers with vectors of two models, each attempt of the switch with the time for which
//! it waited and held its locks, the slowest search, and the rows that are out of sync in the end.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use tests::measure::{Canned, percentile, text};
use tests::postgres::{Database, Server};
use tests::process::{Process, Signal, worker_path};

const OLD: usize = 384;
const NEW: usize = 768;
const CHARACTERS: usize = 200;

/// What the application does in each second.
const UPDATES: u32 = 1_000;
const SEARCHES: u32 = 50;
/// Sessions that update, and that search.
const WRITERS: u32 = 4;
const SEARCHERS: u32 = 2;

/// The first worker is killed after so long, and each following one after twice as long: to build an index takes its time.
const LIFE: Duration = Duration::from_secs(4);
/// The application goes on for so long after the switch.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Nothing may take longer.
const DEADLINE: Duration = Duration::from_secs(240);

/// Logs how long each attempt of the switch took, until just before its commit: failed ones are rolled back, and
/// leave nothing but a line in the server's log.
const WATCH: &str = "
alter function ai._change_switch(int) rename to _change_switch_watched;
create function ai._change_switch(generation int) returns void language plpgsql as $$
declare
    began timestamptz = clock_timestamp();
begin
    begin
        perform ai._change_switch_watched(generation);
    exception when others then
        raise log 'switch attempt: % ms, %', extract(epoch from clock_timestamp() - began) * 1000, sqlerrm;
        raise;
    end;
    raise log 'switch attempt: % ms, done', extract(epoch from clock_timestamp() - began) * 1000;
end
$$";

/// What the application saw.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    updates: AtomicU64,
    searches: AtomicU64,
    mixed: AtomicU64,
    failures: Mutex<Vec<String>>,
    times: Mutex<Vec<Duration>>,
}

/// The application ends with this, also where the bench fails.
struct End<'a>(&'a Seen);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

fn main() {
    let rows = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let rows: u64 = rows.unwrap_or(10_000);
    // Built now, while no clock runs.
    worker_path("worker");
    let server = Server::start(18);
    let database = server.database();
    let (old, new) = (
        Canned::start(OLD, Duration::from_millis(20)),
        Canned::start(NEW, Duration::from_millis(20)),
    );
    let mut client = prepare(&database, rows, &old);
    println!(
        "{rows} rows, {UPDATES} updates and {SEARCHES} searches a second, from {OLD} to {NEW} dimensions"
    );
    let seen = Seen::default();
    let (began, kills, worker) = thread::scope(|scope| {
        for number in 0..WRITERS {
            let (database, seen) = (&database, &seen);
            scope.spawn(move || update(database, seen, u64::from(number), rows));
        }
        for number in 0..SEARCHERS {
            let (database, seen) = (&database, &seen);
            scope.spawn(move || search(database, seen, number));
        }
        thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        client.batch_execute(WATCH).unwrap();
        let _end = End(&seen);
        let begin = format!(
            "select ai.alter_vectorizer('t', embedding => ai.embedding_ollama('new', {NEW}, base_url => '{}'))",
            new.url()
        );
        client.batch_execute(&begin).unwrap();
        let (kills, worker) = work(&database, &mut client, began);
        thread::sleep(AFTERWARDS);
        (began, kills, worker)
    });
    report(&server, &seen, began.elapsed(), kills);
    settle(&mut client);
    drop(worker);
}

/// A table whose rows are embedded by the old model.
fn prepare(database: &Database, rows: u64, old: &Canned) -> Client {
    database.install();
    let mut client = database.client();
    client
        .batch_execute(&format!(
            "create table t (id bigint primary key, body text not null);
             select ai.create_vectorizer('t', name => 't', loading => ai.loading_column('body'),
               chunking => ai.chunking_none(),
               embedding => ai.embedding_ollama('old', {OLD}, base_url => '{}'),
               indexing => ai.indexing_hnsw(min_rows => 1000, create_when_queue_empty => false),
               destination => ai.destination_table(target_table => 's', view_name => 'v'))",
            old.url()
        ))
        .unwrap();
    let insert = client
        .prepare("insert into t select * from unnest($1::bigint[], $2::text[])")
        .unwrap();
    let ids: Vec<i64> = (1..=rows.cast_signed()).collect();
    let texts: Vec<String> = (1..=rows).map(|id| text(id, CHARACTERS)).collect();
    client.execute(&insert, &[&ids, &texts]).unwrap();
    let environment = [("DB_URL", database.url())];
    let status = Process::worker("worker", &["--once"], &environment).wait(DEADLINE);
    assert!(status.success());
    client
}

/// Sleeps until the turn of this number, if it has not come.
fn pace(began: Instant, turn: u32, each_second: u32) {
    let due = began + Duration::from_secs(1) * turn / each_second;
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

fn update(database: &Database, seen: &Seen, writer: u64, rows: u64) {
    let mut client = database.client();
    let update = client
        .prepare("update t set body = $2 where id = $1")
        .unwrap();
    let began = Instant::now();
    for turn in 0.. {
        if seen.is_over.load(Ordering::Relaxed) {
            return;
        }
        pace(began, turn, UPDATES / WRITERS);
        // Each writer has rows of its own, in an order that looks random.
        let own = rows / u64::from(WRITERS);
        let id = 1 + writer * own + u64::from(turn) * 7_919 % own;
        let body = text(rows + u64::from(turn) * 17 + writer, CHARACTERS);
        client
            .execute(&update, &[&id.cast_signed(), &body])
            .unwrap();
        seen.updates.fetch_add(1, Ordering::Relaxed);
    }
}

/// Searches, as the page for users says it: each generation by its number, by `ai.search` and by its view; and reads
/// the view that serves.
fn search(database: &Database, seen: &Seen, searcher: u32) {
    let mut client = database.client();
    let began = Instant::now();
    for turn in 0.. {
        if seen.is_over.load(Ordering::Relaxed) {
            return;
        }
        pace(began, turn, SEARCHES / SEARCHERS);
        let generations = generations(&mut client);
        let generation = generations[(turn + searcher) as usize / 3 % generations.len()];
        let dimensions = if generation == 1 { OLD } else { NEW };
        // Before the change the view has no number.
        let view = if generations.len() > 1 {
            format!("v_{generation}")
        } else {
            "v".to_owned()
        };
        let question = vec!["0.1"; dimensions].join(",");
        let (sql, is_mixed_by_right) = match turn % 3 {
            0 => (
                format!(
                    "select v.embedding from ai.search('t', '[{question}]', 5, generation => {generation}) s
                     join {view} v on v.id = (s.key ->> 'id')::bigint and v.chunk_seq = s.chunk_seq"
                ),
                false,
            ),
            1 => (
                format!("select embedding from {view} order by embedding <=> '[{question}]' limit 5"),
                false,
            ),
            _ => ("select embedding from v limit 5".to_owned(), true),
        };
        let sql = format!("select distinct vector_dims(f.embedding) from ({sql}) f");
        let asked = Instant::now();
        let found = client.simple_query(&sql);
        seen.times.lock().unwrap().push(asked.elapsed());
        seen.searches.fetch_add(1, Ordering::Relaxed);
        match found {
            Ok(messages) => {
                let dims: Vec<usize> = messages.iter().filter_map(dims).collect();
                let is_other = !is_mixed_by_right && dims.iter().any(|it| *it != dimensions);
                if dims.len() > 1 || is_other {
                    seen.mixed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) => {
                let what = error
                    .as_db_error()
                    .map_or_else(|| error.to_string(), ToString::to_string);
                seen.failures.lock().unwrap().push(what);
            }
        }
    }
}

fn dims(message: &postgres::SimpleQueryMessage) -> Option<usize> {
    let postgres::SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    row.get(0)?.parse().ok()
}

/// The numbers of the generations that can be searched.
fn generations(client: &mut Client) -> Vec<i32> {
    let sql = "select substring(c.relname from '[0-9]+$')::int from pg_class c
        where c.relkind = 'v' and c.relname ~ '^v_[0-9]+$' and c.relnamespace = 'public'::regnamespace order by 1";
    let found = client.query(sql, &[]).unwrap();
    let found: Vec<i32> = found.iter().map(|row| row.get(0)).collect();
    if found.is_empty() { vec![1] } else { found }
}

/// Workers, one after the other, until the new generation serves. Returns how many were killed, and the one that lives.
fn work(database: &Database, client: &mut Client, began: Instant) -> (u32, Process) {
    let environment = [("DB_URL", database.url())];
    let mut kills = 0;
    let mut life = LIFE;
    let mut states = vec![];
    loop {
        let arguments = ["--poll-interval", "1s", "--lease", "10s"];
        let mut worker = Process::worker("worker", &arguments, &environment);
        let started = Instant::now();
        while started.elapsed() < life {
            thread::sleep(Duration::from_millis(50));
            let state = "select state from ai.vectorizer_generation";
            let state: String = client.query_one(state, &[]).unwrap().get(0);
            if states.last().is_none_or(|(last, _)| *last != state) {
                states.push((state.clone(), began.elapsed()));
            }
            if state == "kept" {
                let states = states
                    .iter()
                    .map(|(state, at)| format!("{state} at {at:.1?}"));
                println!("  {}", states.collect::<Vec<_>>().join(", "));
                return (kills, worker);
            }
        }
        assert!(
            began.elapsed() < DEADLINE,
            "the change does not end: {states:?}"
        );
        worker.signal(Signal::Kill);
        worker.wait(Duration::from_secs(10));
        kills += 1;
        life *= 2;
    }
}

fn report(server: &Server, seen: &Seen, took: Duration, kills: u32) {
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let seconds = took.as_secs_f64() + 1.0;
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let each_second = |number: &AtomicU64| count(number) as f64 / seconds;
    println!(
        "  {:.0} updates and {:.0} searches a second were done; {kills} workers were killed",
        each_second(&seen.updates),
        each_second(&seen.searches)
    );
    let failures = seen.failures.lock().unwrap();
    println!(
        "  failed searches: {} of {}",
        failures.len(),
        count(&seen.searches)
    );
    for failure in failures.iter().take(3) {
        println!("    {failure}");
    }
    println!("  mixed answers: {}", count(&seen.mixed));
    let mut times = seen.times.lock().unwrap();
    println!(
        "  a search: median {:.1?}, 99th percentile {:.1?}, slowest {:.1?}",
        percentile(&mut times, 50),
        percentile(&mut times, 99),
        percentile(&mut times, 100)
    );
    let log = server.log();
    for line in log
        .lines()
        .filter(|line| line.contains("LOG:  switch attempt"))
    {
        println!("  {}", line.split("LOG:  ").nth(1).unwrap_or_default());
    }
}

/// Lets the worker do the rest, and counts what is out of sync.
fn settle(client: &mut Client) {
    let waits = "select sum(ai.vectorizer_queue_pending(id, true))::bigint + coalesce(
        (select sum(change_pending)::bigint from ai.vectorizer_progress), 0) from ai.vectorizer";
    let began = Instant::now();
    while client.query_one(waits, &[]).unwrap().get::<_, i64>(0) > 0 {
        assert!(began.elapsed() < DEADLINE, "the queues are never empty");
        thread::sleep(Duration::from_millis(100));
    }
    for (view, dimensions) in [("v", NEW), ("v_1", OLD), ("v_2", NEW)] {
        let differs = format!(
            "select count(*) from t full join {view} v on v.id = t.id
             where t.id is null or v.chunk is distinct from t.body or vector_dims(v.embedding) <> {dimensions}"
        );
        let rows: i64 = client.query_one(&differs, &[]).unwrap().get(0);
        println!("  rows of {view} that are out of sync: {rows}");
    }
}
