use serde_json::{Value, json};

use super::super::strip::is_space;
use super::*;

const CHUNKS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/golden/text/chunks.json"
));
const REGEXES: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/golden/text/regexes.json"
));

/// Compares one answer of LangChain with ours; `None` if they agree.
fn difference(case: &Value, config: &Value, text: &str) -> Option<String> {
    let ours = Chunker::parse(config).map(|chunker| chunker.chunk(text));
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
    (!agrees).then(|| format!("{case}\n  of {text:?}\n  is {ours:?}"))
}

#[test]
fn chunks_are_those_of_langchain() {
    let golden: Value = serde_json::from_str(CHUNKS).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let text = golden["texts"][case["text"].as_u64().unwrap() as usize]
            .as_str()
            .unwrap();
        assert_eq!(difference(case, &case["config"], text), None);
    }
}

/// With a size of 1, chunks are what `re.split` gives, neither merged nor stripped.
#[test]
fn regexes_match_as_in_python() {
    let golden: Value = serde_json::from_str(REGEXES).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let text = golden["texts"][case["text"].as_u64().unwrap() as usize]
            .as_str()
            .unwrap();
        let config = recursive(1, 0, &[case["regex"].as_str().unwrap()], true);
        assert_eq!(difference(case, &config, text), None);
    }
}

fn recursive(size: i64, overlap: i64, separators: &[&str], is_regex: bool) -> Value {
    json!({
        "implementation": "recursive_character_text_splitter",
        "chunk_size": size,
        "chunk_overlap": overlap,
        "separators": separators,
        "is_separator_regex": is_regex,
    })
}

#[test]
fn bad_settings_are_one_clear_error() {
    let check = |config: Value, expect: &str| {
        assert_eq!(Chunker::parse(&config).unwrap_err().to_string(), expect);
    };
    check(
        recursive(5, 6, &[" "], false),
        "chunk_overlap (6) must not be larger than chunk_size (5)",
    );
    check(
        recursive(0, 0, &[" "], false),
        "chunk_size must be > 0, got 0",
    );
    check(
        recursive(5, -1, &[" "], false),
        "chunk_overlap must be >= 0, got -1",
    );
    check(
        recursive(5, 0, &["a", "(?<=a+)b"], true),
        "the separator \"(?<=a+)b\" cannot be used as a regex: look-behind requires fixed-width \
         pattern at position 7",
    );
    check(
        recursive(5, 0, &[" "; 1001], false),
        "there are 1001 separators, at most 1000 can be used",
    );
    check(
        json!({"implementation": "none so far"}),
        "there is no chunking implementation \"none so far\"",
    );
    check(
        json!({"implementation": "semantic_chunker", "chunk_size": 8, "chunk_overlap": 0,
            "reconnect_similarity_threshold": 1.5}),
        "reconnect_similarity_threshold must be a number from 0 to 1",
    );
    check(
        json!({"implementation": "character_text_splitter"}),
        "separator must be a text",
    );
    check(json!([]), "chunking must be an object");
}

/// The memory for the parts of a text is limited, and that is an error of the text.
#[test]
fn a_text_with_too_many_parts_for_the_memory_is_refused() {
    let text = "a. B. ".repeat(1000);
    for implementation in ["markdown", "semchunk", "sentence", "sentence_chunker"] {
        let config = json!({"implementation": implementation, "chunk_size": 5, "chunk_overlap": 0,
            "delimiters": ["."], "min_characters_per_sentence": 0});
        let chunker = Chunker::parse(&config).unwrap();
        let split = |bytes_max| {
            chunker.chunk_within(
                &text,
                &Vectors::default(),
                bytes_max,
                &mut Steps::for_text(&text),
            )
        };
        assert!(
            matches!(split(1000), Err(ChunkError::TooManyParts(1000))),
            "{implementation}"
        );
        assert!(split(usize::MAX).is_ok(), "{implementation}");
    }
}

#[test]
fn a_text_that_is_not_to_be_cut_stays_as_it_is() {
    let chunker = Chunker::parse(&json!({"implementation": "none"})).unwrap();
    assert_eq!(chunker.chunk(" a\n\n").unwrap(), [" a\n\n"]);
}

#[test]
fn a_regex_that_backtracks_without_end_fails_that_text_only() {
    let chunker = Chunker::parse(&recursive(5, 0, &["(?:a|a)*b"], true)).unwrap();
    let error = chunker.chunk(&"a".repeat(60)).unwrap_err();
    assert_eq!(error, ChunkError::TooManySteps("(?:a|a)*b".to_owned()));
    assert_eq!(chunker.chunk("xxxxxaab").unwrap(), ["xxxxx", "aab"]);
}

/// Each search is quick, and none goes back far: what counts is what they read together.
#[test]
fn a_regex_that_reads_the_rest_of_the_text_for_every_match_fails_that_text_only() {
    let chunker = Chunker::parse(&recursive(5, 0, &["[^b]*b|a"], true)).unwrap();
    let text = "a".repeat(100_000);
    let mut steps = Steps::for_text(&text);
    // Less than these is left, so that the test is quick, too.
    assert!(steps.spend(50_000_000));
    let error = chunker.chunk_within(&text, &Vectors::default(), usize::MAX, &mut steps);
    assert_eq!(
        error.unwrap_err(),
        ChunkError::TooManySteps("[^b]*b|a".to_owned())
    );
    assert_eq!(chunker.chunk("xxxab").unwrap(), ["xxxab"]);
}

#[test]
fn as_many_separators_as_there_may_be_do_not_overflow_the_stack() {
    let separators: Vec<String> = (0..1000).map(|n| format!("{n:04}")).collect();
    let separators: Vec<&str> = separators.iter().map(String::as_str).collect();
    let chunker = Chunker::parse(&recursive(1, 0, &separators, false)).unwrap();
    let text: String = separators.iter().rev().copied().collect();
    assert_eq!(chunker.chunk(&text).unwrap().concat(), text);
}

/// Calls `each` with every golden text and many settings without regexes.
fn for_texts_and_settings(mut each: impl FnMut(&str, i64, i64, &[&str], Vec<String>)) {
    let golden: Value = serde_json::from_str(CHUNKS).unwrap();
    let lists: [&[&str]; 4] = [
        &["\n\n", "\n", ".", "?", "!", " ", ""],
        &[""],
        &[". ", " ", ""],
        &["\r\n", "aa", "\n"],
    ];
    for text in golden["texts"].as_array().unwrap() {
        let text = text.as_str().unwrap();
        for (size, overlap) in [
            (1, 0),
            (1, 1),
            (7, 3),
            (20, 0),
            (20, 20),
            (100, 99),
            (1000, 0),
        ] {
            for separators in lists {
                let chunker = Chunker::parse(&recursive(size, overlap, separators, false)).unwrap();
                each(
                    text,
                    size,
                    overlap,
                    separators,
                    chunker.chunk(text).unwrap(),
                );
            }
        }
    }
}

fn without_space(text: &str) -> String {
    text.chars()
        .filter(|&character| !is_space(character))
        .collect()
}

#[test]
fn without_overlap_nothing_is_lost_or_repeated_but_white_space() {
    for_texts_and_settings(|text, _, overlap, _, chunks| {
        if overlap == 0 {
            assert_eq!(without_space(&chunks.concat()), without_space(text));
        }
    });
}

#[test]
fn with_overlap_each_chunk_begins_within_the_one_before_or_right_behind_it() {
    // Every letter is another one, so that there is no doubt where a chunk comes from.
    let spaces = ["", "", "", "", " ", "", "\n", " ", "\n\n"];
    let letters = ('\u{4e00}'..'\u{5e00}').enumerate();
    let text: String = letters
        .flat_map(|(n, c)| [c.to_string(), spaces[n * n % 9].into()])
        .collect();
    let all = without_space(&text);
    for (size, overlap) in [(1, 1), (7, 3), (20, 20), (100, 99), (100, 50)] {
        let chunker = Chunker::parse(&recursive(size, overlap, &[], false)).unwrap();
        let (mut start, mut end) = (0, 0);
        for chunk in chunker.chunk(&text).unwrap() {
            let chunk = without_space(&chunk);
            // A piece of white space that is as long as a chunk is one.
            if chunk.is_empty() {
                continue;
            }
            let at = all.find(&chunk).unwrap();
            assert!(start <= at && at <= end, "{chunk}");
            (start, end) = (at, end.max(at + chunk.len()));
        }
        assert_eq!(end, all.len());
    }
}

#[test]
fn no_chunk_is_longer_than_its_size_unless_it_cannot_be_cut() {
    for_texts_and_settings(|_, size, _, separators, chunks| {
        for chunk in chunks
            .iter()
            .filter(|chunk| chunk.chars().count() > size as usize)
        {
            // A separator stays at the beginning of its piece.
            let is_uncut = |separator: &&str| {
                let count = chunk.matches(separator).count();
                count == 0 || count == 1 && chunk.starts_with(separator)
            };
            assert!(
                !separators.contains(&"") && separators.iter().any(is_uncut),
                "{chunk:?}"
            );
        }
    });
}
