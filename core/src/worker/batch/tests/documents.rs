//! Rows whose documents are loaded and parsed.

use super::*;
use crate::call::Call;
use crate::document::{DocumentError, FileError, FileRead, FileVersion, Parsed, Parts};
use crate::request::{Received, RequestError};
use crate::reuse::hash;
use crate::settings::DocumentSettings;
use crate::store::Stores;

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
    read_as(&loading, all, &|_| vec![])
}

/// The same; `known` says what is stored of a row, and of its document.
fn read_as(
    loading: &serde_json::Value,
    all: &[&str],
    known: &dyn Fn(&str) -> Vec<Option<String>>,
) -> Batch {
    let keys: Vec<String> = (1..=all.len()).map(|key| key.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut batch = claimed_of(profile_of(loading), &keys);
    let Some((Step::Read(asked), _)) = next(&mut batch, 0) else {
        panic!("{batch:?}");
    };
    let row = |(number, address): (usize, &&str)| {
        let mut row = vec![text(&number.to_string()), text("true"), text(address)];
        row.extend(known(address));
        row
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
        batch.file_came(
            at,
            Duration::ZERO,
            Ok(FileRead::Content(name.as_bytes().to_vec(), None)),
        );
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
    batch.file_came(
        at,
        Duration::ZERO,
        Err(FileError::Refused("no such file".to_owned())),
    );
    for text in [
        Err(DocumentError::Document("no text".to_owned())),
        Ok(parsed("text")),
    ] {
        let (at, _) = call(&mut batch, DocumentStep::Load);
        batch.file_came(at, Duration::ZERO, Ok(FileRead::Content(vec![1], None)));
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
        batch.file_came(at, Duration::ZERO, Ok(FileRead::Content(vec![1], None)));
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
    batch.file_came(first, Duration::ZERO, Ok(FileRead::Content(vec![1], None)));
    batch.drain();
    batch.file_came(second, Duration::ZERO, Ok(FileRead::Content(vec![1], None)));
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
    batch.file_came(at, Duration::ZERO, Ok(FileRead::Content(vec![1], None)));
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

/// A batch whose one row is checked again: `generation` is that of the queue item of its check, and the stored chunks
/// came from this version.
fn checked(generation: i64, version: &str) -> Batch {
    let loading = serde_json::json!({
        "implementation": "uri", "column_name": "body", "retries": 0, "refresh": 60
    });
    let source = hash("  https://a.example/a").0;
    read_as(&loading, &["https://a.example/a"], &|_| {
        vec![
            Some(format!("0:{},1:{}", hash("one").0, hash("two").0)),
            text(&source),
            text(version),
            text("2"),
            Some(generation.to_string()),
        ]
    })
}

/// The claimed generation of the first row.
const CLAIMED: i64 = 1;

fn answer(status: u16, version: Option<&str>) -> Result<Received, RequestError> {
    let mut response = http::Response::new(b"text".to_vec());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    if let Some(version) = version {
        let version = http::HeaderValue::from_str(version).unwrap();
        response.headers_mut().insert(http::header::ETAG, version);
    }
    Ok(response.into())
}

fn load(batch: &mut Batch) -> (usize, http::Request<Vec<u8>>) {
    match call(batch, DocumentStep::Load) {
        (at, Call::Http(request)) => (at, request.http),
        other => panic!("{other:?}"),
    }
}

/// What is committed, once everything is planned.
fn committed(batch: &mut Batch) -> (Vec<CommitChunk>, Option<CheckedDocument>) {
    plan(batch);
    match next(batch, 0) {
        Some((Step::Commit(_), Query::Commit { mut rows, .. })) => {
            let row = rows.remove(0);
            (row.chunks, row.document)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unchanged_document_is_not_parsed_again() {
    for (status, said) in [(304, None), (304, Some("\"a\"")), (200, Some("\"a\""))] {
        let mut batch = checked(CLAIMED, "etag \"a\"");
        let (at, http) = load(&mut batch);
        assert_eq!(http.headers()[http::header::IF_NONE_MATCH], "\"a\"");
        came(&mut batch, at, answer(status, said));
        let (chunks, document) = committed(&mut batch);
        let kept = ["one", "two"].map(|chunk| CommitChunk::Keep(hash(chunk)));
        assert_eq!(chunks, kept, "{status} {said:?}");
        let document = document.unwrap();
        assert_eq!(document.validator.as_deref(), Some("etag \"a\""));
    }
}

#[test]
fn a_changed_document_is_parsed_and_its_version_recorded() {
    for (said, version) in [(Some("\"b\""), Some("etag \"b\"")), (None, None)] {
        let mut batch = checked(CLAIMED, "etag \"a\"");
        let (at, _) = load(&mut batch);
        came(&mut batch, at, answer(200, said));
        let (at, _) = call(&mut batch, DocumentStep::Parse);
        // Its bytes have changed, and its text has not.
        batch.document_parsed(at, Ok(parsed("one")));
        let (chunks, document) = committed(&mut batch);
        assert_eq!(chunks, [CommitChunk::Keep(hash("one"))]);
        assert_eq!(document.unwrap().validator.as_deref(), version);
    }
}

/// A row that has changed since it was queued for a check may have another address or other columns.
#[test]
fn a_row_that_has_changed_is_loaded_whatever_is_known() {
    let mut batch = checked(CLAIMED + 1, "etag \"a\"");
    let (at, http) = load(&mut batch);
    assert!(http.headers().is_empty());
    came(&mut batch, at, answer(304, None));
    let Some((Step::Fail(_), Query::Fail { rows, clears, .. })) = next(&mut batch, 0) else {
        panic!("{batch:?}");
    };
    assert!(rows[0].reason.contains("304"), "{rows:?}");
    assert!(!clears || !batch.rows.is_empty());
}

#[test]
fn a_check_that_fails_keeps_what_is_stored() {
    let mut batch = checked(CLAIMED, "etag \"a\"");
    let (at, _) = load(&mut batch);
    came(&mut batch, at, answer(503, None));
    let Some((Step::Fail(_), Query::Fail { clears, .. })) = next(&mut batch, 0) else {
        panic!("{batch:?}");
    };
    assert!(!clears);
}

#[test]
fn a_file_is_known_by_size_and_time() {
    let loading = serde_json::json!({
        "implementation": "uri", "column_name": "body", "refresh": 60
    });
    let modified = Duration::from_secs(1000);
    let version = FileVersion { bytes: 1, modified };
    let mut batch = read_as(&loading, &["a"], &|_| vec![]);
    let (at, Call::File(request)) = call(&mut batch, DocumentStep::Load) else {
        panic!("{batch:?}");
    };
    assert_eq!(request.known, None);
    let wall = Duration::from_secs(2000);
    batch.file_came(at, wall, Ok(FileRead::Content(vec![1], Some(version))));
    let (at, _) = call(&mut batch, DocumentStep::Parse);
    batch.document_parsed(at, Ok(parsed("")));
    let (_, document) = committed(&mut batch);
    let document = document.unwrap();
    let stored = document.validator.unwrap();
    assert_eq!(FileVersion::parse(&stored), Some(version));

    let mut batch = read_as(&loading, &["a"], &|_| {
        let stored = [
            format!("0:{}", hash("x").0),
            document.source.clone(),
            stored.clone(),
        ];
        let stored = stored.into_iter().map(Some);
        stored
            .chain([text("1"), Some(CLAIMED.to_string())])
            .collect()
    });
    let (at, Call::File(request)) = call(&mut batch, DocumentStep::Load) else {
        panic!("{batch:?}");
    };
    assert_eq!(request.known, Some(version));
    batch.file_came(at, wall, Ok(FileRead::Unchanged));
    let (chunks, again) = committed(&mut batch);
    assert_eq!(chunks, [CommitChunk::Keep(hash("x"))]);
    assert_eq!(again.unwrap().validator, Some(stored));
}
