//! Real workers of both kinds, a real PostgreSQL and a real HTTP server, and all of them fail while
//! rows are edited. Then the world heals, and every row is looked at.
//!
//! Half a minute; `PGAI_CHAOS_SECONDS=3600 cargo test -p tests --test chaos -- --nocapture` for an
//! hour. `PGAI_CHAOS_SEED` repeats the same order of troubles (the timing is the machine's own).

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use postgres::{Client, NoTls};
use tests::postgres::{Server, Shutdown};
use tests::process::{Process, Signal};
use tests::stub::{Behaviour, Stub, vector_of};
use tests::world::Entropy;

const DIMENSIONS: usize = 8;
const ROWS: u64 = 300;
/// Short, so that a stopped worker outlives it.
const LEASE: &str = "3";
const SHELLS: [&str; 4] = ["worker", "worker-blocking", "worker", "worker-blocking"];

struct World {
    server: Server,
    url: String,
    stub: Stub,
    workers: Vec<Option<Process>>,
}

impl World {
    fn new() -> Self {
        let server = Server::start(18);
        let database = server.database();
        database.install();
        let url = database.url().to_owned();
        // The database goes with its server.
        std::mem::forget(database);
        let mut sql = Client::connect(&url, NoTls).unwrap();
        for (table, destination, chunking) in [
            (
                "blog",
                "ai.destination_table('blog_e')",
                "ai.chunking_character_text_splitter(40, 0, E'\\n\\n')",
            ),
            (
                "notes",
                "ai.destination_column('vector')",
                "ai.chunking_none()",
            ),
        ] {
            sql.batch_execute(&format!(
                "create table {table} (id int primary key, title text, body text);
                 select ai.create_vectorizer('{table}', loading => ai.loading_column('body', retries => 1000),
                   embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => {chunking},
                   formatting => ai.formatting_python_template('$title: $chunk'), destination => {destination})"
            ))
            .unwrap();
        }
        let mut world = Self {
            server,
            url,
            stub: Stub::start_with(DIMENSIONS),
            workers: SHELLS.iter().map(|_| None).collect(),
        };
        for place in 0..SHELLS.len() {
            world.start(place);
        }
        world
    }

    fn start(&mut self, place: usize) {
        let environment = [
            ("DB_URL", self.url.as_str()),
            ("OLLAMA_HOST", &self.stub.url()),
        ];
        let arguments = [
            "--poll-interval",
            "1",
            "--lease",
            LEASE,
            "--log-level",
            "error",
        ];
        let worker = Process::worker(SHELLS[place], &arguments, &environment);
        self.workers[place] = Some(worker);
    }

    fn signal(&mut self, place: usize, signal: Signal) {
        if let Some(worker) = &mut self.workers[place] {
            worker.signal(signal);
        }
    }

    /// One trouble, from its beginning to its end. Its name is returned.
    fn trouble(&mut self, entropy: &mut Entropy<'_>) -> &'static str {
        let place = entropy.index(SHELLS.len());
        let while_it_lasts = Duration::from_millis(200 + entropy.number(1500));
        match entropy.number(8) {
            0 => {
                self.signal(place, Signal::Kill);
                self.start(place);
                "a worker killed"
            }
            1 => {
                self.signal(place, Signal::Term);
                sleep(while_it_lasts);
                self.start(place);
                "a worker stopped"
            }
            2 => {
                self.signal(place, Signal::Stop);
                sleep(Duration::from_secs(4));
                self.signal(place, Signal::Cont);
                "a worker frozen past its lease"
            }
            3 => {
                self.server.restart(Shutdown::Fast);
                "PostgreSQL restarted"
            }
            4 => {
                self.server.restart(Shutdown::Immediate);
                "PostgreSQL crashed"
            }
            5 => {
                self.stub.go_down();
                sleep(while_it_lasts);
                self.stub.come_up();
                "the provider down"
            }
            6 => {
                for behaviour in [
                    Behaviour::Truncated,
                    Behaviour::TooFewVectors,
                    Behaviour::CloseAfterReading,
                    Behaviour::rate_limited("0.2"),
                    Behaviour::NotANumber,
                    Behaviour::status(503),
                ] {
                    self.stub.script(behaviour);
                }
                "bad answers"
            }
            _ => {
                let kill = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgai-worker%'";
                if let Ok(mut sql) = Client::connect(&self.url, NoTls) {
                    sql.batch_execute(kill).ok();
                }
                "sessions ended"
            }
        }
    }
}

/// Edits both tables until it is told to stop; counts what was committed.
fn edit(url: &str, seed: u64, stop: &AtomicBool, edits: &AtomicU64) {
    let mut entropy = Entropy::Seed(seed);
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut sql) = Client::connect(url, NoTls) else {
            sleep(Duration::from_millis(50));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            let table = ["blog", "notes"][entropy.index(2)];
            let (id, other) = (entropy.number(ROWS), entropy.number(ROWS));
            let words: Vec<String> = (0..=entropy.number(4))
                .map(|n| format!("{n}.{:.<25}", entropy.number(50)))
                .collect();
            let text = words.join("\n\n");
            let statement = match entropy.number(10) {
                0 => format!("delete from {table} where id = {id}"),
                1 => format!("update {table} set id = {} where id = {id}", id + ROWS),
                2 => format!(
                    "delete from {table} where id = {id}; insert into {table} values ({id}, 't', '{text}') on conflict do nothing"
                ),
                3 => format!("update {table} set body = null where id = {id}"),
                4 => format!(
                    "begin isolation level repeatable read; update {table} set body = '{text}' where id in ({id}, {other}); commit"
                ),
                5 => format!("begin; update {table} set title = 'x' where id = {id}; rollback"),
                6 if entropy.chance(30) => format!("truncate {table}"),
                _ => format!(
                    "insert into {table} values ({id}, 't', '{text}') on conflict (id) do update set body = excluded.body"
                ),
            };
            match sql.batch_execute(&statement) {
                Ok(()) => {
                    edits.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => match error.as_db_error().map(|error| error.code().code()) {
                    // A conflict between editors, or a row that is in the way: their own affair.
                    Some(code) if code.starts_with("40") || code.starts_with("23") => {
                        sql.batch_execute("rollback").ok();
                    }
                    // The server ended the session, or the session ended without a word.
                    Some(code) if code.starts_with("57") => break,
                    None => break,
                    Some(_) => panic!("{statement}: {error:?}"),
                },
            }
            sleep(Duration::from_millis(2 + entropy.number(8)));
        }
    }
}

/// The chunks that a body should have, as the splitter makes them of these texts.
fn chunks(title: &str, body: &str) -> Vec<String> {
    body.split("\n\n")
        .filter(|chunk| !chunk.is_empty())
        .map(|chunk| format!("{title}: {chunk}"))
        .collect()
}

#[track_caller]
fn check(sql: &mut Client) {
    let rows = sql
        .query("select id, title, body from blog order by id", &[])
        .unwrap();
    let wanted: Vec<(i32, i32, String)> = rows
        .iter()
        .flat_map(|row| {
            let (id, title, body): (i32, String, Option<String>) =
                (row.get(0), row.get(1), row.get(2));
            let chunks = chunks(&title, &body.unwrap_or_default());
            chunks
                .into_iter()
                .zip(0..)
                .map(move |(chunk, place)| (id, place, chunk))
        })
        .collect();
    let rows = sql
        .query(
            "select id, chunk_seq, chunk, embedding::real[] from blog_e_store order by 1, 2",
            &[],
        )
        .unwrap();
    let stored: Vec<(i32, i32, String)> = rows
        .iter()
        .map(|row| {
            let (chunk, vector): (String, Vec<f32>) = (row.get(2), row.get(3));
            assert_eq!(
                vector,
                vector_of(&chunk, DIMENSIONS),
                "the vector of {chunk:?}"
            );
            (row.get(0), row.get(1), chunk)
        })
        .collect();
    assert_eq!(stored, wanted);
    for row in sql
        .query("select id, title, body, vector::real[] from notes", &[])
        .unwrap()
    {
        let (id, title): (i32, String) = (row.get(0), row.get(1));
        let (body, vector): (Option<String>, Option<Vec<f32>>) = (row.get(2), row.get(3));
        let wanted = body.map(|body| vector_of(&format!("{title}: {body}"), DIMENSIONS));
        assert_eq!(vector, wanted, "note {id}");
    }
    for table in [
        "ai._vectorizer_q_1",
        "ai._vectorizer_q_2",
        "ai._vectorizer_q_failed_1",
        "ai._vectorizer_q_failed_2",
    ] {
        let left: i64 = sql
            .query_one(&format!("select count(*) from {table}"), &[])
            .unwrap()
            .get(0);
        assert_eq!(left, 0, "{table}");
    }
}

#[test]
fn whatever_fails_every_row_ends_with_its_own_vectors() {
    let seconds = std::env::var("PGAI_CHAOS_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(30);
    let clock = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let seed = std::env::var("PGAI_CHAOS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(clock);
    eprintln!("PGAI_CHAOS_SEED={seed}");
    let mut world = World::new();
    let stop = Arc::new(AtomicBool::new(false));
    let edits = Arc::new(AtomicU64::new(0));
    let editors: Vec<_> = (0..3)
        .map(|number| {
            let (url, stop, edits) = (world.url.clone(), Arc::clone(&stop), Arc::clone(&edits));
            thread::spawn(move || edit(&url, seed + number, &stop, &edits))
        })
        .collect();
    let mut entropy = Entropy::Seed(seed);
    let began = Instant::now();
    let mut troubles = std::collections::BTreeMap::<&str, u32>::new();
    while began.elapsed() < Duration::from_secs(seconds) {
        sleep(Duration::from_millis(entropy.number(800)));
        *troubles.entry(world.trouble(&mut entropy)).or_default() += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for editor in editors {
        editor.join().unwrap();
    }
    world.stub.clear_script();
    eprintln!("{} edits, {troubles:?}", edits.load(Ordering::Relaxed));
    assert!(
        edits.load(Ordering::Relaxed) > 10 * seconds,
        "the editors hardly got a word in"
    );

    // Healed: within the longest backoff of a row that failed often, everything is true.
    let patience = Duration::from_secs(120);
    let healed = Instant::now();
    let mut sql = Client::connect(&world.url, NoTls).unwrap();
    loop {
        let waiting: i64 = sql
            .query_one("select (select count(*) from ai._vectorizer_q_1) + (select count(*) from ai._vectorizer_q_2)", &[])
            .unwrap()
            .get(0);
        if waiting == 0 {
            break;
        }
        assert!(
            healed.elapsed() < patience,
            "{waiting} rows wait still, {patience:?} after the last trouble"
        );
        sleep(Duration::from_millis(100));
    }
    check(&mut sql);
    assert_eq!(world.stub.complaints(), Vec::<String>::new());
    for worker in world.workers.iter_mut().flatten() {
        assert!(worker.is_running(), "a worker has given up");
    }
}
