//! What holds for every chunker on every text.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use pgai_core::text::Chunker;
use proptest::prelude::*;
use serde_json::json;

const SEPARATORS: [&str; 6] = ["\n\n", "\n", ".", " ", "ab", ""];

fn texts() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a",
        "ab",
        "word",
        "é",
        "日本",
        "👩‍👧",
        ".",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\t",
        "x.",
        "\u{1c}",
    ]);
    prop_oneof![
        4 => prop::collection::vec(words, 0..80).prop_map(|words| words.concat()),
        1 => any::<String>(),
    ]
}

fn recursive(size: usize, overlap: usize, separators: &[&str]) -> Chunker {
    Chunker::parse(&json!({
        "implementation": "recursive_character_text_splitter",
        "chunk_size": size, "chunk_overlap": overlap,
        "separators": separators, "is_separator_regex": false,
    }))
    .unwrap()
}

fn character(size: usize, overlap: usize, separator: &str) -> Chunker {
    Chunker::parse(&json!({
        "implementation": "character_text_splitter",
        "chunk_size": size, "chunk_overlap": overlap,
        "separator": separator, "is_separator_regex": false,
    }))
    .unwrap()
}

/// The characters that no chunker may lose, in order: all but white space, and the separator where
/// it is not kept.
fn ink(text: &str, separator: &str) -> String {
    let text = if separator.is_empty() {
        text.to_owned()
    } else {
        text.replace(separator, "")
    };
    text.chars()
        .filter(|c| !c.is_whitespace() && !('\u{1c}'..='\u{1f}').contains(c))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn without_overlap_nothing_but_white_space_is_lost(
        text in texts(), size in 1..40_usize, kept in prop::sample::subsequence(&SEPARATORS[..], 1..=6)
    ) {
        let chunks = recursive(size, 0, &kept).chunk(&text).unwrap();
        prop_assert_eq!(ink(&chunks.concat(), ""), ink(&text, ""));
    }

    #[test]
    fn without_overlap_the_character_splitter_loses_only_its_separator(
        text in texts(), size in 1..40_usize, separator in prop::sample::select(&SEPARATORS[..])
    ) {
        let chunks = character(size, 0, separator).chunk(&text).unwrap();
        prop_assert_eq!(ink(&chunks.join(separator), separator), ink(&text, separator));
    }

    #[test]
    fn a_text_that_can_be_cut_anywhere_has_no_chunk_above_the_size(
        text in texts(), size in 1..40_usize, overlap in 0..40_usize
    ) {
        let chunks = recursive(size, overlap.min(size), &SEPARATORS).chunk(&text).unwrap();
        prop_assert!(chunks.iter().all(|chunk| chunk.chars().count() <= size), "{:?}", chunks);
    }

    #[test]
    fn a_chunk_above_the_size_holds_no_place_to_cut(
        text in texts(), size in 1..40_usize, separator in prop::sample::select(&SEPARATORS[..5])
    ) {
        for chunk in character(size, 0, separator).chunk(&text).unwrap() {
            let inner = chunk.trim();
            prop_assert!(inner.chars().count() <= size || !inner.contains(separator), "{:?}", chunk);
        }
    }

    #[test]
    fn chunks_come_in_the_order_of_the_text_and_out_of_it(
        text in texts(), size in 2..40_usize, overlap in 0..40_usize
    ) {
        let mut from = 0;
        for chunk in recursive(size, overlap.min(size - 1), &SEPARATORS).chunk(&text).unwrap() {
            let at = text[from..].find(&chunk);
            prop_assert!(at.is_some(), "{:?} after byte {}", chunk, from);
            from += at.unwrap_or(0);
        }
    }

    #[test]
    fn none_takes_the_text_as_it_is(text in texts()) {
        let none = Chunker::parse(&json!({"implementation": "none"})).unwrap();
        prop_assert_eq!(none.chunk(&text).unwrap(), [text]);
    }
}
