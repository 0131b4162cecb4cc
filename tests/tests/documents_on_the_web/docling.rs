//! `ai.parsing_docling_serve`: with a server that answers as a docling-serve does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tests::stage::{DIMENSIONS, Stage};

use crate::server::{Answer, Asked, Server};
use crate::{chunks, failures, once};

/// A docling-serve with a key. What the file says decides what becomes of it.
fn docling(status: &Arc<AtomicU16>) -> Server {
    let status = Arc::clone(status);
    Server::start(move |asked: &Asked| -> Answer {
        let status = status.load(Ordering::SeqCst);
        let answer = |status, value: serde_json::Value| {
            let json = vec![("content-type", "application/json".to_owned())];
            (status, json, value.to_string())
        };
        if status != 200 {
            return answer(status, json!({"detail": "busy"}));
        }
        if asked.headers.get("x-api-key").map(String::as_str) != Some("a secret key") {
            return answer(401, json!({"detail": "The provided API Key is invalid."}));
        }
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let form = "multipart/form-data; boundary=";
        let boundary = asked.headers["content-type"].strip_prefix(form).unwrap();
        let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
        assert_eq!((parts.len(), parts[4]), (5, "--\r\n"), "{body}");
        assert!(parts[1].contains("name=\"to_formats\"\r\n\r\nmd\r\n"));
        let (head, file) = parts[3].split_once("\r\n\r\n").unwrap();
        assert!(head.contains("name=\"files\"; filename=\""), "{head}");
        let file = file.trim_end_matches("\r\n");
        match file {
            "broken" => answer(
                200,
                json!({"document": {}, "status": "failure", "errors": [{"component_type": "x",
                    "module_name": "y", "error_message": "no valid document"}]}),
            ),
            "strange" => answer(422, json!({"detail": "File format not allowed"})),
            file => answer(
                200,
                json!({"document": {"filename": "a", "md_content": format!("# {file}"), "json_content": null},
                    "status": "success", "processing_time": 1.5, "errors": [], "timings": {}}),
            ),
        }
    })
}

fn stage(server: &Server, files: &[&str]) -> Stage {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, file bytea)");
    stage.run(&format!(
        "select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           chunking => ai.chunking_none(), destination => ai.destination_table(target_table => 'doc_store'),
           loading => ai.loading_column('file'),
           parsing => ai.parsing_docling_serve('{}', api_key_name => 'DOCLING_API_KEY'))",
        server.url
    ));
    for (file, id) in files.iter().zip(1_i32..) {
        let insert = "insert into doc values ($1, $2)";
        let file = file.as_bytes();
        stage.sql.execute(insert, &[&id, &file]).unwrap();
    }
    stage
}

const KEY: [(&str, &str); 1] = [("DOCLING_API_KEY", "a secret key")];

#[test]
fn a_server_of_docling_parses_the_documents() {
    let status = Arc::new(AtomicU16::new(200));
    let server = docling(&status);
    let mut stage = stage(&server, &["ducks", "broken", "strange", "geese"]);
    once(&stage, &server.url, &KEY);
    let both = [(1, "# ducks".to_owned()), (4, "# geese".to_owned())];
    assert_eq!(chunks(&mut stage), both);
    let failed = failures(&mut stage);
    let failed: Vec<_> = failed
        .iter()
        .map(|(id, step, reason)| (*id, step.as_str(), reason.as_str()))
        .collect();
    // Each once: it would fail again.
    assert_eq!(failed.len(), 2, "{failed:?}");
    for ((id, step, reason), (wanted, words)) in failed.iter().zip([
        (2, "failure: no valid document"),
        (3, "File format not allowed"),
    ]) {
        assert_eq!((*id, *step), (wanted, "parsing"));
        assert!(reason.contains(words), "{reason}");
    }
    assert!(
        server
            .take()
            .iter()
            .all(|asked| { asked.method == "POST" && asked.path == "/v1/convert/file" })
    );
}

#[test]
fn while_the_server_is_down_no_row_fails() {
    let status = Arc::new(AtomicU16::new(503));
    let server = docling(&status);
    let mut stage = stage(&server, &["ducks", "geese"]);
    let worker = once(&stage, &server.url, &KEY);
    let lines = worker.lines();
    assert!(lines.iter().any(|line| line.contains("503")), "{lines:?}");
    assert_eq!(failures(&mut stage), []);
    assert_eq!(stage.number("select ai.vectorizer_queue_pending('doc')"), 2);
    status.store(200, Ordering::SeqCst);
    // A wrong key is the operator's business, too.
    once(&stage, &server.url, &[("DOCLING_API_KEY", "another key")]);
    assert_eq!(failures(&mut stage), []);
    once(&stage, &server.url, &KEY);
    assert_eq!(chunks(&mut stage).len(), 2);
    let attempts = "select count(*) from ai.vectorizer_errors where message = 'parsing failed'";
    assert_eq!(stage.number(attempts), 2, "one for each pause");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, file bytea, body text)");
    for (parsing, words) in [
        ("ai.parsing_docling_serve('')", "missing url"),
        ("ai.parsing_docling_serve('docling:5001')", "http://"),
        (
            "ai.parsing_docling_serve('http://a:b@docling')",
            "must not hold a user",
        ),
        (
            "ai.parsing_docling_serve('http://docling', 'sk-abc')",
            "api_key_name must be the name",
        ),
    ] {
        let create = format!(
            "select ai.create_vectorizer('doc', loading => ai.loading_column('file'), parsing => {parsing},
               embedding => ai.embedding_ollama('m', 3))"
        );
        let error = stage.sql.batch_execute(&create).unwrap_err();
        let error = error.as_db_error().unwrap().message().to_owned();
        assert!(error.contains(words), "{parsing}: {error}");
    }
    let create = "select ai.create_vectorizer('doc', loading => ai.loading_column('body'),
           parsing => ai.parsing_docling_serve('http://docling'), embedding => ai.embedding_ollama('m', 3))";
    assert!(stage.sql.batch_execute(create).is_err());
}

/// The key goes to this machine and to hosts that the operator names, and nowhere else.
#[test]
fn the_key_does_not_go_just_anywhere() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, file bytea)");
    stage.run(&format!(
        "select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           loading => ai.loading_column('file'),
           parsing => ai.parsing_docling_serve('http://docling.example', api_key_name => 'DOCLING_API_KEY'));
         insert into doc values (1, 'ducks')"
    ));
    let worker = once(&stage, "http://nowhere", &KEY);
    let lines = worker.lines();
    let refusal = "the secret DOCLING_API_KEY may not be sent to docling.example";
    assert!(lines.iter().any(|line| line.contains(refusal)), "{lines:?}");
    assert_eq!(stage.number("select ai.vectorizer_queue_pending('doc')"), 1);
}
