//! Many clients at once: nothing is lost, and memory is bounded.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use tests::stage::Stage;

use super::{Server, docs, ids};

/// What the process has needed at most, in kB.
fn peak(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// Asks with so many clients at once, each so often; each must get the row that it asks for. Returns how long each
/// request took.
fn ask(server: &Server, clients: usize, times: usize) -> Vec<Duration> {
    let texts = ["the moon pulls the sea", "knead the dough", "sea ships"];
    let client = |client: usize| {
        let mut took = vec![];
        for time in 0..times {
            let at = (client + time) % 3;
            let began = Instant::now();
            let body = json!({"vectorizer": "docs", "query": texts[at], "k": 1});
            let found = server.good("v1/search", &body);
            took.push(began.elapsed());
            assert_eq!(ids(&found), [at as i64 + 1]);
        }
        took
    };
    thread::scope(|scope| {
        let start = |at| {
            let thread = thread::Builder::new().stack_size(512 << 10);
            let client = &client;
            thread.spawn_scoped(scope, move || client(at)).unwrap()
        };
        let clients: Vec<_> = (0..clients).map(start).collect();
        let took = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        took.collect()
    })
}

#[test]
fn no_request_of_many_clients_is_lost() {
    let stage = docs();
    let server = Server::of(&stage);
    assert_eq!(ask(&server, 50, 20).len(), 1000);
}

#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "it prints what it measures")]
fn measure_a_thousand_clients() {
    let stage = docs();
    let server = Server::start(
        &stage,
        &[(super::TOKEN, &stage.worker_url)],
        &["--timeout", "120"],
    );
    ask(&server, 1, 10);
    let before = peak(server.process.id());
    for (clients, times) in [(1, 200), (16, 50), (1000, 2)] {
        let began = Instant::now();
        let mut took = ask(&server, clients, times);
        let whole = began.elapsed();
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!(
            "{clients} clients, {} requests in {whole:.1?}: p50 {:.1?}, p99 {:.1?}; peak memory {} MB (idle {} MB)",
            took.len(),
            at(0.5),
            at(0.99),
            peak(server.process.id()) / 1024,
            before / 1024
        );
    }
}

/// One client after another's answer: what a search takes with the small local model, whose texts are questions of the
/// Cranfield collection, or made up.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "it prints what it measures")]
fn measure_the_local_model() {
    let models = tests::minilm::models_dir().unwrap();
    let models = models.to_str().unwrap();
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table docs (id int primary key, body text);
         insert into docs select i, 'a text about ' || md5(i::text) from generate_series(1, 1000) i;
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_sentence_transformers('{}', {}), chunking => ai.chunking_none())",
        tests::minilm::NAME,
        tests::minilm::DIMENSIONS
    ));
    let environment = [("PGAI_MODELS_DIR", models)];
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert!(worker.wait(Duration::from_secs(600)).success());
    let tokens = [(super::TOKEN, stage.worker_url.as_str())];
    let server = Server::with(&stage, &tokens, &[], &environment);
    let questions = tests::cranfield::questions().unwrap_or_default();
    let questions = questions.into_iter().map(|question| question.text);
    let made_up =
        (0..200).map(|at| format!("what is known of number {at}, and where does it come from"));
    let mut took = vec![];
    for question in questions.chain(made_up).take(220) {
        let began = Instant::now();
        let body = json!({"vectorizer": "docs", "query": question, "k": 10});
        assert_eq!(ids(&server.good("v1/search", &body)).len(), 10);
        took.push(began.elapsed());
    }
    // The first ones load the model and make connections.
    let mut took = took.split_off(20);
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!(
        "{} searches with the local model: p50 {:.1?}, p95 {:.1?}, p99 {:.1?}",
        took.len(),
        at(50),
        at(95),
        at(99)
    );
}
