//! What the fuzz targets run, each on any bytes: it must not panic, and keep its promises. The
//! targets in `fuzz/` are one line each, and a test replays their corpus without a fuzzer.

use std::time::Duration;

use pgai_core::text::{Chunker, Template};
use pgai_core::{
    Call, Credential, Limits, ModelError, Output, Query, Reply, Request, Response, Secret,
    Settings, Time, Vault, Worker, authorize,
};
use serde_json::{Value, json};

use crate::world::{Entropy, World};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// The names of the targets, each with its function.
pub const TARGETS: [(&str, Target); 7] = [
    ("answers", answers),
    ("chunkers", chunkers),
    ("config", config),
    ("documents", documents),
    ("provider", provider),
    ("rows", rows),
    ("world", world),
];

/// The first line is a file's name, which may be wrong; the rest is the file. Its pages are where they say,
/// and its text has no character that PostgreSQL refuses.
///
/// # Panics
/// If a promise is broken.
pub fn documents(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (name, file) = bytes.split_at(end.map_or(0, |end| end + 1));
    let name = std::str::from_utf8(name).ok().map(str::trim);
    let hints = ::documents::Hints {
        name: name.filter(|name| !name.is_empty()),
        content_type: None,
    };
    let Ok(document) = ::documents::parse(file, &hints) else {
        return;
    };
    assert!(!document.markdown.trim().is_empty());
    assert!(!document.markdown.contains('\0'));
    let mut last = 0;
    for page in &document.pages {
        assert!(document.markdown.is_char_boundary(page.start));
        assert!(last <= page.start);
        last = page.start;
    }
}

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
        let definition = definition(&json!({"embedding": embedding}));
        play(&definition.to_string(), Some(&response));
    }
}

/// What a shell gets from a provider, before anything is done to it: the first byte is a status, the
/// second an encoding, the third says how often the rest is repeated as its body. It is taken in within
/// its bound, without the secret, and judged.
///
/// # Panics
/// If more is held than may be, or the secret is seen.
pub fn answers(bytes: &[u8]) {
    const BYTES_MAX: usize = 600_000;
    let [status, encoding, times, body @ ..] = bytes else {
        return;
    };
    let mut whole = body.to_vec();
    // Up to 32 MB, as a shell that reads without a bound would have it.
    for _ in 0..u32::from(*times).min(25) {
        if whole.len() < 16 * 1024 * 1024 {
            whole.extend_from_within(..);
        }
    }
    let mut response = Response::new(whole);
    let statuses = [200, 400, 401, 429, 500];
    let status = statuses[usize::from(*status) % statuses.len()];
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status of HTTP");
    let encodings = ["", "gzip", "deflate", "br", "identity"];
    let encoding = encodings[usize::from(*encoding) % encodings.len()];
    if !encoding.is_empty() {
        let value = http::HeaderValue::from_static(encoding);
        response.headers_mut().insert("content-encoding", value);
    }
    let mut request = Request::new(http::Request::default(), Duration::from_secs(1), BYTES_MAX);
    let key = Secret::bearer("X_API_KEY".to_owned());
    request.credential = Some(Credential::Key(key));
    let (_, intake) = authorize(request, &OneSecret).expect("a good secret");
    if let Ok(received) = intake.take(Ok(response)) {
        let response = received.response();
        let body = response.body();
        // A mask is shorter than the secret, and everything else is cut.
        assert!(body.len() <= BYTES_MAX, "{} bytes", body.len());
        let seen = body
            .windows(SECRET.len())
            .any(|part| part == SECRET.as_bytes());
        assert!(!seen, "the secret is in the answer");
        for embedding in ["ollama", "openai"] {
            let embedding = json!({"implementation": embedding, "model": "m", "dimensions": 2});
            let config = json!({"embedding": embedding});
            play(&definition(&config).to_string(), Some(response));
        }
    }
}

/// The first line is a chunking config as JSON, the second a template, the third says how often both
/// the template and the text, which is the rest, are repeated. No row makes more text than it may.
///
/// # Panics
/// If it does.
pub fn rows(bytes: &[u8]) {
    const ROW_BYTES: usize = 8 * 1024 * 1024;
    let input = String::from_utf8_lossy(bytes);
    let mut lines = input.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (chunking, template, times, text) = (line(), line(), line(), line());
    let mut times = times.split(' ').map(|times| times.parse().unwrap_or(1));
    let mut repeated = |text: &str, bytes_max: usize| {
        let times: usize = times.next().unwrap_or(1);
        text.repeat(times.min(bytes_max / text.len().max(1)).max(1))
    };
    let template = repeated(template, 4 * 1024 * 1024);
    let text = repeated(text, ROW_BYTES);
    let Ok(chunking) = serde_json::from_str::<Value>(chunking) else {
        return;
    };
    let config = json!({
        "embedding": {"implementation": "ollama", "model": "m", "dimensions": 2},
        "chunking": chunking,
        "formatting": {"implementation": "python_template", "template": template}});
    let limits = Limits {
        row_bytes: ROW_BYTES,
        ..Limits::default()
    };
    let settings = Settings {
        limits,
        ..Settings::new("fuzz")
    };
    let mut made = 0;
    let read = [
        Some("1".to_owned()),
        Some("true".to_owned()),
        Some(text),
        None,
    ]
    .to_vec();
    play_with(
        settings,
        &definition(&config).to_string(),
        &read,
        1,
        |request| {
            let body: Value = serde_json::from_slice(request.http.body()).expect("our own JSON");
            let texts = body["input"].as_array().into_iter().flatten();
            let bytes = texts.filter_map(Value::as_str).map(str::len);
            made += bytes.sum::<usize>();
            assert!(made <= ROW_BYTES, "{made} bytes were made of one row");
            None
        },
    );
}

/// A definition with this and what else there must be.
fn definition(config: &Value) -> Value {
    let mut all = json!({
        "loading": {"implementation": "column", "column_name": "body"},
        "chunking": {"implementation": "none"},
        "formatting": {"implementation": "chunk_value"},
        "destination": {"implementation": "table", "target_schema": "public", "target_table": "s"}});
    for (name, value) in config.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    json!({
        "id": 1, "name": "v", "disabled": false, "source_schema": "public", "source_table": "t",
        "source_pk": [{"attname": "id"}], "queue_schema": "ai", "queue_table": "q",
        "queue_failed_table": "f", "vector": {"schema": "public", "oid": 1, "array_oid": 2},
        "lease_found": true, "queue_found": true,
        "columns": [
            {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
            {"name": "body", "type": "text", "base": "text", "equals": null}],
        "config": all
    })
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
    let row = ["1", "true", "some text"].map(|text| Some(text.to_owned()));
    let row = [&row[..], &[None]].concat();
    play_with(Settings::new("fuzz"), definition, &row, usize::MAX, |_| {
        Some(response.cloned().unwrap_or_default())
    });
}

/// The same, where a read brings this row, which is queued so many times, and each request gets the
/// answer that `answer` has for it, if any.
fn play_with(
    settings: Settings,
    definition: &str,
    row: &[Option<String>],
    mut claims: usize,
    mut answer: impl FnMut(&Request) -> Option<Response>,
) {
    let text = |text: &str| Some(text.to_owned());
    let mut worker = Worker::new(settings, 1).expect("good settings");
    let mut now = Time::ZERO;
    for _ in 0..2_000 {
        match worker.poll(now) {
            Output::Event(event) => drop(event.message()),
            Output::Call(ticket, Call::Compute(work)) => {
                worker.handle_call(now, ticket, Reply::Compute(Box::new(work.run())));
            }
            Output::Call(_, Call::Build(_) | Call::File(_) | Call::Parse(_)) => {
                unreachable!("no index is taken, and no document")
            }
            Output::Call(ticket, Call::Model(_)) => {
                let reason = "no models".to_owned();
                worker.handle_call(now, ticket, Reply::Model(Err(ModelError::Model(reason))));
            }
            Output::Query(ticket, query) => {
                let rows = match &query {
                    Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
                    Query::StartWorker { .. } => vec![vec![text("w")]],
                    Query::LoadVectorizers { .. } => vec![vec![text("1"), text(definition)]],
                    Query::Claim { .. } if claims == 0 => vec![],
                    Query::Claim { .. } => vec![vec![
                        text("7"),
                        text("1"),
                        text("1"),
                        text("1"),
                        text("now"),
                    ]],
                    Query::Read { .. } => vec![row.to_vec()],
                    Query::Commit { .. } | Query::Fail { .. } => {
                        vec![vec![text("1"), text("done")]]
                    }
                    Query::TakeBudget { wanted, .. } => {
                        vec![vec![text(&wanted.to_string()), text("false")]]
                    }
                    Query::AcceptTexts { .. }
                    | Query::Change { .. }
                    | Query::AddUsage(_)
                    | Query::Bell { .. }
                    | Query::Command { .. }
                    | Query::Extend { .. }
                    | Query::Heartbeat(_)
                    | Query::Index(_)
                    | Query::RecordErrors(_)
                    | Query::Refresh { .. }
                    | Query::Release { .. }
                    | Query::Resync(_)
                    | Query::Waiting { .. } => vec![],
                };
                claims -= usize::from(matches!(query, Query::Claim { .. }) && claims > 0);
                assert!(!query.sql().is_empty());
                drop(query.params());
                worker.handle_rows(now, ticket, Ok(rows));
            }
            Output::Call(ticket, Call::Http(request)) => {
                if let Some(answer) = answer(&request) {
                    worker.handle_call(now, ticket, answer.into());
                }
            }
            Output::Stopped(_) => return,
            Output::Wait(Some(until)) if until.since_start() < Duration::from_secs(60) => {
                now = until
            }
            Output::Wait(_) => return,
        }
    }
}

/// What no answer may repeat.
const SECRET: &str = "sk-0123456789/+";

/// Every variable has the same value.
struct OneSecret;

impl Vault for OneSecret {
    fn variable(&self, _: &str) -> Option<String> {
        Some(SECRET.to_owned())
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files".to_owned())
    }

    fn wall_time(&self) -> Duration {
        Duration::ZERO
    }

    fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, String> {
        Err("there are no keys".to_owned())
    }
}
