//! Splits texts into chunks. Sizes count code points.
//!
//! The character splitter and the recursive one do exactly what langchain-text-splitters 0.3.11 does with
//! Python pgai's settings. A text is split into pieces at its separators, and neighbouring pieces
//! are merged while they fit. Surprising behaviour of LangChain is kept, because stored chunks
//! depend on it: a piece that cannot be split is kept whole, however long it is; the recursive
//! splitter does not strip such a piece; the character splitter inserts the source text of a regex
//! between the pieces that it merges, unless it starts like a lookaround.
//!
//! The sentence chunker, the semantic chunker and semchunk do exactly what pgai-rs does.

mod character;
mod error;
mod markdown;
mod merge;
mod piece;
mod recursive;
mod semantic_chunker;
mod semchunk;
mod sentence;
mod sentence_chunker;
mod sentences;
mod token;
mod vectors;

use std::ops::Range;

use serde_json::{Map, Value};

use super::regex::{Pattern, PatternError, Steps};
use crate::cut::cut;
use crate::model::Tokenizer;
pub use character::CharacterSplitter;
pub use error::{ChunkError, ChunkingError};
pub use markdown::MarkdownSplitter;
use piece::Separator;
pub use recursive::RecursiveSplitter;
pub use semantic_chunker::SemanticChunker;
pub use semchunk::SemchunkSplitter;
pub use sentence::SentenceSplitter;
pub use sentence_chunker::SentenceChunker;
use token::Encoder;
pub use token::TokenSplitter;
pub use vectors::Vectors;
pub(crate) use vectors::cosine;

/// How a vectorizer splits a text: the `chunking` part of its config.
#[derive(Clone, Debug)]
pub enum Chunker {
    /// Split at one separator: `ai.chunking_character_text_splitter`.
    Character(Box<CharacterSplitter>),
    /// Split Markdown at its structure: `ai.chunking_markdown`.
    Markdown(MarkdownSplitter),
    /// Do not split: the whole text is one chunk (`ai.chunking_none`).
    None,
    /// Split at the first separator that occurs, and split pieces that are too long at the next
    /// ones: `ai.chunking_recursive_character_text_splitter`.
    Recursive(Box<RecursiveSplitter>),
    /// Split where the meaning of sentences changes: `ai.chunking_semantic_chunker` of pgai-rs.
    SemanticChunker(Box<SemanticChunker>),
    /// Split at the coarsest punctuation or white space: `ai.chunking_semchunk` of pgai-rs.
    Semchunk(SemchunkSplitter),
    /// Pack sentences: `ai.chunking_sentence`.
    Sentence(SentenceSplitter),
    /// Pack sentences that end at delimiters: `ai.chunking_sentence_chunker` of pgai-rs.
    SentenceChunker(Box<SentenceChunker>),
    /// Pack sentences by their tokens: `ai.chunking_token`.
    Token(TokenSplitter),
}

impl Chunker {
    /// Parses the `chunking` object of a vectorizer's config. Sizes in tokens are in those of cl100k_base.
    pub fn parse(config: &Value) -> Result<Self, ChunkingError> {
        Self::parse_counting(config, Encoder::cl100k)
    }

    /// Like [`parse`](Self::parse), with sizes in the tokens of a model in this process: its [`Tokenizer`] is
    /// [needed](Self::needs_tokenizer) before a text is split.
    pub fn parse_for_model(config: &Value) -> Result<Self, ChunkingError> {
        Self::parse_counting(config, Encoder::model)
    }

    fn parse_counting(
        config: &Value,
        encoder: fn() -> Result<Encoder, ChunkingError>,
    ) -> Result<Self, ChunkingError> {
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
            Some("markdown") => Ok(Self::Markdown(MarkdownSplitter::new(config)?)),
            Some("none") => Ok(Self::None),
            Some("recursive_character_text_splitter") => {
                let separators = texts(config, "separators")?;
                let is_regex = flag(config, "is_separator_regex")?;
                let splitter = RecursiveSplitter::new(sizes(config)?, &separators, is_regex)?;
                Ok(Self::Recursive(Box::new(splitter)))
            }
            Some("semchunk") => Ok(Self::Semchunk(SemchunkSplitter::new(config)?)),
            Some("sentence") => Ok(Self::Sentence(SentenceSplitter::new(config)?)),
            Some("sentence_chunker") => Ok(Self::SentenceChunker(Box::new(SentenceChunker::new(
                config,
            )?))),
            Some("semantic_chunker") => Ok(Self::SemanticChunker(Box::new(SemanticChunker::new(
                config,
            )?))),
            Some("token") => Ok(Self::Token(TokenSplitter::new(config, encoder()?)?)),
            other => Err(ChunkingError::Implementation(
                cut(other.unwrap_or_default()),
            )),
        }
    }

    /// Whether it may take longer than a moment for a text of some kilobytes: it searches for a regex, or counts with
    /// a model's tokenizer.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        match self {
            Self::Character(splitter) => splitter.has_regex(),
            Self::Markdown(_)
            | Self::None
            | Self::SemanticChunker(_)
            | Self::Semchunk(_)
            | Self::Sentence(_)
            | Self::SentenceChunker(_) => false,
            Self::Recursive(splitter) => splitter.has_regex(),
            Self::Token(splitter) => splitter.has_model(),
        }
    }

    /// Whether its chunks depend on the vectors of parts of a text.
    #[must_use]
    pub const fn needs_vectors(&self) -> bool {
        matches!(self, Self::SemanticChunker(_))
    }

    /// Whether it waits for the tokenizer of its model.
    #[must_use]
    pub fn needs_tokenizer(&self) -> bool {
        matches!(self, Self::Token(splitter) if splitter.needs_tokenizer())
    }

    /// Takes the tokenizer of its model, if it waits for one.
    pub fn set_tokenizer(&self, tokenizer: &Tokenizer) {
        if let Self::Token(splitter) = self {
            splitter.set_tokenizer(tokenizer);
        }
    }

    /// Splits a text, without a limit on the size of its chunks. An error concerns this text
    /// only.
    pub fn chunk(&self, text: &str) -> Result<Vec<String>, ChunkError> {
        let (vectors, mut steps) = (Vectors::default(), Steps::for_text(text));
        let chunks = self.chunk_within(text, &vectors, usize::MAX, &mut steps)?;
        Ok(chunks.into_iter().map(|chunk| chunk.text).collect())
    }

    /// Splits a text into chunks of at most `bytes_max` bytes in total, with [`CHUNK_BYTES`] added for
    /// each chunk, and in no more steps than are left. If it needs vectors that are not in `vectors`, it
    /// says which ([`ChunkError::NeedsVectors`]): call it again with those that it had and these.
    pub fn chunk_within(
        &self,
        text: &str,
        vectors: &Vectors,
        bytes_max: usize,
        steps: &mut Steps,
    ) -> Result<Vec<Chunk>, ChunkError> {
        let mut chunks = Chunks {
            source: text,
            chunks: vec![],
            bytes_max,
            bytes_left: bytes_max,
        };
        match self {
            Self::Character(splitter) => splitter.chunk(text, steps, &mut chunks),
            Self::Markdown(splitter) => splitter.chunk(text, &mut chunks),
            Self::None => chunks.add(text),
            Self::Recursive(splitter) => splitter.chunk(text, steps, &mut chunks),
            Self::SemanticChunker(chunker) => chunker.chunk(text, vectors, &mut chunks),
            Self::Semchunk(splitter) => splitter.chunk(text, &mut chunks),
            Self::Sentence(splitter) => splitter.chunk(text, &mut chunks),
            Self::SentenceChunker(chunker) => chunker.chunk(text, &mut chunks),
            Self::Token(splitter) => splitter.chunk(text, &mut chunks),
        }?;
        Ok(chunks.chunks)
    }
}

/// A part of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Chunk {
    /// What is embedded, if no template changes it.
    pub text: String,
    /// Its place in the text, in bytes: `text[at]` is the chunk. `None` if it has no such place, because
    /// separators of LangChain's splitters were removed or replaced.
    pub at: Option<Range<usize>>,
}

/// The bytes that a chunk takes in addition to its text while its row is processed.
pub const CHUNK_BYTES: usize = 64;

/// The chunks of a text so far.
struct Chunks<'a> {
    /// The whole text.
    source: &'a str,
    chunks: Vec<Chunk>,
    bytes_max: usize,
    bytes_left: usize,
}

impl Chunks<'_> {
    /// Counts the bytes of a chunk before it is made.
    fn charge(&mut self, bytes: usize) -> Result<(), ChunkError> {
        let all = bytes.saturating_add(CHUNK_BYTES);
        let left = self.bytes_left.checked_sub(all);
        self.bytes_left = left.ok_or(ChunkError::TooMuch(self.bytes_max))?;
        Ok(())
    }

    /// Adds a chunk whose bytes were counted, and which was made from this part.
    fn push(&mut self, chunk: String, part: &str) {
        let at = (chunk == part).then(|| self.place(part)).flatten();
        self.chunks.push(Chunk { text: chunk, at });
    }

    fn add(&mut self, chunk: &str) -> Result<(), ChunkError> {
        self.charge(chunk.len())?;
        self.push(chunk.to_owned(), chunk);
        Ok(())
    }

    /// Where a part is in the text; `None` if it is part of a copy.
    fn place(&self, part: &str) -> Option<Range<usize>> {
        let start = part
            .as_ptr()
            .addr()
            .checked_sub(self.source.as_ptr().addr())?;
        let at = start..start.checked_add(part.len())?;
        (self.source.get(at.clone())? == part).then_some(at)
    }
}

/// The maximum number of separators of a recursive splitter: each may take a level of
/// recursion.
const SEPARATORS_MAX: usize = 1000;
/// The maximum total length of all regex separators: compiled, they take much more.
const REGEX_BYTES_MAX: usize = 16 * 1024;

/// The maximum length of chunks, and how much of a chunk may be repeated in the next one, in
/// code points.
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

/// A count that may be missing.
fn optional(
    config: &Map<String, Value>,
    name: &'static str,
    default: usize,
) -> Result<usize, ChunkingError> {
    let Some(value) = config.get(name).filter(|value| !value.is_null()) else {
        return Ok(default);
    };
    let value = value.as_u64().and_then(|value| value.try_into().ok());
    value.ok_or(ChunkingError::Setting {
        name,
        expected: "an integer that is not negative",
    })
}

/// A flag that may be missing, which means no.
fn optional_flag(config: &Map<String, Value>, name: &'static str) -> Result<bool, ChunkingError> {
    match config.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(_) => flag(config, name),
    }
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

/// A text without any of these characters matches only itself as a regex.
const METACHARACTERS: [char; 12] = ['\\', '.', '^', '$', '*', '+', '?', '{', '[', '(', ')', '|'];

/// Parses a separator, and compiles it if it is a regex. `kept` puts it into a group, as LangChain
/// does to keep the matched text.
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

#[cfg(test)]
mod tests;
