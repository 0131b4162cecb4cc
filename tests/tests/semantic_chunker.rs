//! The semantic chunker of pgai-rs, whose chunks depend on vectors of the vectorizer's own provider.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::sync::Arc;

use serde_json::{Value, json};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::vector_of;

const CHUNKING: &str = "ai.chunking_semantic_chunker(120, 0, window_size => 2, skip_window => 1,
    reconnect_similarity_threshold => 0.1)";

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table doc (id int primary key, body text);
         select ai.create_vectorizer('doc', name => 'doc', loading => ai.loading_column('body'), chunking => {CHUNKING},
             embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
             destination => ai.destination_table(target_table => 'doc_store', location => true))"
    ));
    stage
}

/// Sentences, each with a number of its own.
fn text(row: usize, sentences: usize) -> String {
    let sentences = (0..sentences).map(|at| format!("Sentence {at} of row {row} is here. "));
    sentences.collect()
}

/// What the crate that pgai-rs used makes of it, with the stub's vectors.
fn expected(text: &str) -> Vec<String> {
    let chunker = julienne::SemanticChunker::builder()
        .chunk_size(120)
        .chunk_overlap(0)
        .window_size(2)
        .skip_window(1)
        .reconnect_similarity_threshold(0.1)
        .embedding_fn(Arc::new(|text: &str| vector_of(text, DIMENSIONS)))
        .build();
    chunker.unwrap().split_text(text)
}

fn stored(stage: &mut Stage, row: usize) -> Vec<String> {
    let row = i32::try_from(row).unwrap();
    let sql = "select chunk from doc_store where id = $1 order by chunk_seq";
    let rows = stage.sql.query(sql, &[&row]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn chunks_end_where_the_vectors_of_sentences_differ() {
    for shell in ["worker", "worker-blocking"] {
        let mut stage = stage();
        for row in 1..=20 {
            let body = text(row, 2 * row);
            stage.run(&format!("insert into doc values ({row}, '{body}')"));
        }
        stage.once(shell).wait(PATIENCE);
        for row in 1..=20 {
            let chunks = stored(&mut stage, row);
            assert_eq!(chunks, expected(&text(row, 2 * row)), "{shell}, row {row}");
        }
        let right = "select count(*) from doc_store s join doc d using (id) where s.chunk = substring(d.body
            from (s.location #>> '{span,0}')::int + 1
            for (s.location #>> '{span,1}')::int - (s.location #>> '{span,0}')::int)";
        let all = stage.number("select count(*) from doc_store");
        assert_eq!(stage.number(right), all, "{shell}");

        // Of the vectors, those of the chunks that are stored already are not asked for again.
        let inputs = stage.stub.inputs().len();
        stage.run("update doc set body = body || ' ' where id = 20");
        stage.once(shell).wait(PATIENCE);
        let asked = stage.stub.inputs().split_off(inputs);
        let chunks = stored(&mut stage, 20);
        assert_eq!(chunks, expected(&text(20, 40)), "{shell}");
        // The windows, once each, and what is compared around asides.
        assert!(asked.len() >= 39, "{shell}: {}", asked.len());
        let mut once = asked.clone();
        once.sort();
        once.dedup();
        assert_eq!(
            once.len(),
            asked.len(),
            "{shell}: nothing is asked for twice"
        );
    }
}

#[test]
fn a_text_whose_parts_are_refused_fails_alone() {
    let mut stage = stage();
    stage.stub.refuse_inputs_with("POISON");
    for row in 1..=9 {
        let poison = if row == 5 { "POISON here. " } else { "" };
        let body = text(row, 6) + poison + &text(row, 6);
        stage.run(&format!("insert into doc values ({row}, '{body}')"));
    }
    stage.once("worker").wait(PATIENCE);
    let rows = "select count(distinct id) from doc_store";
    assert_eq!(stage.number(rows), 8);
    let failed = "select count(*) from ai.vectorizer_errors where details::text like '%POISON%'
        or message like '%embedding%'";
    assert!(stage.number(failed) > 0);
    // Once the provider takes it, the row is embedded.
    stage.stub.refuse_no_inputs();
    stage.run("update doc set body = body || '.' where id = 5");
    stage.once("worker").wait(PATIENCE);
    assert_eq!(stage.number(rows), 9);
}

#[test]
fn commands_know_that_the_chunks_depend_on_vectors() {
    let mut stage = stage();
    let body = text(1, 30);
    stage.run(&format!("insert into doc values (1, '{body}')"));
    // A preview asks the provider.
    let mut chunk = stage.worker("worker", &["chunk", "doc", "--json"]);
    assert_eq!(chunk.wait(PATIENCE).code(), Some(0), "{:?}", chunk.lines());
    let shown: Value = serde_json::from_str(&chunk.lines().join("")).unwrap();
    let shown = shown["chunks"].as_array().unwrap().iter();
    let shown = Vec::from_iter(shown.map(|chunk| chunk["chunk"].as_str().unwrap()));
    assert_eq!(shown, expected(&body));

    // 30 sentences make 29 windows of two, which are embedded, too: most of the text three times.
    let mut estimate = stage.worker("worker", &["estimate", "doc", "--json"]);
    assert_eq!(estimate.wait(PATIENCE).code(), Some(0));
    let estimate: Value = serde_json::from_str(&estimate.lines().join("")).unwrap();
    let number = |name: &str| estimate[name]["estimate"].as_f64().unwrap();
    let plain = tokens_of_chunks(&mut stage);
    assert!(number("tokens") > 2.5 * plain, "{estimate}");
    assert!(number("chunks") < 20.0, "{estimate}");

    stage.once("worker").wait(PATIENCE);
    let resync = ["resync", "doc", "--verify-text", "--no-wait"];
    assert_eq!(
        stage.worker("worker", &resync).wait(PATIENCE).code(),
        Some(0)
    );
    let stored = chunks_and_vectors(&mut stage);
    stage.once("worker").wait(PATIENCE);
    let row = "select state || ': ' || reason from ai.vectorizer_resync";
    let row: String = stage.sql.query_one(row, &[]).unwrap().get(0);
    assert!(row.contains("depend on vectors of sentences"), "{row}");
    assert_eq!(chunks_and_vectors(&mut stage), stored);
}

#[test]
fn a_change_of_the_settings_reaches_the_rows() {
    let mut stage = stage();
    let body = text(1, 30);
    stage.run(&format!("insert into doc values (1, '{body}')"));
    stage.once("worker").wait(PATIENCE);
    let longest = "select max(length(chunk))::bigint from doc_store";
    assert!(stage.number(longest) > 80);
    stage.run("update ai.vectorizer set config = jsonb_set(config, '{chunking,chunk_size}', '80')");
    stage.once("worker").wait(PATIENCE);
    assert!(stage.number(longest) <= 80);
}

/// What is stored, without when.
fn chunks_and_vectors(stage: &mut Stage) -> Vec<String> {
    let rows = "select chunk_seq || chunk || embedding from doc_store order by 1";
    let rows = stage.sql.query(rows, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// As estimated for a vectorizer that packs the same sentences.
fn tokens_of_chunks(stage: &mut Stage) -> f64 {
    stage.run(&format!(
        "select ai.create_vectorizer('doc', name => 'plain', loading => ai.loading_column('body'),
             chunking => ai.chunking_sentence_chunker(120, 0), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
             destination => ai.destination_table('plain'));
         select ai.disable_vectorizer_schedule(id) from ai.vectorizer where name = 'plain'"
    ));
    let mut estimate = stage.worker("worker", &["estimate", "plain", "--json"]);
    assert_eq!(estimate.wait(PATIENCE).code(), Some(0));
    let estimate: Value = serde_json::from_str(&estimate.lines().join("")).unwrap();
    stage.run("select ai.drop_vectorizer('plain')");
    estimate["tokens"]["estimate"].as_f64().unwrap()
}

#[test]
fn impossible_settings_are_refused_at_once() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, body text)");
    for (arguments, wanted) in [
        (
            "window_size => -1",
            "window_size must be an integer that is not negative",
        ),
        ("skip_window => 101", "skip_window must be at most 100"),
        (
            "reconnect_similarity_threshold => 2",
            "reconnect_similarity_threshold must be a number from 0 to 1",
        ),
        (
            "delimiters => '{}'",
            "delimiters must be an array of texts that are not empty",
        ),
        ("chunk_overlap => 900", "larger chunk overlap"),
    ] {
        let create = format!(
            "select ai.create_vectorizer('doc', loading => ai.loading_column('body'),
             chunking => ai.chunking_semantic_chunker({arguments}), embedding => ai.embedding_ollama('stub', 8))"
        );
        let error = stage.sql.batch_execute(&create).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains(wanted), "{error:?}");
    }
    let config = "select ai.chunking_semantic_chunker()::text";
    let config: String = stage.sql.query_one(config, &[]).unwrap().get(0);
    assert_eq!(
        serde_json::from_str::<Value>(&config).unwrap(),
        json!({"implementation": "semantic_chunker", "config_type": "chunking", "chunk_size": 800,
            "chunk_overlap": 400, "window_size": 3, "skip_window": 0, "reconnect_similarity_threshold": 0.75,
            "max_aside_length": 512, "delimiters": [". ", "! ", "? ", "\n"], "min_characters_per_sentence": 12})
    );
}
