//! Score, seconds and megabytes of `worker parse` for each file of a folder, beside pymupdf4llm (what
//! Python's pgai uses) for PDFs: `cargo bench -p tests --bench documents`.
//!
//! The folder is in `PGAI_BENCH_DOCUMENTS`. It has files with the expected Markdown beside them
//! (`a.pdf`, `a.pdf.md`) in folders, and the measure, `score.py`, which prints a line for each file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use shell_common::parsing::{Hints, Options, Parsers};
use tests::process::worker_path;
use tests::python;

const THEIRS: &str =
    "import sys, pymupdf4llm; sys.stdout.write(pymupdf4llm.to_markdown(sys.argv[1]))";

#[expect(clippy::print_stdout, reason = "a bench prints what it measures")]
fn main() {
    let folder = std::env::var_os("PGAI_BENCH_DOCUMENTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/documents"),
        PathBuf::from,
    );
    let measure = folder.join("score.py");
    if !measure.exists() {
        println!("{} is missing: set PGAI_BENCH_DOCUMENTS", measure.display());
        return;
    }
    let python = python::with(&["rapidfuzz==3.14.6", "pymupdf4llm==0.0.24"])
        .expect("Python with rapidfuzz and pymupdf4llm");
    let worker = worker_path("worker");
    let ours = scores(
        &python,
        &measure,
        &format!("'{}' parse {{}}", worker.display()),
        &folder,
    );
    let command = format!("'{}' -c '{THEIRS}' {{}}", python.display());
    let theirs = scores(&python, &measure, &command, &folder.join("pdf"));
    println!(
        "{:<50} {:>6} {:>8} {:>6}   {:>11} {:>8}",
        "", "score", "seconds", "MB", "pymupdf4llm", "seconds"
    );
    for (name, score) in &ours {
        let (seconds, megabytes) = cost(&worker, &folder.join(name));
        let beside = theirs.get(name).map_or_else(String::new, |score| {
            format!("   {:>11.3} {:>8.2}", score.score, score.seconds)
        });
        println!(
            "{name:<50} {:>6.3} {seconds:>8.3} {megabytes:>6}{beside}",
            score.score
        );
    }
    mean("all", ours.values());
    mean(
        "PDF",
        ours.iter()
            .filter(|(name, _)| theirs.contains_key(*name))
            .map(|(_, score)| score),
    );
    mean("PDF, pymupdf4llm", theirs.values());
}

struct Score {
    score: f64,
    /// With the start of the process.
    seconds: f64,
}

/// What the measure prints for each file.
fn scores(python: &Path, measure: &Path, command: &str, folder: &Path) -> BTreeMap<String, Score> {
    let output = Command::new(python)
        .arg(measure)
        .arg(command)
        .arg(folder)
        .output()
        .expect("Python runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut scores = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse().ok()
        };
        // The means at the end have a count, and no slash.
        if let (Some(name), Some(score), [.., seconds, "s"]) = (
            words.first().filter(|name| name.contains('/')),
            after("score"),
            words.as_slice(),
        ) {
            let seconds = seconds.parse().unwrap_or(f64::NAN);
            scores.insert((*name).to_owned(), Score { score, seconds });
        }
    }
    assert!(
        !scores.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    scores
}

/// The seconds of a file in a process that has started, and the most memory of the process.
fn cost(worker: &Path, file: &Path) -> (f64, u64) {
    let parsers = Parsers::new(Options {
        program: worker.to_owned(),
        ..Options::default()
    });
    let text = Hints {
        name: Some("a.txt"),
        content_type: None,
    };
    // Starts the process.
    let _ = parsers.parse(b"x", &text);
    let bytes = std::fs::read(file).expect("reading the file");
    let began = Instant::now();
    let _ = parsers.parse(
        &bytes,
        &Hints {
            name: file.to_str(),
            content_type: None,
        },
    );
    (began.elapsed().as_secs_f64(), peak())
}

/// The most memory of the child that parses, in megabytes.
fn peak() -> u64 {
    let own = format!("PPid:\t{}\n", std::process::id());
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let status = processes
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok())
        .find(|status| status.contains(&own) && status.contains("Seccomp:\t2"));
    let kilobytes = status.as_deref().and_then(|status| {
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    });
    kilobytes.map_or(0, |kilobytes: u64| kilobytes >> 10)
}

#[expect(clippy::print_stdout, reason = "a bench prints what it measures")]
fn mean<'a>(name: &str, scores: impl Iterator<Item = &'a Score> + Clone) {
    let count = scores.clone().count().max(1);
    #[expect(clippy::cast_precision_loss, reason = "there are few files")]
    let mean = scores.map(|score| score.score).sum::<f64>() / count as f64;
    println!("{name:<50} {mean:>6.3}   ({count} files)");
}
