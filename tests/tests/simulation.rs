//! The core in a simulated world: whatever happens, every row ends with exactly the chunks of its
//! last text, and no vector ever stands beside a text that is not its own.

#![allow(clippy::print_stdout, reason = "a test says what it does")]

use std::sync::atomic::{AtomicU64, Ordering};

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

#[test]
fn every_mutant_of_the_protocol_dies() {
    let mut alive = vec![];
    for mutant in Mutant::ALL {
        let killed = (0..MUTANT_WORLDS).find_map(|seed| {
            let world = World::run(&Entropy::Seed(seed), STEPS, Some(mutant));
            world.err().map(|violation| (seed, violation.rule))
        });
        match killed {
            Some((seed, rule)) => println!("{mutant:?} dies in world {seed} by {rule:?}"),
            None => alive.push(mutant),
        }
    }
    assert!(
        alive.is_empty(),
        "alive after {MUTANT_WORLDS} worlds: {alive:?}"
    );
}

/// A rule that no mutant breaks may be one that cannot be broken. A mutant may break several, and which
/// one it breaks first is chance: so worlds are looked through until this one is broken.
#[test]
fn every_rule_finds_a_mutant() {
    for (rule, mutant) in [
        (Rule::AHeldRowHoldsNobodyElse, Mutant::CommitWaitsForItems),
        (
            Rule::ADisabledVectorizerIsLeftAlone,
            Mutant::DisabledIsNotSaid,
        ),
        (Rule::AFailedRowWaits, Mutant::ClaimIgnoresRetryTime),
        (
            Rule::AResyncFindsEverything,
            Mutant::ResyncEndsWithItsWorker,
        ),
        (Rule::AResyncFindsEverything, Mutant::ResyncMissesOrphans),
        (Rule::ComesToRest, Mutant::ResyncIsNotTakenOver),
        (
            Rule::AFailureCountsAgainstItsText,
            Mutant::FailIgnoresGeneration,
        ),
        (
            Rule::AttemptsAreThoseOfDeadWorkers,
            Mutant::AttemptsAreNotGivenBack,
        ),
        (Rule::AnOutageCostsNoAttempt, Mutant::OutageTakesProbes),
        (Rule::ComesToRest, Mutant::ProbesFailWithTexts),
        (Rule::ClaimsHaveNamesOfTheirOwn, Mutant::ClaimNamesRepeat),
        (Rule::ComesToRest, Mutant::ClaimTrustsTheClock),
        (Rule::ComesToRest, Mutant::CommitKeepsItem),
        (Rule::ComesToRest, Mutant::WorkersOnlyListen),
        (Rule::EveryRowStandsTrue, Mutant::CommitIgnoresGeneration),
        (Rule::NoOldVectorStandsForEver, Mutant::FailKeepsVector),
        (Rule::NoStoreMixesModels, Mutant::ReembedKeepsVectors),
        (Rule::OneWorkerAtATime, Mutant::ClaimIgnoresLeases),
        (Rule::OneWorkerAtATime, Mutant::CommitIgnoresLease),
        (Rule::OneWorkerAtATime, Mutant::ExtendIgnoresLease),
        (Rule::RequestsKeepTheirCap, Mutant::RequestsIgnoreTheirCap),
        (Rule::RowsAreGivenUpForAReasonOnly, Mutant::ProbeIsTaken),
        (Rule::VectorsBelongToTheirTexts, Mutant::SwappedVectors),
        (
            Rule::VectorsBelongToTheirTexts,
            Mutant::TablesOutliveTheirVectorizer,
        ),
    ] {
        let seed = (0..MUTANT_WORLDS).find(|seed| {
            let world = World::run(&Entropy::Seed(*seed), STEPS, Some(mutant));
            world.is_err_and(|violation| violation.rule == rule)
        });
        let seed = seed.unwrap_or_else(|| panic!("{rule:?} does not find {mutant:?}"));
        println!("{rule:?} finds {mutant:?} in world {seed}");
    }
}

/// As many worlds as `PGAI_WORLDS` says, on all processors: `PGAI_WORLDS=100000 cargo test --release
/// -p tests --test simulation -- --ignored --nocapture`.
#[test]
#[ignore = "a campaign"]
fn a_campaign_of_worlds() {
    let worlds: u64 = std::env::var("PGAI_WORLDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let began = std::time::Instant::now();
    let next = AtomicU64::new(0);
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
    println!("{worlds} worlds in {:.1?}: {coverage:#?}", began.elapsed());
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
