//! Texts a second: `cargo bench -p embed-local`.
//!
//! Over the Cranfield abstracts if they lie beside the checkout (transformers and torch embed 20.7 of
//! them a second on two cores), else over made-up texts of the same lengths.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::time::Instant;

use embed_local::Model;

const ROUNDS: usize = 3;
/// What transformers and torch do on two cores of the same class (float32).
const REFERENCE: f64 = 20.7;

fn main() -> anyhow::Result<()> {
    let directory = common::model()?;
    let began = Instant::now();
    let model = Model::open(&directory)?;
    println!("loaded in {:.0?}", began.elapsed());
    let documents = cranfield().unwrap_or_else(made_up);
    let texts: Vec<&str> = documents.iter().map(String::as_str).collect();
    let mut best: f64 = 0.0;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let embedded = model.embed(&texts)?;
        let rate = texts.len() as f64 / began.elapsed().as_secs_f64();
        println!(
            "{} texts ({} of them cut off): {rate:.1} a second",
            texts.len(),
            embedded.truncated
        );
        best = best.max(rate);
    }
    println!(
        "best: {best:.1} texts a second, {:.2} times the reference",
        best / REFERENCE
    );
    Ok(())
}

fn cranfield() -> Option<Vec<String>> {
    let path = "../../shared/data/cranfield/docs.jsonl";
    let lines = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()?;
    let text = |line: &str| {
        let document: serde_json::Value = serde_json::from_str(line).ok()?;
        let field = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        Some(field("title") + "\n" + &field("body"))
    };
    lines.lines().map(text).collect()
}

/// Cranfield's abstracts have 190 tokens on average.
fn made_up() -> Vec<String> {
    let words = [
        "flow", "pressure", "of the", "wing", "boundary", "layer", "is", "measured",
    ];
    let text = |number: usize| {
        let words = (0..60 + number % 220).map(|at| words[(at * 7 + number) % words.len()]);
        words.collect::<Vec<_>>().join(" ")
    };
    (0..1400).map(text).collect()
}
