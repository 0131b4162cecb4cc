//! What an operator is told of vectorizers and workers, and what an operator can do: pause, resume,
//! retry. Signals, the file `.env`, the environment.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::process::{Process, Signal, worker_path};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::Behaviour;

fn command(stage: &Stage, shell: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = stage.worker(shell, arguments);
    let code = process.wait(PATIENCE).code();
    (code, process.lines().join("\n"))
}

#[track_caller]
fn good(stage: &Stage, shell: &str, arguments: &[&str]) -> String {
    let (code, said) = command(stage, shell, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    said
}

/// The vectorizer in the JSON of `status`, which fits the view.
#[track_caller]
fn status(stage: &Stage, shell: &str) -> Value {
    let all: Value = serde_json::from_str(&good(stage, shell, &["status", "--json"])).unwrap();
    all["vectorizers"][0].clone()
}

/// As the owner, who may pause.
fn as_owner(stage: &Stage, shell: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let url = stage.database.url();
    let mut process = stage.worker_with(shell, arguments, &[("DB_URL", url)]);
    let code = process.wait(PATIENCE).code();
    (code, process.lines().join("\n"))
}

fn on_both(case: impl Fn(&str)) {
    for shell in ["worker", "worker-blocking"] {
        case(shell);
    }
}

/// Waits until the state of the only vectorizer is this.
#[track_caller]
fn wait_for_state(stage: &Stage, state: &str) {
    let condition = format!("(select state = '{state}' from ai.vectorizer_status)");
    stage.database.wait_until(&condition, PATIENCE);
}

#[test]
fn status_tells_who_works_and_what_is_wrong() {
    on_both(|shell| {
        let mut stage = Stage::with_blog();
        let (code, said) = command(&stage, shell, &["status", "--check"]);
        assert_eq!((code, &*said), (Some(0), "nothing needs the operator"));
        stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 40) n");
        let known = status(&stage, shell);
        assert_eq!(known["state"], "no_worker");
        assert_eq!(
            (&known["total"], &known["done"], &known["pending"]),
            (&json!(40), &json!(0), &json!(40))
        );
        let (code, said) = command(&stage, shell, &["status", "--check"]);
        assert_eq!(code, Some(1));
        assert!(
            said.contains("rows of blog wait, and no worker is alive"),
            "{said}"
        );

        // The provider takes nothing: the vectorizer as a whole cannot run, and the error holds.
        stage.stub.behave(|_| Behaviour::WrongDimensions(5));
        let worker = stage.worker(shell, &["--poll-interval", "1"]);
        wait_for_state(&stage, "broken");
        let known = status(&stage, shell);
        assert_eq!(known["last_error_holds"], true, "{known}");
        assert_eq!(known["reason"], known["last_error"]);
        let (code, said) = command(&stage, shell, &["status", "--check"]);
        assert_eq!(code, Some(1));
        assert!(said.contains("blog cannot run: "), "{said}");
        let shown = good(&stage, shell, &["status"]);
        assert!(shown.contains("cannot run because "), "{shown}");
        drop(worker);

        // A table that is gone.
        stage.run("alter table blog rename to elsewhere");
        let known = status(&stage, shell);
        assert_eq!(known["state"], "broken");
        assert!(
            known["reason"].as_str().unwrap().contains("blog"),
            "{known}"
        );
    });
}

#[test]
fn an_error_that_is_over_is_shown_as_over() {
    on_both(|shell| {
        let mut stage = Stage::with_blog();
        stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 3) n");
        stage.stub.go_down();
        let worker = stage.worker(shell, &["--poll-interval", "1"]);
        wait_for_state(&stage, "broken");
        stage.stub.come_up();
        wait_for_state(&stage, "up_to_date");
        let all: Value = serde_json::from_str(&good(&stage, shell, &["status", "--json"])).unwrap();
        let known = &all["vectorizers"][0];
        assert_eq!(known["last_error_holds"], false, "{known}");
        assert!(known["last_error"].is_string(), "{known}");
        assert_eq!(
            (&all["workers"], known["done"].as_i64()),
            (&json!(1), Some(3))
        );
        let live = &all["workers_alive"][0];
        assert_eq!(live["version"], format!("{shell} 0.1.0"));
        assert_eq!(live["state"], "alive");
        assert!(
            live["pid"].is_number() && live["host"].is_string(),
            "{live}"
        );
        let shown = good(&stage, shell, &["status"]);
        assert!(shown.contains("(since resolved)"), "{shown}");
        assert!(shown.contains(&format!("{shell} 0.1.0 on ")), "{shown}");
        assert!(
            shown.lines().all(|line| line.chars().count() <= 80),
            "{shown}"
        );
        let (code, said) = command(&stage, shell, &["status", "--check"]);
        assert_eq!(code, Some(0), "{said}");
        drop(worker);
        assert_eq!(status(&stage, shell)["state"], "up_to_date");
        assert!(good(&stage, shell, &["status"]).contains("no worker is alive"));
    });
}

#[test]
fn rows_that_wait_for_a_retry_are_told_with_the_next_attempt() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog values (1, 't', 'poison')");
    stage.stub.refuse_inputs_with("poison");
    let worker = stage.worker("worker", &["--poll-interval", "1"]);
    wait_for_state(&stage, "retrying");
    let known = status(&stage, "worker");
    assert_eq!(
        (&known["retrying"], &known["leased"]),
        (&json!(1), &json!(0))
    );
    assert!(
        known["until"].is_string() && known["until"] == known["next_retry"],
        "{known}"
    );
    assert_eq!(known["last_error_holds"], true, "{known}");
    let shown = good(&stage, "worker", &["status"]);
    assert!(shown.contains("waiting for retry"), "{shown}");
    assert!(
        shown.contains("1 row waiting for a retry (at most attempt "),
        "{shown}"
    );
    let (code, said) = command(&stage, "worker", &["status", "--check"]);
    assert_eq!(code, Some(0), "nobody has to do anything yet: {said}");
    drop(worker);
}

#[test]
fn top_shows_the_status_again_and_again() {
    on_both(|shell| {
        let stage = Stage::with_blog();
        for arguments in [&["top"][..], &["status", "--watch"]] {
            let mut top = stage.worker(shell, arguments);
            let (next, _) = top.wait_for_line_from(0, "no worker is alive", PATIENCE);
            top.wait_for_line_from(next, "no worker is alive", PATIENCE);
            top.signal(Signal::Int);
            top.wait(PATIENCE);
        }
    });
}

#[test]
fn a_command_pauses_and_resumes() {
    on_both(|shell| {
        let mut stage = Stage::with_blog();
        let pause = ["pause", "blog", "--reason", "a new key", "--for", "2h"];
        let (code, said) = command(&stage, shell, &pause);
        assert_eq!(code, Some(1));
        assert!(
            said.contains("only the owner of its source table"),
            "{said}"
        );
        let (code, said) = as_owner(&stage, shell, &pause);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("blog is paused until 20"), "{said}");
        stage.run("insert into blog values (1, 't', 'one')");
        stage.once(shell);
        let known = status(&stage, shell);
        assert_eq!(
            (&known["state"], &known["reason"]),
            (&json!("paused"), &json!("a new key"))
        );
        assert!(known["until"].is_string());
        let shown = good(&stage, shell, &["status"]);
        assert!(shown.contains("paused by postgres until 20"), "{shown}");
        let (_, said) = as_owner(&stage, shell, &["resume", "blog"]);
        assert_eq!(said, "workers continue with blog");
        let (_, said) = as_owner(&stage, shell, &["resume", "1"]);
        assert_eq!(said, "blog is not paused");
        stage.once(shell);
        stage.assert_true();
        for misspelt in ["pause", "resume", "usage", "resync", "errors"] {
            let (code, said) = as_owner(&stage, shell, &[misspelt, "blgo"]);
            assert_eq!(code, Some(1), "{said}");
            assert!(
                said.contains("no vectorizer is named blgo: did you mean blog?"),
                "{said}"
            );
        }
    });
}

#[test]
fn only_the_wanted_failures_are_tried_again() {
    let mut stage = Stage::new();
    stage.run("create table words (id int primary key, body text)");
    stage.run(&format!(
        "select ai.create_vectorizer('words', name => 'words', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none());
         insert into ai._vectorizer_q_failed_1 (id, created_at, failure_step, failure_reason)
         select n, now() - n * interval '1 minute', case when n % 2 = 0 then 'embedding' else 'loading' end,
           'HTTP ' || n from generate_series(1, 1000) n"
    ));
    let groups = good(&stage, "worker", &["errors"]);
    assert!(groups.contains("words: 500 failed, embedding"), "{groups}");
    let mut left = 1000;
    for (filter, moved) in [
        (&["--message", "http 1000"][..], 1),
        (&["--older-than", "998m"], 2),
        (&["--step", "embedding", "--older-than", "500m"], 249),
        (&["--step", "loading"], 499),
    ] {
        let said = good(&stage, "worker", &[&["retry", "words"], filter].concat());
        assert!(
            said.contains(&format!("words: {moved}\n")),
            "{filter:?}: {said}"
        );
        left -= moved;
        let failed = stage.number("select count(*) from ai._vectorizer_q_failed_1");
        assert_eq!(failed, left, "{filter:?}");
    }
    let (code, said) = command(&stage, "worker", &["retry", "words", "--step", "writing"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("no failed row is of this kind"), "{said}");
}

#[test]
fn versions_help_and_completions_are_printed() {
    on_both(|shell| {
        let stage = Stage::with_blog();
        let said = good(&stage, shell, &["version"]);
        assert!(
            said.starts_with(&format!("{shell} 0.1.0\nschema ai 1 ")),
            "{said}"
        );
        assert!(good(&stage, shell, &["help", "pause"]).contains("--reason"));
        for name in ["bash", "zsh", "fish"] {
            let script = good(&stage, shell, &["completions", name]);
            assert!(
                script.contains("resync") && script.contains(shell),
                "{script}"
            );
        }
        stage.once(shell);
        let mut run = stage.worker(shell, &["run", "--once"]);
        assert_eq!(run.wait(PATIENCE).code(), Some(0));
    });
}

#[test]
fn a_closed_terminal_ends_a_worker_like_sigterm_but_not_under_nohup() {
    on_both(|shell| {
        let stage = Stage::with_blog();
        let mut worker = stage.worker(shell, &[]);
        stage
            .database
            .wait_until("exists (select from ai._live_worker)", PATIENCE);
        worker.signal(Signal::Hup);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));

        let path = worker_path(shell);
        let script = format!("trap '' HUP; exec '{}'", path.display());
        let environment = [("DB_URL", stage.worker_url.as_str())];
        let mut worker = Process::spawn("/bin/sh", &["-c", &script], &environment);
        let began = "(select count(*) = 2 from ai.vectorizer_worker_process)";
        stage.database.wait_until(began, PATIENCE);
        worker.signal(Signal::Hup);
        std::thread::sleep(Duration::from_millis(500));
        assert!(worker.is_running());
        worker.signal(Signal::Term);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    });
}

#[test]
fn the_file_env_sets_what_is_not_set() {
    on_both(|shell| {
        let stage = Stage::with_blog();
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        fs::create_dir(&below).unwrap();
        let url = stage
            .worker_url
            .replace("postgres://", "postgresql+psycopg://");
        let write = |text: &str| fs::write(directory.path().join(".env"), text).unwrap();
        let script = format!(
            "cd '{}' && exec '{}' \"$@\"",
            below.display(),
            worker_path(shell).display()
        );
        let said = |arguments: &[&str], environment: &[(&str, &str)]| {
            let all = [&["-c", script.as_str(), "sh"], arguments].concat();
            let mut process = Process::spawn("/bin/sh", &all, environment);
            let code = process.wait(PATIENCE).code();
            (code, process.lines().join("\n"))
        };
        write(&format!(
            "# a comment\nDB_URL={url}\nPGAI_VECTORIZER_WORKER_LEAS='1'\n"
        ));
        let (code, text) = said(&["version"], &[]);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("did you mean PGAI_VECTORIZER_WORKER_LEASE?"),
            "{text}"
        );
        for (arguments, environment) in [
            (&["version", "--no-env-file"][..], &[][..]),
            (&["version"], &[("PGAI_NO_ENV_FILE", "1")]),
            (&["version"], &[("DB_URL", "postgres://localhost:1/none")]),
        ] {
            let (code, text) = said(arguments, environment);
            assert_eq!(code, Some(1), "{arguments:?} {environment:?}: {text}");
        }
        write("A_KEY=the secret of somebody\n");
        let (code, text) = said(&["version"], &[]);
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains(".env") && !text.contains("secret of"),
            "{text}"
        );
    });
}

/// Prints how long the statement behind `status` takes. The queue takes minutes to fill, so this is run by hand:
/// `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn status_with_ten_million_queued_rows() {
    let mut stage = Stage::with_blog();
    stage.run("insert into ai._vectorizer_q_1 (id) select generate_series(1, 10000000)");
    stage.run("vacuum analyze ai._vectorizer_q_1");
    let times = (0..5).map(|_| {
        let began = Instant::now();
        stage
            .sql
            .query_one("select ai._status()::text", &[])
            .unwrap();
        began.elapsed()
    });
    #[expect(clippy::print_stdout, reason = "it is a measurement")]
    {
        println!("of ai._status(): {:?}", times.collect::<Vec<_>>());
    }
    let shown = good(&stage, "worker", &["status"]);
    assert!(shown.contains("~10,000,000"), "{shown}");
}
