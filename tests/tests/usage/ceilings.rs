//! Ceilings of a day, in tokens and in dollars.

use std::time::Duration;

use tests::process::{Process, Signal};
use tests::role::refused;
use tests::stage::{PATIENCE, Stage};
use tests::stub::Behaviour;

use crate::{
    CEILING, ESTIMATE, LOST_MAX, Prices, SHELLS, asked, command, counted, good, recorded,
    with_ceiling,
};

fn ceilings_told(worker: &Process) -> Vec<String> {
    let lines = worker.lines().into_iter();
    lines
        .filter(|line| line.contains("daily ceiling reached"))
        .collect()
}

/// The error is recorded a moment after it is logged, and once.
#[track_caller]
fn assert_one_error(stage: &mut Stage) {
    const ERRORS: &str =
        "(select count(*) from ai.vectorizer_errors where message = 'daily ceiling reached')";
    stage
        .database
        .wait_until(&format!("{ERRORS} > 0"), PATIENCE);
    assert_eq!(stage.number(&format!("select {ERRORS}")), 1);
}

#[test]
fn a_ceiling_holds_with_many_requests_in_flight_and_a_raised_one_goes_on() {
    for shell in SHELLS {
        let mut stage = with_ceiling(600, CEILING);
        let delayed = Behaviour::Delayed(Duration::from_millis(50), Box::new(Behaviour::Honest));
        stage.stub.behave(move |_| delayed.clone());
        let worker = stage.worker(shell, &["--poll-interval", "2"]);
        stage.stub.wait_for_requests(150, PATIENCE);
        // Both workers send at least so many requests side by side. `worker` sends more where it finds that this brings
        // more, which depends on the machine.
        let hold = stage.stub.hold();
        stage.stub.wait_for_waiting(4, PATIENCE);
        std::thread::sleep(Duration::from_millis(500));
        hold.release();
        let line = worker.wait_for_line("daily ceiling reached", PATIENCE);
        for part in [
            "vectorizer t has reached its ceiling of 3,300 tokens a day",
            "00:00 UTC",
            "update ai.vectorizer set config",
        ] {
            assert!(line.contains(part), "{line}");
        }
        let spent = asked(&stage);
        assert!(
            (CEILING - 2 * ESTIMATE..=CEILING).contains(&spent),
            "{shell}: {spent}"
        );
        // It looks again every two seconds, and says nothing more.
        std::thread::sleep(Duration::from_secs(5));
        assert_eq!(asked(&stage), spent, "{shell}: nothing more is sent");
        assert_eq!(ceilings_told(&worker).len(), 1);
        assert_one_error(&mut stage);
        assert!(stage.number("select count(*) from ai._vectorizer_q_1") > 0);

        // As the message says.
        let sql = line.split("raise the ceiling: ").nth(1).unwrap();
        stage.run(
            sql.split(" resumes_in")
                .next()
                .unwrap()
                .trim_end_matches('"'),
        );
        stage.wait_until_done();
        assert_eq!(asked(&stage), 6_000, "{shell}");
        assert_eq!(stage.number("select count(*) from d_store"), 600);
    }
}

#[test]
fn a_ceiling_holds_across_a_kill_and_a_restart() {
    for shell in SHELLS {
        let mut stage = with_ceiling(500, CEILING);
        let mut worker = stage.worker(shell, &["--lease", "1"]);
        stage.stub.wait_for_requests(60, PATIENCE);
        worker.signal(Signal::Kill);
        worker.wait(PATIENCE);
        let worker = stage.worker(shell, &["--lease", "2"]);
        worker.wait_for_line("daily ceiling reached", PATIENCE);
        let spent = asked(&stage);
        assert!(
            (CEILING - LOST_MAX..=CEILING).contains(&spent),
            "{shell}: {spent}"
        );
        assert_one_error(&mut stage);
        drop(worker);

        // Another one on the same day finds nothing left, and has nothing new to record.
        let worker = stage.worker(shell, &[]);
        worker.wait_for_line("daily ceiling reached", PATIENCE);
        assert_eq!(asked(&stage), spent, "{shell}");
        assert_one_error(&mut stage);
    }
}

#[test]
fn two_workers_share_a_ceiling_and_give_back_what_they_have_not_spent() {
    let mut stage = with_ceiling(600, CEILING);
    let delayed = Behaviour::Delayed(Duration::from_millis(20), Box::new(Behaviour::Honest));
    stage.stub.behave(move |_| delayed.clone());
    let workers = SHELLS.map(|shell| stage.worker(shell, &["--poll-interval", "1"]));
    for worker in &workers {
        worker.wait_for_line("daily ceiling reached", PATIENCE);
    }
    let spent = asked(&stage);
    assert!(
        (CEILING - 2 * CEILING / 50 - ESTIMATE..=CEILING).contains(&spent),
        "{spent}"
    );
    assert_one_error(&mut stage);
    for mut worker in workers {
        assert_eq!(ceilings_told(&worker).len(), 1);
        worker.signal(Signal::Term);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    }
    assert_eq!(
        stage.number("select taken from ai.vectorizer_budget"),
        asked(&stage)
    );
    let (requests, tokens, estimated) = recorded(&mut stage);
    assert_eq!((requests, tokens), counted(&stage));
    assert_eq!(estimated, 0);
}

#[test]
fn an_account_spends_no_more_dollars_than_it_may() {
    for shell in SHELLS {
        let mut stage = with_ceiling(400, 1_000_000);
        let prices = Prices::new(&stage, "stub 1000");
        // A dollar is a thousand tokens.
        let arguments = ["--prices", prices.path(), "--max-spend-per-day", "1.50"];
        let worker = stage.worker(shell, &arguments);
        let line = worker.wait_for_line("daily ceiling reached", PATIENCE);
        assert!(
            line.contains("has reached its ceiling of $1.50 a day"),
            "{line}"
        );
        assert!(
            line.contains("higher --max-spend-per-day than 1.5"),
            "{line}"
        );
        let spent = asked(&stage);
        assert!(
            (1_500 - 2 * ESTIMATE..=1_500).contains(&spent),
            "{shell}: {spent}"
        );
        assert_one_error(&mut stage);
        drop(worker);

        let arguments = [
            "--prices",
            prices.path(),
            "--max-spend-per-day",
            "2",
            "--once",
        ];
        let mut worker = stage.worker(shell, &arguments);
        assert_eq!(
            worker.wait(PATIENCE).code(),
            Some(1),
            "a run that cannot end well"
        );
        let spent = asked(&stage);
        assert!(
            (2_000 - 30 - 3 * ESTIMATE..=2_000).contains(&spent),
            "{shell}: {spent}"
        );

        let arguments = [
            "estimate",
            "t",
            "--prices",
            prices.path(),
            "--max-spend-per-day",
            "0.5",
        ];
        let estimate = good(&stage, shell, &arguments);
        assert!(estimate.contains("days      "), "{estimate}");
    }
}

#[test]
fn a_ceiling_in_dollars_needs_prices_that_can_be_read() {
    for shell in SHELLS {
        let mut stage = with_ceiling(3, 1_000);
        let mut worker = stage.worker(shell, &["--once", "--max-spend-per-day", "1"]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(1));
        let said = worker.lines();
        let about = said
            .iter()
            .filter(|line| line.contains("needs the price of the model stub"));
        assert!(
            about.clone().any(|line| line.contains("--prices FILE")),
            "{said:?}"
        );
        assert_eq!(
            about
                .filter(|line| line.contains("vectorizer cannot run"))
                .count(),
            1
        );
        assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 1);
        assert_eq!(asked(&stage), 0);

        let wrong = Prices::new(&stage, "stub 1\nother one\n");
        let (code, said) = command(&stage, shell, &["--once", "--prices", wrong.path()]);
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("line 2: \"other one\"") && said.lines().count() == 1,
            "{said}"
        );
        let (code, said) = command(&stage, shell, &["--once", "--max-spend-per-day", "0"]);
        assert_eq!(code, Some(2), "{said}");
    }
}

#[test]
fn a_ceiling_is_a_whole_number_of_tokens_and_in_the_config_only_if_given() {
    let mut stage = Stage::new();
    let json = |stage: &mut Stage, call: &str| -> String {
        let sql = format!("select ({call})::text");
        stage.sql.query_one(&sql, &[]).unwrap().get(0)
    };
    let without = json(&mut stage, "ai.processing_default(10, 2)");
    assert!(!without.contains("max_tokens_per_day"), "{without}");
    let with = json(
        &mut stage,
        "ai.processing_default(max_tokens_per_day => 9000000000)",
    );
    assert!(
        with.contains("\"max_tokens_per_day\": 9000000000"),
        "{with}"
    );
    for (ceiling, says) in [
        ("0", "max_tokens_per_day must be greater than 0"),
        ("-1", "max_tokens_per_day must be greater than 0"),
        ("1.5", "max_tokens_per_day must be a whole number"),
        ("\"x\"", "max_tokens_per_day must be a number"),
        ("1e30", "less than or equal to 9223372036854775807"),
    ] {
        let config = format!(
            r#"{{"config_type": "processing", "implementation": "default", "max_tokens_per_day": {ceiling}}}"#
        );
        let (_, message) = refused(
            &mut stage.sql,
            &format!("select ai._validate_processing('{config}')"),
        );
        assert!(message.contains(says), "{ceiling}: {message}");
    }
}
