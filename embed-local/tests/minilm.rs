//! A real model against vectors that transformers and torch computed.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::fs;
use std::path::Path;

use embed_local::Model;
use serde_json::Value;
use tests::minilm;

fn open() -> Model {
    Model::open(&minilm::directory().unwrap()).unwrap()
}

fn items(file: &str) -> Option<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let json: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).unwrap();
    Some(json["items"].as_array().unwrap().clone())
}

fn numbers(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|x| x.as_f64().unwrap() as f32).collect()
}

fn product(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    product(left, right) / (product(left, left) * product(right, right)).sqrt()
}

#[test]
fn vectors_begin_and_end_as_the_reference_does() {
    let model = open();
    assert_eq!((model.dimensions(), model.max_tokens()), (384, 256));
    assert_eq!(model.query_prompt(), "");
    for item in items("tests/reference.json").unwrap() {
        let text = item["text"].as_str().unwrap();
        let tokens = model.count_tokens(text).unwrap().min(model.max_tokens());
        assert_eq!(tokens as u64, item["tokens"].as_u64().unwrap(), "{text}");
        let vector = model.embed(&[text]).unwrap().vectors.remove(0);
        assert!((product(&vector, &vector) - 1.0).abs() < 1e-5, "{text}");
        let (begins, ends) = (numbers(&item["begins"]), numbers(&item["ends"]));
        let ours = vector.iter().take(begins.len());
        let ours = ours.chain(&vector[vector.len() - ends.len()..]);
        for (ours, expect) in ours.zip(begins.iter().chain(&ends)) {
            assert!((ours - expect).abs() < 2e-5, "{text}: {ours}, not {expect}");
        }
    }
}

#[test]
fn vectors_agree_with_the_shared_reference() {
    let Some(items) = items("../../shared/data/minilm_reference.json") else {
        return;
    };
    let model = open();
    let texts: Vec<&str> = items
        .iter()
        .map(|item| item["text"].as_str().unwrap())
        .collect();
    let vectors = model.embed(&texts).unwrap().vectors;
    assert_eq!(vectors.len(), items.len());
    for ((text, vector), item) in texts.iter().zip(&vectors).zip(&items) {
        let tokens = model.count_tokens(text).unwrap().min(model.max_tokens());
        assert_eq!(tokens as u64, item["tokens"].as_u64().unwrap(), "{text}");
        let cosine = cosine(vector, &numbers(&item["embedding"]));
        assert!(cosine >= 0.999_999, "{text}: {cosine}");
    }
}

#[test]
fn neighbours_change_nothing_in_a_vector() {
    let model = open();
    let long = "every word of a long text counts ".repeat(30);
    let texts: Vec<String> = (0..60)
        .map(|length| long[..length * length / 4].to_owned())
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = model.embed(&texts).unwrap().vectors;
    for (text, together) in texts.iter().zip(together) {
        let alone = model.embed(&[text]).unwrap().vectors.remove(0);
        let furthest = alone.iter().zip(&together).map(|(a, b)| (a - b).abs());
        assert!(furthest.fold(0.0, f32::max) < 1e-6, "{text:?}");
    }
}

#[test]
fn what_is_too_long_is_cut_off() {
    let model = open();
    let (enough, more) = ("word ".repeat(254), "word ".repeat(5000));
    assert_eq!(model.count_tokens(&enough).unwrap(), 256);
    assert_eq!(model.count_tokens(&more).unwrap(), 5002);
    let embedded = model.embed(&[&enough, &more]).unwrap();
    assert_eq!(embedded.truncated, 1);
    assert_eq!(embedded.vectors[0], embedded.vectors[1]);
}

#[test]
fn an_empty_text_has_a_vector_and_no_texts_have_none() {
    let model = open();
    let vectors = model.embed(&["", " \n"]).unwrap().vectors;
    assert_eq!(model.count_tokens("").unwrap(), 2);
    assert_eq!(vectors[0], vectors[1]);
    assert!(model.embed(&[]).unwrap().vectors.is_empty());
}

#[test]
fn threads_share_a_model() {
    let model = open();
    let expect = model.embed(&["one", "two"]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(model.embed(&["one", "two"]).unwrap(), expect));
        }
    });
}
