//! `worker serve`: searching and embedding over HTTP and MCP, with real processes.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod agents;
mod load;
mod manual;
mod openai;
mod packages;
mod refused;
mod rerank;
mod searches;
mod tenants;

use std::io::Write as _;

use serde_json::Value;
use tempfile::NamedTempFile;
use tests::process::Process;
use tests::site::Site;
use tests::stage::{DIMENSIONS, Stage};

/// The token of the only role, in most tests.
const TOKEN: &str = "token-of-the-test-0";

/// A table with three rows, which are embedded.
fn docs() -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table docs (id int primary key, lang text, year int, body text);
         insert into docs values (1, 'en', 2001, 'the moon pulls the sea'), (2, 'en', 2002, 'knead the dough'),
           (3, 'de', 2003, 'sea ships');
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_table(target_table => 'docs_store'))"
    ));
    stage.once("worker");
    stage
}

/// A running server, and what its clients send.
struct Server {
    process: Process,
    site: Site,
    _tokens: NamedTempFile,
}

impl Server {
    /// A server with these tokens and URLs, and further arguments.
    #[track_caller]
    fn start(stage: &Stage, tokens: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::with(stage, tokens, arguments, &[])
    }

    #[track_caller]
    fn with(
        stage: &Stage,
        tokens: &[(&str, &str)],
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut file = NamedTempFile::new().unwrap();
        for (token, url) in tokens {
            writeln!(file, "{token} {url}").unwrap();
        }
        let path = file.path().to_str().unwrap();
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--tokens", path];
        all.extend(arguments);
        let process = stage.worker_with("worker", &all, environment);
        let site = Site::of(&process);
        Self {
            process,
            site: bearing(&site, TOKEN),
            _tokens: file,
        }
    }

    /// A server for the role of the workers.
    #[track_caller]
    fn of(stage: &Stage) -> Self {
        Self::start(stage, &[(TOKEN, &stage.worker_url)], &[])
    }

    /// The answer to what must work.
    #[track_caller]
    fn good(&self, path: &str, body: &Value) -> Value {
        good(&self.site, path, body)
    }
}

fn bearing(site: &Site, token: &str) -> Site {
    site.with("authorization", &format!("Bearer {token}"))
}

#[track_caller]
fn good(site: &Site, path: &str, body: &Value) -> Value {
    let (status, said) = site.post(path, &body.to_string());
    assert_eq!(status, 200, "{path} {body}: {said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The keys of what a search has found, in order.
#[track_caller]
fn ids(answer: &Value) -> Vec<i64> {
    let results = answer["results"].as_array();
    let results = results.unwrap_or_else(|| panic!("{answer}"));
    let ids = results.iter().map(|found| found["key"]["id"].as_i64());
    ids.collect::<Option<_>>().unwrap()
}
