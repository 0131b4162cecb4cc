//! Answers that arrive in another order than their statements ran, played by hand.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use pgai_core::{Output, Query, Reply, RequestError, Settings, Time, Worker};

/// The answer to a claim from before the rows were given back arrives after them: it says nothing
/// of the queue as it is now.
#[test]
fn once_does_not_end_because_of_a_claim_that_was_overtaken() {
    let text = |text: &str| Some(text.to_owned());
    let settings = Settings {
        once: true,
        ..Settings::new("once")
    };
    let mut worker = Worker::new(settings, 1).unwrap();
    let mut now = Time::ZERO;
    let (mut is_leased, mut overtaken) = (false, vec![]);
    let summary = loop {
        match worker.poll(now) {
            Output::Event(_) => {}
            Output::Query(ticket, query) => {
                let rows = match &query {
                    Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
                    Query::LoadVectorizers { .. } => vec![vec![text("1"), text(DEFINITION)]],
                    Query::Claim { .. } if is_leased => {
                        overtaken.push(ticket);
                        continue;
                    }
                    Query::Claim { .. } => {
                        is_leased = true;
                        vec![["7", "100", "1", "1", "now"].map(text).to_vec()]
                    }
                    Query::Read { .. } => vec![vec![text("1"), text("true"), text("x"), None]],
                    Query::Waiting { .. } => vec![vec![text("1")]],
                    Query::AcceptTexts { .. }
                    | Query::Change { .. }
                    | Query::AddUsage(_)
                    | Query::Bell { .. }
                    | Query::Command { .. }
                    | Query::Commit { .. }
                    | Query::Extend { .. }
                    | Query::Fail { .. }
                    | Query::Heartbeat(_)
                    | Query::Index(_)
                    | Query::RecordErrors(_)
                    | Query::Refresh { .. }
                    | Query::Release { .. }
                    | Query::Resync(_)
                    | Query::StartWorker { .. }
                    | Query::TakeBudget { .. } => vec![],
                };
                worker.handle_rows(now, ticket, Ok(rows));
                is_leased &= !matches!(query, Query::Release { .. });
            }
            Output::Call(ticket, _) => {
                let down = RequestError::Connect("refused".to_owned());
                worker.handle_call(now, ticket, Reply::Http(Err(down)));
            }
            // The worker has seen the release by now.
            Output::Wait(_) if !is_leased && !overtaken.is_empty() => {
                let ticket = overtaken.remove(0);
                worker.handle_rows(now, ticket, Ok(vec![]));
            }
            Output::Wait(until) => now = until.unwrap(),
            Output::Stopped(summary) => break summary,
        }
    };
    assert!(summary.failure.is_some(), "the row waits: {summary:?}");
}

const DEFINITION: &str = r#"{
    "id": 1, "name": "blog", "disabled": false, "source_schema": "public", "source_table": "blog",
    "source_pk": [{"attname": "id"}], "queue_schema": "ai", "queue_table": "_vectorizer_q_1",
    "queue_failed_table": "_vectorizer_q_failed_1", "vector": {"schema": "public", "oid": 1, "array_oid": 2},
    "lease_found": true, "queue_found": true,
    "columns": [
        {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
        {"name": "body", "type": "text", "base": "text", "equals": null}],
    "config": {
        "loading": {"implementation": "column", "column_name": "body"},
        "embedding": {"implementation": "ollama", "model": "m", "dimensions": 2},
        "chunking": {"implementation": "none"},
        "formatting": {"implementation": "python_template", "template": "$chunk"},
        "destination": {"implementation": "table", "target_schema": "public", "target_table": "s"}
    }}"#;
