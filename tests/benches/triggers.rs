//! What a vectorizer costs the application that writes: `cargo bench -p tests --bench triggers`.
//!
//! Three tables are written in turns, in one run: one without a vectorizer, one with that of pgai (the triggers of the
//! real package), one with ours. First statements of many rows, then of one row and of ten, then single updates by
//! pgbench from several sessions. No worker is there; at the end ours follows, and with `PGAI_PYTHON` pgai's. The server
//! has PostgreSQL's default settings, `fsync` and `synchronous_commit` among them.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::process::Command;
use std::time::{Duration, Instant};

use postgres::Client;
use tests::measure::Canned;
use tests::postgres::{Database, Server, client_program};
use tests::process::Process;

const ROUNDS: usize = 5;

/// Statements in order, `{t}` for the table; those without a name only prepare the next one. `{drain}` empties the queue,
/// as a worker does.
const MANY: &[(&str, &str)] = &[
    ("", "truncate {t}; {drain}"),
    (
        "insert 200,000 rows",
        "insert into {t} select n, 'text ' || n, 0 from generate_series(1, 200000) n",
    ),
    (
        "update the text of 200,000 queued rows",
        "update {t} set body = body || 'x'",
    ),
    (
        "update another column of 200,000 rows",
        "update {t} set other = 1",
    ),
    ("", "{drain}"),
    (
        "update the text of 200,000 rows that are not queued",
        "update {t} set body = body || 'y'",
    ),
    ("", "{drain}"),
    (
        "delete 100,000 rows without chunks",
        "delete from {t} where id <= 100000",
    ),
    (
        "delete 100,000 queued rows without chunks",
        "delete from {t} where id > 100000",
    ),
];

/// One statement of few rows, `{n}` for a number that counts up.
const FEW: &[(&str, &str)] = &[
    ("insert 1 row", "insert into {t} values ({n}, 'text', 0)"),
    (
        "update 1 row",
        "update {t} set body = 'text {n}' where id = {n}",
    ),
    (
        "update another column of 1 row",
        "update {t} set other = {n} where id = {n}",
    ),
    ("delete 1 row", "delete from {t} where id = {n}"),
    (
        "insert 10 rows",
        "insert into {t} select n, 'text', 0 from generate_series({n}0, {n}9) n",
    ),
    (
        "update 10 rows",
        "update {t} set body = 'text {n}' where id between {n}0 and {n}9",
    ),
    (
        "delete 10 rows",
        "delete from {t} where id between {n}0 and {n}9",
    ),
];

/// A table, its database, and what follows it.
struct Side {
    name: &'static str,
    database: Database,
    client: Client,
}

fn main() {
    let server = Server::start_with(
        18,
        &[
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("max_connections", "100"),
        ],
    );
    let mut sides = [plain(&server), pgai(&server), ours(&server)];
    many(&mut sides);
    few(&mut sides);
    println!("\nsingle updates a second, no worker");
    single_rows(&mut sides);
    println!("\nsingle updates a second, with a worker that follows");
    followed(&mut sides);
}

const TABLE: &str = "create table docs (id int primary key, body text, other int)";
const VECTORIZER: &str = "select ai.create_vectorizer('docs', loading => ai.loading_column('body'),
    embedding => ai.embedding_ollama('m', 3), destination => ai.destination_table('e'))";

fn plain(server: &Server) -> Side {
    let database = server.database();
    let mut client = database.client();
    client.batch_execute(TABLE).unwrap();
    Side {
        name: "plain",
        database,
        client,
    }
}

fn pgai(server: &Server) -> Side {
    let database = server.database();
    let mut client = database.client();
    let script = tests::python::pgai_sql("0.12.1").unwrap();
    client.batch_execute("create extension vector").unwrap();
    client.batch_execute(&script).unwrap();
    let created = VECTORIZER.replace(
        "ai.destination_table('e')",
        "ai.destination_table('e'), scheduling => ai.scheduling_none()",
    );
    client
        .batch_execute(&format!("{TABLE}; {created}"))
        .unwrap();
    Side {
        name: "pgai",
        database,
        client,
    }
}

fn ours(server: &Server) -> Side {
    let database = server.database();
    database.install();
    let mut client = database.client();
    client
        .batch_execute(&format!("{TABLE}; {VECTORIZER}"))
        .unwrap();
    Side {
        name: "ours",
        database,
        client,
    }
}

impl Side {
    fn run(&mut self, sql: &str) -> Duration {
        let drain = if self.name == "plain" {
            ""
        } else {
            "truncate ai._vectorizer_q_1"
        };
        let sql = sql.replace("{t}", "docs").replace("{drain}", drain);
        let began = Instant::now();
        self.client.batch_execute(&sql).unwrap();
        began.elapsed()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn print(name: &str, times: Vec<Vec<Duration>>) {
    let medians: Vec<_> = times.into_iter().map(median).collect();
    let [plain, pgai, ours] = medians[..] else {
        unreachable!("three sides")
    };
    let ratio = |time: Duration| time.as_secs_f64() / plain.as_secs_f64();
    println!(
        "{name}: {plain:.1?} plain, {pgai:.1?} with pgai's trigger ({:.2} times), {ours:.1?} with ours ({:.2} times)",
        ratio(pgai),
        ratio(ours)
    );
}

fn many(sides: &mut [Side; 3]) {
    let mut times = vec![vec![vec![]; 3]; MANY.len()];
    for _ in 0..ROUNDS {
        for (place, side) in sides.iter_mut().enumerate() {
            for (number, (_, sql)) in MANY.iter().enumerate() {
                times[number][place].push(side.run(sql));
            }
            side.run("vacuum");
        }
    }
    for ((name, _), times) in MANY
        .iter()
        .zip(times)
        .filter(|((name, _), _)| !name.is_empty())
    {
        print(name, times);
    }
}

/// Each statement 1,000 times, on all tables in turns.
fn few(sides: &mut [Side; 3]) {
    for side in sides.iter_mut() {
        side.run("truncate {t}; {drain}");
    }
    for (name, sql) in FEW {
        let mut times = vec![vec![]; 3];
        for n in 1..=1_000 {
            for (place, side) in sides.iter_mut().enumerate() {
                times[place].push(side.run(&sql.replace("{n}", &n.to_string())));
            }
        }
        print(name, times);
    }
}

/// Transactions of one update each, from several sessions, in turns.
fn single_rows(sides: &mut [Side; 3]) {
    for writers in [1, 8, 32] {
        let mut rates = vec![vec![]; 3];
        for _ in 0..3 {
            for (place, side) in sides.iter_mut().enumerate() {
                refill(side);
                rates[place].push(pgbench(&side.database, writers));
            }
        }
        let [plain, pgai, ours] = rates
            .into_iter()
            .map(|mut rates: Vec<f64>| {
                rates.sort_by(f64::total_cmp);
                rates[1]
            })
            .collect::<Vec<_>>()[..]
        else {
            unreachable!("three sides")
        };
        println!(
            "  {writers} writers: {plain:.0} plain, {pgai:.0} with pgai's trigger, {ours:.0} with ours ({:.2} of pgai's)",
            ours / pgai
        );
    }
}

fn refill(side: &mut Side) {
    side.run("truncate {t}; insert into {t} select n, 'text', 0 from generate_series(1, 20000) n");
    side.run("{drain}");
    side.run("checkpoint");
}

fn pgbench(database: &Database, writers: usize) -> f64 {
    let script = tempfile::NamedTempFile::new().unwrap();
    let sql =
        "\\set id random(1, 20000)\nupdate docs set body = 'text ' || random() where id = :id;\n";
    std::fs::write(script.path(), sql).unwrap();
    let output = Command::new(client_program("pgbench"))
        .args([
            "-n",
            "-M",
            "prepared",
            "-T",
            "4",
            "-j",
            "2",
            "-c",
            &writers.to_string(),
            "-f",
        ])
        .args([script.path().to_str().unwrap(), database.url()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    tps.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
        .parse()
        .unwrap()
}

/// The writers' rate alone misleads: a worker that does not keep up costs nothing. So what is left behind is printed, too.
fn followed(sides: &mut [Side; 3]) {
    let provider = Canned::start(3, Duration::ZERO);
    let url = provider.url();
    for side in sides.iter_mut().filter(|side| side.name != "plain") {
        let environment = [
            ("DB_URL", side.database.url()),
            ("OLLAMA_HOST", url.as_str()),
        ];
        let Some(_worker) = follower(side.name, &environment) else {
            println!("  {}: set PGAI_PYTHON to run its worker", side.name);
            continue;
        };
        for writers in [1, 8, 32] {
            refill(side);
            provider.take_counts();
            let rate = pgbench(&side.database, writers);
            let (_, embedded, _) = provider.take_counts();
            let left = "select count(*) from ai._vectorizer_q_1";
            let left: i64 = side.client.query_one(left, &[]).unwrap().get(0);
            println!(
                "  {} and its worker, {writers} writers: {rate:.0} updates a second, {embedded} texts embedded meanwhile, {left} items left",
                side.name
            );
        }
    }
}

fn follower(name: &str, environment: &[(&str, &str)]) -> Option<Process> {
    if name == "ours" {
        return Some(Process::worker(
            "worker",
            &["--log-level", "warning"],
            environment,
        ));
    }
    let python = std::env::var("PGAI_PYTHON").ok()?;
    let call = [
        "-c",
        "from pgai.cli import cli; cli()",
        "vectorizer",
        "worker",
        "--poll-interval",
        "1s",
    ];
    Some(Process::spawn(python, &call, environment))
}
