//! What embeddings use and cost, and ceilings of a day, with both workers.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tests::process::{Process, Signal};
use tests::role::{Role, refused};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::Behaviour;

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// A text of 40 bytes: 10 tokens, as the stub counts.
const TEXT: &str = "lpad(n::text, 40, 'text of forty bytes ')";
/// A request with one of them is estimated to be this.
const ESTIMATE: i64 = 11;
const CEILING: i64 = 3_300;
/// A worker that is killed loses at most this: a block, and requests in flight.
const LOST_MAX: i64 = CEILING / 50 + ESTIMATE * 20;

/// A table with so many rows of which each is one request, and this ceiling.
fn with_ceiling(rows: u32, ceiling: i64) -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table t (id int primary key, body text);
         insert into t select n, {TEXT} from generate_series(1, {rows}) n;
         select ai.create_vectorizer('t', name => 't', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           processing => ai.processing_default(1, 20, {ceiling}), destination => ai.destination_table('d'))"
    ));
    stage
}

/// Requests that the stub has answered with vectors, and their tokens.
fn counted(stage: &Stage) -> (i64, i64) {
    let requests = stage.stub.requests();
    let tokens = requests
        .iter()
        .filter(|request| request.status == Some(200))
        .map(|request| {
            let bytes: usize = request.inputs.iter().map(String::len).sum();
            i64::try_from(bytes.div_ceil(4)).unwrap()
        });
    (i64::try_from(tokens.clone().count()).unwrap(), tokens.sum())
}

/// Tokens of all requests that have come so far, answered or not.
fn asked(stage: &Stage) -> i64 {
    let bytes = stage.stub.inputs();
    bytes
        .iter()
        .map(|text| i64::try_from(text.len().div_ceil(4)).unwrap())
        .sum()
}

fn recorded(stage: &mut Stage) -> (i64, i64, i64) {
    let row = stage
        .sql
        .query_one(
            "select sum(requests)::bigint, sum(tokens)::bigint, sum(estimated_tokens)::bigint from ai.vectorizer_usage",
            &[],
        )
        .unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn command(stage: &Stage, shell: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = stage.worker(shell, arguments);
    let code = process.wait(PATIENCE).code();
    (code, process.lines().join("\n"))
}

#[track_caller]
fn good(stage: &Stage, shell: &str, arguments: &[&str]) -> String {
    let (code, said) = command(stage, shell, arguments);
    assert_eq!(code, Some(0), "{shell} {arguments:?}: {said}");
    said
}

#[track_caller]
fn json(stage: &Stage, shell: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&good(stage, shell, arguments)).unwrap()
}

/// A file of prices, which is gone with it.
struct Prices(PathBuf);

impl Prices {
    fn new(stage: &Stage, text: &str) -> Self {
        let name = format!("prices-{}-{}", stage.database.name(), text.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Prices {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

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
fn what_is_recorded_is_what_the_provider_has_counted() {
    for shell in SHELLS {
        let mut stage = Stage::with_blog();
        stage.run("insert into blog select n, 't', 'body of ' || n from generate_series(1, 130) n");
        stage.once(shell);
        let (requests, tokens) = counted(&stage);
        assert!(requests > 2 && tokens > 300);
        assert_eq!(recorded(&mut stage), (requests, tokens, 0), "{shell}");
        let of_today = "select count(*) from ai.vectorizer_usage
            where vectorizer_id = 1 and model = 'stub' and day = (now() at time zone 'utc')::date";
        assert_eq!(stage.number(of_today), 1);

        stage.run("update blog set body = 'another body of ' || id");
        stage.once(shell);
        let (requests, tokens) = counted(&stage);
        assert_eq!(
            recorded(&mut stage),
            (requests, tokens, 0),
            "{shell}: added up"
        );

        let usage = json(&stage, shell, &["usage", "--json"]);
        assert_eq!(usage["usage"][0]["tokens"], tokens);
        assert_eq!(usage["usage"][0]["cost"], Value::Null);
        assert_eq!(usage["total"]["tokens_without_price"], tokens);
        let shown = good(&stage, shell, &["status"]);
        let shown = Vec::from_iter(shown.split_whitespace()).join(" ");
        assert!(shown.contains("today (UTC): "), "{shown}");
        assert!(
            shown.contains("cost unknown: give the price with --prices"),
            "{shown}"
        );
        stage.run(
            "alter table ai.vectorizer_usage disable trigger user;
             update ai.vectorizer_usage set day = day - 1",
        );
        assert!(!good(&stage, shell, &["status"]).contains("today (UTC)"));
        let shown = good(&stage, shell, &["usage", "--days", "1"]);
        assert!(shown.contains("nothing was used in 1 days"), "{shown}");
        assert!(good(&stage, shell, &["usage", "--days", "2"]).contains("unknown"));
    }
}

#[test]
fn what_no_provider_counts_is_estimated_and_marked() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let url = stage.stub.url();
        stage.run(&format!(
            "create table t (id int primary key, body text);
             insert into t select n, {TEXT} from generate_series(1, 3) n;
             select ai.create_vectorizer('t', name => 'silent', loading => ai.loading_column('body'),
               embedding => ai.embedding_litellm('huggingface/a/b', {DIMENSIONS},
                 extra_options => '{{\"api_base\": \"{url}/pipeline/feature-extraction/x\"}}'),
               chunking => ai.chunking_none(), destination => ai.destination_table('d'))"
        ));
        let mut worker = stage.worker_with(shell, &["--once"], &[("HUGGINGFACE_API_KEY", "k")]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));
        assert_eq!(recorded(&mut stage), (1, 31, 31), "{shell}");

        let prices = Prices::new(&stage, "# of this test\nhuggingface/a/b\t1000\n");
        let shown = good(
            &stage,
            shell,
            &["usage", "silent", "--prices", prices.path()],
        );
        assert!(
            shown.contains("~31") && shown.contains("$0.0310"),
            "{shown}"
        );
        assert!(
            shown.contains("total: 1 requests, ~31 tokens, $0.0310"),
            "{shown}"
        );
        let shown = good(&stage, shell, &["status", "--prices", prices.path()]);
        assert!(
            shown.contains("today (UTC): 1 requests, ~31 tokens, $0.0310"),
            "{shown}"
        );
        let (code, said) = command(&stage, shell, &["usage", "nowhere"]);
        assert_eq!(code, Some(1));
        assert!(
            said.contains("there is no vectorizer \"nowhere\""),
            "{said}"
        );
    }
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
fn an_estimate_says_how_many_days_it_takes() {
    for shell in SHELLS {
        let stage = with_ceiling(100, 300);
        let said = good(&stage, shell, &["estimate", "t", "--all", "--json"]);
        let estimate: Value = serde_json::from_str(&said).unwrap();
        let tokens = estimate["tokens"]["estimate"].as_f64().unwrap();
        assert!(tokens > 300.0, "{said}");
        assert_eq!(estimate["days"].as_f64().unwrap(), (tokens / 300.0).ceil());
        let shown = good(&stage, shell, &["estimate", "t", "--all"]);
        let days = format!("days      {} under the ceiling of a day", estimate["days"]);
        assert!(shown.contains(&days), "{shown}");
        let plain = Stage::with_blog();
        assert!(!good(&plain, shell, &["estimate", "blog"]).contains("days"));
    }
}

#[test]
fn only_workers_write_and_usage_only_grows() {
    let mut stage = with_ceiling(3, 1_000);
    stage.once("worker");
    let mut stranger = Role::new(&stage.database, "stranger");
    stage.run(&format!("grant usage on schema ai to {}", stranger.name));
    let writes = [
        "update ai.vectorizer_usage set tokens = tokens + 1",
        "insert into ai.vectorizer_usage (vectorizer_id, model, day) values (1, 'x', '2026-01-01')",
        "update ai.vectorizer_budget set taken = 0",
        "insert into ai.vectorizer_budget (scope, vectorizer_id, day) values ('x', 1, '2026-01-01')",
        "insert into ai.vectorizer_budget (scope, day) values ('openai', '2026-01-01')",
    ];
    let take = "select ai._vectorizer_budget_take('vectorizer 1', 1, '2026-01-01', 100, 1)";
    for write in writes.iter().chain([&take]) {
        stranger.may_not(write);
    }
    stranger.may("select * from ai.vectorizer_usage; select * from ai.vectorizer_budget");
    // Rights on the tables are not enough: it works for no vectorizer.
    stage.run(&format!(
        "grant select, insert, update on ai.vectorizer_usage, ai.vectorizer_budget to {}",
        stranger.name
    ));
    for write in writes.iter().chain([&take]) {
        stranger.may_not(write);
    }
    let mut worker = Role::new(&stage.database, "worker");
    stage.run(&format!("select ai.grant_worker_usage('{}')", worker.name));
    worker.may(writes[0]);
    worker.may(take);
    for write in [
        "update ai.vectorizer_usage set tokens = tokens - 1",
        "update ai.vectorizer_usage set model = 'y'",
        "update ai.vectorizer_budget set day = '2026-01-02'",
        "delete from ai.vectorizer_usage",
        "delete from ai.vectorizer_budget",
    ] {
        worker.may_not(write);
    }
    stage.run("drop table t cascade; select ai.drop_vectorizer('t')");
    assert_eq!(stage.number("select count(*) from ai.vectorizer_usage"), 0);
    assert_eq!(stage.number("select count(*) from ai.vectorizer_budget"), 0);
}

#[test]
fn an_older_schema_gets_the_tables_and_its_workers_may_write_them() {
    let mut stage = with_ceiling(3, 1_000);
    stage.run(
        "drop table ai.vectorizer_usage, ai.vectorizer_budget;
         drop function ai._vectorizer_budget_take",
    );
    let mut worker = stage.worker("worker", &["--once"]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    let said = worker.lines().join("\n");
    assert!(
        said.contains("the schema ai is older than this worker"),
        "{said}"
    );
    assert_eq!(asked(&stage), 0, "no ceiling, no request");
    stage.run("update ai.vectorizer set config = config #- '{processing,max_tokens_per_day}'");
    stage.once("worker");
    assert_eq!(asked(&stage), 30, "only the count is missing");
    assert!(good(&stage, "worker", &["status"]).contains("t"));

    stage.database.install();
    stage.run("update t set body = body || '.'");
    stage.once("worker");
    assert_eq!(recorded(&mut stage).0, 3);
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
