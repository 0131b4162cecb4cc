//! Cuts texts into chunks, exactly as langchain-text-splitters 0.3.11 does with Python pgai's
//! settings.
//!
//! Sizes count code points. A text is cut into pieces at its separators, and neighbouring pieces
//! are merged as long as they fit. What a user may wonder about is LangChain's behaviour and kept,
//! because stored chunks depend on it: a piece that cannot be cut is kept whole, however long; the
//! recursive splitter does not strip such a piece; the character splitter puts the source text of
//! a regex between the pieces that it merges, unless it begins as a lookaround does.

mod character;
mod merge;
mod piece;
mod recursive;

use serde_json::{Map, Value};
use thiserror::Error;

use super::regex::{MatchError, Pattern, PatternError, Steps};
use crate::cut::cut;
pub use character::CharacterSplitter;
use piece::Separator;
pub use recursive::RecursiveSplitter;

/// How a vectorizer cuts a text: the `chunking` part of its config.
#[derive(Clone, Debug)]
pub enum Chunker {
    /// At one separator, as `ai.chunking_character_text_splitter` asks.
    Character(Box<CharacterSplitter>),
    /// Not at all: the whole text is one chunk, as `ai.chunking_none` asks.
    None,
    /// At the first separator that there is, and pieces that are too long at the next ones, as
    /// `ai.chunking_recursive_character_text_splitter` asks.
    Recursive(Box<RecursiveSplitter>),
}

impl Chunker {
    /// Reads the `chunking` object of a vectorizer's config.
    pub fn parse(config: &Value) -> Result<Self, ChunkingError> {
        let Value::Object(config) = config else {
            return Err(ChunkingError::Setting {
                name: "chunking",
                expected: "an object",
            });
        };
        match config.get("implementation").and_then(Value::as_str) {
            Some("character_text_splitter") => {
                let separator = text(config, "separator")?;
                let is_regex = flag(config, "is_separator_regex")?;
                let splitter = CharacterSplitter::new(sizes(config)?, separator, is_regex)?;
                Ok(Self::Character(Box::new(splitter)))
            }
            Some("none") => Ok(Self::None),
            Some("recursive_character_text_splitter") => {
                let separators = texts(config, "separators")?;
                let is_regex = flag(config, "is_separator_regex")?;
                let splitter = RecursiveSplitter::new(sizes(config)?, &separators, is_regex)?;
                Ok(Self::Recursive(Box::new(splitter)))
            }
            Some(name @ ("semantic_chunker" | "semchunk" | "sentence_chunker")) => {
                Err(ChunkingError::NotYet(name.to_owned()))
            }
            other => Err(ChunkingError::Implementation(
                cut(other.unwrap_or_default()),
            )),
        }
    }

    /// Whether it searches for a regex: how long that takes does not depend on a text's length alone.
    #[must_use]
    pub fn has_regex(&self) -> bool {
        match self {
            Self::Character(splitter) => splitter.has_regex(),
            Self::None => false,
            Self::Recursive(splitter) => splitter.has_regex(),
        }
    }

    /// Cuts a text, without a bound on what its chunks take. An error concerns this text alone.
    pub fn chunk(&self, text: &str) -> Result<Vec<String>, ChunkError> {
        self.chunk_within(text, usize::MAX, &mut Steps::for_text(text))
    }

    /// Cuts a text into chunks that take `bytes_max` bytes at most, with [`CHUNK_BYTES`] added for each,
    /// and takes no more steps than are left.
    pub fn chunk_within(
        &self,
        text: &str,
        bytes_max: usize,
        steps: &mut Steps,
    ) -> Result<Vec<String>, ChunkError> {
        let mut chunks = Chunks {
            texts: vec![],
            bytes_max,
            bytes_left: bytes_max,
        };
        match self {
            Self::Character(splitter) => splitter.chunk(text, steps, &mut chunks),
            Self::None => chunks.add(text),
            Self::Recursive(splitter) => splitter.chunk(text, steps, &mut chunks),
        }?;
        Ok(chunks.texts)
    }
}

/// What a chunk takes besides its text, while its row is in work.
pub const CHUNK_BYTES: usize = 64;

/// The chunks of a text so far.
struct Chunks {
    texts: Vec<String>,
    bytes_max: usize,
    bytes_left: usize,
}

impl Chunks {
    /// Counts the bytes of a chunk that is about to be made.
    fn charge(&mut self, bytes: usize) -> Result<(), ChunkError> {
        let all = bytes.saturating_add(CHUNK_BYTES);
        let left = self.bytes_left.checked_sub(all);
        self.bytes_left = left.ok_or(ChunkError::TooMuch(self.bytes_max))?;
        Ok(())
    }

    /// Adds a chunk that was charged.
    fn push(&mut self, chunk: String) {
        self.texts.push(chunk);
    }

    fn add(&mut self, chunk: &str) -> Result<(), ChunkError> {
        self.charge(chunk.len())?;
        self.push(chunk.to_owned());
        Ok(())
    }
}

/// Why a text cannot be cut; the chunker may well cut others.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ChunkError {
    /// LangChain fails in the same places, and where it does not it repeats what a group matched.
    #[error(
        "a capture group in the separator {0:?} cannot be kept with this text: write (?:…) \
         instead of (…)"
    )]
    CaptureGroup(String),
    /// The regex backtracks too much on this text, or there are too many separators for it.
    #[error("the separator {0:?} took too many steps on this text")]
    TooManySteps(String),
    /// The chunks take more bytes than they may.
    #[error(
        "its chunks take more than {0} bytes: choose a smaller chunk_overlap or a larger chunk_size, \
         or let the worker's operator raise --max-row-bytes"
    )]
    TooMuch(usize),
}

/// Why the `chunking` part of a config cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ChunkingError {
    /// The config asks for a chunker that there is not.
    #[error("there is no chunking implementation {0:?}")]
    Implementation(String),
    /// The config asks for a chunker of pgai-rs that is not built yet.
    #[error(
        "the chunker {0:?} of pgai-rs is not there yet: its rows wait in the queue until a later \
         worker has it"
    )]
    NotYet(String),
    /// A chunk would consist of overlap and never advance.
    #[error("chunk_overlap ({overlap}) must not be larger than chunk_size ({size})")]
    Overlap {
        /// The overlap asked for.
        overlap: i64,
        /// The size asked for.
        size: i64,
    },
    /// The overlap is negative.
    #[error("chunk_overlap must be >= 0, got {0}")]
    OverlapNegative(i64),
    /// Regexes that are longer than any that somebody would write by hand.
    #[error(
        "separators that are regexes have at most {REGEX_BYTES_MAX} bytes in all, these have {0}"
    )]
    RegexTooLong(usize),
    /// A separator is not a regex, or one with parts that are not supported.
    #[error("the separator {pattern:?} cannot be used as a regex: {reason} at position {position}")]
    Regex {
        /// The separator.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
        /// Where, in code points from 0.
        position: usize,
    },
    /// A setting is missing or of a wrong type.
    #[error("{name} must be {expected}")]
    Setting {
        /// The key in the config.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The size is zero or negative.
    #[error("chunk_size must be > 0, got {0}")]
    Size(i64),
    /// There are more separators than a text could be cut at one after the other.
    #[error("there are {0} separators, at most {SEPARATORS_MAX} can be used")]
    TooManySeparators(usize),
}

/// How many separators a recursive splitter may have: each may take a level of recursion.
const SEPARATORS_MAX: usize = 1000;
/// How long all separators that are regexes may be together: compiled, they take much more.
const REGEX_BYTES_MAX: usize = 16 * 1024;

/// How long chunks may be and how much of one may be repeated in the next, in code points.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    size: usize,
    overlap: usize,
}

fn sizes(config: &Map<String, Value>) -> Result<Sizes, ChunkingError> {
    let size = number(config, "chunk_size")?;
    let overlap = number(config, "chunk_overlap")?;
    if overlap > size {
        return Err(ChunkingError::Overlap { overlap, size });
    }
    let Some(size) = usize::try_from(size).ok().filter(|&size| size > 0) else {
        return Err(ChunkingError::Size(size));
    };
    let Ok(overlap) = usize::try_from(overlap) else {
        return Err(ChunkingError::OverlapNegative(overlap));
    };
    Ok(Sizes { size, overlap })
}

fn number(config: &Map<String, Value>, name: &'static str) -> Result<i64, ChunkingError> {
    let value = config.get(name).and_then(Value::as_i64);
    value.ok_or(ChunkingError::Setting {
        name,
        expected: "an integer",
    })
}

fn flag(config: &Map<String, Value>, name: &'static str) -> Result<bool, ChunkingError> {
    let value = config.get(name).and_then(Value::as_bool);
    value.ok_or(ChunkingError::Setting {
        name,
        expected: "true or false",
    })
}

fn text<'a>(config: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ChunkingError> {
    let value = config.get(name).and_then(Value::as_str);
    value.ok_or(ChunkingError::Setting {
        name,
        expected: "a text",
    })
}

fn texts<'a>(
    config: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Vec<&'a str>, ChunkingError> {
    let values = config.get(name).and_then(Value::as_array);
    let texts = values.and_then(|values| values.iter().map(Value::as_str).collect());
    texts.ok_or(ChunkingError::Setting {
        name,
        expected: "an array of texts",
    })
}

/// What a regex must hold one of, or else it matches just itself.
const METACHARACTERS: [char; 12] = ['\\', '.', '^', '$', '*', '+', '?', '{', '[', '(', ')', '|'];

/// Reads a separator, and compiles it if it is a regex. `kept` puts that into a group, as LangChain
/// does to keep what it matched.
fn separator(source: &str, is_regex: bool, kept: bool) -> Result<Separator, ChunkingError> {
    if is_regex && source.len() > REGEX_BYTES_MAX {
        return Err(ChunkingError::RegexTooLong(source.len()));
    }
    // A plain search is faster, most of all where nothing is found.
    if !is_regex || !source.contains(METACHARACTERS) {
        return Ok(Separator::literal(source));
    }
    let compile = |kept| Pattern::parse(source, kept);
    // Kept or not, LangChain also searches with the bare regex, so that one must be right, too.
    let compiled = compile(false).and_then(|bare| if kept { compile(true) } else { Ok(bare) });
    let pattern = compiled.map_err(|PatternError { reason, position }| ChunkingError::Regex {
        pattern: cut(source),
        reason,
        position,
    })?;
    Ok(Separator::Pattern(pattern))
}

impl From<MatchError> for ChunkError {
    fn from(error: MatchError) -> Self {
        Self::TooManySteps(cut(&error.pattern))
    }
}

#[cfg(test)]
mod tests;
