//! Splits text into chunks, and puts values into templates.
//!
//! All results of pgai's chunkers and templates are equal to those of Python pgai, byte for byte. pgai uses LangChain's text
//! splitters, Python's `re`, `string.Template` and `str()` of psycopg's values. Where this is
//! impossible or not useful (a regex that does not compile, a date that Python cannot represent),
//! the module says what happens instead.

mod chunk;
mod outline;
mod regex;
mod render;
mod strip;
mod template;
mod unicode;

pub(crate) use chunk::cosine;
pub use chunk::{
    CHUNK_BYTES, CharacterSplitter, Chunk, ChunkError, Chunker, ChunkingError, MarkdownSplitter,
    RecursiveSplitter, SemanticChunker, SemchunkSplitter, SentenceChunker, SentenceSplitter,
    TokenSplitter, Vectors,
};
pub(crate) use outline::{Outline, neighbours};
pub use regex::Steps;
pub use render::{python_text, python_text_in};
pub use template::{Template, TemplateError};
