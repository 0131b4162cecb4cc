//! What a vectorizer costs the application that writes: `cargo bench -p tests --bench triggers`.
//!
//! Each statement runs on a table without and on one with a vectorizer, in turns, in one run; no
//! worker is there. Printed are the medians and their ratio. Then single rows, by pgbench, without a
//! worker, when every writer notifies in vain, and with a busy one, which shares the machine.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::process::Command;
use std::time::{Duration, Instant};

use postgres::Client;
use tests::measure::Canned;
use tests::postgres::{Database, Server, client_program};
use tests::process::Process;

const ROUNDS: usize = 5;

/// Statements in order, `{t}` for the table; those without a name only prepare the next one.
const STATEMENTS: [(&str, &str); 7] = [
    ("", "truncate {t}"),
    (
        "insert 200,000 rows",
        "insert into {t} select n, 'text ' || n, 0 from generate_series(1, 200000) n",
    ),
    (
        "update the embedded column of 200,000 queued rows",
        "update {t} set body = body || 'x'",
    ),
    (
        "update another column of 200,000 rows",
        "update {t} set other = 1",
    ),
    ("", "{drain}"),
    (
        "update the embedded column of 200,000 rows that are not queued",
        "update {t} set body = body || 'y'",
    ),
    ("delete 100,000 rows", "delete from {t} where id <= 100000"),
];

fn main() {
    let database = Server::shared().database();
    database.install();
    let mut client = database.client();
    for table in ["plain", "watched"] {
        let sql = format!("create table {table} (id int primary key, body text, other int)");
        client.batch_execute(&sql).unwrap();
    }
    client
        .batch_execute(
            "select ai.create_vectorizer('watched', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3), destination => ai.destination_table('e'))",
        )
        .unwrap();
    let mut times = vec![[vec![], vec![]]; STATEMENTS.len()];
    for _ in 0..ROUNDS {
        for (side, table) in ["plain", "watched"].iter().enumerate() {
            for (number, (_, sql)) in STATEMENTS.iter().enumerate() {
                times[number][side].push(time(&mut client, sql, table));
            }
            client.batch_execute("vacuum").unwrap();
        }
    }
    for ((name, _), sides) in STATEMENTS.iter().zip(times) {
        if !name.is_empty() {
            let [without, with] = sides.map(median);
            let ratio = with.as_secs_f64() / without.as_secs_f64();
            println!(
                "{name}: {without:.0?} without, {with:.0?} with a vectorizer: {ratio:.2} times"
            );
        }
    }
    println!("without a worker");
    single_rows(&database, &mut client);
    println!("with a worker that follows");
    let provider = Canned::start(3, Duration::ZERO);
    let url = provider.url();
    let environment = [("DB_URL", database.url()), ("OLLAMA_HOST", url.as_str())];
    let _worker = Process::worker("worker", &["--log-level", "warning"], &environment);
    single_rows(&database, &mut client);
}

fn time(client: &mut Client, sql: &str, table: &str) -> Duration {
    let sql = sql
        .replace("{t}", table)
        .replace("{drain}", "truncate ai._vectorizer_q_1");
    let began = Instant::now();
    client.batch_execute(&sql).unwrap();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Transactions of one update each, from several sessions.
fn single_rows(database: &Database, client: &mut Client) {
    for table in ["plain", "watched"] {
        let sql = format!(
            "truncate {table}; insert into {table} select n, 'text', 0 from generate_series(1, 20000) n"
        );
        client.batch_execute(&sql).unwrap();
    }
    for writers in [1, 8, 32] {
        let [without, with] = ["plain", "watched"].map(|table| {
            let script = tempfile::NamedTempFile::new().unwrap();
            let sql = format!("\\set id random(1, 20000)\nupdate {table} set body = 'text ' || random() where id = :id;\n");
            std::fs::write(script.path(), sql).unwrap();
            let output = Command::new(client_program("pgbench"))
                .args(["-n", "-M", "prepared", "-T", "4", "-j", "2", "-c", &writers.to_string(), "-f"])
                .args([script.path().to_str().unwrap(), database.url()])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let tps = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
            tps.unwrap_or_else(|| panic!("{said}")).parse::<f64>().unwrap()
        });
        println!(
            "  single updates, {writers} writers: {without:.0} a second without, {with:.0} with a vectorizer: {:.2} times the cost",
            without / with
        );
    }
}
