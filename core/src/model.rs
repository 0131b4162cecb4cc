//! Requests to a model in the worker process, and its answers.

use std::fmt;
use std::sync::Arc;

/// A request to a model in this process.
#[derive(Clone)]
pub struct ModelRequest {
    /// The model's directory, or its name below [`models_dir`](Self::models_dir).
    pub model: String,
    /// The directory of named models: the operator's `--models-dir`.
    pub models_dir: Option<String>,
    /// What the model computes from the texts.
    pub wanted: Wanted,
    /// The texts.
    pub texts: Vec<Arc<str>>,
}

/// What a model computes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Vectors of stored texts.
    Documents,
    /// Vectors of search texts: the model's query prompt is added in front.
    Queries,
    /// How well each text but the first answers the first one, by a cross-encoder.
    Scores,
    /// What counts its tokens. There are no texts.
    Tokenizer,
}

/// The results of a model, in the order of the texts.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelAnswer {
    /// For [`Wanted::Scores`]: one for each text but the first; a higher one is better.
    Scores(Vec<f32>),
    /// For [`Wanted::Tokenizer`].
    Tokenizer(Tokenizer),
    /// For [`Wanted::Documents`] and [`Wanted::Queries`].
    Vectors {
        /// One vector for each text.
        vectors: Vec<Vec<f32>>,
        /// The number of texts that were longer than the model's limit.
        truncated: usize,
    },
}

/// Counts tokens as a model does: a pure function, made from the model's files by whoever has read them.
#[derive(Clone)]
pub struct Tokenizer {
    /// The tokens that the model has in addition to those of each text, at its start and its end.
    pub added: usize,
    /// The tokens of a text, however many the model reads of them, without the added ones.
    pub count: Arc<dyn Fn(&str) -> usize + Send + Sync>,
}

/// Why a model returned no result.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ModelError {
    /// The computation failed, for a reason that may be temporary.
    Broken(String),
    /// One of the texts caused it.
    Input(String),
    /// The model does not exist or cannot be used: the operator has to act.
    Model(String),
}

impl fmt::Debug for ModelRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelRequest")
            .field("model", &self.model)
            .field("wanted", &self.wanted)
            .field("texts", &self.texts.len())
            .finish()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("added", &self.added)
            .finish_non_exhaustive()
    }
}

/// Two are equal if they are the same function.
impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.added == other.added && Arc::ptr_eq(&self.count, &other.count)
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) | Self::Input(reason) | Self::Model(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ModelError {}
