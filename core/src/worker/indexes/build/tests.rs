//! A build alone, without a worker: what it asks, and how it ends.

use super::*;
use crate::settings::Settings;
use crate::vectorizer::Definition;
use crate::vectorizer::example::definition;

const INDEX: &str = "create index concurrently if not exists i on s using hnsw (embedding)";

fn profile() -> Arc<Profile> {
    let definition = definition(3, serde_json::json!({}));
    let definition: Definition = serde_json::from_value(definition).unwrap();
    Arc::new(Profile::new(&definition, &Settings::new("test")).unwrap())
}

fn build(sql: &str, failures: u32) -> Build {
    let taken = TakenBuild {
        vectorizer: 3,
        sql: sql.to_owned(),
        failures,
        memory_needed: 0,
        memory_given: 0,
    };
    Build::new(profile(), ClaimId(7), Time::ZERO, taken)
}

fn error() -> DbError {
    DbError {
        sqlstate: Some("57014".to_owned()),
        message: "cancelled".to_owned(),
    }
}

/// The time before the next attempt, and the reason that is recorded.
fn end(build: &mut Build) -> (Duration, Option<String>) {
    let at = build.ask_at().unwrap();
    match build.next_query(at, &mut Random::new(1)) {
        Some((
            Step::End,
            IndexQuery::End {
                vectorizer: 3,
                claim: ClaimId(7),
                retry_in,
                reason,
            },
        )) => {
            assert_eq!(retry_in, build.retry_in);
            (retry_in, reason)
        }
        other => panic!("{other:?}"),
    }
}

/// Whether the next statement cancels the build.
fn cancels(build: &mut Build) -> bool {
    let at = build.ask_at().unwrap();
    match build.next_query(at, &mut Random::new(1)) {
        Some((Step::Watch, IndexQuery::Watch { cancels, .. })) => cancels,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_statement_is_given_once_and_watched_until_it_ends() {
    let mut build = build(INDEX, 0);
    // Nothing is watched before it runs.
    assert_eq!(build.ask_at(), None);
    assert!(
        build
            .next_query(Time::ZERO + LEASE, &mut Random::new(1))
            .is_none()
    );
    assert_eq!(build.start().as_deref(), Some(INDEX));
    assert_eq!(build.start(), None);
    assert!(
        build.next_query(Time::ZERO, &mut Random::new(1)).is_none(),
        "too early"
    );
    assert!(!cancels(&mut build));
    // One statement at a time.
    assert_eq!(build.ask_at(), None);
    build.watched(Time::ZERO + WATCH, Some(IndexProgress::default()));
    assert_eq!(build.ask_at(), Some(Time::ZERO + WATCH + WATCH));
    build.ended(Time::ZERO + LEASE, Ok(()));
    assert_eq!(end(&mut build), (GAVE_WAY, None));
    assert_eq!(build.outcome(), &Outcome::Done);
}

#[test]
fn a_failure_waits_longer_each_time_and_says_why() {
    let mut waits = vec![];
    for failures in [0, 1, 20] {
        let mut build = build(INDEX, failures);
        build.start();
        build.ended(Time::ZERO, Err(error()));
        let (wait, reason) = end(&mut build);
        assert_eq!(reason.as_deref(), Some("cancelled (SQLSTATE 57014)"));
        waits.push(wait.as_secs());
    }
    assert!((45..=60).contains(&waits[0]), "{waits:?}");
    assert!((90..=120).contains(&waits[1]), "{waits:?}");
    assert!((2700..=3600).contains(&waits[2]), "{waits:?}");
}

#[test]
fn it_gives_way_to_who_waits_for_the_table() {
    let mut build = build(INDEX, 0);
    build.start();
    let in_the_way = IndexProgress {
        said: None,
        is_in_the_way: true,
    };
    let now = Time::ZERO + WATCH;
    build.watched(now, Some(in_the_way));
    assert_eq!(build.ask_at(), Some(now), "at once");
    assert!(cancels(&mut build));
    // A later reason does not replace the first one.
    build.cancel(Outcome::Stopped);
    build.ended(now, Err(error()));
    assert_eq!(build.outcome(), &Outcome::GaveWay);
    build.unanswered(now);
    assert_eq!(end(&mut build), (GAVE_WAY, None));
}

#[test]
fn a_stopped_build_is_tried_again_at_once_and_a_finished_one_stays_finished() {
    let mut unstarted = build(INDEX, 0);
    unstarted.cancel(Outcome::Stopped);
    assert_eq!(unstarted.start(), None);
    assert_eq!(end(&mut unstarted), (Duration::ZERO, None));
    let mut late = build(INDEX, 0);
    late.start();
    late.cancel(Outcome::Stopped);
    // It was too late to cancel it.
    late.ended(Time::ZERO, Ok(()));
    assert_eq!(late.outcome(), &Outcome::Done);
}

#[test]
fn after_a_drop_the_build_follows_at_once() {
    let mut drop = build("drop index concurrently if exists i", 3);
    assert!(drop.is_drop());
    drop.start();
    drop.ended(Time::ZERO, Ok(()));
    assert_eq!(end(&mut drop), (Duration::ZERO, None));
}

#[test]
fn progress_is_told_once_a_minute() {
    let mut build = build(INDEX, 0);
    build.start();
    let progress = |said: &str| {
        Some(IndexProgress {
            said: Some(said.to_owned()),
            is_in_the_way: false,
        })
    };
    let soon = Time::ZERO + Duration::from_secs(59);
    assert_eq!(build.watched(soon, progress("1 %")), None);
    let later = Time::ZERO + TELL;
    assert_eq!(
        build.watched(later, progress("2 %")),
        Some(("2 %".to_owned(), TELL))
    );
    assert_eq!(build.watched(later + WATCH, progress("3 %")), None);
    // A lost lease tells nothing.
    assert_eq!(build.watched(later + TELL, None), None);
}

#[test]
fn statements_of_text_indexes_are_known() {
    for (sql, is_text) in [
        (INDEX, false),
        ("call ai._text_keep(3)", true),
        (
            "create index concurrently if not exists _vectorizer_text_idx_3 on ai.t using gin (_words)",
            true,
        ),
        (
            "create index concurrently if not exists _vectorizer_text_idx_3 on public.s using bm25 (chunk)",
            true,
        ),
    ] {
        assert_eq!(build(sql, 0).is_of_text(), is_text, "{sql}");
    }
}
