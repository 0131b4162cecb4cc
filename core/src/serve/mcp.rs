//! The Model Context Protocol: JSON-RPC messages of an agent, without a session.
//!
//! The messages that a server of tools needs are few: `initialize`, `ping`, `tools/list`, `tools/call`. It sends none of
//! its own, so an answer over HTTP is one JSON object, and nothing has to be remembered between two requests.

use http::request::Parts;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refused::{self, not_allowed};
use crate::request::Response;

/// The versions of the protocol, the latest first. They do not differ in what is used here.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
/// Of MCP: clients then choose one of the versions that the answer names.
const UNSUPPORTED_VERSION: i64 = -32022;

/// The tools as `tools/list` returns them.
const TOOLS: &str = include_str!("tools.json");

/// What an agent should know before it asks.
const INSTRUCTIONS: &str = "Semantic search in a PostgreSQL database. Call list to learn what can be searched, \
    then search with the name of a vectorizer and a question in plain words.";

/// What a message asks for.
#[derive(Debug)]
pub(super) enum Message {
    /// Nothing more: this is the answer.
    Answered(Response),
    /// A tool, with the id of the message.
    Call(Value, Tool),
}

#[derive(Debug)]
pub(super) enum Tool {
    List,
    /// With its arguments as JSON.
    Search(Vec<u8>),
    Status,
}

#[derive(Debug, Deserialize)]
struct Incoming {
    jsonrpc: String,
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

/// An id that is null is there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The header with the version that was agreed on.
const VERSION: &str = "mcp-protocol-version";

/// The refusal of an HTTP request that carries no message, or is of a version that is not known.
pub(super) fn refused_request(request: &Parts) -> Option<Response> {
    if request.method != Method::POST {
        // There is no stream of messages of the server, and no session that ends.
        return Some(not_allowed("POST"));
    }
    let version = request.headers.get(VERSION);
    match version.filter(|version| VERSIONS.iter().all(|known| version != known)) {
        None => None,
        Some(wanted) => {
            let data = json!({"supported": VERSIONS, "requested": String::from_utf8_lossy(wanted.as_bytes())});
            let said = "this version of the protocol is not known here";
            let error = json!({"code": UNSUPPORTED_VERSION, "message": said, "data": data});
            let mut answer = answer(&json!({"jsonrpc": "2.0", "id": null, "error": error}));
            *answer.status_mut() = StatusCode::BAD_REQUEST;
            Some(answer)
        }
    }
}

pub(super) fn read(message: &[u8]) -> Message {
    let value: Value = match serde_json::from_slice(message) {
        Ok(value) => value,
        Err(error) => {
            let said = format!("this is not JSON: {error}");
            return failed(StatusCode::BAD_REQUEST, &Value::Null, PARSE_ERROR, &said);
        }
    };
    let incoming = serde_json::from_value::<Incoming>(value);
    let incoming = match incoming {
        Ok(incoming) if incoming.jsonrpc == "2.0" => incoming,
        Ok(_) | Err(_) => {
            let said = "this is not one message of JSON-RPC 2.0 (several at once are not taken)";
            return failed(StatusCode::BAD_REQUEST, &Value::Null, INVALID_REQUEST, said);
        }
    };
    match (incoming.method, incoming.id) {
        (Some(method), Some(id)) => request(&method, &id, &incoming.params),
        // A notification, or the answer to a request that was not made.
        (_, _) => {
            let mut accepted = Response::new(vec![]);
            *accepted.status_mut() = StatusCode::ACCEPTED;
            Message::Answered(accepted)
        }
    }
}

fn request(method: &str, id: &Value, params: &Value) -> Message {
    let result = match method {
        "initialize" => {
            let wanted = params["protocolVersion"].as_str().unwrap_or_default();
            let known = VERSIONS.into_iter().find(|version| *version == wanted);
            json!({
                "protocolVersion": known.unwrap_or(VERSIONS[0]),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "pgai-worker", "version": env!("CARGO_PKG_VERSION")},
                "instructions": INSTRUCTIONS,
            })
        }
        "ping" => json!({}),
        "tools/list" => serde_json::from_str(TOOLS).unwrap_or_default(),
        "tools/call" => return call(id, params),
        _ => {
            let said = format!("there is no method {method:?} here");
            return failed(StatusCode::OK, id, METHOD_NOT_FOUND, &said);
        }
    };
    Message::Answered(answer(
        &json!({"jsonrpc": "2.0", "id": id, "result": result}),
    ))
}

fn call(id: &Value, params: &Value) -> Message {
    let name = params["name"].as_str().unwrap_or_default();
    let tool = match name {
        "list" => Tool::List,
        "search" => Tool::Search(params["arguments"].to_string().into_bytes()),
        "status" => Tool::Status,
        _ => {
            let said = format!("there is no tool {name:?}: there are list, search and status");
            return failed(StatusCode::OK, id, INVALID_PARAMS, &said);
        }
    };
    Message::Call(id.clone(), tool)
}

/// The result of a tool, as a text: JSON, or the reason of a failure.
pub(super) fn result(id: &Value, result: &Value, is_error: bool) -> Response {
    let text = match result {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::Object(_) => {
            result.to_string()
        }
    };
    let content = json!([{"type": "text", "text": text}]);
    answer(
        &json!({"jsonrpc": "2.0", "id": id, "result": {"content": content, "isError": is_error}}),
    )
}

fn failed(status: StatusCode, id: &Value, code: i64, said: &str) -> Message {
    let error = json!({"code": code, "message": said});
    let mut answer = answer(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
    *answer.status_mut() = status;
    Message::Answered(answer)
}

fn answer(body: &Value) -> Response {
    refused::json(StatusCode::OK, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> (u16, Value) {
        match read(message.as_bytes()) {
            Message::Answered(answer) => {
                let body = serde_json::from_slice(answer.body()).unwrap_or(Value::Null);
                (answer.status().as_u16(), body)
            }
            Message::Call(id, tool) => panic!("{id}: {tool:?}"),
        }
    }

    #[test]
    fn a_session_begins_with_a_version_that_both_know() {
        for (wanted, got) in [
            ("2025-06-18", "2025-06-18"),
            ("1999-01-01", VERSIONS[0]),
            ("2024-11-05", "2024-11-05"),
        ] {
            let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
                "params": {"protocolVersion": wanted, "capabilities": {}}});
            let (status, answer) = said(&message.to_string());
            assert_eq!(status, 200);
            assert_eq!(answer["id"], 0);
            assert_eq!(answer["result"]["protocolVersion"], got);
        }
        let initialized = r#"{"jsonrpc": "2.0", "method": "notifications/initialized"}"#;
        assert_eq!(said(initialized), (202, Value::Null));
    }

    #[test]
    fn what_is_no_message_gets_an_error() {
        for (message, status, code) in [
            ("{", 400, PARSE_ERROR),
            ("[]", 400, INVALID_REQUEST),
            ("{}", 400, INVALID_REQUEST),
            (
                r#"{"jsonrpc": "1.0", "id": 1, "method": "ping"}"#,
                400,
                INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc": "2.0", "id": "a", "method": "prompts/list"}"#,
                200,
                METHOD_NOT_FOUND,
            ),
            (
                r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "drop"}}"#,
                200,
                INVALID_PARAMS,
            ),
        ] {
            let (got, answer) = said(message);
            assert_eq!(
                (got, answer["error"]["code"].as_i64()),
                (status, Some(code)),
                "{message}"
            );
        }
    }

    #[test]
    fn each_tool_has_a_schema_and_can_be_called() {
        let (_, answer) = said(r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}"#);
        let tools = answer["result"]["tools"].as_array().unwrap().clone();
        assert_eq!(tools.len(), 3);
        for tool in tools {
            assert_eq!(tool["inputSchema"]["type"], "object");
            let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": tool["name"]}});
            assert!(
                matches!(read(message.to_string().as_bytes()), Message::Call(..)),
                "{tool}"
            );
        }
    }
}
