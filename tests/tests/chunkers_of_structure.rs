//! The chunkers for sentences and for Markdown.
#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use pgai_core::text::Chunker;
use proptest::prelude::*;
use serde_json::json;

fn chunker(implementation: &str, size: usize, overlap: usize) -> Chunker {
    let config = json!({
        "implementation": implementation, "chunk_size": size, "chunk_overlap": overlap,
    });
    Chunker::parse(&config).unwrap()
}

fn sentences(text: &str, size: usize) -> Vec<String> {
    chunker("sentence", size, 0).chunk(text).unwrap()
}

fn markdown(text: &str, size: usize) -> Vec<String> {
    chunker("markdown", size, 0).chunk(text).unwrap()
}

/// With a size of the longest sentence or less, so that none has place beside another one.
#[test]
fn sentences_end_where_a_reader_ends_them() {
    for (text, expected) in [
        (
            "Dr. Smith met Mr. J. R. Jones. They talked.",
            &["Dr. Smith met Mr. J. R. Jones.", "They talked."][..],
        ),
        (
            "It cost 3.50 dollars. See Fig. 3 for more, e.g. This one.",
            &[
                "It cost 3.50 dollars.",
                "See Fig. 3 for more, e.g. This one.",
            ],
        ),
        (
            "Am 3. Oktober war z.B. Frau Dr. Maier da. Sie kam spät.",
            &["Am 3. Oktober war z.B. Frau Dr. Maier da.", "Sie kam spät."],
        ),
        (
            "M. Dupont arrive. Il dit : « Bonjour ! » Puis il part.",
            &[
                "M. Dupont arrive.",
                "Il dit : « Bonjour ! »",
                "Puis il part.",
            ],
        ),
        (
            "¿Qué hora es? Son las tres.",
            &["¿Qué hora es?", "Son las tres."],
        ),
        (
            "今日は晴れです。明日は雨でしょう。",
            &["今日は晴れです。", "明日は雨でしょう。"],
        ),
        ("ما اسمك؟ اسمي علي.", &["ما اسمك؟", "اسمي علي."]),
        ("यह एक वाक्य है। यह दूसरा है।", &["यह एक वाक्य है।", "यह दूसरा है।"]),
        (
            "A line that goes\non here. Next one.\n\nA paragraph of it.",
            &[
                "A line that goes\non here.",
                "Next one.",
                "A paragraph of it.",
            ],
        ),
        (
            "1. Open it.\n2. Close it.",
            &["1. Open it.", "2. Close it."],
        ),
    ] {
        let longest = expected
            .iter()
            .map(|sentence| sentence.chars().count())
            .max();
        // White space after a sentence is counted with it.
        assert_eq!(sentences(text, longest.unwrap() + 1), expected, "{text}");
    }
}

#[test]
fn a_long_sentence_is_split_between_words_and_a_long_word_between_graphemes() {
    assert_eq!(
        sentences("one two three four", 9),
        ["one two", "three", "four"]
    );
    assert_eq!(sentences("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
    let family = "👩‍👧";
    assert_eq!(sentences(&family.repeat(3), 4), [family, family, family]);
}

const DOCUMENT: &str = "\
# Guide

Intro of the guide.

## Install

Run this:

```sh
make all
make install
```

| a | b |
|---|---|
| 1 | 2 |
| 3 | 4 |

## Use

- first item
- second item
- third item

### Details

A longer paragraph. It has two sentences.
";

#[test]
fn markdown_is_split_at_its_coarsest_parts() {
    assert_eq!(markdown(DOCUMENT, 1000), [DOCUMENT.trim()]);
    let at = |part: &str| DOCUMENT.find(part).unwrap();
    assert_eq!(
        markdown(DOCUMENT, 150),
        [
            DOCUMENT[..at("## Use")].trim(),
            DOCUMENT[at("## Use")..].trim(),
        ]
    );
    // The heading stays with the first block of its section.
    assert_eq!(
        markdown(DOCUMENT, 80),
        [
            DOCUMENT[..at("## Install")].trim(),
            DOCUMENT[at("## Install")..at("| a")].trim(),
            DOCUMENT[at("| a")..at("## Use")].trim(),
            DOCUMENT[at("## Use")..at("### Details")].trim(),
            DOCUMENT[at("### Details")..].trim(),
        ]
    );
}

#[test]
fn long_lists_tables_and_code_are_split_at_items_rows_and_lines() {
    let list = "- one one one\n- two two two\n- three three\n";
    assert_eq!(
        markdown(list, 28),
        ["- one one one\n- two two two", "- three three"]
    );
    let table = "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n";
    assert_eq!(
        markdown(table, 30),
        ["| a | b |\n|---|---|\n| 1 | 2 |", "| 3 | 4 |"]
    );
    let code = "```\nlet a = 1;\nlet b = 2;\nlet c = 3;\n```\n";
    assert_eq!(
        markdown(code, 26),
        ["```\nlet a = 1;\nlet b = 2;", "let c = 3;\n```"]
    );
}

#[test]
fn what_looks_like_a_heading_in_code_is_none() {
    let text = "```sh\n# a comment\nls\n```\n\nText after it.\n";
    assert_eq!(
        markdown(text, 30),
        ["```sh\n# a comment\nls\n```", "Text after it."]
    );
}

fn texts() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "# A heading\n",
        "## Another\n",
        "text ",
        "A sentence. ",
        "Dr. ",
        "- item\n",
        "1. item\n",
        "```\n",
        "> quote\n",
        "| a | b |\n",
        "|---|---|\n",
        "\n",
        "\n\n",
        "    code\n",
        "---\n",
        "<div>\n",
        "日本語。",
        "👩‍👧",
        "é",
        "\t",
        "word",
    ]);
    prop_oneof![
        6 => prop::collection::vec(parts, 0..60).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

fn ink(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Only graphemes are longer.
    #[test]
    fn chunks_are_parts_of_the_text_in_order_and_fit(
        text in texts(),
        size in 1..60_usize,
        implementation in prop::sample::select(vec!["sentence", "markdown"]),
    ) {
        let chunks = chunker(implementation, size, 0).chunk(&text).unwrap();
        prop_assert_eq!(ink(&chunks.concat()), ink(&text));
        let mut start = 0;
        for chunk in &chunks {
            let found = text[start..].find(chunk.as_str());
            prop_assert!(found.is_some(), "{chunk:?}");
            start += found.unwrap() + chunk.len();
            let graphemes = unicode_segmentation::UnicodeSegmentation::graphemes(chunk.as_str(), true).count();
            prop_assert!(chunk.chars().count() <= size || graphemes == 1, "{chunk:?}");
        }
    }

    #[test]
    fn an_overlap_repeats_at_most_its_size(
        text in texts(),
        (size, overlap) in (1..60_usize).prop_flat_map(|size| (Just(size), 0..=size)),
        implementation in prop::sample::select(vec!["sentence", "markdown"]),
    ) {
        let with = chunker(implementation, size, overlap).chunk(&text).unwrap();
        for chunk in &with {
            prop_assert!(text.contains(chunk.as_str()));
            let graphemes = unicode_segmentation::UnicodeSegmentation::graphemes(chunk.as_str(), true).count();
            prop_assert!(chunk.chars().count() <= size || graphemes == 1, "{chunk:?}");
        }
    }
}
