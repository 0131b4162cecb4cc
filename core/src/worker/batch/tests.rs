//! A batch alone, without a worker: its statements, its requests, and what answers do to its rows.

use std::sync::Arc;
use std::time::Duration;

mod documents;

use super::*;
use crate::query::{CommitChunk, DbError, Outcome, Query, ReadRow, Rows, numbers};
use crate::random::Random;
use crate::settings::Settings;
use crate::vectorizer::Definition;
use crate::vectorizer::example::definition;

const LEASE: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(40);

fn profile() -> Arc<Profile> {
    profile_of(
        &serde_json::json!({"implementation": "column", "column_name": "body", "retries": 1}),
    )
}

fn profile_of(loading: &serde_json::Value) -> Arc<Profile> {
    profile_with(loading, &serde_json::json!({"implementation": "none"}))
}

pub(super) fn profile_with(
    loading: &serde_json::Value,
    chunking: &serde_json::Value,
) -> Arc<Profile> {
    let parts = serde_json::json!({"loading": loading, "chunking": chunking});
    let definition = definition(1, parts);
    let definition: Definition = serde_json::from_value(definition).unwrap();
    let mut settings = Settings::new("test");
    settings.documents.can_parse = true;
    Arc::new(Profile::new(&definition, &settings).unwrap())
}

fn claimed(keys: &[&str]) -> Batch {
    claimed_of(profile(), keys)
}

pub(super) fn claimed_of(profile: Arc<Profile>, keys: &[&str]) -> Batch {
    let item = |key: &&str| ClaimedRow {
        key: Key(vec![(*key).to_owned()]),
        generation: 1,
        attempts: 1,
        silent: 1,
    };
    Batch::new(
        profile,
        ClaimId(7),
        Limits::default(),
        Time::ZERO,
        LEASE,
        keys.iter().map(item).collect(),
    )
}

pub(super) fn next(batch: &mut Batch, now: u64) -> Option<(Step, Query)> {
    let now = Time::new(Duration::from_secs(now));
    batch.next_query(now, LEASE, TIMEOUT, 64, &mut Random::new(1))
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Answers the next statement, which must be a read, with these texts.
pub(super) fn read(batch: &mut Batch, texts: &[&str]) -> usize {
    let Some((Step::Read(asked), _)) = next(batch, 0) else {
        panic!("{batch:?}");
    };
    let row = |(number, body): (usize, &&str)| {
        vec![text(&number.to_string()), text("true"), text(body), None]
    };
    let rows: Rows = (1..).zip(texts).map(row).collect();
    let rows = ReadRow::all(rows, 0).unwrap();
    batch.query_out = false;
    let planned = batch.read_rows(&asked, rows).run();
    batch.plan_rows(planned, Sizes::default());
    asked.len()
}

/// Answers all requests: the vector of a text has its length as its only number.
fn embed(batch: &mut Batch) {
    while let Some(at) = batch.next_span(true) {
        let span = batch.take_span(at, Sizes::default()).unwrap();
        let texts = batch.texts(&span);
        #[expect(clippy::cast_precision_loss, reason = "they are short")]
        let vectors = texts.iter().map(|text| Arc::from([text.len() as f32]));
        let vectors = vectors.collect();
        batch.back(&span);
        batch.fill(&span, vectors);
    }
}

pub(super) fn outcomes(all: &[(&str, &str)]) -> StepAnswer {
    let row = |(number, fate): &(&str, &str)| vec![text(number), text(fate)];
    StepAnswer::Outcomes(Outcome::all(all.iter().map(row).collect()).unwrap())
}

#[test]
fn rows_are_read_embedded_and_committed() {
    let mut batch = claimed(&["a", "b"]);
    assert!(batch.is_unread());
    assert_eq!(read(&mut batch, &["one", "three"]), 2);
    assert!(next(&mut batch, 0).is_none(), "vectors are still to come");
    embed(&mut batch);
    let (step, query) = next(&mut batch, 0).unwrap();
    let Query::Commit { rows, claim, .. } = query else {
        panic!("{query:?}");
    };
    assert_eq!(claim, ClaimId(7));
    let lengths: Vec<_> = rows
        .iter()
        .flat_map(|row| &row.chunks)
        .map(|chunk| {
            let CommitChunk::Write { vector, .. } = chunk else {
                panic!("{chunk:?}");
            };
            vector.to_vec()
        })
        .collect();
    assert_eq!(lengths, [[3.0], [5.0]]);
    batch.query_out = false;
    let report = batch.handle_step(step, &outcomes(&[("1", "done"), ("2", "done")]));
    assert_eq!((report.rows, report.embedded), (2, 2));
    assert!(batch.is_over());
}

#[test]
fn equal_texts_are_sent_once() {
    let mut batch = claimed(&["a", "b", "c"]);
    read(&mut batch, &["same", "same", "other"]);
    let inputs: usize = batch.spans.iter().map(|span| span.inputs.len()).sum();
    assert_eq!(inputs, 2);
}

#[test]
fn rows_that_a_read_leaves_out_are_read_again() {
    let mut batch = claimed(&["a", "b"]);
    assert_eq!(read(&mut batch, &["one"]), 2);
    embed(&mut batch);
    let (step, query) = next(&mut batch, 0).unwrap();
    assert!(matches!(&query, Query::Commit { rows, .. } if rows.len() == 1));
    batch.query_out = false;
    batch.handle_step(step, &outcomes(&[("1", "done")]));
    assert_eq!(read(&mut batch, &["two"]), 1);
}

#[test]
fn a_lost_row_is_not_committed() {
    let mut batch = claimed(&["a", "b"]);
    read(&mut batch, &["one", "two"]);
    // Less is left of the lease than a request may take.
    let (step, query) = next(&mut batch, 21).unwrap();
    assert!(matches!(query, Query::Extend { .. }));
    batch.query_out = false;
    let held = StepAnswer::Held(numbers(vec![vec![text("2")]]).unwrap());
    batch.handle_step(step, &held);
    batch.held_until = Time::new(Duration::from_secs(81));
    embed(&mut batch);
    let (_, query) = next(&mut batch, 21).unwrap();
    assert!(
        matches!(&query, Query::Commit { rows, .. } if rows.len() == 1 && rows[0].key.0 == ["b"])
    );
}

#[test]
fn a_refused_input_fails_its_row_only() {
    let mut batch = claimed(&["a", "b"]);
    read(&mut batch, &["one", "two"]);
    let span = batch.take_span(0, Sizes::default()).unwrap();
    batch.back(&span);
    let [first, second] = span.halves();
    batch.blame(&first, "too ugly");
    batch.spans.push_back(second);
    embed(&mut batch);
    let (step, query) = next(&mut batch, 0).unwrap();
    assert!(matches!(&query, Query::Commit { rows, .. } if rows[0].key.0 == ["b"]));
    batch.query_out = false;
    batch.handle_step(step, &outcomes(&[("1", "done")]));
    let (_, query) = next(&mut batch, 0).unwrap();
    let Query::Fail { rows, .. } = query else {
        panic!("{query:?}");
    };
    assert_eq!(rows[0].key.0, ["a"]);
    assert!(rows[0].retry_after.is_some(), "it has one attempt more");
}

#[test]
fn a_statement_that_is_refused_for_its_data_is_split_until_the_row_is_found() {
    let mut batch = claimed(&["a", "b"]);
    read(&mut batch, &["one", "two"]);
    embed(&mut batch);
    let refused = DbError::refused("22001", "value too long", None, None);
    let (step, _) = next(&mut batch, 0).unwrap();
    batch.query_out = false;
    batch.handle_bad_data(&step, &refused);
    let (step, query) = next(&mut batch, 0).unwrap();
    assert!(matches!(&query, Query::Commit { rows, .. } if rows.len() == 1));
    batch.query_out = false;
    batch.handle_bad_data(&step, &refused);
    let (_, query) = next(&mut batch, 0).unwrap();
    assert!(matches!(&query, Query::Commit { rows, .. } if rows[0].key.0 == ["b"]));
}

#[test]
fn a_batch_that_drains_gives_back_what_is_not_finished() {
    let mut batch = claimed(&["a", "b"]);
    read(&mut batch, &["one", "two"]);
    batch.drain();
    let (step, query) = next(&mut batch, 0).unwrap();
    assert!(matches!(&query, Query::Release { keys, .. } if keys.len() == 2));
    batch.query_out = false;
    batch.handle_step(step, &StepAnswer::Released);
    assert!(batch.is_over());
}

#[test]
fn a_lease_that_has_run_out_is_forgotten() {
    let mut batch = claimed(&["a"]);
    batch.expire(Time::new(LEASE - Duration::from_secs(1)));
    assert!(!batch.is_over());
    batch.expire(Time::new(LEASE));
    assert!(batch.is_over());
}
