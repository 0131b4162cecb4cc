//! The chunkers of pgai-rs against the crate that it used, on random texts and settings.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use pgai_core::text::Chunker;
use proptest::prelude::*;
use serde_json::{Value, json};

fn texts() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a",
        "ab",
        "word",
        "é",
        "日本",
        "👩‍👧",
        "sentence",
        "with some words",
        ".",
        ". ",
        "? ",
        "! ",
        ".\n",
        "...",
        "... ",
        "…",
        "… ",
        ",",
        ", ",
        "; ",
        ":",
        ": ",
        " -- ",
        "--",
        "(",
        ") ",
        "]",
        "{ ",
        "\"",
        "' ",
        "@",
        "# ",
        "|",
        " / ",
        "/",
        "\\",
        " & ",
        "-",
        " ",
        "  ",
        "    ",
        "\n",
        "\n\n",
        "\n\n\n",
        "\t",
        "\t\t",
        "\u{a0}",
        "\u{3000}",
    ]);
    prop_oneof![
        8 => prop::collection::vec(words, 0..120).prop_map(|words| words.concat()),
        1 => any::<String>(),
        1 => "[a-z]{0,200}",
    ]
}

/// Sizes that julienne accepts: it wants the overlap to be smaller.
fn sizes() -> impl Strategy<Value = (usize, usize)> {
    (1..60_usize).prop_flat_map(|size| (Just(size), 0..size))
}

fn chunks(config: &Value, text: &str) -> Vec<String> {
    Chunker::parse(config).unwrap().chunk(text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn sentences_are_packed_in_the_same_way(
        text in texts(),
        (size, overlap) in sizes(),
        delimiters in prop::sample::subsequence(vec![". ", "! ", "? ", "\n", ".", "ab", "\n\n"], 1..=7),
        characters_min in 0..30_usize,
        sentences_min in 1..4_usize,
    ) {
        let theirs = julienne::SentenceChunker::builder()
            .chunk_size(size)
            .chunk_overlap(overlap)
            .delimiters(delimiters.clone())
            .min_characters_per_sentence(characters_min)
            .min_sentences_per_chunk(sentences_min)
            .build()
            .unwrap();
        let config = json!({
            "implementation": "sentence_chunker", "chunk_size": size, "chunk_overlap": overlap,
            "delimiters": delimiters, "min_characters_per_sentence": characters_min,
            "min_sentences_per_chunk": sentences_min,
        });
        prop_assert_eq!(chunks(&config, &text), theirs.split_text(&text));
    }

    #[test]
    fn semchunk_splits_in_the_same_way(
        text in texts(),
        (size, overlap) in sizes(),
        is_strict in any::<bool>(),
    ) {
        let theirs = julienne::SemchunkSplitter::builder()
            .chunk_size(size)
            .chunk_overlap(overlap)
            .strict_mode(is_strict)
            .build()
            .unwrap();
        let config = json!({
            "implementation": "semchunk", "chunk_size": size, "chunk_overlap": overlap,
            "memoize": true, "strict_mode": is_strict,
        });
        prop_assert_eq!(chunks(&config, &text), theirs.split_text(&text));
    }
}

/// What pgai-rs wrote before its functions had all settings.
#[test]
fn a_config_with_sizes_alone_has_the_defaults() {
    let text = include_str!("../../README.md");
    let config =
        json!({"implementation": "sentence_chunker", "chunk_size": 200, "chunk_overlap": 50});
    let theirs = julienne::SentenceChunker::new(200, 50).split_text(text);
    assert_eq!(chunks(&config, text), theirs);
    let config = json!({"implementation": "semchunk", "chunk_size": 200, "chunk_overlap": 50});
    let theirs = julienne::SemchunkSplitter::new(200, 50).split_text(text);
    assert_eq!(chunks(&config, text), theirs);
}
