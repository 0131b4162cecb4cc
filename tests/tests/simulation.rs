//! The core in a simulated world: whatever happens, every row ends with exactly the chunks of its
//! last text, and no vector ever stands beside a text that is not its own.

#![allow(clippy::print_stdout, reason = "a test says what it does")]

use proptest::prelude::*;
use tests::world::{Coverage, Entropy, Mutant, World};

const STEPS: usize = 400;
const WORLDS: u64 = 1_000;

#[test]
fn seeded_worlds_end_true_and_meet_every_kind_of_trouble() {
    let mut coverage = Coverage::default();
    for seed in 0..WORLDS {
        match World::run(&mut Entropy::Seed(seed), STEPS, None) {
            Ok(world) => coverage.add(&world.coverage),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    println!("{coverage:?}");
    let Coverage {
        changed,
        lost,
        lost_answers,
        expired,
        tombstones,
        reused,
        poisoned,
        refused,
        crashes,
        columns,
    } = coverage;
    for (what, count) in [
        ("changed", changed),
        ("lost", lost),
        ("lost answers", lost_answers),
        ("expired", expired),
        ("tombstones", tombstones),
        ("reused", reused),
        ("poisoned", poisoned),
        ("refused", refused),
        ("crashes", crashes),
        ("columns", columns),
    ] {
        assert!(count > 0, "no world met {what}");
    }
}

#[test]
fn equal_seeds_give_equal_histories() {
    let history = || {
        World::run(&mut Entropy::Seed(7), STEPS, None)
            .unwrap()
            .trace
    };
    assert_eq!(history(), history());
}

#[test]
fn every_mutant_of_the_protocol_dies() {
    let mut alive = vec![];
    for mutant in Mutant::ALL {
        let killed = (0..WORLDS)
            .find(|seed| World::run(&mut Entropy::Seed(*seed), STEPS, Some(mutant)).is_err());
        match killed {
            Some(seed) => println!("{mutant:?} dies in world {seed}"),
            None => alive.push(mutant),
        }
    }
    assert!(alive.is_empty(), "alive after {WORLDS} worlds: {alive:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn worlds_from_any_bytes_end_true(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        if let Err(violation) = World::run(&mut Entropy::Bytes(&bytes), STEPS, None) {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }
}
