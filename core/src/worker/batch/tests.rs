//! A batch alone, without a worker: its statements, its requests, and what answers do to its rows.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::call::Call;
use crate::document::{DocumentError, FileError, Parsed, Parts};
use crate::query::{CommitChunk, DbError, Outcome, Query, ReadRow, Rows, numbers};
use crate::random::Random;
use crate::request::{Received, RequestError};
use crate::settings::{DocumentSettings, Settings};
use crate::store::Stores;
use crate::vectorizer::Definition;

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
    let definition = serde_json::json!({
        "id": 1, "name": "blog", "disabled": false, "source_schema": "public", "source_table": "blog",
        "source_pk": [{"attname": "id"}], "queue_schema": "ai", "queue_table": "q", "queue_failed_table": "f",
        "vector": {"schema": "public", "oid": 1, "array_oid": 2}, "lease_found": true, "queue_found": true,
        "columns": [
            {"name": "id", "type": "text", "base": "text", "equals": "operator(pg_catalog.=)"},
            {"name": "body", "type": "text", "base": "text", "equals": null}],
        "config": {
            "loading": loading,
            "embedding": {"implementation": "ollama", "model": "m", "dimensions": 1},
            "chunking": chunking,
            "formatting": {"implementation": "python_template", "template": "$chunk"},
            "destination": {"implementation": "table", "target_schema": "public", "target_table": "s"}}
    });
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

fn documents() -> DocumentSettings {
    DocumentSettings {
        can_parse: true,
        directory: Some("/documents".to_owned()),
        ..DocumentSettings::default()
    }
}

/// Rows whose columns have these addresses, read.
fn addresses(all: &[&str]) -> Batch {
    let loading = serde_json::json!({"implementation": "uri", "column_name": "body", "retries": 1});
    let keys: Vec<String> = (1..=all.len()).map(|key| key.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut batch = claimed_of(profile_of(&loading), &keys);
    let Some((Step::Read(asked), _)) = next(&mut batch, 0) else {
        panic!("{batch:?}");
    };
    let row = |(number, address): (usize, &&str)| {
        vec![text(&number.to_string()), text("true"), text(address), None]
    };
    let rows: Rows = (1..).zip(all).map(row).collect();
    batch.query_out = false;
    let plan = batch.read_rows(&asked, ReadRow::all(rows, 0).unwrap());
    let source = batch.profile.documents.clone().unwrap();
    batch.read_documents(&source, &documents(), plan);
    batch
}

/// Takes a call, which must be there.
fn call(batch: &mut Batch, step: DocumentStep) -> (usize, Call) {
    batch
        .take_document(
            step,
            &documents(),
            &Stores::default(),
            (Time::ZERO, TIMEOUT),
        )
        .unwrap()
}

/// A server has answered.
fn came(batch: &mut Batch, at: usize, answer: Result<Received, RequestError>) {
    let times = (Time::ZERO, Duration::ZERO);
    batch.page_came(at, &documents(), &mut Stores::default(), times, answer);
}

fn parsed(text: &str) -> Parsed {
    Parsed {
        text: text.to_owned(),
        parts: Parts::default(),
    }
}

fn plan(batch: &mut Batch) -> usize {
    let plan = batch.take_texts().unwrap();
    batch.plan_rows(plan.run(), Sizes::default());
    batch.spans.iter().map(|span| span.inputs.len()).sum()
}

#[test]
fn documents_are_loaded_then_parsed_then_planned() {
    let mut batch = addresses(&["a.pdf", "b.pdf"]);
    assert!(batch.take_texts().is_none());
    for name in ["a.pdf", "b.pdf"] {
        let (at, Call::File(request)) = call(&mut batch, DocumentStep::Load) else {
            panic!("{batch:?}");
        };
        assert_eq!(
            (request.path.as_str(), request.directory.as_str()),
            (name, "/documents")
        );
        batch.file_came(at, Ok(name.as_bytes().to_vec()));
    }
    assert_eq!(batch.document_bytes(), 10);
    assert!(!batch.has_document(DocumentStep::Load));
    for text in ["one", "two"] {
        let (at, Call::Parse(document)) = call(&mut batch, DocumentStep::Parse) else {
            panic!("{batch:?}");
        };
        assert_eq!(document.name.unwrap().as_bytes(), document.bytes);
        assert!(
            batch.take_texts().is_none(),
            "the other one is still to come"
        );
        batch.document_parsed(at, Ok(parsed(text)));
    }
    assert_eq!(plan(&mut batch), 2);
}

#[test]
fn a_document_that_fails_takes_no_other_with_it() {
    let mut batch = addresses(&["a", "ftp://b", "c", "d"]);
    let (at, _) = call(&mut batch, DocumentStep::Load);
    batch.file_came(at, Err(FileError::Refused("no such file".to_owned())));
    for text in [
        Err(DocumentError::Document("no text".to_owned())),
        Ok(parsed("text")),
    ] {
        let (at, _) = call(&mut batch, DocumentStep::Load);
        batch.file_came(at, Ok(vec![1]));
        let (at, _) = call(&mut batch, DocumentStep::Parse);
        batch.document_parsed(at, text);
    }
    assert_eq!(plan(&mut batch), 1);
    embed(&mut batch);
    let (step, _) = next(&mut batch, 0).unwrap();
    batch.query_out = false;
    batch.handle_step(step, &outcomes(&[("1", "done")]));
    let Some((_, Query::Fail { rows, .. })) = next(&mut batch, 0) else {
        panic!("{batch:?}");
    };
    let failed: Vec<_> = rows
        .iter()
        .map(|row| (row.key.0[0].as_str(), row.step, row.retry_after.is_some()))
        .collect();
    assert_eq!(
        failed,
        [
            ("1", "loading", true),
            ("2", "loading", true),
            ("3", "parsing", false)
        ],
        "only the load is tried again"
    );
}

#[test]
fn a_few_documents_of_a_read_are_in_work_at_a_time() {
    let all: Vec<String> = (0..20).map(|number| format!("{number}.txt")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut batch = addresses(&all);
    let mut count = 0;
    while batch.has_document(DocumentStep::Load) {
        let (at, _) = call(&mut batch, DocumentStep::Load);
        batch.file_came(at, Ok(vec![1]));
        let (at, _) = call(&mut batch, DocumentStep::Parse);
        batch.document_parsed(at, Ok(parsed(&format!("text {at}"))));
        count += 1;
    }
    assert_eq!(count, 8);
    assert_eq!(plan(&mut batch), 8);
    embed(&mut batch);
    let (step, _) = next(&mut batch, 0).unwrap();
    batch.query_out = false;
    let done: Vec<String> = (1..=8).map(|number| number.to_string()).collect();
    let done: Vec<_> = done
        .iter()
        .map(|number| (number.as_str(), "done"))
        .collect();
    batch.handle_step(step, &outcomes(&done));
    assert!(matches!(next(&mut batch, 0), Some((Step::Read(rows), _)) if rows.len() == 12));
}

#[test]
fn what_comes_after_the_rows_were_given_back_is_ignored() {
    let mut batch = addresses(&["a", "b"]);
    let (first, _) = call(&mut batch, DocumentStep::Load);
    let (second, _) = call(&mut batch, DocumentStep::Load);
    batch.file_came(first, Ok(vec![1]));
    batch.drain();
    batch.file_came(second, Ok(vec![1]));
    batch.document_parsed(first, Ok(parsed("late")));
    assert!(batch.take_texts().is_none() && !batch.has_document(DocumentStep::Parse));
    let (step, query) = next(&mut batch, 0).unwrap();
    assert!(matches!(query, Query::Release { keys, .. } if keys.len() == 2));
    batch.query_out = false;
    batch.handle_step(step, &StepAnswer::Released);
    assert!(batch.is_over());
}

#[test]
fn redirects_are_followed_and_counted() {
    let mut batch = addresses(&["https://a.example/0"]);
    let moved = |to: &str| {
        let answer = http::Response::builder().status(302).header("location", to);
        Ok(Received::from(answer.body(vec![]).unwrap()))
    };
    for hop in 1..=5 {
        let (at, Call::Http(request)) = call(&mut batch, DocumentStep::Load) else {
            panic!("{batch:?}");
        };
        assert!(request.is_public);
        assert_eq!(request.http.uri().path(), format!("/{}", hop - 1));
        came(&mut batch, at, moved(&format!("/{hop}")));
    }
    let (at, _) = call(&mut batch, DocumentStep::Load);
    came(&mut batch, at, moved("/6"));
    assert!(!batch.has_document(DocumentStep::Load));
    assert!(matches!(next(&mut batch, 0), Some((Step::Fail(_), _))));
}

#[test]
fn where_memory_is_full_a_batch_goes_on_with_what_it_has() {
    let mut batch = addresses(&["a", "b", "c"]);
    assert!(!batch.postpone_loads(), "it has nothing to go on with");
    let (at, _) = call(&mut batch, DocumentStep::Load);
    batch.file_came(at, Ok(vec![1]));
    assert!(batch.postpone_loads());
    assert!(!batch.has_document(DocumentStep::Load));
    let (at, _) = call(&mut batch, DocumentStep::Parse);
    batch.document_parsed(at, Ok(parsed("one")));
    assert_eq!(plan(&mut batch), 1);
    embed(&mut batch);
    let (step, _) = next(&mut batch, 0).unwrap();
    batch.query_out = false;
    batch.handle_step(step, &outcomes(&[("1", "done")]));
    assert!(matches!(next(&mut batch, 0), Some((Step::Read(rows), _)) if rows.len() == 2));
}
