//! `worker resync`.

use tests::process::Process;
use tests::stage::{PATIENCE, Stage};

use crate::{SHELLS, past_triggers};

/// What a command printed, and its exit code.
#[track_caller]
fn run(stage: &Stage, shell: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = stage.worker(shell, arguments);
    let code = command.wait(PATIENCE).code();
    (command.lines().join("\n"), code)
}

#[test]
fn the_command_waits_and_tells_what_was_found() {
    for shell in SHELLS {
        let mut stage = Stage::with_blog();
        stage.run("insert into blog select n, 't', 'body ' || n from generate_series(1, 1500) n");
        stage.once(shell);
        past_triggers(
            &mut stage,
            "delete from blog_store where id in (3, 4); delete from blog where id = 5;
             update blog set body = 'x' where id = 6",
        );
        let command = stage.worker(shell, &["resync", "blog", "--verify-text"]);
        command.wait_for_line("waiting: no worker is alive", PATIENCE);
        let _worker: Process = stage.worker(shell, &["--poll-interval", "1"]);
        let mut command = command;
        assert_eq!(command.wait(PATIENCE).code(), Some(0));
        let lines = command.lines();
        let last: Vec<_> = lines.iter().rev().take(2).map(String::as_str).collect();
        assert_eq!(
            last,
            [
                "what differs is queued: see `status`",
                "compared 1,499 rows: 2 missing, 1 orphans, 1 stale"
            ]
        );
        stage.wait_until_done();
        stage.assert_true();

        let (text, code) = run(&stage, shell, &["resync", "1", "--json"]);
        assert_eq!(code, Some(0), "{text}");
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["rows"], 1499);
        assert_eq!(answer["state"], "done");
        let (text, _) = run(&stage, shell, &["resync", "blog"]);
        assert!(text.ends_with("nothing differs"), "{text}");

        for (arguments, word) in [
            (&["resync", "nope"][..], "there is no vectorizer \"nope\""),
            (&["resync"][..], "NAME"),
        ] {
            let (text, code) = run(&stage, shell, arguments);
            assert_ne!(code, Some(0));
            assert!(text.contains(word), "{text}");
        }
        let (text, code) = run(&stage, shell, &["resync", "blog", "--no-wait"]);
        assert_eq!(code, Some(0), "{text}");

        stage.run("revoke select on blog from embedder");
        let (text, code) = run(&stage, shell, &["resync", "blog"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("the resync failed: permission denied"),
            "{text}"
        );

        stage.run("select ai.disable_vectorizer_schedule('blog')");
        let (text, code) = run(&stage, shell, &["resync", "blog"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("is disabled"), "{text}");
    }
}
