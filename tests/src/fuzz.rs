//! What the fuzz targets run, each on any bytes: it must not panic, and keep its promises. The
//! targets in `fuzz/` are one line each, and a test replays their corpus without a fuzzer.

use std::time::Duration;

use pgai_core::text::{Chunker, Template};
use pgai_core::{Output, Query, Response, Settings, Time, Worker};
use serde_json::{Value, json};

use crate::world::{Entropy, World};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// The names of the targets, each with its function.
pub const TARGETS: [(&str, Target); 4] = [
    ("chunkers", chunkers),
    ("config", config),
    ("provider", provider),
    ("world", world),
];

/// The first line is a chunking config as JSON, or else a regex to cut at; the rest is the text. What
/// comes out is bounded by what went in.
///
/// # Panics
/// If a promise is broken.
pub fn chunkers(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let (first, text) = input.split_once('\n').unwrap_or(("", &input));
    let config = serde_json::from_str::<Value>(first)
        .ok()
        .filter(Value::is_object);
    let config = config.unwrap_or_else(|| {
        json!({"implementation": "recursive_character_text_splitter", "chunk_size": 7,
            "chunk_overlap": 2, "separators": [first, " ", ""], "is_separator_regex": true})
    });
    let Ok(chunker) = Chunker::parse(&config) else {
        return;
    };
    // Catastrophic patterns are an error, never a hang.
    let Ok(chunks) = chunker.chunk(text) else {
        return;
    };
    if matches!(chunker, Chunker::Recursive(_)) {
        // Every chunk of the recursive splitter stands in the text as it is.
        for chunk in &chunks {
            assert!(
                text.contains(chunk.as_str()),
                "{chunk:?} is not in {text:?}"
            );
        }
    }
    if let Ok(template) = Template::parse(text) {
        let filled = template.substitute(|name| Some(name.to_owned().into()));
        assert!(filled.is_ok(), "every name has a value");
    }
}

/// The bytes are a vectorizer's definition as the database returns it: it works, or is one event.
///
/// # Panics
/// If the worker does not come to rest.
pub fn config(bytes: &[u8]) {
    let definition = String::from_utf8_lossy(bytes).into_owned();
    play(&definition, None);
}

/// The first byte is a status, the second a form of headers, the rest a body: an answer of Ollama's,
/// then one of OpenAI's.
///
/// # Panics
/// If the worker does not come to rest.
pub fn provider(bytes: &[u8]) {
    let (status, form, body) = match bytes {
        [status, form, body @ ..] => (*status, *form, body),
        short => (0, 0, short),
    };
    let mut response = Response::new(body.to_vec());
    let statuses = [200, 400, 401, 404, 413, 429, 500, 503, 302, 299];
    let status = statuses[usize::from(status) % statuses.len()];
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status of HTTP");
    let text: String = body
        .iter()
        .take(20)
        .map(|byte| char::from(byte % 94 + 33))
        .collect();
    let names = [
        "retry-after",
        "retry-after-ms",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ];
    if let Ok(value) = text.parse() {
        response
            .headers_mut()
            .insert(names[usize::from(form) % names.len()], value);
    }
    for embedding in [
        json!({"implementation": "ollama", "model": "m", "dimensions": 2}),
        json!({"implementation": "openai", "model": "m", "dimensions": 2}),
    ] {
        let definition = json!({
            "id": 1, "name": "v", "disabled": false, "source_schema": "public", "source_table": "t",
            "source_pk": [{"attname": "id"}], "queue_schema": "ai", "queue_table": "q",
            "queue_failed_table": "f", "vector": {"schema": "public", "oid": 1, "array_oid": 2}, "lease_found": true, "queue_found": true,
            "columns": [
                {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
                {"name": "body", "type": "text", "base": "text", "equals": null}],
            "config": {
                "loading": {"implementation": "column", "column_name": "body"},
                "embedding": embedding,
                "chunking": {"implementation": "none"},
                "formatting": {"implementation": "chunk_value"},
                "destination": {"implementation": "table", "target_schema": "public", "target_table": "s"}}
        });
        play(&definition.to_string(), Some(&response));
    }
}

/// Bytes decide all that happens in a simulated world.
///
/// # Panics
/// If a rule is broken.
pub fn world(bytes: &[u8]) {
    if let Err(violation) = World::run(&Entropy::Bytes(bytes), 400, None) {
        panic!("{violation}");
    }
}

/// One worker with one queued row, for a while; every request gets this response.
fn play(definition: &str, response: Option<&Response>) {
    let text = |text: &str| Some(text.to_owned());
    let mut worker = Worker::new(Settings::new("fuzz"), 1).expect("default settings");
    let mut now = Time::ZERO;
    for _ in 0..2_000 {
        match worker.poll(now) {
            Output::Event(event) => drop(event.message()),
            Output::Local(ticket, _) => {
                let reason = "no models".to_owned();
                worker.handle_local(now, ticket, Err(pgai_core::LocalError::Model(reason)));
            }
            Output::Query(ticket, query) => {
                let rows = match &query {
                    Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
                    Query::StartWorker { .. } => vec![vec![text("w")]],
                    Query::LoadVectorizers { .. } => vec![vec![text("1"), text(definition)]],
                    Query::Claim { .. } => vec![vec![
                        text("7"),
                        text("1"),
                        text("1"),
                        text("1"),
                        text("now"),
                    ]],
                    Query::Read { .. } => {
                        vec![vec![text("1"), text("true"), text("some text"), None]]
                    }
                    Query::Commit { .. } | Query::Fail { .. } => {
                        vec![vec![text("1"), text("done")]]
                    }
                    Query::AcceptTexts { .. }
                    | Query::Bell { .. }
                    | Query::Command { .. }
                    | Query::Extend { .. }
                    | Query::Heartbeat(_)
                    | Query::RecordErrors(_)
                    | Query::Release { .. }
                    | Query::Resync(_)
                    | Query::Waiting { .. } => vec![],
                };
                assert!(!query.sql().is_empty());
                drop(query.params());
                worker.handle_rows(now, ticket, Ok(rows));
            }
            Output::Request(ticket, _) => {
                let answer = response.cloned().unwrap_or_default();
                worker.handle_response(now, ticket, Ok(answer));
            }
            Output::Stopped(_) => return,
            Output::Wait(Some(until)) if until.since_start() < Duration::from_secs(60) => {
                now = until
            }
            Output::Wait(_) => return,
        }
    }
}
