//! Our chunkers against the real LangChain, on fresh random texts and settings.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::process::Command;

use pgai_core::text::{ChunkError, Chunker};
use serde_json::{Value, json};
use tests::python;

const PAIRS: &str = "10000";

#[test]
fn ten_thousand_random_pairs_give_the_same_chunks() {
    let python = python::with(&["langchain-text-splitters==0.3.11"]).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/text/make.py");
    // Regular expressions differ between versions of Python: the goldens are of 3.11.
    let version = Command::new(&python).arg("--version").output().unwrap();
    let knows_our_regexes = String::from_utf8_lossy(&version.stdout).starts_with("Python 3.11");
    let seed = "20261123";
    let output = Command::new(&python)
        .args([script, "live", seed, PAIRS])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut compared = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let is_regex = case["config"]["is_separator_regex"] == true;
        if is_regex && !knows_our_regexes {
            continue;
        }
        let text = case["text"].as_str().unwrap();
        let ours = Chunker::parse(&case["config"]).map(|chunker| chunker.chunk(text));
        let agrees = match &ours {
            // Python 3.11 refuses some flags that are accepted here.
            Ok(_) if case.get("flags_error").is_some() => true,
            Err(_) => case.get("config_error").is_some(),
            Ok(Err(ChunkError::CaptureGroup(_))) => case.get("row_error").is_some(),
            Ok(Err(
                ChunkError::NeedsTokenizer
                | ChunkError::NeedsVectors(_)
                | ChunkError::TooManyParts(_)
                | ChunkError::TooManySteps(_)
                | ChunkError::TooMuch(_),
            )) => false,
            Ok(Ok(chunks)) => json!(chunks) == case["chunks"],
        };
        assert!(agrees, "{case}\n  is {ours:?}");
        compared += 1;
    }
    assert!(compared > 4_000, "{compared} pairs");
}
