//! Servers that refuse an optional parameter embed without it, as they did with pgai.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::time::Duration;

use pgai_core::{
    Call, Output, Query, Received, Reply, Request, RequestError, Response, Rows, Settings, Time,
    Worker,
};
use serde_json::{Value, json};

/// What a server says to a request with this body: `None` embeds.
type Server = fn(&Value) -> Option<(u16, String)>;

fn refused(body: &Value, name: &str, status: u16, said: &str) -> Option<(u16, String)> {
    let has = body.get(name).is_some();
    has.then(|| (status, said.to_owned()))
}

const SERVERS: [(&str, Server); 8] = [
    ("vllm", |body| {
        refused(
            body,
            "dimensions",
            400,
            r#"{"object":"error","message":"Model \"m\" does not support matryoshka representation, changing output dimensions will lead to poor results.","code":400}"#,
        )
    }),
    ("pydantic", |body| {
        refused(
            body,
            "dimensions",
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","dimensions"],"msg":"Extra inputs are not permitted","input":2}]}"#,
        )
    }),
    ("litellm", |body| {
        refused(
            body,
            "dimensions",
            400,
            r#"{"error":{"message":"litellm.UnsupportedParamsError: Setting dimensions is not supported for OpenAI `text-embedding-3` and later models. To drop it from the call, set `litellm.drop_params = True`."}}"#,
        )
    }),
    ("python", |body| {
        refused(
            body,
            "dimensions",
            500,
            "embed() got an unexpected keyword argument 'dimensions'",
        )
    }),
    ("user", |body| {
        refused(
            body,
            "user",
            400,
            r#"{"error":{"message":"Unrecognized request argument supplied: user"}}"#,
        )
    }),
    ("encoding_format", |body| {
        refused(
            body,
            "encoding_format",
            400,
            r#"{"error":{"message":"bedrock does not support parameters: {'encoding_format': 'base64'}, for model=m"}}"#,
        )
    }),
    ("one after the other", |body| {
        let one = |name: &str| {
            let said = format!("got an unexpected keyword argument '{name}'");
            refused(body, name, 400, &said)
        };
        one("dimensions")
            .or_else(|| one("encoding_format"))
            .or_else(|| one("user"))
    }),
    ("all at once", |body| {
        let names = ["dimensions", "encoding_format", "user"];
        let named = |name: &&&str| body.get(**name).is_some();
        let refused: Vec<Value> = names
            .iter()
            .filter(named)
            .map(|name| {
                json!({"type": "extra_forbidden", "loc": ["body", name],
                    "msg": "Extra inputs are not permitted"})
            })
            .collect();
        (!refused.is_empty()).then(|| (422, json!({ "detail": refused }).to_string()))
    }),
];

/// What a play saw.
#[derive(Default)]
struct Play {
    requests: usize,
    refused: usize,
    committed: usize,
    failed: usize,
    records: Vec<String>,
    events: Vec<String>,
}

/// Plays a worker on `rows` rows, of which one request holds ten, for so long.
fn play(server: Server, dimensions: usize, rows: u64, time: Duration) -> Play {
    let mut settings = Settings::new("strict");
    settings.limits.inputs = 10;
    let mut worker = Worker::new(settings, 1).unwrap();
    let (mut now, mut play, mut keys) = (Duration::ZERO, Play::default(), 0..rows);
    let mut on_the_way = vec![];
    loop {
        match worker.poll(Time::new(now)) {
            Output::Event(event) => play.events.push(format!("{event:?}")),
            Output::Query(ticket, query) => {
                let answer = answer_query(&query, &mut keys, &mut play);
                worker.handle_rows(Time::new(now), ticket, Ok(answer));
            }
            Output::Call(ticket, Call::Http(request)) => on_the_way.push((ticket, request)),
            Output::Call(..) | Output::Stopped(_) => unreachable!("it asks a server for ever"),
            Output::Wait(until) => {
                if on_the_way.is_empty() {
                    now = until.unwrap().since_start();
                    if now > time {
                        return play;
                    }
                }
                // Several are in flight when the first refusal comes.
                for (ticket, request) in on_the_way.drain(..) {
                    let answer = answer_request(server, dimensions, &request, &mut play);
                    let reply = Reply::Http(answer.map(Received::from));
                    worker.handle_call(Time::new(now), ticket, reply);
                }
            }
        }
    }
}

fn answer_request(
    server: Server,
    dimensions: usize,
    request: &Request,
    play: &mut Play,
) -> Result<Response, RequestError> {
    let body: Value = serde_json::from_slice(request.http.body()).unwrap();
    play.requests += 1;
    if let Some((status, said)) = server(&body) {
        play.refused += 1;
        let mut response = Response::new(said.into_bytes());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        return Ok(response);
    }
    let count = body["input"].as_array().unwrap().len();
    let item = |index| json!({"index": index, "embedding": vec![1.0; dimensions]});
    let data: Vec<Value> = (0..count).map(item).collect();
    Ok(Response::new(
        json!({ "data": data }).to_string().into_bytes(),
    ))
}

fn answer_query(query: &Query, keys: &mut std::ops::Range<u64>, play: &mut Play) -> Rows {
    let text = |text: &str| Some(text.to_owned());
    match query {
        Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
        Query::LoadVectorizers { .. } => vec![vec![text("1"), Some(definition())]],
        Query::StartWorker { .. } => vec![vec![text("a worker")]],
        Query::Claim { plan, .. } => {
            let item = |key: u64| {
                [key.to_string().as_str(), "1", "1", "1", "now"]
                    .map(text)
                    .to_vec()
            };
            keys.by_ref().take(plan.rows).map(item).collect()
        }
        Query::Read { keys, .. } => (1..)
            .zip(keys)
            .map(|(number, key): (usize, _)| {
                let body = format!("text {key}");
                vec![Some(number.to_string()), text("true"), Some(body), None]
            })
            .collect(),
        Query::Commit { rows, .. } => {
            play.committed += rows.len();
            let done = |number: usize| vec![Some(number.to_string()), text("done")];
            (1..=rows.len()).map(done).collect()
        }
        Query::Fail { rows, .. } => {
            play.failed += rows.len();
            vec![]
        }
        Query::RecordErrors(records) => {
            play.records
                .extend(records.iter().map(|record| record.details.clone()));
            vec![]
        }
        Query::AcceptTexts { .. }
        | Query::Change { .. }
        | Query::AddUsage(_)
        | Query::Bell { .. }
        | Query::Command { .. }
        | Query::Extend { .. }
        | Query::Heartbeat(_)
        | Query::Index(_)
        | Query::Refresh { .. }
        | Query::Release { .. }
        | Query::Resync(_)
        | Query::TakeBudget { .. }
        | Query::Waiting { .. } => vec![],
    }
}

fn definition() -> String {
    json!({
        "id": 1, "name": "strict", "disabled": false, "source_schema": "public",
        "source_table": "t", "source_pk": [{"attname": "id"}], "queue_schema": "ai",
        "queue_table": "_vectorizer_q_1", "queue_failed_table": "_vectorizer_q_failed_1",
        "vector": {"schema": "public", "oid": 1, "array_oid": 2},
        "lease_found": true, "queue_found": true,
        "columns": [
            {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
            {"name": "body", "type": "text", "base": "text", "equals": null}],
        "config": {
            "loading": {"implementation": "column", "column_name": "body"},
            "embedding": {"implementation": "openai", "model": "m", "dimensions": 2, "user": "me",
                "base_url": "http://localhost:1/v1"},
            "chunking": {"implementation": "none"},
            "formatting": {"implementation": "python_template", "template": "$chunk"},
            "destination":
                {"implementation": "table", "target_schema": "public", "target_table": "s"}
        }
    })
    .to_string()
}

#[test]
fn a_refused_parameter_is_left_out_and_that_is_remembered() {
    for (name, server) in SERVERS {
        let play = play(server, 2, 300, Duration::from_secs(60));
        assert_eq!((play.committed, play.failed), (300, 0), "{name}");
        // No more than were in flight, for each of three parameters.
        assert!(play.refused <= 12, "{name}: {} refusals", play.refused);
        assert_eq!(play.requests - play.refused, 30, "{name}");
        assert_eq!(play.records, [""; 0], "{name}");
        let told = play
            .events
            .iter()
            .filter(|event| event.contains("ParameterRefused"));
        assert!((1..=3).contains(&told.count()), "{name}: {:?}", play.events);
    }
}

#[test]
fn where_the_answer_has_other_dimensions_without_it_that_is_one_clear_error() {
    for (name, server) in &SERVERS[..4] {
        let play = play(*server, 3, 20, Duration::from_secs(15));
        assert_eq!((play.committed, play.failed), (0, 0), "{name}");
        assert_eq!(play.records.len(), 1, "{name}: {:?}", play.records);
        let record = &play.records[0];
        assert!(
            record.contains("3 dimensions and the vectorizer's 2"),
            "{record}"
        );
        assert!(
            record.contains("the server refused the parameter dimensions"),
            "{record}"
        );
    }
}
