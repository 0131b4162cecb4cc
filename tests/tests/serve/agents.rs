//! MCP: over HTTP, and over the standard input and output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::process::worker_path;

use super::{Server, docs, ids};

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": tool, "arguments": arguments}})
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18",
        "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
}

/// The text of a tool's result, and whether it is an error.
#[track_caller]
fn result(answer: &Value) -> (String, bool) {
    let result = &answer["result"];
    let text = result["content"][0]["text"].as_str();
    let text = text.unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text, result["isError"].as_bool().unwrap())
}

#[test]
fn an_agent_searches_over_http() {
    let stage = docs();
    let server = Server::of(&stage);
    let begun = server.good("mcp", &initialize());
    assert_eq!(begun["result"]["protocolVersion"], "2025-06-18");
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let accepted = server.site.post("mcp", &initialized.to_string());
    assert_eq!(accepted, (202, String::new()));

    let (list, _) = result(&server.good("mcp", &call(2, "list", &json!({}))));
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["name"], "docs");
    assert_eq!(list[0]["table"], "public.docs");
    assert_eq!(list[0]["columns"]["year"], "integer");
    assert_eq!(list[0]["hybrid"], false);

    let arguments = json!({"vectorizer": "docs", "query": "sea ships", "k": 1});
    let answer = server.good("mcp", &call(3, "search", &arguments));
    assert_eq!(answer["id"], 3);
    let (found, is_error) = result(&answer);
    assert!(!is_error);
    assert_eq!(ids(&serde_json::from_str(&found).unwrap()), [3]);

    let (status, is_error) = result(&server.good("mcp", &call(4, "status", &json!({}))));
    assert!(!is_error, "{status}");
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["vectorizers"][0]["name"], "docs");

    // What is wrong is told to the agent, which can do better.
    for (arguments, part) in [
        (json!({"vectorizer": "none", "query": "x"}), "no vectorizer"),
        (json!({"vectorizer": "docs"}), "give query"),
        (
            json!({"vectorizer": "docs", "query": "x", "k": 1000}),
            "1 to 100",
        ),
        (
            json!({"vectorizer": "docs", "query": "x", "filter": {"none": 1}}),
            "none",
        ),
    ] {
        let (said, is_error) = result(&server.good("mcp", &call(5, "search", &arguments)));
        assert!(is_error && said.contains(part), "{arguments}: {said}");
    }
    let old = server.site.with("mcp-protocol-version", "1999-01-01");
    let (status, said) = old.post("mcp", &initialize().to_string());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["error"]["code"]), (400, &json!(-32022)));
}

#[test]
fn an_agent_searches_over_pipes() {
    let stage = docs();
    let mut agent = Command::new(worker_path("worker"))
        .args(["serve", "--mcp", "--db-url", &stage.worker_url])
        .env("OLLAMA_HOST", stage.stub.url())
        .env("PGAI_NO_ENV_FILE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = agent.stdin.take().unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    writeln!(input, "{}", initialize()).unwrap();
    assert_eq!(next()["result"]["serverInfo"]["name"], "pgai-worker");
    writeln!(
        input,
        r#"{{"jsonrpc": "2.0", "method": "notifications/initialized"}}"#
    )
    .unwrap();
    let arguments = json!({"vectorizer": "docs", "query": "knead the dough", "k": 1});
    writeln!(input, "\n{}", call(2, "search", &arguments)).unwrap();
    let (found, _) = result(&next());
    assert_eq!(ids(&serde_json::from_str(&found).unwrap()), [2]);
    // A line that is too long is no message, and the next one is one again.
    writeln!(input, "{}", "x".repeat(3 << 20)).unwrap();
    assert_eq!(next()["error"]["code"], -32700);
    writeln!(
        input,
        r#"{{"jsonrpc": "2.0", "id": "a", "method": "ping"}}"#
    )
    .unwrap();
    let pong = next();
    assert_eq!((&pong["id"], &pong["result"]), (&json!("a"), &json!({})));
    drop(input);
    assert!(agent.wait().unwrap().success());
}
