//! A tiny cross-encoder with made-up weights, and directories that are none.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::Path;

use embed_local::CrossEncoder;
use serde_json::Value;

fn tests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

#[test]
fn a_pair_has_the_score_of_the_definition() {
    let model = CrossEncoder::open(&tests().join("cross")).unwrap();
    // What `tests/tiny.py` computed.
    let cases = fs::read(tests().join("cross.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    assert_eq!(cases.len(), 4);
    for case in &cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let scores = model
            .scores(text("question"), &[text("text"), "red"])
            .unwrap();
        let wanted = case["score"].as_f64().unwrap();
        assert!(
            (f64::from(scores[0]) - wanted).abs() < 1e-5,
            "{case}: {scores:?}"
        );
        assert_eq!(scores.len(), 2);
    }
    assert_eq!(model.scores("red", &[]).unwrap(), Vec::<f32>::new());
}

#[test]
fn what_is_no_reranker_is_refused() {
    let refused = |directory: &Path| CrossEncoder::open(directory).unwrap_err().to_string();
    // An encoder alone has nothing that gives a score.
    let refusal = refused(&tests().join("tiny"));
    assert!(refusal.contains("bert.pooler.dense"), "{refusal}");
    assert!(refused(&tests().join("none")).contains("no such directory"));
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(tests().join("cross").join(file), copy.path().join(file)).unwrap();
    }
    let path = copy.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["id2label"]["1"] = "LABEL_1".into();
    fs::write(&path, config.to_string()).unwrap();
    let refusal = refused(copy.path());
    assert!(refusal.contains("it has 2 labels, not one"), "{refusal}");
}
