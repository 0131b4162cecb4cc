//! The sentence chunker of pgai-rs (`ai.chunking_sentence_chunker`): the same chunks as of the crate
//! julienne 0.1.0, which pgai-rs used.
//!
//! It is not that crate, because its search for delimiters takes quadratic time if one of them is rare.

use serde_json::{Map, Value};

use super::sentences::{Packing, Sentences, pack};
use super::{ChunkError, ChunkingError, Chunks, SEPARATORS_MAX, Sizes, optional, sizes};

/// Splits at delimiters, which stay at the end of their sentence, and packs the sentences.
#[derive(Clone, Debug)]
pub struct SentenceChunker {
    sizes: Sizes,
    delimiters: Delimiters,
    sentences_min: usize,
}

/// What ends a sentence.
#[derive(Clone, Debug)]
pub(super) struct Delimiters {
    /// None is empty.
    ends: Vec<String>,
    /// A shorter sentence is joined with the next one.
    characters_min: usize,
}

/// The defaults of pgai-rs.
const ENDS_DEFAULT: [&str; 4] = [". ", "! ", "? ", "\n"];
const CHARACTERS_MIN_DEFAULT: usize = 12;

impl SentenceChunker {
    pub(super) fn new(config: &Map<String, Value>) -> Result<Self, ChunkingError> {
        Ok(Self {
            sizes: sizes(config)?,
            delimiters: Delimiters::new(config)?,
            sentences_min: optional(config, "min_sentences_per_chunk", 1)?,
        })
    }

    pub(super) fn chunk(&self, text: &str, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        let sentences = self.delimiters.sentences(text, chunks.bytes_max)?;
        let packing = Packing {
            sizes: self.sizes,
            sentences_min: self.sentences_min,
            is_strict: false,
        };
        pack(text, &sentences.sentences, packing, chunks)
    }
}

impl Delimiters {
    pub(super) fn new(config: &Map<String, Value>) -> Result<Self, ChunkingError> {
        let ends = match config.get("delimiters") {
            None | Some(Value::Null) => ENDS_DEFAULT.map(str::to_owned).to_vec(),
            Some(_) => {
                let ends = super::texts(config, "delimiters")?;
                ends.into_iter().map(str::to_owned).collect()
            }
        };
        if ends.is_empty() || ends.iter().any(String::is_empty) {
            return Err(ChunkingError::Setting {
                name: "delimiters",
                expected: "an array of texts that are not empty",
            });
        }
        if ends.len() > SEPARATORS_MAX {
            return Err(ChunkingError::TooManySeparators(ends.len()));
        }
        Ok(Self {
            ends,
            characters_min: optional(
                config,
                "min_characters_per_sentence",
                CHARACTERS_MIN_DEFAULT,
            )?,
        })
    }

    /// The sentences of a text. What is too short at the end belongs to the last one.
    pub(super) fn sentences(&self, text: &str, bytes_max: usize) -> Result<Sentences, ChunkError> {
        self.sentences_of(text, self.characters_min, bytes_max)
    }

    /// The sentences of a text, however short they are.
    pub(super) fn short_sentences(
        &self,
        text: &str,
        bytes_max: usize,
    ) -> Result<Sentences, ChunkError> {
        self.sentences_of(text, 0, bytes_max)
    }

    fn sentences_of(
        &self,
        text: &str,
        characters_min: usize,
        bytes_max: usize,
    ) -> Result<Sentences, ChunkError> {
        let mut sentences = Sentences::within(bytes_max);
        for end in Ends::new(self, text) {
            let sentence = &text[sentences.end()..end];
            if sentence
                .chars()
                .nth(characters_min.saturating_sub(1))
                .is_some()
            {
                sentences.push(text, end)?;
            }
        }
        if sentences.end() < text.len() {
            sentences.extend_last(text, text.len())?;
        }
        Ok(sentences)
    }
}

/// The ends of sentences in a text. Each delimiter is searched for once in each part of the text.
struct Ends<'a> {
    text: &'a str,
    start: usize,
    /// Each delimiter with its next place, if there is one.
    delimiters: Vec<(&'a str, Option<usize>)>,
}

impl<'a> Ends<'a> {
    fn new(delimiters: &'a Delimiters, text: &'a str) -> Self {
        let ends = delimiters.ends.iter().map(String::as_str);
        Self {
            text,
            start: 0,
            delimiters: ends.map(|end| (end, text.find(end))).collect(),
        }
    }
}

impl Iterator for Ends<'_> {
    type Item = usize;

    /// The earliest delimiter ends the sentence; of several at one place, the first.
    fn next(&mut self) -> Option<usize> {
        if self.start >= self.text.len() {
            return None;
        }
        for (end, at) in &mut self.delimiters {
            if at.is_some_and(|at| at < self.start) {
                let found = self.text[self.start..].find(*end);
                *at = found.map(|found| self.start + found);
            }
        }
        let found = self.delimiters.iter();
        let found = found.filter_map(|(end, at)| Some((at.as_ref()?, end.len())));
        // `min_by_key` returns the first of equal ones.
        let end = found
            .min_by_key(|(at, _)| **at)
            .map(|(at, length)| at + length);
        self.start = end.unwrap_or(self.text.len());
        Some(self.start)
    }
}
