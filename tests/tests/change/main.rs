//! Changing a vectorizer: at once, with all texts made anew, and to another model by a second generation.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod adopted;
mod at_once;
mod catalog;
mod columns;
mod copied;
mod faults;
mod manual;
mod mutants;
mod rights;
mod text_index;
mod through;
mod transfer;
mod verified;

use tests::role::refused;
use tests::stage::{PATIENCE, Stage, paragraph};
use tests::stub::is_vector_of;

/// The workers that are shipped.
const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// The dimensions of the model `other`; those of the first one are `tests::stage::DIMENSIONS`.
const OTHER: usize = 12;

/// Changes the blog to the model `other`.
const BEGIN: &str =
    "select ai.alter_vectorizer('blog', embedding => ai.embedding_ollama('other', 12))";

/// The blog with so many rows of two chunks each, embedded, and a provider that has the model `other`.
fn stage(rows: i32) -> Stage {
    let mut stage = Stage::with_blog();
    stage.stub.add_model("other", OTHER);
    for id in 1..=rows {
        stage.run(&format!(
            "insert into blog values ({id}, 't{id}', '{}' || E'\n\n' || '{}')",
            paragraph(&format!("{id} a")),
            paragraph(&format!("{id} b"))
        ));
    }
    stage.once("worker");
    assert_eq!(stage.store().len(), 2 * rows.unsigned_abs() as usize);
    stage
}

/// Waits until the change is in this state.
#[track_caller]
fn wait_for(stage: &Stage, state: &str) {
    let condition =
        format!("exists (select from ai.vectorizer_generation where state = '{state}')");
    stage.database.wait_until(&condition, PATIENCE);
}

/// Waits until nothing is queued for either generation.
#[track_caller]
fn wait_until_both_are_done(stage: &Stage) {
    stage.wait_until_done();
    let progress = "(select change_pending = 0 from ai.vectorizer_progress)";
    stage.database.wait_until(progress, PATIENCE);
}

/// A relation of chunks holds what it should, with vectors of so many dimensions.
#[track_caller]
fn assert_true(stage: &mut Stage, relation: &str, dimensions: usize) {
    let query =
        format!("select id, chunk_seq, chunk, embedding::real[] from {relation} order by 1, 2");
    let rows = stage.sql.query(&query, &[]).unwrap();
    let stored = rows.iter().map(|row| {
        let text: String = row.get(2);
        let vector: Vec<f32> = row.get(3);
        assert_eq!(vector.len(), dimensions, "{relation}");
        assert!(is_vector_of(&text, &vector), "{relation}: {text:?}");
        (row.get(0), row.get(1), text)
    });
    let stored: Vec<(i32, i32, String)> = stored.collect();
    assert_eq!(stored, stage.wanted(), "{relation}");
}

/// The one text that a query returns.
#[track_caller]
fn text(stage: &mut Stage, sql: &str) -> String {
    let row = stage.sql.query_one(sql, &[]);
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// Runs what must fail, and returns its message and hint.
#[track_caller]
fn fails(stage: &mut Stage, sql: &str) -> String {
    refused(&mut stage.sql, sql).1
}
