//! What README.md shows is what a reader gets.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::process::Command;

use tests::postgres::Server;
use tests::process::worker_path;
use tests::stub::Stub;

const README: &str = include_str!("../../README.md");

/// The fenced block that begins with these words.
fn block(begin: &str) -> &'static str {
    // Between the fences, every second part is a block, with the name of its language before it.
    let blocks = README.split("\n```").skip(1).step_by(2);
    let mut texts = blocks.filter_map(|block| Some(block.split_once('\n')?.1));
    let found = texts.find(|text| text.starts_with(begin));
    found.unwrap_or_else(|| panic!("README.md has no block that begins with {begin:?}"))
}

/// Whether two lines say the same: times are others, and distances almost the same, on another
/// processor.
fn say_the_same(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (words(shown), words(printed));
    shown.len() == printed.len()
        && shown.iter().zip(&printed).all(|(shown, printed)| {
            match (shown.parse(), printed.parse()) {
                (Ok::<f64, _>(shown), Ok::<f64, _>(printed)) => (shown - printed).abs() < 0.01,
                _ => shown == printed,
            }
        })
}

fn words(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let is_time = |at: usize| {
        let is_moment = words[at].len() == 8 && words[at].matches(':').count() == 2;
        let is_day = words[at].len() == 10 && words[at].matches('-').count() == 2;
        // How many requests there are depends on how fast the model is.
        let is_measured = matches!(words.get(at + 1), Some(&("ms" | "requests," | "tokens,")));
        is_moment || is_day || is_measured
    };
    let words = words.iter().enumerate();
    words
        .map(|(at, word)| if is_time(at) { "TIME" } else { word }.to_owned())
        .collect()
}

#[test]
fn the_demonstration_prints_what_the_readme_shows() {
    let output = Command::new(env!("CARGO_BIN_EXE_demonstration"))
        .arg(worker_path("worker"))
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{complaints}");
    let shown: Vec<&str> = block("== A table").lines().collect();
    let printed: Vec<&str> = printed.lines().collect();
    let begin = printed.iter().position(|line| *line == shown[0]).unwrap();
    for (at, line) in shown.iter().enumerate() {
        let other = printed.get(begin + at).copied().unwrap_or_default();
        assert!(
            say_the_same(line, other),
            "README.md shows {line:?}, and this was printed: {other:?}"
        );
    }
}

/// The quick start, typed as it stands, but for the server, the build and the directory.
#[test]
fn the_quick_start_works_as_it_is_typed() {
    let database = Server::shared().database();
    let stub = Stub::start_with(768);
    stub.add_model("embeddinggemma:300m", 768);
    let url = stub.url();
    let run = |command: &str| {
        let command = command.split('#').next().unwrap_or_default().trim();
        let (program, arguments) = command.split_once(' ').unwrap_or((command, ""));
        assert_eq!(program, "target/release/worker", "{command}");
        let arguments: Vec<&str> = match arguments.split_once('"') {
            Some((before, quoted)) => before
                .split_whitespace()
                .chain([quoted.trim_end_matches('"')])
                .collect(),
            None => arguments.split_whitespace().collect(),
        };
        let output = Command::new(worker_path("worker"))
            .args(arguments)
            .env("DB_URL", database.url())
            .env("OLLAMA_HOST", &url)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {said}");
        said
    };
    let build = block("cargo build --release -p worker").lines();
    run(build
        .into_iter()
        .find(|line| line.contains("install"))
        .unwrap());
    let tables = block("create table blog");
    database.client().batch_execute(tables).unwrap();
    let typed: Vec<&str> = block("target/release/worker --once").lines().collect();
    run(typed[0]);
    let found = run(typed[1]);
    assert!(found.contains("Knead the dough"), "{found}");
    let count = database
        .client()
        .query_one("select count(*) from blog_embeddings", &[]);
    assert_eq!(count.unwrap().get::<_, i64>(0), 2);
}
