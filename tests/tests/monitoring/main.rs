//! `--http`: health checks, metrics and the status page, of both workers.
//!
//! What needs Prometheus or a browser is skipped where they are not installed, unless `CI` or a variable is
//! set: `PGAI_TEST_PROMETHEUS` (package `prometheus`), `PGAI_TEST_BROWSER` (`chromium-driver`).

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod access;
mod browser;
mod health;
mod metrics;
mod story;

use std::thread::sleep;
use std::time::{Duration, Instant};

use tests::stage::{DIMENSIONS, PATIENCE, Stage};

const WORKERS: [&str; 2] = ["worker", "worker-blocking"];
/// A port that the system chooses.
const ANY: &[&str] = &["--http", "127.0.0.1:0", "--poll-interval", "1"];

/// Asks again and again until something is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(100));
    }
}

/// A vectorizer with three rows. A row that fails is not tried again.
fn blog() -> Stage {
    let mut stage = Stage::new();
    fill(&mut stage);
    stage
}

fn fill(stage: &mut Stage) {
    stage.run(&format!(
        "create table blog (id int primary key, title text, body text);
         insert into blog select n, 'title', 'body ' || n from generate_series(1, 3) n;
         select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body', retries => 0),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_table(target_table => 'blog_store'))"
    ));
}
