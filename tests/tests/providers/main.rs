//! Every provider, with both workers: what is asked, with which key, and what is stored.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod cases;
mod keys;
mod limits;
mod manual;
mod refusals;

use std::collections::BTreeSet;

use cases::{CASES, Case, borrowed, environment, service_account};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::{Recorded, TOKEN, vector_of};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

#[test]
fn every_provider_is_asked_in_its_own_way() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.url();
        stage.run(
            "create table t (id int primary key, body text);
             insert into t values (1, 'one'), (2, 'two')",
        );
        for (number, Case(model, options, ..)) in CASES.iter().enumerate() {
            let options = options.replace("{url}", &url);
            stage.run(&format!(
                "select ai.create_vectorizer('t', name => 'v{number}', loading => ai.loading_column('body'),
                   embedding => ai.embedding_litellm('{model}', {DIMENSIONS}, extra_options => '{options}'),
                   chunking => ai.chunking_none(), destination => ai.destination_table('d{number}'))"
            ));
        }
        let environment = environment(&service_account(&url));
        let mut worker = stage.worker_with(shell, &["--once"], &borrowed(&environment));
        assert_eq!(worker.wait(PATIENCE).code(), Some(0), "{shell}");
        let asked = stage.stub.requests();
        for (number, Case(model, _, path, header, value)) in CASES.iter().enumerate() {
            let sql = format!("select chunk, embedding::real[] from d{number}_store order by id");
            let rows = stage.sql.query(&sql, &[]).unwrap();
            assert_eq!(rows.len(), 2, "{shell}: {model}");
            for row in rows {
                let (text, vector): (String, Vec<f32>) = (row.get(0), row.get(1));
                assert_eq!(vector, vector_of(&text, DIMENSIONS), "{shell}: {model}");
            }
            let is_it = |request: &&Recorded| {
                let is_carried = |sent: &str| sent.starts_with(value);
                request.path == *path && request.header(header).is_some_and(is_carried)
            };
            let requests: Vec<_> = asked.iter().filter(is_it).collect();
            assert!(!requests.is_empty(), "{shell}: {model}: {path}");
        }
        let tokens: Vec<_> = asked
            .iter()
            .filter(|request| request.path == "/token")
            .collect();
        assert_eq!(
            tokens.len(),
            1,
            "{shell}: the two vectorizers of an account share a token"
        );
        let form = tokens[0].fields["form"].as_str().unwrap();
        assert!(form.contains("jwt-bearer&assertion=ey"), "{form}");
        assert_eq!(stage.stub.complaints(), Vec::<String>::new());
        // No secret is in a log line or in the database.
        let lines = worker.lines();
        for secret in [TOKEN, "key-of-", "wJalrXUtn", "PRIVATE KEY"] {
            assert!(
                !lines.iter().any(|line| line.contains(secret)),
                "{shell}: {secret}"
            );
        }
    }
}

#[test]
fn prompts_are_sent_and_not_stored() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(
            "create table t (id int primary key, body text);
             insert into t values (1, 'one');
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('embeddinggemma:300m', 8, document_prompt => 'auto',
                 query_prompt => 'auto'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))",
        );
        stage.once(shell);
        assert_eq!(stage.stub.inputs(), ["title: none | text: one"]);
        let stored: String = stage
            .sql
            .query_one("select chunk from d_store", &[])
            .unwrap()
            .get(0);
        assert_eq!(stored, "one");
        let mut search = stage.worker(shell, &["search", "v", "what"]);
        assert_eq!(search.wait(PATIENCE).code(), Some(0));
        let sent: BTreeSet<String> = stage.stub.inputs().into_iter().collect();
        assert!(
            sent.contains("task: search result | query: what"),
            "{sent:?}"
        );
    }
}

#[test]
fn doctor_says_that_a_model_wants_prompts() {
    let mut stage = Stage::new();
    stage.run("create table t (id int primary key, body text)");
    for (name, prompt) in [("without", ""), ("with", ", query_prompt => 'auto'")] {
        stage.run(&format!(
            "select ai.create_vectorizer('t', name => '{name}', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('nomic-embed-text:v1.5', 8{prompt}),
               destination => ai.destination_table('d_{name}'))"
        ));
    }
    let mut doctor = stage.worker("worker", &["doctor", "--offline"]);
    assert_eq!(doctor.wait(PATIENCE).code(), Some(0));
    let lines = doctor.lines();
    let says = |name: &str| {
        let said =
            format!("the vectorizer {name}: its model nomic-embed-text:v1.5 is made for prompts");
        lines.iter().any(|line| line.contains(&said))
    };
    assert!(says("without"), "{lines:?}");
    assert!(!says("with"), "{lines:?}");
}

#[test]
fn create_vectorizer_says_what_is_wrong_with_a_model() {
    let mut stage = Stage::new();
    stage.run("create table t (id int primary key, body text)");
    for (embedding, said) in [
        (
            "ai.embedding_litellm('nope/x', 8)",
            "the provider of the model \"nope/x\" is not known",
        ),
        (
            r#"ai.embedding_litellm('openai/x', 8, extra_options => '{"api_key": "hunter2"}')"#,
            "extra_options must not contain api_key",
        ),
        (
            r#"ai.embedding_litellm('cohere/x', 8, extra_options => '{"api_base": "https://u:hunter2@x"}')"#,
            "api_base must not hold a user",
        ),
        (
            "ai.embedding_litellm('cohere/x', 8, extra_options => '[1]')",
            "extra_options must be",
        ),
        (
            "ai.embedding_ollama('all-minilm', 8, document_prompt => 'auto')",
            "no prompts are known for the model",
        ),
    ] {
        let error = stage
            .sql
            .batch_execute(&format!(
                "select ai.create_vectorizer('t', loading => ai.loading_column('body'), embedding => {embedding})"
            ))
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains(said), "{embedding}: {error:?}");
        assert!(
            !format!("{error:?}").contains("hunter2"),
            "{embedding}: {error:?}"
        );
    }
}
