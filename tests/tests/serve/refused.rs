//! What is refused: each gets one clear answer in JSON, and the server goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use tests::site::Site;
use tests::stage::{PATIENCE, Stage};

use super::{Server, TOKEN, bearing, docs};

/// The message of an answer in the one shape that all refusals have.
#[track_caller]
fn message(said: &str) -> String {
    let said: Value = serde_json::from_str(said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(said["error"]["type"].is_string(), "{said}");
    said["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_request_without_a_token_is_refused() {
    let stage = docs();
    let server = Server::of(&stage);
    let nobody = Site::of(&server.process);
    let wrong = bearing(&nobody, "another-token-0000");
    let basic = nobody.with("authorization", "Basic dG9rZW46dG9rZW4=");
    for site in [&nobody, &wrong, &basic] {
        for path in ["v1/search", "v1/embed", "v1/embeddings", "mcp", "none"] {
            let (status, said) = site.post(path, r#"{"vectorizer": "docs", "query": "x"}"#);
            assert_eq!(status, 401, "{path}: {said}");
            assert!(message(&said).contains("a token is needed"), "{said}");
        }
        assert_eq!(site.get("v1/models").0, 401);
    }
    assert_eq!(
        stage.stub.requests().len(),
        1,
        "nothing was embedded for them"
    );
}

#[test]
fn a_wrong_request_is_told_what_is_wrong() {
    let stage = docs();
    let server = Server::of(&stage);
    for (path, body, status, part) in [
        ("v1/search", "", 400, "EOF"),
        ("v1/search", "[]", 400, "not what is wanted"),
        ("v1/search", "\u{0}\u{1}", 400, "line 1"),
        (
            "v1/search",
            r#"{"vectorizer": "dosc", "query": "x"}"#,
            404,
            "did you mean docs?",
        ),
        (
            "v1/search",
            r#"{"vectorizer": "docs", "query": "x", "k": 1000}"#,
            400,
            "1 to 100",
        ),
        (
            "v1/search",
            r#"{"vectorizer": "docs", "embedding": [1, 2]}"#,
            400,
            "2 numbers",
        ),
        (
            "v1/search",
            r#"{"vectorizer": "docs", "query": "x", "filter": {"none": 1}}"#,
            400,
            "none",
        ),
        (
            "v1/search",
            r#"{"vectorizer": "docs", "query": "x", "filter": {"year": "y"}}"#,
            400,
            "integer",
        ),
        (
            "v1/search",
            r#"{"vectorizer": "docs", "query": "x", "columns": ["a;b"]}"#,
            400,
            "a;b",
        ),
        (
            "v1/search",
            r#"{"vectorizer": "docs", "query": "x", "filter": {"lang": "\u0000"}}"#,
            400,
            "",
        ),
        (
            "v1/search",
            r#"{"vectorizer": "docs", "query": "x", "condition": "true"}"#,
            400,
            "condition",
        ),
        (
            "v1/embed",
            r#"{"vectorizer": "docs", "input": [1, 2]}"#,
            400,
            "tokens",
        ),
        (
            "v1/embeddings",
            r#"{"model": "none", "input": "x"}"#,
            404,
            "no vectorizer has the model",
        ),
        (
            "v1/embeddings",
            r#"{"model": "stub", "input": "x", "dimensions": 9}"#,
            400,
            "dimensions is 9",
        ),
        ("v1/none", "{}", 404, "/openapi.json"),
        ("v1/models", "{}", 405, "GET"),
    ] {
        let (got, said) = server.site.post(path, body);
        assert_eq!(got, status, "{path} {body}: {said}");
        assert!(message(&said).contains(part), "{path} {body}: {said}");
    }
    assert_eq!(server.site.get("v1/search").0, 405);
    assert_eq!(server.site.get("mcp").0, 405);
    // What a hostile client may write stays a text.
    let hostile = "'; drop table docs; -- \\' \" $$ \u{1F600} \u{0}";
    let body = json!({"vectorizer": "docs", "query": hostile, "filter": {"lang": hostile.replace('\0', "")}});
    assert_eq!(server.good("v1/search", &body)["results"], json!([]));
}

#[test]
fn a_huge_request_is_refused() {
    let stage = docs();
    let server = Server::of(&stage);
    let huge = format!(
        r#"{{"vectorizer": "docs", "query": "{}"}}"#,
        "x".repeat(5 << 20)
    );
    let (status, said) = server.site.post("v1/search", &huge);
    assert_eq!(status, 413);
    assert!(
        message(&said).contains("longer than 1048576 bytes"),
        "{said}"
    );
    let deep = "[".repeat(500_000);
    assert_eq!(server.site.post("v1/search", &deep).0, 400);
    // A head without an end: the answer comes before it has been sent.
    let address = server
        .site
        .url
        .trim_start_matches("http://")
        .trim_end_matches('/');
    let mut connection = TcpStream::connect(address).unwrap();
    let _ = write!(
        connection,
        "GET / HTTP/1.1\r\nx-long: {}",
        "x".repeat(100_000)
    );
    let mut said = vec![];
    let _ = connection.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 431"),
        "{said}"
    );
    server.good("v1/search", &json!({"vectorizer": "docs", "query": "x"}));
}

#[test]
fn what_is_down_is_told() {
    let mut stage = docs();
    let caller = tests::role::Role::new(&stage.database, "caller");
    stage.run(&format!("select ai.grant_worker_usage('{}')", caller.name));
    let server = Server::start(&stage, &[(TOKEN, &caller.url)], &[]);
    let body = r#"{"vectorizer": "docs", "query": "x"}"#;
    server.good("v1/search", &serde_json::from_str(body).unwrap());
    stage.stub.behave(|_| tests::stub::Behaviour::status(500));
    let (status, said) = server.site.post("v1/search", body);
    assert_eq!(status, 502, "{said}");
    server.process.wait_for_line("ollama at", PATIENCE);
    // A role that can no longer connect.
    stage.run(&format!("alter role {} nologin", caller.name));
    stage.run(&format!(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = '{}' and pid <> pg_backend_pid()",
        caller.name
    ));
    let vector = format!(r#"{{"vectorizer": "docs", "embedding": {:?}}}"#, [0.5; 8]);
    // Idle connections may tell that they were ended.
    let mut answers = (0..5).map(|_| server.site.post("v1/search", &vector));
    let down = answers.find(|(status, _)| *status == 503);
    let (_, said) = down.unwrap_or_else(|| panic!("{:?}", server.process.lines()));
    assert!(!message(&said).contains(&caller.name), "{said}");
    server
        .process
        .wait_for_line("unable to connect to database", PATIENCE);
    stage.run(&format!("alter role {} login", caller.name));
    server.good("v1/search", &serde_json::from_str(&vector).unwrap());
}

#[test]
fn wrong_arguments_are_refused_at_the_start() {
    let stage = Stage::new();
    let refuses = |shell: &str, arguments: &[&str], tokens: &str, part: &str| {
        let variable = [("PGAI_SERVE_TOKENS", tokens)];
        let mut process = stage.worker_with(shell, arguments, &variable);
        assert_eq!(
            process.wait(PATIENCE).code(),
            Some(2),
            "{arguments:?} {tokens}"
        );
        let said = process.lines().join("\n");
        assert!(said.contains(part), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    };
    refuses("worker", &["serve"], "", "there are no tokens");
    refuses(
        "worker",
        &["serve"],
        "short postgres://s3cret",
        "line 1: the token",
    );
    refuses(
        "worker",
        &["serve"],
        TOKEN,
        "line 1: a token is followed by",
    );
    let wrong = format!("{TOKEN} mysql://u:s3cret@h/d");
    refuses("worker", &["serve"], &wrong, "malformed");
    refuses(
        "worker",
        &["serve", "--mcp", "--tokens", "t"],
        "",
        "cannot be used with",
    );
    refuses(
        "worker-blocking",
        &["serve"],
        "",
        "does not serve: use worker",
    );
}
