//! Text: how it is cut into chunks, and how values are put into templates.
//!
//! Everything here gives byte for byte what Python pgai gives, whose parts are LangChain's text
//! splitters, Python's `re`, `string.Template` and `str()` of what psycopg loads. Where that is
//! impossible or plainly useless (a regex that does not compile, a date that Python cannot hold),
//! the module concerned says what happens instead.

mod chunk;
mod regex;
mod render;
mod strip;
mod template;
mod unicode;

pub use chunk::{
    CHUNK_BYTES, CharacterSplitter, ChunkError, Chunker, ChunkingError, RecursiveSplitter,
};
pub use regex::Steps;
pub use render::{python_text, python_text_in};
pub use template::{Template, TemplateError};
