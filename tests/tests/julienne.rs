//! The chunkers of pgai-rs against the crate that it used, on random texts and settings.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pgai_core::text::{ChunkError, Chunker, Steps, Vectors};
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

/// A vector that depends on the text; of white space it is zero, because nobody is asked for that.
fn vector(text: &str) -> Vec<f32> {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let is_blank = text.trim().is_empty();
    let bytes = hasher.finish().to_le_bytes();
    let numbers = bytes.chunks(2).map(|two| match is_blank {
        true => 0.0,
        false => f32::from(two[0]) - f32::from(two[1]) / 2.0,
    });
    numbers.collect()
}

/// The chunks of a text, with the vectors that the chunker asks for.
fn chunks_by_meaning(config: &Value, text: &str) -> Vec<String> {
    let chunker = Chunker::parse(config).unwrap();
    let mut known = BTreeMap::new();
    for _ in 0..3 {
        let vectors = Vectors::Known(known.clone());
        match chunker.chunk_within(text, &vectors, usize::MAX, &mut Steps::for_text(text)) {
            Ok(chunks) => {
                for chunk in &chunks {
                    assert_eq!(text[chunk.at.clone().unwrap()], chunk.text);
                }
                return chunks.into_iter().map(|chunk| chunk.text).collect();
            }
            Err(ChunkError::NeedsVectors(texts)) => {
                let vectors = texts.into_iter().map(|text| {
                    let vector: Arc<[f32]> = vector(&text).into();
                    (text, vector)
                });
                known.extend(vectors);
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("it asks for vectors a third time");
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
    fn meaning_splits_in_the_same_way(
        text in texts(),
        (size, overlap) in sizes(),
        delimiters in prop::sample::subsequence(vec![". ", "! ", "? ", "\n", ".", "ab", "\n\n"], 1..=7),
        characters_min in 0..30_usize,
        window in 0..5_usize,
        (aside, aside_max) in (0..4_usize, 0..100_usize),
        similarity_min in prop::sample::select(vec![0.0_f32, 0.25, 0.5, 0.75, 1.0]),
    ) {
        let theirs = julienne::SemanticChunker::builder()
            .chunk_size(size)
            .chunk_overlap(overlap)
            .window_size(window)
            .skip_window(aside)
            .max_aside_length(aside_max)
            .reconnect_similarity_threshold(similarity_min)
            .delimiters(delimiters.clone())
            .min_characters_per_sentence(characters_min)
            .embedding_fn(Arc::new(vector))
            .build()
            .unwrap();
        let config = json!({
            "implementation": "semantic_chunker", "chunk_size": size, "chunk_overlap": overlap,
            "window_size": window, "skip_window": aside, "max_aside_length": aside_max,
            "reconnect_similarity_threshold": similarity_min, "delimiters": delimiters,
            "min_characters_per_sentence": characters_min,
        });
        prop_assert_eq!(chunks_by_meaning(&config, &text), theirs.split_text(&text));
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
