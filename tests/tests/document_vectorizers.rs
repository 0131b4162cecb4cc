//! Vectorizers whose rows hold documents or name them: loaded, parsed, chunked and embedded by the real workers.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use tests::process::Process;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

const PAGE: &str = "<html><head><title>Ducks</title></head><body><h1>Ducks</h1><p>A mallard is a duck.</p></body></html>";

fn vectorizer(stage: &mut Stage, arguments: &str) {
    stage.run(&format!(
        "select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}), {arguments})"
    ));
}

fn once(stage: &Stage, shell: &str, arguments: &[&str]) -> Process {
    let mut all = vec!["--once"];
    all.extend(arguments);
    let mut worker = stage.worker(shell, &all);
    worker.wait(PATIENCE);
    worker
}

/// The stored chunks of each row, in the order of keys.
fn chunks(stage: &mut Stage) -> Vec<(i32, String)> {
    let rows = stage
        .sql
        .query(
            "select id, chunk from doc_store order by id, chunk_seq",
            &[],
        )
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The failed rows: key, step and reason.
fn failures(stage: &mut Stage) -> Vec<(i32, String, String)> {
    let rows = stage
        .sql
        .query(
            "select (details -> 'key' ->> 0)::int, details ->> 'step', details ->> 'error_reason'
             from ai.vectorizer_errors where details ? 'key' order by 1",
            &[],
        )
        .unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

#[test]
fn files_in_a_column_become_chunks() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, title text, file bytea)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_column('file', retries => 0),
         chunking => ai.chunking_character_text_splitter(60, 0, E'\n\n'),
         formatting => ai.formatting_python_template('$title: $chunk'),
         destination => ai.destination_table(target_table => 'doc_store')",
    );
    stage
        .sql
        .execute(
            "insert into doc values (1, 'a', $1), (2, 'b', $2), (3, 'c', null), (4, 'd', ''), (5, 'e', $3), (6, 'f', $4)",
            &[
                &PAGE.as_bytes(),
                &"Plain text, in UTF-8: öß.".as_bytes(),
                &[0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0].as_slice(),
                &b"%PDF-1.4 and nothing else".as_slice(),
            ],
        )
        .unwrap();
    once(&stage, "worker", &[]);
    assert_eq!(
        chunks(&mut stage),
        [
            (1, "a: # Ducks\n\nA mallard is a duck.".to_owned()),
            (2, "b: Plain text, in UTF-8: öß.".to_owned()),
        ]
    );
    let failed = failures(&mut stage);
    let steps: Vec<_> = failed
        .iter()
        .map(|(id, step, _)| (*id, step.as_str()))
        .collect();
    assert_eq!(steps, [(5, "parsing"), (6, "parsing")]);
    assert!(failed[0].2.contains("the file is an image"), "{failed:?}");
    stage.wait_until_done();

    // A changed document is parsed again, and one that is gone leaves nothing.
    let requests = stage.stub.requests().len();
    stage.run("update doc set file = 'other words' where id = 2; delete from doc where id = 1");
    once(&stage, "worker", &[]);
    assert_eq!(chunks(&mut stage), [(2, "b: other words".to_owned())]);
    assert!(stage.stub.requests().len() > requests);
}

#[test]
fn a_file_may_have_its_vector_in_a_column() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, file bytea)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_column('file'), parsing => ai.parsing_pymupdf(), chunking => ai.chunking_none(),
         destination => ai.destination_column('vector')",
    );
    stage
        .sql
        .execute("insert into doc values (1, $1)", &[&PAGE.as_bytes()])
        .unwrap();
    once(&stage, "worker", &[]);
    assert_eq!(
        stage.number("select count(*) from doc where vector is not null"),
        1
    );
}

#[test]
fn files_are_loaded_below_the_operators_directory_only() {
    let mut stage = Stage::new();
    let place = tempfile::tempdir().unwrap();
    let inside = place.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("a.html"), PAGE).unwrap();
    std::fs::write(inside.join("b.txt"), "bbb").unwrap();
    std::fs::write(place.path().join("secret.txt"), "secret").unwrap();
    let url = |path: &Path| format!("file://{}", path.display());
    stage.run("create table doc (id int primary key, url text)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_uri('url', retries => 0), chunking => ai.chunking_none(),
         destination => ai.destination_table(target_table => 'doc_store')",
    );
    let outside = url(&place.path().join("secret.txt"));
    stage
        .sql
        .execute(
            "insert into doc values (1, 'a.html'), (2, $1), (3, '../secret.txt'), (4, $2), (5, 'none.txt'), (6, null),
               (7, 's3://bucket/key')",
            &[&url(&inside.join("b.txt")), &outside],
        )
        .unwrap();
    once(
        &stage,
        "worker",
        &["--documents-dir", inside.to_str().unwrap()],
    );
    let texts: Vec<_> = chunks(&mut stage);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].1.contains("A mallard is a duck."));
    assert_eq!(texts[1], (2, "bbb".to_owned()));
    let failed = failures(&mut stage);
    let keys: Vec<_> = failed
        .iter()
        .map(|(id, step, _)| (*id, step.as_str()))
        .collect();
    assert_eq!(
        keys,
        [
            (3, "loading"),
            (4, "loading"),
            (5, "loading"),
            (7, "loading")
        ]
    );
    assert!(
        failed[0].2.contains("outside of the directory"),
        "{failed:?}"
    );
    assert!(failed[2].2.contains("does not exist"), "{failed:?}");
    let message = "select message from ai.vectorizer_errors limit 1";
    let row = stage.sql.query_one(message, &[]).unwrap();
    assert_eq!(row.get::<_, String>(0), "loading failed");
}

#[test]
fn without_a_directory_no_file_is_read() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, url text)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_uri('url', retries => 0), destination => ai.destination_table(target_table => 'doc_store')",
    );
    stage.run("insert into doc values (1, '/etc/passwd')");
    once(&stage, "worker", &[]);
    let failed = failures(&mut stage);
    assert!(failed[0].2.contains("--documents-dir"), "{failed:?}");
}

/// A server on this machine: each path has its answer. Returns its URL.
fn server(answers: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = text
                .split_whitespace()
                .nth(1)
                .unwrap_or_default()
                .to_owned();
            let found = answers.iter().find(|(known, _)| *known == path);
            let answer = found.map_or(
                "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n",
                |(_, answer)| answer,
            );
            let (head, body) = answer
                .split_once("\r\n\r\n")
                .unwrap_or_else(|| (answer.trim_end(), ""));
            let whole = format!("{head}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(whole.as_bytes());
        }
    });
    url
}

#[test]
fn pages_are_loaded_where_the_operator_allows_it() {
    let mut stage = Stage::new();
    let url = server(&[
        (
            "/a",
            "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n\r\n<h1>Ducks</h1><p>A mallard.</p>",
        ),
        ("/moved", "HTTP/1.1 302 Found\r\nlocation: /a\r\n\r\n"),
        ("/round", "HTTP/1.1 302 Found\r\nlocation: /round\r\n\r\n"),
        (
            "/inside",
            "HTTP/1.1 302 Found\r\nlocation: http://10.1.2.3/\r\n\r\n",
        ),
        ("/denied", "HTTP/1.1 403 Forbidden\r\n\r\nno"),
        (
            "/large",
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789",
        ),
    ]);
    stage.run("create table doc (id int primary key, url text)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_uri('url', retries => 0), chunking => ai.chunking_none(),
         destination => ai.destination_table(target_table => 'doc_store')",
    );
    let paths = [
        "/a", "/moved", "/round", "/inside", "/denied", "/none", "/large",
    ];
    for (path, id) in paths.iter().zip(1_i32..) {
        stage
            .sql
            .execute(
                "insert into doc values ($1, $2)",
                &[&id, &format!("{url}{path}")],
            )
            .unwrap();
    }
    stage.run("insert into doc values (8, 'https://127.0.0.1:1/'), (9, 'http://example.com/')");
    let pattern = format!("{url}/*");
    once(
        &stage,
        "worker",
        &["--allow-uri", &pattern, "--max-document-size", "60"],
    );
    let texts = chunks(&mut stage);
    let keys: Vec<_> = texts.iter().map(|(id, _)| *id).collect();
    assert_eq!(keys, [1, 2], "{texts:?}");
    assert_eq!(texts[0].1, texts[1].1);
    assert!(
        texts[0].1.contains("# Ducks") && texts[0].1.contains("A mallard."),
        "{texts:?}"
    );
    let failed = failures(&mut stage);
    let reasons = [
        (3, "redirects more than"),
        (4, "http:// is not loaded"),
        (5, "403"),
        (6, "there is no such document"),
        (7, "--max-document-size"),
        (8, "not an address of the public internet"),
        (9, "http:// is not loaded"),
    ];
    assert_eq!(failed.len(), reasons.len(), "{failed:?}");
    for ((id, step, reason), (wanted, words)) in failed.iter().zip(reasons) {
        assert_eq!((*id, step.as_str()), (wanted, "loading"));
        assert!(reason.contains(words), "{id}: {reason}");
    }
}

#[test]
fn a_name_that_leads_into_the_own_network_is_not_followed() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, url text)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_uri('url', retries => 0), destination => ai.destination_table(target_table => 'doc_store')",
    );
    stage.run("insert into doc values (1, 'https://localhost:1/')");
    once(&stage, "worker", &[]);
    let failed = failures(&mut stage);
    assert!(
        failed[0]
            .2
            .contains("not an address of the public internet"),
        "{failed:?}"
    );
}

#[test]
fn a_worker_without_documents_leaves_them_queued() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, file bytea)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_column('file'), destination => ai.destination_table(target_table => 'doc_store')",
    );
    stage.run("insert into doc values (1, 'words')");
    let worker = once(&stage, "worker-blocking", &[]);
    let lines = worker.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("built without documents")),
        "{lines:?}"
    );
    assert_eq!(stage.number("select ai.vectorizer_queue_pending('doc')"), 1);
    once(&stage, "worker", &[]);
    assert_eq!(chunks(&mut stage), [(1, "words".to_owned())]);
}

#[test]
fn what_can_never_work_is_refused_at_once() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, file bytea, url text)");
    for (arguments, words) in [
        (
            "loading => ai.loading_uri('url'), parsing => ai.parsing_none()",
            "cannot use parsing_none with loading_uri",
        ),
        (
            "loading => ai.loading_column('file'), parsing => ai.parsing_none()",
            "cannot use parsing_none with bytea",
        ),
        (
            "loading => ai.loading_column('url'), parsing => ai.parsing_docling()",
            "must be used with a bytea column",
        ),
        (
            "loading => ai.loading_uri('file')",
            "not compatible with `uri`",
        ),
    ] {
        let statement = format!(
            "select ai.create_vectorizer('doc', embedding => ai.embedding_ollama('m', 3), {arguments},
               destination => ai.destination_table(target_table => 'doc_store'))"
        );
        let error = stage.sql.batch_execute(&statement).unwrap_err();
        let message = error.as_db_error().unwrap().message().to_owned();
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn commands_say_what_they_cannot_do_for_documents() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, file bytea)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_column('file'), destination => ai.destination_table(target_table => 'doc_store')",
    );
    stage.run("insert into doc values (1, 'words')");
    once(&stage, "worker", &[]);
    for (arguments, code, words) in [
        (&["chunk", "doc"][..], 1, "parse FILE"),
        (&["estimate", "doc"], 1, "not known before they are parsed"),
        (&["search", "doc", "words"], 0, "words"),
        (
            &["resync", "doc", "--verify-text", "--no-wait"],
            0,
            "the workers are asked",
        ),
    ] {
        let mut command = stage.worker("worker", arguments);
        let ended = command.wait(PATIENCE).code();
        let lines = command.lines();
        assert_eq!(ended, Some(code), "{arguments:?}: {lines:?}");
        assert!(
            lines.iter().any(|line| line.contains(words)),
            "{arguments:?}: {lines:?}"
        );
        assert!(
            !lines.iter().any(|line| line.contains("d29yZHM")),
            "base64: {lines:?}"
        );
    }
    // The resync has the documents loaded again, and embeds nothing anew.
    let requests = stage.stub.requests().len();
    once(&stage, "worker", &[]);
    let row = stage
        .sql
        .query_one("select state, reason from ai.vectorizer_resync", &[])
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "done");
    let reason: String = row.get(1);
    assert!(reason.contains("after it was loaded again"), "{reason}");
    assert_eq!(stage.stub.requests().len(), requests);
}

/// Files that are damaged in every way that is quickly made: cut off, overwritten, and of the wrong kind.
fn corrupt(number: u64) -> Vec<u8> {
    let beginnings: [&[u8]; 10] = [
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n",
        b"PK\x03\x04\x14\x00\x00\x00\x08\x00[Content_Types].xml",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"{\\rtf1\\ansi {\\fonttbl{\\f0 ",
        b"<html><body><table><tr><td><table>",
        b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY a \"&b;\"><!ENTITY b \"&a;\">]><a>&a;",
        b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
        b"\x89PNG\r\n\x1a\n",
        b"\x1f\x8b\x08\x00",
        b"\xff\xfe\x00\x00",
    ];
    let beginning = beginnings[usize::try_from(number % 10).unwrap()];
    // A linear congruential generator: the same bytes in each run.
    let mut state = number.wrapping_mul(6_364_136_223_846_793_005) | 1;
    let noise = (0..number * 37).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u8::try_from(state >> 56).unwrap()
    });
    beginning.iter().copied().chain(noise).collect()
}

#[test]
fn two_hundred_corrupt_files_harm_nobody() {
    let mut stage = Stage::with_blog();
    stage.run("create table doc (id int primary key, file bytea)");
    vectorizer(
        &mut stage,
        "loading => ai.loading_column('file', retries => 0), chunking => ai.chunking_none(),
         destination => ai.destination_table(target_table => 'doc_store')",
    );
    for number in 0..200_u64 {
        let id = i32::try_from(number).unwrap();
        stage
            .sql
            .execute("insert into doc values ($1, $2)", &[&id, &corrupt(number)])
            .unwrap();
    }
    stage.run("insert into blog select n, 't', 'body ' || n from generate_series(1, 20) n");
    let worker = once(&stage, "worker", &[]);
    assert!(
        worker.lines().last().unwrap().contains("worker stopped"),
        "{:?}",
        worker.lines()
    );
    assert_eq!(stage.number("select count(*) from blog_store"), 20);
    let ended = stage.number(
        "select count(*) from (select id from doc_store union select id from ai._vectorizer_q_failed_2) x",
    );
    assert_eq!(ended, 200);
    let failed = failures(&mut stage);
    assert!(failed.len() > 100, "{}", failed.len());
    assert!(
        failed
            .iter()
            .all(|(_, step, reason)| step == "parsing" && !reason.is_empty()),
        "{failed:?}"
    );
}
