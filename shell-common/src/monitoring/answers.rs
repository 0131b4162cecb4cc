//! What each address answers.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use pgai_core::{Level, log};
use serde_json::{Value, json};

use super::access::{Refused, may_act, may_read};
use super::history::Sample;
use super::metrics;
use super::state::State;
use crate::console;

pub(super) type Answer = Response<Full<Bytes>>;

/// A loop that has not answered for so long is stuck. A statement of `worker-blocking` may take almost as long.
const STUCK: Duration = Duration::from_secs(120);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The page loads nothing from elsewhere, and nothing from elsewhere can be put into it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files of the page.
const PAGE: [(&str, &str, &str); 3] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/page.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    ),
];

pub(super) async fn answer(
    state: &State,
    request: &Parts,
    body: &[u8],
    peer: SocketAddr,
) -> Answer {
    let access = may_read(&request.headers, state.settings.token.as_deref());
    let path = request.uri.path();
    match (path, &request.method) {
        ("/healthz" | "/readyz", &Method::GET | &Method::HEAD) => {
            return health(state, path, access.is_ok()).await;
        }
        (_, &Method::GET | &Method::HEAD) => {
            if let Err(refused) = access {
                return refusal(refused);
            }
        }
        (_, &Method::POST) if path.starts_with("/api/") => {
            if let Err(refused) = access.and_then(|()| may_act(request, state.settings.has_actions))
            {
                return refusal(refused);
            }
            return act(state, path, body, peer).await;
        }
        _ => {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET works here\n");
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
    }
    if let Some((_, kind, content)) = PAGE.iter().find(|file| file.0 == path) {
        return respond(StatusCode::OK, kind, *content);
    }
    match path {
        "/metrics" => scrape(state).await,
        "/api/status" => json_of(Ok(overview(state).await)),
        "/api/errors" => json_of(state.inquire(&["errors", "--json", "--limit", "50"]).await),
        "/api/search" => search(state, request.uri.query().unwrap_or_default()).await,
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Whether the worker's loop goes round, and whether the worker can work. Why not is for those who may read.
async fn health(state: &State, path: &str, may_read: bool) -> Answer {
    let health = state.health().await;
    let silent = (health.silent_for > STUCK).then(|| {
        format!(
            "the worker's loop has not answered for {} s",
            health.silent_for.as_secs()
        )
    });
    let is_live = path == "/healthz";
    let reason = silent.or_else(|| match health.snapshot {
        _ if is_live => None,
        None => Some("the worker's loop has not answered yet".to_owned()),
        Some(snapshot) => snapshot.reason,
    });
    match reason {
        None => text(StatusCode::OK, "ok\n"),
        Some(_) if !may_read => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn scrape(state: &State) -> Answer {
    let (health, status) = tokio::join!(state.health(), state.status());
    let status = status.as_ref().map_err(String::as_str);
    match metrics::text(&health, status) {
        Ok(metrics) => respond(StatusCode::OK, prometheus::TEXT_FORMAT, metrics),
        Err(reason) => text(StatusCode::INTERNAL_SERVER_ERROR, reason + "\n"),
    }
}

/// Everything that the page shows without being asked.
async fn overview(state: &State) -> Value {
    let (health, status) = tokio::join!(state.health(), state.status());
    let now = health.snapshot.as_ref().map(Sample::of);
    let history = state.history.lock().await.until(now);
    let (database, failure) = match status {
        Ok(status) => (status, Value::Null),
        Err(reason) => (Value::Null, reason.into()),
    };
    json!({
        "worker": health.snapshot,
        "silent_seconds": health.silent_for.as_secs(),
        "database": database,
        "database_failure": failure,
        "history": history,
        "has_actions": state.settings.has_actions,
    })
}

async fn search(state: &State, query: &str) -> Answer {
    let field = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|pair| pair.0 == name)?.1.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value).decode_utf8();
        value.ok().map(|value| value.trim().to_owned())
    };
    let (Some(vectorizer), Some(words)) = (field("vectorizer"), field("words")) else {
        return json_of(Err("a vectorizer and words are needed".to_owned()));
    };
    let arguments = ["search", "--json", "-k", "10", "--", &vectorizer, &words];
    json_of(state.inquire(&arguments).await)
}

/// Changes something, and writes into the log who asked for it.
async fn act(state: &State, path: &str, body: &[u8], peer: SocketAddr) -> Answer {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let Some(vectorizer) = body["vectorizer"].as_str() else {
        return json_of(Err("a vectorizer is needed".to_owned()));
    };
    let reason = body["reason"].as_str().filter(|reason| !reason.is_empty());
    // In one word, so that a reason that looks like an option is none.
    let reason = reason.map(|reason| format!("--reason={reason}"));
    let arguments = match path {
        "/api/retry" => vec!["retry", "--", vectorizer],
        "/api/pause" => ["pause"]
            .into_iter()
            .chain(reason.as_deref())
            .chain(["--", vectorizer])
            .collect(),
        "/api/resume" => vec!["resume", "--", vectorizer],
        _ => return text(StatusCode::NOT_FOUND, "not found\n"),
    };
    let done = state.command(&arguments).await;
    let what = format!(
        "{} of {vectorizer:?}, asked for by {peer} on the status page: {}",
        arguments[0],
        done.as_ref().unwrap_or_else(|reason| reason)
    );
    console::print(&log::note(
        Level::Info,
        &what,
        console::wall_time(),
        state.settings.log_format,
    ));
    state.forget().await;
    json_of(done.map(Value::from))
}

fn json_of(said: Result<Value, String>) -> Answer {
    let (status, value) = match said {
        Ok(value) => (StatusCode::OK, value),
        Err(reason) => (StatusCode::BAD_GATEWAY, json!({ "error": reason })),
    };
    respond(status, JSON, value.to_string())
}

fn refusal(refused: Refused) -> Answer {
    let mut answer = text(refused.status, format!("{}\n", refused.reason));
    if refused.status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"pgai-rs\", charset=\"UTF-8\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    answer
}

pub(super) fn text(status: StatusCode, content: impl Into<Bytes>) -> Answer {
    respond(status, TEXT, content)
}

fn respond(status: StatusCode, kind: &str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static(TEXT));
    headers.insert(CONTENT_TYPE, kind);
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
