//! Resync: what no trigger has seen is found, queued and embedded, with both workers.

#![allow(clippy::print_stdout, reason = "a test says what it does")]
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod command;
mod doctor;
mod faults;
mod finds;
mod keys;

use postgres::Client;
use tests::stage::Stage;

/// The workers that are shipped.
const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// What a resync found and how it ended.
#[derive(Debug, Eq, PartialEq)]
struct Found {
    state: String,
    rows: i64,
    missing: i64,
    orphans: i64,
    stale: i64,
    reason: Option<String>,
}

impl Found {
    fn done(rows: i64, [missing, orphans, stale]: [i64; 3]) -> Self {
        Self {
            state: "done".to_owned(),
            rows,
            missing,
            orphans,
            stale,
            reason: None,
        }
    }
}

fn found(client: &mut Client) -> Found {
    let sql =
        "select state, rows_compared, missing, orphans, stale, reason from ai.vectorizer_resync";
    let row = client.query_one(sql, &[]).unwrap();
    Found {
        state: row.get(0),
        rows: row.get(1),
        missing: row.get(2),
        orphans: row.get(3),
        stale: row.get(4),
        reason: row.get(5),
    }
}

/// Runs statements that no trigger sees.
#[track_caller]
fn past_triggers(stage: &mut Stage, sql: &str) {
    let triggers = "select quote_ident(tgname), tgenabled::text from pg_trigger
        where tgrelid = 'blog'::regclass and not tgisinternal";
    let triggers = stage.sql.query(triggers, &[]).unwrap();
    let set = |stage: &mut Stage, how: &dyn Fn(&str) -> &'static str| {
        for row in &triggers {
            let (name, state): (String, String) = (row.get(0), row.get(1));
            stage.run(&format!("alter table blog {} trigger {name}", how(&state)));
        }
    };
    set(stage, &|_| "disable");
    stage.run(sql);
    set(stage, &|state| match state {
        "A" => "enable always",
        "R" => "enable replica",
        _ => "enable",
    });
}

/// Asks for a resync and lets a worker carry it out and embed what it found.
#[track_caller]
fn resync(stage: &mut Stage, shell: &str, verify_text: bool) -> Found {
    stage.run(&format!(
        "select ai.resync_vectorizer('blog', {verify_text})"
    ));
    stage.once(shell);
    found(&mut stage.sql)
}
