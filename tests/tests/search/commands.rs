//! `worker search --hybrid`, `--where`, `--explain`, and `worker evaluate`.

use std::fs;

use serde_json::Value;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

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

fn embedded() -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table docs (id int primary key, lang text, body text);
         insert into docs values (1, 'en', 'the moon pulls the sea'), (2, 'en', 'knead the dough'), (3, 'de', 'sea ships');
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none())"
    ));
    stage.once("worker");
    stage
}

#[test]
fn search_has_words_conditions_and_reasons() {
    for shell in ["worker", "worker-blocking"] {
        let mut stage = embedded();
        let (code, said) = command(&stage, shell, &["search", "docs", "sea", "--hybrid"]);
        assert_eq!(code, Some(1));
        assert!(said.contains("no text index"), "{said}");
        stage.run("select ai.enable_hybrid('docs')");
        let said = good(
            &stage,
            shell,
            &[
                "search",
                "docs",
                "knead the dough",
                "--hybrid",
                "--explain",
                "-k",
                "2",
            ],
        );
        let first = said.lines().next().unwrap();
        assert!(
            first.starts_with("0.0328  2  [vector 1. (0.0000), words 1. ("),
            "{said}"
        );
        assert!(
            said.lines()
                .last()
                .unwrap()
                .starts_with("the database took "),
            "{said}"
        );
        let said = good(
            &stage,
            shell,
            &["search", "docs", "sea", "--where", "lang = 'de'", "--json"],
        );
        let found: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(found.as_array().unwrap().len(), 1);
        assert_eq!(found[0]["key"][0], "3");
        let said = good(
            &stage,
            shell,
            &["search", "docs", "sea", "--hybrid", "--json", "--explain"],
        );
        let found: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(
            found[0]["text_rank"].as_u64().is_some(),
            found[0]["text_score"].as_f64().is_some()
        );
        assert!(
            found[0]["score"].as_f64().unwrap() > 0.0
                && found[0]["took_ms"].as_f64().unwrap() > 0.0
        );
        let said = good(
            &stage,
            shell,
            &["search", "docs", "sea", "--where", "lang = 'it''s'"],
        );
        assert_eq!(said, "nothing is embedded of the rows where lang = 'it''s'");
        let (code, said) = command(
            &stage,
            shell,
            &["search", "docs", "sea", "--where", "none = 1"],
        );
        assert_eq!(code, Some(1));
        assert!(said.contains("none"), "{said}");
        let words = "'; drop table docs; -- \" \\ $$ \u{1F600}";
        good(&stage, shell, &["search", "docs", words, "--hybrid"]);
        assert_eq!(stage.number("select count(*) from docs"), 3);
    }
}

#[test]
fn evaluate_compares_the_ways_to_search() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let queries = write(
        "queries.jsonl",
        "{\"id\": 1, \"text\": \"ships\"}\n{\"id\": 2, \"text\": \"knead the dough\"}\n",
    );
    let qrels = write("qrels.tsv", "query_id\tdoc_id\tgrade\n1\t3\t1\n2\t2\t2\n");
    for shell in ["worker", "worker-blocking"] {
        let mut stage = embedded();
        let arguments = ["evaluate", "docs", "--queries", &queries, "--qrels", &qrels];
        let said = good(&stage, shell, &arguments);
        assert!(
            said.contains("vector  ")
                && said.contains("without words: select ai.enable_hybrid('docs')"),
            "{said}"
        );
        stage.run("select ai.enable_hybrid('docs')");
        let said = good(&stage, shell, &arguments);
        let lines: Vec<Vec<&str>> = said
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], ["search", "nDCG@10", "recall@10", "MRR@10"]);
        assert_eq!(lines[2], ["text", "1.0000", "1.0000", "1.0000"]);
        assert_eq!(
            (lines[1][0], lines[3][0], lines[4][0]),
            ("vector", "hybrid", "2")
        );
        let more = [
            "--json",
            "-k",
            "1",
            "--text-weight",
            "0",
            "--text-weight",
            "2",
            "--where",
            "lang = 'en'",
        ];
        let said = good(&stage, shell, &[&arguments[..], &more].concat());
        let json: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&json["k"], &json["questions"]), (&1.into(), &2.into()));
        let searches = json["searches"].as_array().unwrap();
        assert_eq!(searches[3]["search"], "hybrid, text weight 2");
        assert_eq!(searches[1]["recall"], 0.5);
        let (code, said) = command(
            &stage,
            shell,
            &[
                "evaluate",
                "docs",
                "--queries",
                "/nowhere",
                "--qrels",
                &qrels,
            ],
        );
        assert_eq!(code, Some(1), "{said}");
    }
}
