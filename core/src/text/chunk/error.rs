//! What a chunker cannot do.

use std::sync::Arc;

use thiserror::Error;

use super::{REGEX_BYTES_MAX, SEPARATORS_MAX};
use crate::cut::cut;
use crate::text::regex::MatchError;

/// Why a text cannot be split; the chunker may be able to split others.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ChunkError {
    /// LangChain also fails, or repeats the text that a group matched.
    #[error(
        "a capture group in the separator {0:?} cannot be kept with this text: write (?:…) \
         instead of (…)"
    )]
    CaptureGroup(String),
    /// Its chunks depend on the tokens of a model whose tokenizer is not known.
    #[error("the model's tokenizer is not loaded")]
    NeedsTokenizer,
    /// Its chunks depend on the vectors of these texts, which are not known.
    #[error("its chunks depend on the vectors of {} parts of it", .0.len())]
    NeedsVectors(Vec<Arc<str>>),
    /// The regex backtracks too much on this text, or there are too many separators for a text
    /// of this size.
    #[error("the separator {0:?} took too many steps on this text")]
    TooManySteps(String),
    /// What is known of the parts of the text while it is split exceeds the limit in bytes.
    #[error(
        "splitting this text takes more than {0} bytes of memory: choose another chunker, or let the \
         worker's operator raise --max-row-bytes"
    )]
    TooManyParts(usize),
    /// The chunks exceed the limit in bytes.
    #[error(
        "its chunks take more than {0} bytes: choose a smaller chunk_overlap or a larger chunk_size, \
         or let the worker's operator raise --max-row-bytes"
    )]
    TooMuch(usize),
}

/// Why the `chunking` part of a config cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ChunkingError {
    /// The config names an unknown chunker.
    #[error("there is no chunking implementation {0:?}")]
    Implementation(String),
    /// A chunk would consist of overlap only and never advance.
    #[error("chunk_overlap ({overlap}) must not be larger than chunk_size ({size})")]
    Overlap {
        /// The requested overlap.
        overlap: i64,
        /// The requested size.
        size: i64,
    },
    /// This build has no tokenizer.
    #[error(
        "this worker counts no tokens: build it with the feature tokens, or run worker, which has it"
    )]
    NoTokens,
    /// The overlap is negative.
    #[error("chunk_overlap must be >= 0, got {0}")]
    OverlapNegative(i64),
    /// The regexes are longer than the limit.
    #[error(
        "separators that are regexes have at most {REGEX_BYTES_MAX} bytes in all, these have {0}"
    )]
    RegexTooLong(usize),
    /// A separator is not a valid regex, or has unsupported parts.
    #[error("the separator {pattern:?} cannot be used as a regex: {reason} at position {position}")]
    Regex {
        /// The separator.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
        /// The position, in code points from 0.
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
    /// There are more separators than supported.
    #[error("there are {0} separators, at most {SEPARATORS_MAX} can be used")]
    TooManySeparators(usize),
}

impl From<MatchError> for ChunkError {
    fn from(error: MatchError) -> Self {
        Self::TooManySteps(cut(&error.pattern))
    }
}
