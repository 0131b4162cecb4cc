//! `worker export` and `worker import` with Parquet files: nothing is lost on the way, and nothing is paid twice.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;

use tests::process::Process;
use tests::stage::{PATIENCE, Stage};

const ROWS: &str = "insert into blog
    select n, 'title', rpad('one ''\"' || n, 30, ',') || E'\n\n' || rpad('two é' || n, 30, '.')
    from generate_series(1, 2000) n";

/// Runs this build of `worker`, and returns what it wrote.
fn worker(stage: &Stage, arguments: &[&str]) -> (bool, String) {
    let ollama = stage.stub.url();
    let environment = [
        ("DB_URL", stage.worker_url.as_str()),
        ("OLLAMA_HOST", ollama.as_str()),
    ];
    let arguments = [&["--no-env-file"], arguments].concat();
    let mut process = Process::spawn(env!("CARGO_BIN_EXE_worker"), &arguments, &environment);
    let is_good = process.wait(PATIENCE).success();
    (is_good, process.lines().join("\n"))
}

#[track_caller]
fn succeeds(stage: &Stage, arguments: &[&str]) -> String {
    let (is_good, said) = worker(stage, arguments);
    assert!(is_good, "{said}");
    said
}

fn blog() -> Stage {
    let mut stage = Stage::with_blog();
    stage.run(ROWS);
    stage
}

#[test]
fn a_store_comes_through_a_parquet_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (parquet, csv, again) = (path("blog.parquet"), path("blog.csv"), path("again.csv"));
    let production = blog();
    succeeds(&production, &["--once"]);
    let said = succeeds(&production, &["export", "blog", "--to", &parquet]);
    assert_eq!(said, "4,000 chunks");
    succeeds(&production, &["export", "blog", "--to", &csv]);
    assert!(fs::read(&parquet).unwrap().starts_with(b"PAR1"));

    let mut copy = blog();
    copy.run("truncate ai._vectorizer_q_1");
    let said = succeeds(&copy, &["import", "blog", "--from", &parquet]);
    assert!(
        said.contains("4,000 chunks of 2,000 rows imported"),
        "{said}"
    );
    succeeds(&copy, &["--once"]);
    copy.assert_true();
    assert_eq!(copy.stub.inputs(), Vec::<String>::new());
    succeeds(&copy, &["export", "blog", "--to", &again]);
    assert_eq!(fs::read(&csv).unwrap(), fs::read(&again).unwrap());
}

#[test]
fn what_is_no_parquet_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("blog.parquet");
    let path = path.to_str().unwrap();
    let stage = blog();
    fs::write(path, "id,chunk,embedding").unwrap();
    let (is_good, said) = worker(&stage, &["import", "blog", "--from", path]);
    assert!(!is_good);
    assert!(
        said.contains("blog.parquet") && said.contains("Parquet"),
        "{said}"
    );
    fs::write(path, b"PAR1 and nothing else PAR1").unwrap();
    let (is_good, said) = worker(&stage, &["import", "blog", "--from", path]);
    assert!(!is_good && said.contains("blog.parquet"), "{said}");
}

/// `zstd.parquet` is one row of Polars 2.1: `write_parquet(…, compression="zstd")`.
#[test]
fn another_compression_is_refused_with_what_to_do() {
    let stage = blog();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/zstd.parquet");
    let (is_good, said) = worker(&stage, &["import", "blog", "--from", path]);
    assert!(!is_good);
    for part in ["zstd.parquet", "ZSTD", "write the file with Snappy"] {
        assert!(said.contains(part), "{part:?} in: {said}");
    }
}
