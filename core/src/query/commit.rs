//! What a commit writes.

use std::sync::Arc;

use super::Key;

/// A finished row with its new chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct CommitRow {
    /// The row's key.
    pub key: Key,
    /// The claimed generation: if the item has a newer one, the row has changed since.
    pub generation: i64,
    /// Its chunks, in order; an empty list deletes the row's chunks.
    pub chunks: Vec<CommitChunk>,
    /// The version of the document that they were made from, if the vectorizer checks documents again.
    pub document: Option<CheckedDocument>,
}

/// Which version of a document was loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckedDocument {
    /// A digest of its address and of the configuration with which it becomes chunks.
    pub source: String,
    /// What tells this version from others; `None` if its server does not say.
    pub validator: Option<String>,
}

/// How one chunk of a row is written.
#[derive(Clone, Debug, PartialEq)]
pub enum CommitChunk {
    /// The stored chunk at this position stays. Its hash is verified.
    Keep(ChunkHash),
    /// The text was at another position in the row: its vector is reused.
    Move {
        /// The chunk's text.
        text: Arc<str>,
        /// Where it comes from, as JSON, if the store has a column for that.
        location: Option<Arc<str>>,
        /// The `chunk_seq` of its old position.
        from: i32,
        /// The hash of the text.
        hash: ChunkHash,
    },
    /// A new text with its vector.
    Write {
        /// The chunk's text.
        text: Arc<str>,
        /// Where it comes from, as JSON, if the store has a column for that.
        location: Option<Arc<str>>,
        /// Its embedding.
        vector: Arc<[f32]>,
    },
}

/// The sha256 of a chunk's text in UTF-8, as lower-case hexadecimal digits.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ChunkHash(pub String);
