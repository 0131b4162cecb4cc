//! The operator's commands, on both workers that are shipped.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tests::stub::Behaviour;

use tests::stage::{DIMENSIONS, PATIENCE, Stage, paragraph};

/// Runs a command to its end: exit code, stdout and stderr.
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

#[track_caller]
fn json(stage: &Stage, shell: &str, arguments: &[&str]) -> Value {
    serde_json::from_str(&good(stage, shell, arguments)).unwrap()
}

/// The table `blog` with two paragraphs in each row.
fn with_rows(rows: u32) -> Stage {
    let mut stage = Stage::with_blog();
    stage.run(&format!(
        "insert into blog select n, 't' || n, '{}' || n || E'\\n\\n' || '{}' || n
         from generate_series(1, {rows}) n",
        paragraph("one"),
        paragraph("two")
    ));
    stage
}

fn on_both(case: impl Fn(&str)) {
    for shell in ["worker", "worker-blocking"] {
        case(shell);
    }
}

#[test]
fn status_counts_what_waits_and_what_failed() {
    on_both(|shell| {
        let empty = Stage::new();
        assert!(good(&empty, shell, &["status"]).contains("no vectorizers found"));

        let mut stage = with_rows(3);
        let before = &json(&stage, shell, &["status", "--json"])["vectorizers"][0];
        assert_eq!(
            (&before["pending"], &before["failed"]),
            (&3.into(), &0.into())
        );
        assert_eq!(before["source"], "public.blog");
        assert_eq!(before["destination"], "public.blog_store");
        assert!(before["oldest_seconds"].is_number(), "{before}");

        stage.stub.refuse_inputs_with("two");
        stage.run("update blog set body = 'three' where id < 3");
        stage.run("update ai.vectorizer set config = jsonb_set(config, '{loading,retries}', '0')");
        stage.once(shell);
        let after = good(&stage, shell, &["status"]);
        let line = after.lines().nth(1).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words,
            ["1", "blog", "up", "to", "date", "66.6", "%", "0", "1"],
            "{after}"
        );
        assert!(after.contains("public.blog → public.blog_store"), "{after}");
        assert!(after.contains("400"), "the last error: {after}");
        assert!(
            after.lines().all(|line| line.chars().count() <= 80),
            "{after}"
        );

        // A table that is gone is no reason to say nothing.
        stage.run("drop table ai._vectorizer_q_1");
        assert!(good(&stage, shell, &["status"]).contains('?'));
    });
}

#[test]
fn search_finds_the_nearest_chunk_first() {
    on_both(|shell| {
        let mut stage = with_rows(20);
        let nothing = good(&stage, shell, &["search", "blog", "x", "and", "y"]);
        assert!(nothing.contains("nothing is embedded yet"), "{nothing}");
        stage.once(shell);
        // The stub's vector of a text is the nearest to itself.
        let text = format!("t7: {}7", paragraph("two"));
        let found = json(
            &stage,
            shell,
            &["search", "blog", &text, "-k", "3", "--json"],
        );
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0]["key"], serde_json::json!(["7"]));
        assert_eq!(
            (&found[0]["chunk_seq"], &found[0]["chunk"]),
            (&1.into(), &text.as_str().into())
        );
        let distances: Vec<f64> = found
            .iter()
            .map(|hit| hit["distance"].as_f64().unwrap())
            .collect();
        assert!(
            distances[0].abs() < 1e-6 && distances.is_sorted(),
            "{distances:?}"
        );
        let lines = good(&stage, shell, &["search", "1", &text, "-k", "1"]);
        assert!(lines.contains("  7  t7: two"), "{lines}");

        let (code, said) = command(&stage, shell, &["search", "nope", "x"]);
        assert_eq!(code, Some(1));
        assert!(
            said.contains("there is no vectorizer \"nope\": there are blog"),
            "{said}"
        );
        stage.stub.go_down();
        let (code, said) = command(&stage, shell, &["search", "blog", "x"]);
        assert_eq!(code, Some(1));
        assert!(said.contains("does not answer"), "{said}");
        stage.run("drop table blog cascade");
    });
}

#[test]
fn chunk_shows_what_the_worker_would_store() {
    on_both(|shell| {
        let mut stage = with_rows(2);
        let shown = json(&stage, shell, &["chunk", "blog", "--key", "2", "--json"]);
        assert_eq!(stage.stub.requests().len(), 0, "no provider is asked");
        stage.once(shell);
        let stored: Vec<Value> = stage
            .store()
            .into_iter()
            .filter(|(id, ..)| *id == 2)
            .map(|(_, _, text)| text.into())
            .collect();
        let chunks = shown["chunks"].as_array().unwrap();
        let texts: Vec<Value> = chunks.iter().map(|chunk| chunk["chunk"].clone()).collect();
        assert_eq!(texts, stored);
        assert_eq!(chunks[0]["characters"], 35);
        assert!(chunks[0]["tokens"].as_u64().unwrap() > 0);

        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(
            file.path(),
            format!("{}\n\nwhat is not short", paragraph("from a file")),
        )
        .unwrap();
        let path = file.path().to_str().unwrap();
        let shown = good(&stage, shell, &["chunk", "blog", "--file", path]);
        assert!(shown.contains("$title: from a file"), "{shown}");
        assert!(shown.contains("2 chunks, 63 characters"), "{shown}");
        assert!(shown.contains(" tokens, bytes 0 to "), "{shown}");
        assert!(good(&stage, shell, &["chunk", "blog"]).starts_with("row "));
        let compare = |chunking| ["chunk", "blog", "--key", "2", "--compare", chunking];
        let shown = good(&stage, shell, &compare("ai.chunking_sentence(10)"));
        assert!(shown.contains("| ai.chunking_sentence(10)"), "{shown}");
        assert!(shown.contains("; compared: "), "{shown}");
        let mut arguments = compare("ai.chunking_none()").to_vec();
        arguments.push("--json");
        let shown = json(&stage, shell, &arguments);
        assert_eq!(shown["chunks"].as_array().unwrap().len(), chunks.len());
        let whole = shown["compared"].as_array().unwrap();
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0]["location"]["span"][0], 0);

        for (arguments, says) in [
            (
                &["chunk", "blog", "--key", "99"][..],
                "no row with the key 99",
            ),
            (&["chunk", "blog", "--file", "/nowhere"], "reading /nowhere"),
            (&["chunk", "blog", "--key", "x"], "invalid input syntax"),
            (
                &compare("ai.chunking_sentence(0)"),
                "--compare: chunk_size must be > 0",
            ),
            (&compare("ai.nothing()"), "ai.nothing() does not exist"),
        ] {
            let (code, said) = command(&stage, shell, arguments);
            assert_eq!(code, Some(1), "{arguments:?}");
            assert!(said.contains(says), "{arguments:?}: {said}");
        }
    });
}

#[test]
fn estimate_of_all_rows_is_what_the_worker_does() {
    on_both(|shell| {
        let mut stage = with_rows(130);
        stage.run("insert into blog values (1000, 'empty', ''), (1001, 'null', null)");
        let all = json(
            &stage,
            shell,
            &["estimate", "blog", "--all", "--price", "2", "--json"],
        );
        let sample = json(
            &stage,
            shell,
            &["estimate", "blog", "--sample", "40", "--json"],
        );
        assert_eq!(stage.stub.requests().len(), 0, "no provider is asked");
        stage.once(shell);
        assert_eq!(
            all["chunks"]["estimate"],
            stage.number("select count(*) from blog_store") as f64
        );
        assert_eq!(all["chunks"]["error"], 0.0);
        assert_eq!(all["requests"], stage.stub.requests().len() as f64);
        assert_eq!(
            (&all["rows"], &all["rows_with_text"]),
            (&132.into(), &130.into())
        );
        let tokens = all["tokens"]["estimate"].as_f64().unwrap();
        assert_eq!(all["cost"]["estimate"], tokens * 2.0 / 1e6);
        assert_eq!(sample["rows_looked_at"], 40);
        // Every row has two chunks: no sample can be wrong about that.
        assert_eq!(sample["chunks"]["estimate"], 260.0);
        let (code, said) = command(&stage, shell, &["estimate", "blog", "--price", "-1"]);
        assert_eq!(code, Some(2), "{said}");
        // A prompt is sent with each chunk, and costs.
        stage.run(
            r#"update ai.vectorizer set config = jsonb_set(config, '{embedding,document_prompt}', '"four more words: "')"#,
        );
        let prompted = json(&stage, shell, &["estimate", "blog", "--all", "--json"]);
        let more = prompted["tokens"]["estimate"].as_f64().unwrap() - tokens;
        assert!(more >= 4.0 * 260.0, "{more}");
    });
}

#[test]
fn failed_rows_are_shown_and_put_back() {
    on_both(|shell| {
        let mut stage = Stage::new();
        stage.run("create table pairs (a int, b text, body text, primary key (a, b))");
        stage.run(&format!(
            "select ai.create_vectorizer('pairs', name => 'pairs', loading => ai.loading_column('body', 0),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => ai.destination_table(target_table => 'pairs_store'))"
        ));
        assert!(good(&stage, shell, &["errors"]).contains("no failed rows"));
        stage.run("insert into pairs select n, 'x\"' || n, 'good' from generate_series(1, 30) n");
        stage.run("update pairs set body = 'poison' where a <= 3");
        stage.stub.refuse_inputs_with("poison");
        stage.once(shell);

        let shown = good(&stage, shell, &["errors", "pairs", "--rows"]);
        assert!(shown.contains(r#"["2","x\"2"]"#), "{shown}");
        let groups = good(&stage, shell, &["errors", "pairs"]);
        assert!(
            groups.starts_with("pairs: 3 failed, embedding, 20"),
            "{groups}"
        );
        assert!(groups.contains(r#"such as ["1","x\"1"]"#), "{groups}");
        assert!(
            groups.contains("pairs: 3 recorded, embedding provider failed"),
            "{groups}"
        );
        assert!(
            groups.lines().all(|line| line.chars().count() <= 80),
            "{groups}"
        );
        let errors = json(&stage, shell, &["errors", "--json"]);
        let failed = errors["failed_rows"].as_array().unwrap();
        let keys: BTreeSet<&str> = failed
            .iter()
            .map(|row| row["key"].as_str().unwrap())
            .collect();
        assert_eq!(keys.len(), 3);
        assert!(
            failed
                .iter()
                .all(|row| row["step"] == "embedding" && row["vectorizer"] == "pairs")
        );
        assert_eq!(errors["errors"].as_array().unwrap().len(), 3);
        assert_eq!(errors["failed_groups"][0]["rows"], 3);
        assert_eq!(errors["error_groups"][0]["errors"], 3);
        assert_eq!(errors["errors"][0]["details"]["provider"], "ollama");

        stage.stub.refuse_no_inputs();
        let one = good(
            &stage,
            shell,
            &["retry", "pairs", "--key", r#"["2", "x\"2"]"#],
        );
        assert!(one.contains("1 rows back in the queue"), "{one}");
        assert_eq!(stage.number("select a::bigint from ai._vectorizer_q_1"), 2);
        let (code, said) = command(&stage, shell, &["retry", "pairs", "--key", "2"]);
        assert_eq!(code, Some(1));
        assert!(said.contains("a JSON array of the columns a, b"), "{said}");
        let (code, _) = command(&stage, shell, &["retry", "pairs", "--key", r#"[99, "x"]"#]);
        assert_eq!(code, Some(1));
        let rest = good(&stage, shell, &["retry"]);
        assert!(rest.contains("2 rows back in the queue"), "{rest}");
        stage.once(shell);
        assert_eq!(stage.number("select count(*) from pairs_store"), 30);
        assert_eq!(
            stage.number("select count(*) from ai._vectorizer_q_failed_1"),
            0
        );
    });
}

#[test]
fn a_thousand_failed_rows_and_more_go_back() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 2345) n");
    stage.run(
        "with gone as (delete from ai._vectorizer_q_1 returning id)
         insert into ai._vectorizer_q_failed_1 (id, failure_step) select id, 'embedding' from gone",
    );
    let said = good(&stage, "worker", &["retry", "blog"]);
    assert!(said.contains("2,345 rows back in the queue"), "{said}");
    stage.once("worker");
    stage.assert_true();
}

#[test]
fn doctor_finds_what_is_wrong_and_says_how_to_mend_it() {
    on_both(|shell| {
        let mut stage = with_rows(1);
        let healthy = good(&stage, shell, &["doctor"]);
        assert!(!healthy.contains("WRONG"), "{healthy}");
        assert!(healthy.contains("ollama at "), "{healthy}");

        let diagnosed = |stage: &Stage, arguments: &[&str], says: &[&str]| {
            let (code, said) = command(stage, shell, arguments);
            assert_eq!(code, Some(1), "{said}");
            for text in says {
                assert!(said.contains(text), "{text:?} in: {said}");
            }
        };
        stage.stub.script(Behaviour::WrongDimensions(5));
        diagnosed(&stage, &["doctor"], &["5 dimensions", "dimensions => 5"]);
        stage.stub.go_down();
        diagnosed(&stage, &["doctor"], &["does not answer"]);
        assert!(!good(&stage, shell, &["doctor", "--offline"]).contains("WRONG"));

        stage.run("alter table blog disable trigger all");
        diagnosed(
            &stage,
            &["doctor", "--offline"],
            &[
                "triggers on public.blog",
                "alter table public.blog enable trigger _vectorizer_src_trg_1;",
                &format!("{shell} resync blog"),
            ],
        );
        stage
            .run("alter table blog enable trigger all; alter table blog_store rename to elsewhere");
        diagnosed(&stage, &["doctor", "--offline"], &["its store is gone"]);
        stage.run("alter table elsewhere rename to blog_store; alter table blog rename to other");
        diagnosed(
            &stage,
            &["doctor", "--offline"],
            &["source table public.blog is gone"],
        );
        stage.run("alter table other rename to blog; create table ai._vectorizer_q_77 (id int)");
        let orphan = good(&stage, shell, &["doctor", "--offline"]);
        assert!(
            orphan.contains("drop table ai._vectorizer_q_77"),
            "{orphan}"
        );

        let findings = json(&stage, shell, &["doctor", "--offline", "--json"]);
        assert!(
            findings
                .as_array()
                .unwrap()
                .iter()
                .any(|finding| finding["level"] == "note")
        );
    });
}
