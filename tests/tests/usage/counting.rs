//! What is recorded, who may write it, and what is estimated.

use serde_json::Value;
use tests::role::Role;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

use crate::{Prices, SHELLS, TEXT, asked, command, counted, good, json, recorded, with_ceiling};

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
