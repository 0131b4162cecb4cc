//! Texts a second: `cargo bench -p embed-local`.
//!
//! Over the Cranfield abstracts if they lie beside the checkout (transformers and torch embed 20.7 of
//! them a second on two cores), else over made-up texts of the same lengths.

#![allow(clippy::print_stdout, reason = "a bench tells its result")]

use std::time::Instant;

use embed_local::Model;
use tests::cranfield::Doc;
use tests::minilm;

const ROUNDS: usize = 3;
/// What transformers and torch do on two cores of the same class (float32).
const REFERENCE: f64 = 20.7;

fn main() -> anyhow::Result<()> {
    let directory = minilm::directory()?;
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
    let documents = tests::cranfield::load()?;
    let text = |document: &Doc| format!("{}\n{}", document.title, document.body);
    Some(documents.iter().map(text).collect())
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
