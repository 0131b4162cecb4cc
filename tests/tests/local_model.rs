//! A model in the worker's own process, from the table to the search.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tests::process::Signal;
use tests::stage::{PATIENCE, Stage};
use tests::{cranfield, minilm};

fn models_dir() -> String {
    minilm::models_dir().unwrap().to_str().unwrap().to_owned()
}

fn stage(model: &str) -> Stage {
    let mut stage = Stage::new();
    stage.run("create table notes (id int primary key, body text)");
    stage.run(&format!(
        "select ai.create_vectorizer('notes', name => 'notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_sentence_transformers('{model}', {}), chunking => ai.chunking_none(),
           destination => ai.destination_table(target_table => 'notes_store'))",
        minilm::DIMENSIONS
    ));
    stage
}

fn search(stage: &Stage, models: &str, question: &str, k: usize) -> Vec<String> {
    let k = k.to_string();
    let arguments = ["search", "notes", question, "-k", &k, "--json"];
    let mut process = stage.worker_with("worker", &arguments, &[("PGAI_MODELS_DIR", models)]);
    let code = process.wait(PATIENCE).code();
    let said = process.lines().join("\n");
    assert_eq!(code, Some(0), "{said}");
    let hits: Vec<Value> = serde_json::from_str(&said).unwrap();
    let key = |hit: &Value| hit["key"][0].as_str().unwrap().to_owned();
    hits.iter().map(key).collect()
}

#[test]
fn words_are_found_by_their_meaning() {
    let models = models_dir();
    let mut stage = stage(minilm::NAME);
    stage.run(
        "insert into notes values
           (1, 'The cat slept on the warm windowsill all afternoon.'),
           (2, 'Interest rates rose again, and so did the price of bread.'),
           (3, 'To turn the boat, pull the rope on the left.')",
    );
    let arguments = ["--once", "--models-dir", &models];
    let mut worker = stage.worker("worker", &arguments);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    assert_eq!(stage.stub.requests().len(), 0, "no provider is asked");
    for (question, wanted) in [
        ("a pet having a nap", "1"),
        ("inflation", "2"),
        ("how to steer a sailing vessel", "3"),
    ] {
        assert_eq!(search(&stage, &models, question, 1), [wanted], "{question}");
    }

    // A changed row follows, and an unchanged one is not computed again.
    stage.run("update notes set body = 'Stock markets fell.' where id = 1");
    let mut worker = stage.worker("worker", &arguments);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    let two = search(&stage, &models, "the economy", 2);
    assert_eq!(
        BTreeSet::from_iter(two),
        BTreeSet::from(["1".to_owned(), "2".to_owned()])
    );
}

#[test]
fn what_the_model_does_not_read_is_told_and_counted() {
    let models = models_dir();
    let mut stage = stage(minilm::NAME);
    stage.run("insert into notes values (1, repeat('word ', 300)), (2, 'short')");
    let environment = [("PGAI_MODELS_DIR", models.as_str())];
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    let line = worker.wait_for_line("chunks truncated", PATIENCE);
    assert!(line.contains("chunks=1"), "{line}");
    assert_eq!(
        stage.number("select length(chunk)::bigint from notes_store where id = 1"),
        1500
    );
    // The model counts its own tokens: 300 words and the two that frame them.
    let mut chunk = stage.worker_with(
        "worker",
        &["chunk", "notes", "--key", "1", "--json"],
        &environment,
    );
    assert_eq!(chunk.wait(PATIENCE).code(), Some(0));
    let shown: Value = serde_json::from_str(&chunk.lines().join("\n")).unwrap();
    assert_eq!(shown["chunks"][0]["tokens"], 302);
}

#[test]
fn a_model_that_is_not_there_or_does_not_work_is_one_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let models = directory.path().to_str().unwrap().to_owned();
    let mut stage = stage("nomic-ai/nomic-embed-text-v1.5");
    stage.run("insert into notes select n, 'text ' || n from generate_series(1, 200) n");
    let environment = [("PGAI_MODELS_DIR", models.as_str())];
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    let line = worker.wait_for_line("vectorizer cannot run", PATIENCE);
    for says in [
        "there is no model",
        "nomic-ai/nomic-embed-text-v1.5",
        &models,
        "sentence-transformers model of type bert",
    ] {
        assert!(line.contains(says), "{says:?} in: {line}");
    }
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 1);
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 200);

    // It is there, and of a kind that does not work here.
    let model = directory.path().join("nomic-ai/nomic-embed-text-v1.5");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("config.json"), r#"{"model_type": "nomic_bert"}"#).unwrap();
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    let line = worker.wait_for_line("vectorizer cannot run", PATIENCE);
    assert!(
        line.contains("it is of type nomic_bert") && line.contains("What works"),
        "{line}"
    );
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_1"),
        0
    );
    assert_eq!(
        stage.number("select max(loading_retries)::bigint from ai._vectorizer_q_1"),
        0
    );
}

/// Rare words: MiniLM has more tokens for them than cl100k_base.
const RARE: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. ";

#[test]
fn sizes_in_tokens_are_those_of_the_model() {
    let models = models_dir();
    let environment = [("PGAI_MODELS_DIR", models.as_str())];
    let mut stage = Stage::new();
    stage.run("create table notes (id int primary key, body text)");
    stage.run(&format!(
        "select ai.create_vectorizer('notes', name => 'notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_sentence_transformers('{}', {}), chunking => ai.chunking_token(256),
           destination => ai.destination_table(target_table => 'notes_store'))",
        minilm::NAME,
        minilm::DIMENSIONS
    ));
    stage.run(&format!(
        "insert into notes values (1, repeat('{RARE}', 60)), (2, 'short'), (3, E' \\n')"
    ));
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    let lines = worker.lines().join("\n");
    assert!(!lines.contains("truncated"), "{lines}");

    let chunk = |stage: &Stage, arguments: &[&str]| -> Value {
        let arguments = [&["chunk", "notes", "--key", "1", "--json"], arguments].concat();
        let mut process = stage.worker_with("worker", &arguments, &environment);
        let code = process.wait(PATIENCE).code();
        let said = process.lines().join("\n");
        assert_eq!(code, Some(0), "{said}");
        serde_json::from_str(&said).unwrap()
    };
    let shown = chunk(&stage, &["--compare", "ai.chunking_token(64)"]);
    for (side, size) in [("chunks", 256), ("compared", 64)] {
        let chunks = shown[side].as_array().unwrap();
        assert!(chunks.len() > 1, "{side}");
        let tokens = |chunk: &Value| chunk["tokens"].as_u64().unwrap();
        let sizes = Vec::from_iter(chunks.iter().map(tokens));
        // Whole sentences of the 30 tokens or so that fit, with the two that the model adds.
        assert!(sizes.iter().all(|tokens| *tokens <= size), "{sizes:?}");
        assert!(sizes[0] > size - 35, "{sizes:?}");
    }
    let stored = stage.number("select count(*) from notes_store where id = 1");
    assert_eq!(stored, shown["chunks"].as_array().unwrap().len() as i64);

    // The commands count as the worker does.
    let mut estimate = stage.worker_with("worker", &["estimate", "notes", "--json"], &environment);
    assert_eq!(estimate.wait(PATIENCE).code(), Some(0));
    let estimate: Value = serde_json::from_str(&estimate.lines().join("\n")).unwrap();
    assert_eq!(estimate["chunks"]["estimate"], stored as f64 + 1.0);
    assert_eq!(estimate["token_measure"], "counted by the model itself");
    let verify = |stage: &Stage| -> String {
        let mut worker = stage.worker_with("worker", &["--poll-interval", "1"], &environment);
        let arguments = ["resync", "notes", "--verify-text"];
        let mut resync = stage.worker_with("worker", &arguments, &environment);
        let code = resync.wait(PATIENCE).code();
        let said = resync.lines().join("\n");
        assert_eq!(code, Some(0), "{said}");
        worker.signal(Signal::Term);
        worker.wait(PATIENCE);
        said
    };
    let said = verify(&stage);
    assert!(said.ends_with("nothing differs"), "{said}");
    stage.run("update notes_store set chunk = 'other' where id = 2");
    let said = verify(&stage);
    assert!(said.contains("1 stale"), "{said}");
}

#[test]
fn a_resync_does_not_wait_for_a_model_that_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let models = directory.path().to_str().unwrap().to_owned();
    let environment = [("PGAI_MODELS_DIR", models.as_str())];
    let mut stage = stage("gone");
    stage.run(
        "update ai.vectorizer set config = jsonb_set(config, '{chunking}', ai.chunking_token(100))",
    );
    stage.run("insert into notes values (1, 'a text')");
    let _worker = stage.worker_with("worker", &["--poll-interval", "1"], &environment);
    let arguments = ["resync", "notes", "--verify-text"];
    let mut resync = stage.worker_with("worker", &arguments, &environment);
    let code = resync.wait(PATIENCE).code();
    let said = resync.lines().join("\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("compared 1 rows") && said.contains("cannot be loaded now"),
        "{said}"
    );
}

#[test]
fn search_over_cranfield_is_as_good_as_the_reference() {
    /// With transformers and torch: 0.5132.
    const WANTED: f64 = 0.50;
    let (Some(documents), Some(questions)) = (cranfield::load(), cranfield::questions()) else {
        return;
    };
    let models = models_dir();
    let mut stage = Stage::new();
    stage.run("create table docs (id int primary key, title text, body text)");
    for document in &documents {
        let values: [&(dyn postgres::types::ToSql + Sync); 3] =
            [&document.id, &document.title, &document.body];
        stage
            .sql
            .execute("insert into docs values ($1, $2, $3)", &values)
            .unwrap();
    }
    stage.run(&format!(
        "select ai.create_vectorizer('docs', name => 'notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_sentence_transformers('{}', {}), chunking => ai.chunking_none(),
           formatting => ai.formatting_python_template(E'$title\n$chunk'),
           destination => ai.destination_table(target_table => 'docs_store'))",
        minilm::NAME,
        minilm::DIMENSIONS
    ));
    let environment = [("PGAI_MODELS_DIR", models.as_str())];
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert_eq!(worker.wait(Duration::from_secs(300)).code(), Some(0));
    // Two documents have no text.
    assert_eq!(stage.number("select count(*) from docs_store"), 1398);
    let gains = questions.iter().map(|question| {
        let found = search(&stage, &models, &question.text, 10);
        let found: Vec<i32> = found.iter().map(|id| id.parse().unwrap()).collect();
        ndcg(&found, &question.answers)
    });
    let ndcg = gains.sum::<f64>() / questions.len() as f64;
    assert!(ndcg >= WANTED, "{ndcg}");
}

/// Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR techniques (2002), with a gain of
/// one for every answer.
fn ndcg(found: &[i32], answers: &BTreeSet<i32>) -> f64 {
    let discount = |place: usize| 1.0 / ((place + 2) as f64).log2();
    let places = found.iter().enumerate();
    let gain: f64 = places
        .filter(|(_, id)| answers.contains(id))
        .map(|(place, _)| discount(place))
        .sum();
    let best: f64 = (0..answers.len().min(10)).map(discount).sum();
    gain / best
}
