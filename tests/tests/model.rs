//! The model database of the simulated world against PostgreSQL: the same operations have the same
//! answers and leave the same tables. What the simulation proves of the model holds of the real one.
//!
//! Statements follow one another here. What concurrent ones do to each other is for
//! `interleavings` and `chaos`.

#![allow(clippy::print_stdout, reason = "a test says what it does")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{ClaimId, Plan, Query};
use tests::replay::{Operation, Outcome, Player, Real, Script};
use tests::world::{Edit, Entropy, Mutant, Replica};

/// Operations in a list.
const OPERATIONS: usize = 60;

/// Items in a claim.
const ROWS: usize = 3;

/// What happened to the real database, and what came of it.
type Record = Vec<(Operation, Outcome)>;

/// Plays lists of operations on the real database, as many as `PGAI_LISTS` says or else `lists`.
fn record(is_column: bool, lists: u64) -> Vec<Record> {
    let lists = std::env::var("PGAI_LISTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(lists);
    let mut real = Real::new(is_column, ROWS);
    let mut records = vec![];
    for seed in 0..lists {
        real.clear();
        let mut script = Script::new(Entropy::Seed(seed), real.plan(), is_column);
        let mut player = Player::new(real);
        let mut record = vec![];
        for _ in 0..OPERATIONS {
            let operation = script.next_operation();
            let outcome = player.play(&operation);
            script.learn(&operation, &outcome.answer);
            record.push((operation, outcome));
        }
        records.push(record);
        real = player.into_side();
    }
    records
}

/// Where the model first does something else.
fn difference(record: &Record, is_column: bool, mutant: Option<Mutant>) -> Option<String> {
    let mut model = Player::new(Replica::new(is_column, mutant));
    for (number, (operation, real)) in record.iter().enumerate() {
        let modelled = model.play(operation);
        if modelled != *real {
            let before: Vec<_> = record[..number]
                .iter()
                .map(|(it, _)| described(it))
                .collect();
            let now = described(operation);
            return Some(format!(
                "after {before:#?}\n{now}\nPostgreSQL: {real:#?}\nthe model: {modelled:#?}"
            ));
        }
    }
    None
}

/// An operation without the texts of its plan.
fn described(operation: &Operation) -> String {
    match operation {
        Operation::Edit(edit) => format!("{edit:?}"),
        Operation::Pass(time) => format!("{time:?} pass"),
        Operation::Query(query) => format!("{} {:?}", kind(query), query.params()),
    }
}

fn kind(query: &Query) -> String {
    let text = format!("{query:?}");
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// How often each kind of statement said what of a row; claims say how often it was tried.
fn said(records: &[Record]) -> BTreeMap<String, u64> {
    let mut said = BTreeMap::new();
    for (operation, outcome) in records.iter().flatten() {
        if let Operation::Query(query) = operation {
            for word in outcome.answer.iter().filter_map(|row| row.last()) {
                let word = word.as_deref().unwrap_or_default();
                *said.entry(format!("{} {word}", kind(query))).or_default() += 1;
            }
        }
    }
    said.retain(|word, _| !word.starts_with("Read"));
    said
}

/// The model does as PostgreSQL did, which said all these words, and each of these mutants of it
/// does not.
fn compare(is_column: bool, lists: u64, words: &[&str], mutants: &[Mutant]) {
    let began = std::time::Instant::now();
    let records = record(is_column, lists);
    println!("{} lists in {:.1?}", records.len(), began.elapsed());
    let said = said(&records);
    println!("{said:?}");
    let silent = |word: &&&str| !said.contains_key(**word);
    let silent: Vec<_> = words.iter().filter(silent).collect();
    assert!(silent.is_empty(), "never said: {silent:?}");
    for (seed, record) in records.iter().enumerate() {
        if let Some(difference) = difference(record, is_column, None) {
            panic!("list {seed}: {difference}");
        }
    }
    let is_same = |mutant: &&Mutant| {
        let same = |record| difference(record, is_column, Some(**mutant)).is_none();
        records.iter().all(same)
    };
    let alive: Vec<_> = mutants.iter().filter(is_same).collect();
    assert!(alive.is_empty(), "as PostgreSQL does: {alive:?}");
}

#[test]
fn the_model_does_as_postgresql_does() {
    compare(
        false,
        100,
        &[
            // A row that two workers have died of.
            "Claim 3",
            "Commit changed",
            "Commit done",
            "Commit edited",
            "Commit lost",
            "Extend 1",
            "Fail changed",
            "Fail done",
            "Fail lost",
            "Release 1",
        ],
        &[
            Mutant::AttemptsAreNotGivenBack,
            Mutant::ClaimIgnoresLeases,
            Mutant::ClaimIgnoresRetryTime,
            Mutant::ClaimTrustsTheClock,
            Mutant::CommitIgnoresGeneration,
            Mutant::CommitIgnoresLease,
            Mutant::CommitKeepsItem,
            Mutant::CommitKeepsTail,
            Mutant::CommitMovesUnchecked,
            Mutant::DeleteKeepsChunks,
            Mutant::DeleteRemovesItem,
            Mutant::EnqueueKeepsGeneration,
            Mutant::EnqueueSkipsHeldRows,
            Mutant::ExtendDoesNothing,
            Mutant::ExtendIgnoresLease,
            Mutant::FailForgetsItem,
            Mutant::FailIgnoresGeneration,
            Mutant::FailIgnoresLease,
            Mutant::GivenUpRowsAreForgotten,
            Mutant::InsertIsNotQueued,
            Mutant::KeyChangeForgetsNewKey,
            Mutant::KeyChangeForgetsOldKey,
            Mutant::ReadLosesRows,
            Mutant::ReadMixesUpRows,
            Mutant::ReadWithClaimSnapshot,
            Mutant::ReleaseDoesNothing,
            Mutant::SwappedVectors,
        ],
    );
}

#[test]
fn the_model_does_as_postgresql_does_with_a_column() {
    compare(
        true,
        50,
        &["Commit changed", "Commit done", "Commit lost"],
        &[
            Mutant::CommitIgnoresGeneration,
            Mutant::CommitKeepsItem,
            Mutant::CommitKeepsVector,
            Mutant::CommitWritesChanged,
        ],
    );
}

fn claim(plan: &Arc<Plan>, claim: i64) -> Operation {
    Operation::Query(Query::Claim {
        plan: Arc::clone(plan),
        claim: ClaimId(claim),
        lease: Duration::from_secs(30),
        since: None,
        promise: None,
        suspects: true,
    })
}

fn put(key: i64, text: &str) -> Operation {
    let text = text.to_owned();
    Operation::Edit(Edit::Put { key, text })
}

/// Each operation brings rows that have been tried so often, here and there.
#[track_caller]
fn assert_attempts(real: Real, operations: &[(Operation, &[&str])]) {
    let mut real = Player::new(real);
    let mut model = Player::new(Replica::new(false, None));
    for (operation, wanted) in operations {
        let outcome = real.play(operation);
        let rows = outcome.answer.iter();
        let attempts: Vec<_> = rows.filter_map(|row| row[3].as_deref()).collect();
        assert_eq!(attempts, *wanted, "{}", described(operation));
        assert_eq!(model.play(operation), outcome);
    }
}

/// A claim whose answer was lost is asked again, and counts no attempt; but a row that was changed
/// meanwhile has not been tried at all.
#[test]
fn attempts_at_an_old_text_do_not_count_against_the_new_one() {
    let real = Real::new(false, ROWS);
    let plan = real.plan();
    let operations: [(_, &[_]); 8] = [
        (put(1, "aa"), &[]),
        (claim(&plan, 1), &["1"]),
        (Operation::Pass(Duration::from_secs(60)), &[]),
        (claim(&plan, 2), &["2"]),
        (claim(&plan, 2), &["2"]),
        (put(1, "bb"), &[]),
        (claim(&plan, 2), &["1"]),
        (claim(&plan, 2), &["1"]),
    ];
    assert_attempts(real, &operations);
}

/// Two workers have died of a row: others are taken before it, and then it alone, unless it was
/// changed meanwhile.
#[test]
fn a_changed_row_is_no_suspect() {
    for (change, wanted, then) in [("aa", &["1"][..], &["3"][..]), ("bb", &["1", "1"], &[])] {
        let real = Real::new(false, ROWS);
        let plan = real.plan();
        let operations: [(_, &[_]); 9] = [
            (put(1, "aa"), &[]),
            (claim(&plan, 1), &["1"]),
            (Operation::Pass(Duration::from_secs(60)), &[]),
            (claim(&plan, 2), &["2"]),
            (Operation::Pass(Duration::from_secs(60)), &[]),
            (put(2, "cc"), &[]),
            (put(1, change), &[]),
            (claim(&plan, 3), wanted),
            (claim(&plan, 4), then),
        ];
        assert_attempts(real, &operations);
    }
}
