//! The recursive chunker against LangChain's, in one run over 100 MB:
//! `cargo bench -p tests --bench chunking`. Then the time over the size, on texts made to be hard. With
//! `-- julienne`: the chunkers of pgai-rs against the crate that it used.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Instant;

use pgai_core::text::Chunker;
use serde_json::{Value, json};
use tests::{cranfield, python};

const BYTES: usize = 100_000_000;
const DOCUMENT: usize = 10_000;

/// Prints seconds and chunks, for documents that are separated by NUL in a file.
const LANGCHAIN: &str = r#"
import json, sys, time
from langchain_text_splitters import RecursiveCharacterTextSplitter
config = json.loads(sys.argv[2])
documents = open(sys.argv[1], encoding="utf-8", newline="").read().split("\0")
splitter = RecursiveCharacterTextSplitter(
    chunk_size=config["chunk_size"], chunk_overlap=config["chunk_overlap"],
    separators=config["separators"], is_separator_regex=False)
began = time.process_time()
chunks = sum(len(splitter.split_text(document)) for document in documents)
print(json.dumps([time.process_time() - began, chunks]))
"#;

#[expect(clippy::print_stdout, reason = "a bench prints what it measures")]
fn main() {
    let documents = documents();
    if std::env::args().any(|word| word == "julienne") {
        return against_julienne(&documents);
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), documents.join("\0")).expect("writing the documents");
    let python =
        python::with(&["langchain-text-splitters==0.3.11"]).expect("Python with LangChain");
    println!(
        "{:<14} {:>12} {:>12} {:>8}",
        "100 MB", "LangChain s", "ours s", "ratio"
    );
    for (size, overlap) in [(800, 400), (800, 0), (100, 20)] {
        let config = json!({
            "implementation": "recursive_character_text_splitter",
            "chunk_size": size, "chunk_overlap": overlap,
            "separators": ["\n\n", "\n", ".", "?", "!", " ", ""], "is_separator_regex": false,
        });
        let output = Command::new(&python)
            .args(["-c", LANGCHAIN])
            .arg(file.path())
            .arg(config.to_string())
            .output()
            .expect("Python runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let theirs: (f64, usize) = serde_json::from_slice(&output.stdout).expect("two numbers");
        let began = Instant::now();
        let chunks = chunk_all(&config, &documents);
        let ours = began.elapsed().as_secs_f64();
        assert_eq!(chunks, theirs.1, "the same number of chunks");
        println!(
            "{:<14} {:>12.2} {ours:>12.2} {:>8.1}",
            format!("{size}/{overlap}"),
            theirs.0,
            theirs.0 / ours
        );
    }
    println!(
        "\n{:<28} {:>8} {:>8} {:>8}",
        "ms at this many bytes", "500 k", "1 M", "2 M"
    );
    for (name, piece) in [
        ("one word", "a"),
        ("only separators", "\n\n"),
        ("words", "a "),
        ("accents", "e\u{301}"),
    ] {
        let times = [500_000, 1_000_000, 2_000_000].map(|bytes| {
            let text = piece.repeat(bytes / piece.len());
            let config = json!({
                "implementation": "recursive_character_text_splitter",
                "chunk_size": 800, "chunk_overlap": 400,
                "separators": ["\n\n", "\n", ".", "?", "!", " ", ""], "is_separator_regex": false,
            });
            let began = Instant::now();
            chunk_all(&config, &[text]);
            began.elapsed().as_secs_f64() * 1e3
        });
        println!(
            "{name:<28} {:>8.1} {:>8.1} {:>8.1}",
            times[0], times[1], times[2]
        );
    }
}

/// One text of some size, as a large document is.
#[expect(clippy::print_stdout, reason = "a bench prints what it measures")]
fn against_julienne(documents: &[String]) {
    println!(
        "{:<18} {:>10} {:>14} {:>10} {:>8}",
        "800/400", "bytes", "julienne ms", "ours ms", "ratio"
    );
    for bytes in [10_000, 100_000, 1_000_000, 4_000_000] {
        let mut text = String::new();
        for document in documents {
            text.push_str(document);
            if text.len() >= bytes {
                break;
            }
        }
        text.truncate(text.floor_char_boundary(bytes));
        let milliseconds = |run: &dyn Fn() -> Vec<String>| {
            let began = Instant::now();
            let chunks = run();
            (began.elapsed().as_secs_f64() * 1e3, chunks)
        };
        let sentences = julienne::SentenceChunker::new(800, 400);
        let semchunk = julienne::SemchunkSplitter::new(800, 400);
        let theirs: [(&str, &dyn Fn() -> Vec<String>); 2] = [
            ("sentence_chunker", &|| sentences.split_text(&text)),
            ("semchunk", &|| semchunk.split_text(&text)),
        ];
        for (name, run) in theirs {
            let (their_time, their_chunks) = milliseconds(run);
            let config = json!({"implementation": name, "chunk_size": 800, "chunk_overlap": 400});
            let chunker = Chunker::parse(&config).expect("the settings are good");
            let (time, chunks) = milliseconds(&|| chunker.chunk(&text).expect("it is short"));
            assert_eq!(chunks, their_chunks, "the same chunks");
            println!(
                "{name:<18} {bytes:>10} {their_time:>14.2} {time:>10.2} {:>8.1}",
                their_time / time
            );
        }
    }
}

fn chunk_all(config: &Value, documents: &[String]) -> usize {
    let chunker = Chunker::parse(config).expect("the settings are good");
    documents
        .iter()
        .map(|document| chunker.chunk(document).expect("no regex").len())
        .sum()
}

/// The Cranfield documents where they are, and generated ones up to 100 MB.
fn documents() -> Vec<String> {
    let real = cranfield::load().unwrap_or_default();
    let mut documents: Vec<String> = real.into_iter().map(|document| document.body).collect();
    let mut bytes: usize = documents.iter().map(String::len).sum();
    let words = [
        "the",
        "boundary",
        "layer",
        "is",
        "naïve",
        "of",
        "a",
        "Schrödinger",
        "flow",
        "日本語",
    ];
    let mut state = 1_u64;
    let mut random = |bound: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % bound
    };
    while bytes < BYTES {
        let mut document = String::with_capacity(DOCUMENT + 100);
        while document.len() < DOCUMENT {
            let word = words[usize::try_from(random(10)).unwrap_or(0)];
            // Sentences of about 10 words, paragraphs of about 2,000 characters.
            let end = match random(400) {
                0 => ".\n\n",
                1..=30 => ". ",
                31..=40 => "?\n",
                _ => " ",
            };
            let _ = write!(document, "{word}{end}");
        }
        bytes += document.len();
        documents.push(document);
    }
    documents
}
