//! What goes wrong in production: `worker status`, the page, the metrics and the log tell the same, and what to do.

use serde_json::Value;
use tests::process::{Process, Signal};
use tests::site::Site;
use tests::stage::{PATIENCE, Stage};
use tests::stub::{Answer, Behaviour};

use super::{ANY, blog, wait_until};

const BLOG: &str = r#"vectorizer="blog""#;

/// What `worker status --json` says of the vectorizer.
fn status(stage: &Stage) -> Value {
    let mut status = stage.worker("worker", &["status", "--json"]);
    assert_eq!(
        status.wait(PATIENCE).code(),
        Some(0),
        "{:?}",
        status.lines()
    );
    let said: Value = serde_json::from_str(&status.lines().join("\n")).unwrap();
    said["vectorizers"][0].clone()
}

/// Whether `worker status --check` finds something to do, and what.
fn check(stage: &Stage) -> Option<String> {
    let mut check = stage.worker("worker", &["status", "--check"]);
    match check.wait(PATIENCE).code() {
        Some(0) => None,
        Some(1) => Some(check.lines().join("\n")),
        code => panic!("{code:?}: {:?}", check.lines()),
    }
}

/// Waits until the vectorizer is in a state by `status`, and then by the page and the metrics, too, with the same
/// numbers. Returns what they say.
#[track_caller]
fn agree_on(stage: &Stage, site: &Site, state: &str) -> Value {
    wait_until(state, || status(stage)["state"] == state);
    // The worker asks the database at most every five seconds.
    let mut page = Value::Null;
    wait_until(&format!("{state} on the page"), || {
        page = site.json("api/status")["database"]["vectorizers"][0].clone();
        page["state"] == state
    });
    let label = format!("state=\"{state}\"");
    assert_eq!(site.metric("pgai_vectorizer_state", &[BLOG, &label]), 1.0);
    for (metric, key) in [
        ("pgai_queue_rows", "pending"),
        ("pgai_failed_rows", "failed"),
    ] {
        wait_until(&format!("{metric} like status"), || {
            Some(site.metric(metric, &[BLOG])) == status(stage)[key].as_f64()
        });
    }
    page
}

#[test]
fn many_rows_wait_for_a_slow_provider() {
    let mut stage = blog();
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    stage.wait_until_done();
    assert_eq!(agree_on(&stage, &site, "up_to_date")["pending"], 0);
    assert_eq!(check(&stage), None);
    let hold = stage.stub.hold();
    stage
        .run("insert into blog select n, 'title', 'body ' || n from generate_series(10, 300009) n");
    stage.stub.wait_for_waiting(1, PATIENCE);
    let page = agree_on(&stage, &site, "working");
    // Above 100,000 it is an estimate, of a table that the server has not analysed yet.
    assert_eq!(page["pending_is_estimated"], true);
    let pending = page["pending"].as_f64().unwrap();
    assert!((200_000.0..400_000.0).contains(&pending), "{pending}");
    assert!(site.metric("pgai_requests_in_flight", &[]) >= 1.0);
    assert_eq!(check(&stage), None, "it works: nobody is needed");
    hold.release();
    stage.run("truncate blog");
    agree_on(&stage, &site, "up_to_date");
}

#[test]
fn a_provider_is_down_and_comes_back() {
    let mut stage = blog();
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    stage.wait_until_done();
    stage.stub.go_down();
    stage.run("update blog set body = body || '.'");
    let line = worker.wait_for_line("embedding provider paused", PATIENCE);
    let page = agree_on(&stage, &site, "broken");
    let account = site.json("api/status")["worker"]["accounts"][0].clone();
    let reason = account["reason"].as_str().unwrap().to_owned();
    // What to do, too: there is a server to start.
    assert!(
        reason.contains("Ollama") || reason.contains("OLLAMA_HOST"),
        "{reason}"
    );
    assert!(
        line.contains(&reason.replace('"', "\\\"")),
        "{line}: {reason}"
    );
    assert_eq!(page["last_error_holds"], true);
    let stated = page["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(stated) || stated.starts_with(&reason),
        "{stated}: {reason}"
    );
    assert!(site.metric("pgai_requests_total", &["unreachable"]) >= 3.0);
    assert!(check(&stage).unwrap().contains("cannot run"));
    stage.stub.come_up();
    worker.wait_for_line("embedding provider answers again", PATIENCE);
    stage.wait_until_done();
    let page = agree_on(&stage, &site, "up_to_date");
    assert_eq!(
        (&page["last_error_holds"], &page["failed"]),
        (&Value::Bool(false), &0.into())
    );
    assert_eq!(check(&stage), None);
}

#[test]
fn a_key_has_expired() {
    let mut stage = blog();
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    stage.wait_until_done();
    let body = r#"{"error": "the key has expired"}"#;
    stage
        .stub
        .behave(move |_| Behaviour::Answer(Answer::new(401).body(body)));
    stage.run("update blog set body = body || '.'");
    let line = worker.wait_for_line("embedding provider paused", PATIENCE);
    assert!(line.contains("the key has expired"), "{line}");
    let page = agree_on(&stage, &site, "broken");
    assert!(
        page["reason"]
            .as_str()
            .unwrap()
            .contains("the key has expired"),
        "{page}"
    );
    let account = site.json("api/status")["worker"]["accounts"][0].clone();
    assert!(
        account["reason"]
            .as_str()
            .unwrap()
            .contains("the key has expired"),
        "{account}"
    );
    assert!(site.metric("pgai_provider_opens_in_seconds", &[]) > 1.0);
    assert!(site.metric("pgai_requests_total", &[r#"outcome="refused""#]) >= 1.0);
    assert_eq!(page["failed"], 0, "no row is to blame");
    assert!(check(&stage).unwrap().contains("the key has expired"));
}

#[test]
fn a_row_fails_and_is_tried_again_by_the_operator() {
    let mut stage = blog();
    stage.stub.refuse_inputs_with("poison");
    stage.run("insert into blog values (4, 'title', 'poison')");
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    let line = worker.wait_for_line("row failed for good", PATIENCE);
    let page = agree_on(&stage, &site, "up_to_date");
    assert_eq!(
        (&page["failed"], &page["last_error_holds"]),
        (&1.into(), &Value::Bool(true))
    );
    let reason = page["last_error"].as_str().unwrap();
    assert!(line.contains(reason), "{line}: {reason}");
    assert_eq!(site.metric("pgai_rows_failed_total", &[BLOG]), 1.0);
    let errors = site.json("api/errors");
    assert_eq!(errors["failed_rows"][0]["key"], "4");
    assert!(
        check(&stage).unwrap().contains("worker errors blog"),
        "the next step"
    );
    stage.stub.refuse_no_inputs();
    let mut retry = stage.worker("worker", &["retry", "blog"]);
    assert_eq!(retry.wait(PATIENCE).code(), Some(0));
    wait_until("the row is done", || {
        stage.number("select count(*) from blog_store") == 4
    });
    // With the next heartbeat, and the next look of the page.
    wait_until("nothing holds any more", || {
        let page = agree_on(&stage, &site, "up_to_date");
        page["failed"] == 0 && page["last_error_holds"] == false
    });
    assert_eq!(check(&stage), None);
}

#[test]
fn the_disk_of_the_server_is_full() {
    let mut stage = blog();
    // Statements that take no room still work, as on a disk that is full.
    stage.run(
        "create function no_room() returns trigger language plpgsql as $$
         begin raise 'could not extend file: No space left on device' using errcode = 'disk_full'; end $$;
         create trigger no_room before insert on blog_store for each row execute function no_room()",
    );
    let worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    let line = worker.wait_for_line("No space left on device", PATIENCE);
    assert!(line.contains("make room on the disk"), "{line}");
    wait_until("not ready", || {
        let (status, said) = site.get("readyz");
        status == 503 && said.contains("No space left on device")
    });
    assert!(site.metric("pgai_database_errors_total", &[r#"kind="outage""#]) >= 1.0);
    assert_eq!(site.metric("pgai_queue_rows", &[BLOG]), 3.0);
    stage.run("drop trigger no_room on blog_store");
    worker.wait_for_line("the database answers again", PATIENCE);
    stage.wait_until_done();
    wait_until("ready", || site.get("readyz").0 == 200);
    let lines = worker.lines();
    let troubles = lines.iter().filter(|line| line.contains("No space left"));
    assert_eq!(
        troubles.count(),
        1,
        "once, however many attempts: {lines:?}"
    );
}

/// A worker that ends without a word, or stands still: rows wait, and after three heartbeats nobody says that one
/// lives.
#[test]
fn a_worker_is_killed_or_frozen() {
    let mut stage = blog();
    let mut worker = stage.worker("worker", ANY);
    let site = Site::of(&worker);
    stage.wait_until_done();
    assert_eq!(agree_on(&stage, &site, "up_to_date")["state"], "up_to_date");
    worker.signal(Signal::Stop);
    stage.run("update blog set body = body || '.'");
    wait_until("no worker", || status(&stage)["state"] == "no_worker");
    assert!(check(&stage).unwrap().contains("no worker is alive"));
    worker.signal(Signal::Cont);
    stage.wait_until_done();
    agree_on(&stage, &site, "up_to_date");
    // As the kernel does when memory runs out, in the middle of a request.
    let hold = stage.stub.hold();
    stage.run("update blog set body = body || '!'");
    stage.stub.wait_for_waiting(1, PATIENCE);
    worker.signal(Signal::Kill);
    worker.wait(PATIENCE);
    wait_until("no worker", || status(&stage)["state"] == "no_worker");
    let said = check(&stage).unwrap();
    assert!(said.contains("no worker is alive"), "{said}");
    hold.release();
    drop(worker);
    let arguments = [ANY, &["--lease", "5"]].concat();
    let other: Process = stage.worker("worker", &arguments);
    let site = Site::of(&other);
    wait_until("another worker is alive", || {
        site.metric("pgai_workers_alive", &[]) == 1.0
    });
    assert_eq!(check(&stage), None, "the lease ends by itself");
}
