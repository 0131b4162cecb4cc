//! Working off a backlog with `--once`: `cargo bench -p tests --bench drain`, or only the cases
//! whose names contain one of the words behind `--`.
//!
//! Each line is the median of three runs from start to exit, against a provider that answers from
//! prepared pieces. The floor is COPY of the same rows into the same store. With `PGAI_PYTHON`
//! (the interpreter of an environment that has pgai 0.12.1) pgai's own worker drains the same
//! backlog, too: docs/performance.md says how to make one. Where PgBouncer is installed, our workers
//! also drain it through one in transaction mode.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]
#![allow(clippy::unwrap_used, reason = "a bench ends where it cannot go on")]

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use tests::measure::{Canned, Usage, percentile, text, until_end};
use tests::pgbouncer::PgBouncer;
use tests::postgres::{Database, Server};
use tests::process::{Process, worker_path};
use tests::python::pgai_sql;

const ROUNDS: usize = 3;

/// What is drained.
struct Case {
    name: &'static str,
    documents: u64,
    /// Of each document.
    characters: usize,
    dimensions: usize,
    latency: Duration,
    destination: Destination,
    /// Whether the separators are regexes, which take their time.
    has_regex: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Destination {
    Column,
    Table,
}

/// Who drains it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Drainer {
    Ours(&'static str),
    /// Ours, through a pooler.
    Pooled(&'static str),
    /// With this concurrency.
    Python(&'static str),
}

const USUAL: Case = Case {
    name: "usual: 2,000 documents of 2,500 characters, 768 dimensions",
    documents: 2_000,
    characters: 2_500,
    dimensions: 768,
    latency: Duration::ZERO,
    destination: Destination::Table,
    has_regex: false,
};

const CASES: [Case; 11] = [
    USUAL,
    Case {
        name: "latency: usual, 20 ms a request",
        latency: Duration::from_millis(20),
        ..USUAL
    },
    Case {
        name: "latency: usual, 100 ms a request",
        latency: Duration::from_millis(100),
        ..USUAL
    },
    Case {
        name: "dimensions: usual, 384",
        dimensions: 384,
        ..USUAL
    },
    Case {
        name: "dimensions: usual, 1,536",
        dimensions: 1_536,
        ..USUAL
    },
    Case {
        name: "dimensions: usual, 3,072",
        dimensions: 3_072,
        ..USUAL
    },
    Case {
        name: "short: 10,000 rows of 100 characters",
        documents: 10_000,
        characters: 100,
        ..USUAL
    },
    Case {
        name: "column: 10,000 rows of 100 characters",
        documents: 10_000,
        characters: 100,
        destination: Destination::Column,
        ..USUAL
    },
    Case {
        name: "long: 20 documents of 250,000 characters",
        documents: 20,
        characters: 250_000,
        ..USUAL
    },
    Case {
        name: "regex: 100 documents of 250,000 characters, 4 dimensions, separators that are slow regexes",
        documents: 100,
        characters: 250_000,
        dimensions: 4,
        has_regex: true,
        ..USUAL
    },
    Case {
        name: "huge: 1 document of 50,000,000 characters, 4 dimensions",
        documents: 1,
        characters: 50_000_000,
        dimensions: 4,
        ..USUAL
    },
];

fn main() {
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let cases = CASES.iter().filter(|case| {
        words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()))
    });
    // Built now, while no clock runs.
    worker_path("worker");
    for case in cases {
        measure(case);
    }
    if words.is_empty() || words.iter().any(|word| word == "idle") {
        idle();
        starts();
    }
}

fn measure(case: &Case) {
    println!("\n{}", case.name);
    let mut drainers = vec![Drainer::Ours("worker"), Drainer::Ours("worker-blocking")];
    let pooler = PgBouncer::program();
    let pooler = pooler.map(|_| PgBouncer::start("transaction", Server::shared().url(), ""));
    if pooler.is_some() {
        drainers.extend([
            Drainer::Pooled("worker"),
            Drainer::Pooled("worker-blocking"),
        ]);
    }
    // The Python worker writes to columns, too, and takes minutes over what is huge.
    let is_huge = case.characters > 1_000_000;
    if std::env::var_os("PGAI_PYTHON").is_some() && !is_huge {
        drainers.extend([Drainer::Python("1"), Drainer::Python("4")]);
    }
    let provider = Canned::start(case.dimensions, case.latency);
    let mut rounds = vec![vec![]; drainers.len()];
    let mut floors = vec![];
    let mut chunks = 0;
    for round in 0..ROUNDS {
        for (usages, drainer) in rounds.iter_mut().zip(&drainers) {
            let database = backlog(case, *drainer);
            usages.push(drain(*drainer, &database, &provider, pooler.as_ref()));
            chunks = written(case, &database);
            if *drainer == Drainer::Ours("worker") {
                floors.extend(floor(case, &database));
            }
        }
        if is_huge && round == 0 {
            break;
        }
    }
    provider.take_counts();
    let floor = (!floors.is_empty()).then(|| percentile(&mut floors, 50));
    if let Some(floor) = floor {
        println!(
            "  {chunks} vectors; COPY of them: {:.2} s",
            floor.as_secs_f64()
        );
    }
    let medians: Vec<_> = rounds.into_iter().map(median).collect();
    let python = drainers.iter().zip(&medians);
    let python = python.filter(|(drainer, _)| matches!(drainer, Drainer::Python(_)));
    let best = python.map(|(_, usage)| usage.wall).min();
    for (drainer, usage) in drainers.iter().zip(&medians) {
        print!(
            "  {:<23} {:>6.2} s wall, {:>5.2} s CPU, {:>4} MB peak",
            name(*drainer),
            usage.wall.as_secs_f64(),
            usage.cpu.as_secs_f64(),
            usage.peak / 1_024,
        );
        let ratio = |one: Duration, other: Duration| one.as_secs_f64() / other.as_secs_f64();
        if let Some(floor) = floor {
            print!(", {:.1} times COPY", ratio(usage.wall, floor));
        }
        match (drainer, best) {
            (Drainer::Ours(_), Some(best)) => {
                print!(
                    ", {:.1} times as fast as pgai's best",
                    ratio(best, usage.wall)
                );
            }
            (Drainer::Pooled(binary), _) => {
                let direct = drainers.iter().zip(&medians);
                let mut direct = direct.filter(|(one, _)| **one == Drainer::Ours(binary));
                if let Some((_, direct)) = direct.next() {
                    print!(
                        ", {:.2} times the direct one",
                        ratio(usage.wall, direct.wall)
                    );
                }
            }
            (Drainer::Ours(_), None) | (Drainer::Python(_), _) => {}
        }
        println!();
    }
}

/// Starting, finding nothing, and ending.
fn idle() {
    println!("\nidle: nothing is queued");
    let case = Case {
        documents: 0,
        ..USUAL
    };
    let mut drainers = vec![Drainer::Ours("worker"), Drainer::Ours("worker-blocking")];
    if std::env::var_os("PGAI_PYTHON").is_some() {
        drainers.push(Drainer::Python("1"));
    }
    let provider = Canned::start(case.dimensions, Duration::ZERO);
    for drainer in drainers {
        let database = backlog(&case, drainer);
        let usages = (0..9).map(|_| drain(drainer, &database, &provider, None));
        let usage = median(usages.collect());
        println!(
            "  {:<18} {:>6.0} ms wall, {:>4} MB peak",
            name(drainer),
            usage.wall.as_secs_f64() * 1e3,
            usage.peak / 1_024
        );
    }
}

/// From the start of the process to the first request, which follows the first claim and read.
fn starts() {
    println!("\nstart to first request: one row waits");
    for binary in ["worker", "worker-blocking"] {
        let case = Case {
            documents: 1,
            ..USUAL
        };
        let mut times: Vec<_> = (0..9)
            .map(|_| {
                let database = backlog(&case, Drainer::Ours(binary));
                let provider = Canned::start(case.dimensions, Duration::ZERO);
                let url = provider.url();
                let environment = [("OLLAMA_HOST", url.as_str()), ("DB_URL", database.url())];
                let began = Instant::now();
                let _process = Process::worker(binary, &["--once"], &environment);
                while provider.take_counts().0 == 0 {
                    assert!(began.elapsed() < Duration::from_secs(60), "it never asks");
                    std::thread::sleep(Duration::from_micros(200));
                }
                began.elapsed()
            })
            .collect();
        let median = percentile(&mut times, 50);
        println!("  {binary:<18} {:>6.0} ms", median.as_secs_f64() * 1e3);
    }
}

fn name(drainer: Drainer) -> String {
    match drainer {
        Drainer::Ours(binary) => binary.to_owned(),
        Drainer::Pooled(binary) => format!("{binary}, pooled"),
        Drainer::Python(concurrency) => format!("pgai -c {concurrency}"),
    }
}

fn median(mut usages: Vec<Usage>) -> Usage {
    usages.sort_by_key(|usage| usage.wall);
    usages[usages.len() / 2]
}

/// A database in which everything waits.
fn backlog(case: &Case, drainer: Drainer) -> Database {
    let database = Server::shared().database();
    let mut client = database.client();
    match drainer {
        Drainer::Ours(_) | Drainer::Pooled(_) => database.install(),
        Drainer::Python(_) => {
            client.batch_execute("create extension vector").unwrap();
            client.batch_execute(&pgai_sql("0.12.1").unwrap()).unwrap();
        }
    }
    client
        .batch_execute("create table t (id int primary key, body text not null)")
        .unwrap();
    let mut rows = client.copy_in("copy t from stdin").unwrap();
    for id in 0..case.documents {
        let body = text(id, case.characters).replace('\n', "\\n");
        writeln!(rows, "{id}\t{body}").unwrap();
    }
    rows.finish().unwrap();
    let (chunking, destination) = match case.destination {
        Destination::Column => ("none()", "column('embedding')"),
        Destination::Table if case.has_regex => (
            r"recursive_character_text_splitter(20000, 0, array['(?:[a-z]+ ){6}x\. ', '(?<=[.!?])\s+', '\s+', ''], true)",
            "table(target_table => 't_store')",
        ),
        Destination::Table => (
            "recursive_character_text_splitter(800, 400)",
            "table(target_table => 't_store')",
        ),
    };
    let create = format!(
        "select ai.create_vectorizer('t', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {}),
           chunking => ai.chunking_{chunking}, destination => ai.destination_{destination})",
        case.dimensions
    );
    client.batch_execute(&create).unwrap();
    for statement in ["vacuum analyze", "checkpoint"] {
        client.batch_execute(statement).unwrap();
    }
    database
}

fn drain(
    drainer: Drainer,
    database: &Database,
    provider: &Canned,
    pooler: Option<&PgBouncer>,
) -> Usage {
    let url = provider.url();
    let place = match (drainer, pooler) {
        (Drainer::Pooled(_), Some(pooler)) => pooler.url(database.url()),
        _ => database.url().to_owned(),
    };
    let environment = [("OLLAMA_HOST", url.as_str()), ("DB_URL", &place)];
    let began = Instant::now();
    let process = match drainer {
        Drainer::Ours(binary) | Drainer::Pooled(binary) => {
            Process::worker(binary, &["--once"], &environment)
        }
        Drainer::Python(concurrency) => {
            let python = std::env::var("PGAI_PYTHON").unwrap();
            let call = [
                "-c",
                "from pgai.cli import cli; cli()",
                "vectorizer",
                "worker",
                "--once",
                "-d",
                database.url(),
                "-c",
                concurrency,
            ];
            Process::spawn(python, &call, &environment)
        }
    };
    until_end(process, began)
}

/// How many vectors there are; all that there should be.
fn written(case: &Case, database: &Database) -> i64 {
    let mut client = database.client();
    let (vectors, rows) = match case.destination {
        Destination::Column => ("t where embedding is not null", "id"),
        Destination::Table => ("t_store", "distinct id"),
    };
    let sql = format!("select count(*), count({rows}) from {vectors}");
    let row = client.query_one(&sql, &[]).unwrap();
    let documents = i64::try_from(case.documents).unwrap();
    assert_eq!(row.get::<_, i64>(1), documents, "not all rows are embedded");
    row.get(0)
}

/// COPY of the store into its like.
fn floor(case: &Case, database: &Database) -> Option<Duration> {
    if case.destination == Destination::Column {
        return None;
    }
    let mut client = database.client();
    client
        .batch_execute("create table floor (like t_store including all)")
        .unwrap();
    let mut rows = vec![];
    client
        .copy_out("copy t_store to stdout (format binary)")
        .unwrap()
        .read_to_end(&mut rows)
        .unwrap();
    let began = Instant::now();
    let mut copy = client
        .copy_in("copy floor from stdin (format binary)")
        .unwrap();
    copy.write_all(&rows).unwrap();
    copy.finish().unwrap();
    Some(began.elapsed())
}
