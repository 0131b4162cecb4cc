//! The core in a simulated world: whatever happens, every row ends with exactly the chunks of its
//! last text, and no vector ever stands beside a text that is not its own.

#![allow(clippy::print_stdout, reason = "a test says what it does")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use proptest::prelude::*;
use tests::world::{Coverage, Entropy, Mutant, Rule, World};

const STEPS: usize = 400;
const WORLDS: u64 = 1_000;
/// Most mutants die in the first hundred; one needs a failure that comes after its lease.
const MUTANT_WORLDS: u64 = 20_000;

#[test]
fn seeded_worlds_end_true_and_meet_every_kind_of_trouble() {
    let mut coverage = Coverage::default();
    for seed in 0..WORLDS {
        match World::run(&Entropy::Seed(seed), STEPS, None) {
            Ok(world) => coverage.add(&world.coverage),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    println!("{coverage:?}");
    assert_eq!(coverage.missing(), [""; 0]);
}

#[test]
fn hundreds_of_workers_on_one_queue_end_true() {
    for seed in 0..5 {
        if let Err(violation) = World::crowd(&Entropy::Seed(seed), 20_000, 300) {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[test]
fn equal_seeds_give_equal_histories() {
    let history = || World::history(&Entropy::Seed(7), STEPS, None);
    assert!(history().len() > 100);
    assert_eq!(history(), history());
}

#[test]
fn a_violation_tells_its_history() {
    let mutant = Some(Mutant::CommitKeepsItem);
    let entropy = Entropy::Seed(0);
    let violation = World::run(&entropy, STEPS, mutant).err().unwrap();
    let history = World::history(&entropy, STEPS, mutant);
    assert!(!history.is_empty());
    assert_eq!(violation.trace, history);
}

/// A mutant that lives, or a rule that no mutant breaks, may be one that cannot be broken.
#[test]
fn every_mutant_dies_and_every_rule_finds_one() {
    let deaths = on_all_processors(&Mutant::ALL, |mutant| {
        let died = (0..MUTANT_WORLDS).find_map(|seed| Some((seed, breaks(seed, *mutant)?)));
        match died {
            Some((seed, rule)) => println!("{mutant:?} dies in world {seed} by {rule:?}"),
            None => println!("{mutant:?} lives in {MUTANT_WORLDS} worlds"),
        }
        (*mutant, died.map(|(_, rule)| rule))
    });
    let alive = deaths.iter().filter(|(_, rule)| rule.is_none());
    let alive: Vec<_> = alive.map(|(mutant, _)| mutant).collect();
    assert!(alive.is_empty(), "{alive:?}");
    // Which of several rules a mutant breaks first is chance: worlds are looked through for the others.
    let seen = |rule: Rule| deaths.iter().any(|(_, by)| *by == Some(rule));
    let unseen: Vec<_> = FOUND_BY.iter().filter(|(rule, _)| !seen(*rule)).collect();
    let lost = on_all_processors(&unseen, |(rule, mutant)| {
        let seed = (0..MUTANT_WORLDS).find(|seed| breaks(*seed, *mutant) == Some(*rule));
        println!("{rule:?} finds {mutant:?} in world {seed:?}");
        seed.is_none().then_some((*rule, *mutant))
    });
    let lost: Vec<_> = lost.into_iter().flatten().collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// A mutant for each rule but `WorkersGoOn`: the worlds around the core cannot make it loop or give up.
const FOUND_BY: [(Rule, Mutant); Rule::ALL.len() - 1] = [
    (
        Rule::ADisabledVectorizerIsLeftAlone,
        Mutant::DisabledIsNotSaid,
    ),
    (Rule::AFailedRowWaits, Mutant::ClaimIgnoresRetryTime),
    (
        Rule::AFailureCountsAgainstItsText,
        Mutant::FailIgnoresGeneration,
    ),
    (Rule::AHeldRowHoldsNobodyElse, Mutant::CommitWaitsForItems),
    (
        Rule::AResyncFindsEverything,
        Mutant::ResyncEndsWithItsWorker,
    ),
    (Rule::AnOutageCostsNoAttempt, Mutant::OutageTakesProbes),
    (Rule::ASwitchComesAfterTheFill, Mutant::SwitchBeforeFilled),
    (
        Rule::AttemptsAreThoseOfDeadWorkers,
        Mutant::AttemptsAreNotGivenBack,
    ),
    (Rule::ClaimsHaveNamesOfTheirOwn, Mutant::ClaimNamesRepeat),
    (Rule::ComesToRest, Mutant::CommitKeepsItem),
    (Rule::EveryRowStandsTrue, Mutant::DeleteKeepsChunks),
    (Rule::NoOldVectorStandsForEver, Mutant::FailKeepsVector),
    (Rule::NoStoreMixesModels, Mutant::ReembedKeepsVectors),
    (Rule::OneWorkerAtATime, Mutant::ClaimIgnoresLeases),
    (Rule::RequestsKeepTheirCap, Mutant::RequestsIgnoreTheirCap),
    (Rule::RowsAreGivenUpForAReasonOnly, Mutant::ProbeIsTaken),
    (Rule::VectorsBelongToTheirTexts, Mutant::SwappedVectors),
];

/// The rule that a world with this mutant breaks.
fn breaks(seed: u64, mutant: Mutant) -> Option<Rule> {
    let world = World::run(&Entropy::Seed(seed), STEPS, Some(mutant));
    world.err().map(|violation| violation.rule)
}

/// Does the same with each of these, as many at a time as there are processors.
fn on_all_processors<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = vec![];
        while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(work(one));
        }
        done
    };
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let done = runs.into_iter().map(|run| run.join().expect("no panic"));
        done.flatten().collect()
    })
}

/// As many worlds as `PGAI_WORLDS` says (`N`, or the seeds `N..M`), on all processors: `PGAI_WORLDS=100000 cargo test --release
/// -p tests --test simulation -- --ignored --nocapture`.
#[test]
#[ignore = "a campaign"]
fn a_campaign_of_worlds() {
    let number = |text: &str| text.parse::<u64>().expect("PGAI_WORLDS is N or N..M");
    let (first, worlds) = match std::env::var("PGAI_WORLDS").ok().as_deref() {
        None => (0, 100_000),
        Some(text) => match text.split_once("..") {
            Some((first, end)) => (number(first), number(end)),
            None => (0, number(text)),
        },
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let began = std::time::Instant::now();
    let next = AtomicU64::new(first);
    let mut coverage = Coverage::default();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut coverage = Coverage::default();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= worlds {
                            return coverage;
                        }
                        match World::run(&Entropy::Seed(seed), STEPS, None) {
                            Ok(world) => coverage.add(&world.coverage),
                            Err(violation) => panic!("seed {seed}: {violation}"),
                        }
                    }
                })
            })
            .collect();
        for run in runs {
            coverage.add(&run.join().expect("no rule is broken"));
        }
    });
    println!(
        "worlds {first} to {worlds} in {:.1?}: {coverage:#?}",
        began.elapsed()
    );
    assert_eq!(coverage.missing(), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn worlds_from_any_bytes_end_true(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        if let Err(violation) = World::run(&Entropy::Bytes(&bytes), STEPS, None) {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }
}
