//! A vectorizer with an endless backlog beside one with a single row.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use pgai_core::{Call, CallTicket, Output, Query, Response, Rows, Settings, Time, Worker};
use serde_json::{Value, json};

/// A request takes this long.
const LATENCY: Duration = Duration::from_secs(1);
/// The single row comes at this moment.
const COMES: Duration = Duration::from_secs(60);

/// What the database and the provider saw, in order.
#[derive(Debug, Eq, PartialEq)]
enum Seen {
    Commit { vectorizer: i64 },
    Request { single: bool },
    RowCame,
}

/// Both vectorizers have the same account, and so share the requests that may be in flight.
#[test]
fn a_backlog_delays_another_vectorizer_by_no_more_than_what_is_in_flight() {
    let seen = play();
    let came = seen.iter().position(|seen| *seen == Seen::RowCame).unwrap();
    let after = &seen[came..];
    let sent = after
        .iter()
        .position(|seen| *seen == Seen::Request { single: true })
        .unwrap();
    let backlog = |seen: &&Seen| **seen == Seen::Request { single: false };
    let before_it = after[..sent].iter().filter(backlog).count();
    assert!(
        before_it <= 1,
        "{before_it} requests of the backlog went first: {after:?}"
    );
    let done = after
        .iter()
        .position(|seen| *seen == Seen::Commit { vectorizer: 2 })
        .unwrap();
    // One batch is 50 rows of one chunk: one commit.
    let commits = |seen: &&Seen| **seen == Seen::Commit { vectorizer: 1 };
    let in_flight = Settings::new("fair").limits.requests;
    let before_it = after[..done].iter().filter(commits).count();
    assert!(
        before_it <= in_flight,
        "{before_it} batches of the backlog were done first"
    );
    // And the backlog goes on.
    assert!(after[done..].iter().any(|seen| backlog(&seen)));
}

fn play() -> Vec<Seen> {
    let mut worker = Worker::new(Settings::new("fair"), 1).unwrap();
    let mut now = Duration::ZERO;
    let mut in_flight: Vec<(Duration, CallTicket, usize)> = vec![];
    let mut database = Database::default();
    while now < COMES * 2 {
        match worker.poll(Time::new(now)) {
            Output::Event(_) => {}
            Output::Query(ticket, query) => {
                let rows = database.answer(&query);
                worker.handle_rows(Time::new(now), ticket, Ok(rows));
            }
            Output::Call(ticket, Call::Http(request)) => {
                let body: Value = serde_json::from_slice(request.http.body()).unwrap();
                let inputs = body["input"].as_array().unwrap();
                let single = inputs.iter().any(|text| text == "single");
                database.seen.push(Seen::Request { single });
                in_flight.push((now + LATENCY, ticket, inputs.len()));
            }
            Output::Call(..) | Output::Stopped(_) => unreachable!("it asks Ollama for ever"),
            Output::Wait(until) => {
                let comes = (!database.has_come).then_some(COMES);
                let until = until.map(Time::since_start).into_iter().chain(comes);
                let answers = in_flight.iter().map(|(at, ..)| *at);
                now = until.chain(answers).min().unwrap();
                if !database.has_come && now >= COMES {
                    database.has_come = true;
                    database.seen.push(Seen::RowCame);
                    worker.wake(Some("2"));
                }
                while let Some(at) = in_flight.iter().position(|(at, ..)| *at <= now) {
                    let (_, ticket, inputs) = in_flight.remove(at);
                    let body = json!({ "embeddings": vec![[1.0, 0.0]; inputs] }).to_string();
                    let answer = Response::new(body.into_bytes());
                    worker.handle_call(Time::new(now), ticket, answer.into());
                }
            }
        }
    }
    database.seen
}

#[derive(Default)]
struct Database {
    keys: u64,
    has_come: bool,
    single_is_done: bool,
    seen: Vec<Seen>,
}

impl Database {
    fn answer(&mut self, query: &Query) -> Rows {
        let text = |text: &str| Some(text.to_owned());
        match query {
            Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
            Query::LoadVectorizers { .. } => [1, 2]
                .map(|id| vec![Some(id.to_string()), Some(definition(id))])
                .to_vec(),
            Query::Claim { plan, .. } if plan.vectorizer == 1 => {
                let item = |_| {
                    self.keys += 1;
                    let key = self.keys.to_string();
                    [key.as_str(), "100", "1", "1", "now"].map(text).to_vec()
                };
                (0..plan.rows).map(item).collect()
            }
            Query::Claim { .. } if self.has_come && !self.single_is_done => {
                vec![["1", "100", "1", "1", "now"].map(text).to_vec()]
            }
            Query::Read { plan, keys, .. } => (1..)
                .zip(keys)
                .map(|(number, key): (usize, _)| {
                    let body = match plan.vectorizer {
                        1 => format!("text {key}"),
                        _ => "single".to_owned(),
                    };
                    vec![Some(number.to_string()), text("true"), Some(body), None]
                })
                .collect(),
            Query::Commit { plan, rows, .. } => {
                self.single_is_done |= plan.vectorizer == 2;
                let vectorizer = plan.vectorizer;
                self.seen.push(Seen::Commit { vectorizer });
                let done = |number: usize| vec![Some(number.to_string()), text("done")];
                (1..=rows.len()).map(done).collect()
            }
            Query::StartWorker { .. } => vec![vec![text("a worker")]],
            Query::AcceptTexts { .. }
            | Query::Change { .. }
            | Query::AddUsage(_)
            | Query::Bell { .. }
            | Query::Claim { .. }
            | Query::Command { .. }
            | Query::Extend { .. }
            | Query::Fail { .. }
            | Query::Heartbeat(_)
            | Query::Index(_)
            | Query::RecordErrors(_)
            | Query::Refresh { .. }
            | Query::Release { .. }
            | Query::Resync(_)
            | Query::TakeBudget { .. }
            | Query::Waiting { .. } => vec![],
        }
    }
}

fn definition(id: i64) -> String {
    json!({
        "id": id, "name": format!("v{id}"), "disabled": false, "source_schema": "public",
        "source_table": format!("t{id}"), "source_pk": [{"attname": "id"}], "queue_schema": "ai",
        "queue_table": format!("_vectorizer_q_{id}"),
        "queue_failed_table": format!("_vectorizer_q_failed_{id}"),
        "vector": {"schema": "public", "oid": 1, "array_oid": 2},
        "lease_found": true, "queue_found": true,
        "columns": [
            {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
            {"name": "body", "type": "text", "base": "text", "equals": null}],
        "config": {
            "loading": {"implementation": "column", "column_name": "body"},
            "embedding": {"implementation": "ollama", "model": "m", "dimensions": 2},
            "chunking": {"implementation": "none"},
            "formatting": {"implementation": "python_template", "template": "$chunk"},
            "destination":
                {"implementation": "table", "target_schema": "public", "target_table": format!("s{id}")}
        }
    })
    .to_string()
}
