//! What the core asks of a model in the worker's own process, and what it gets back.

use std::fmt;
use std::sync::Arc;

/// Work for a model in this process.
#[derive(Clone)]
pub struct ModelRequest {
    /// The model's directory, or its name below [`models_dir`](Self::models_dir).
    pub model: String,
    /// Where models that are named stand: the operator's `--models-dir`.
    pub models_dir: Option<String>,
    /// What the model shall do with the texts.
    pub wanted: Wanted,
    /// The texts.
    pub texts: Vec<Arc<str>>,
}

/// What is wanted of a model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Vectors of texts that others are compared with.
    Documents,
    /// Vectors of texts to find others by: the model's prompt for queries comes before them.
    Queries,
    /// How many tokens each text has, whether the model reads them all or not.
    TokenCounts,
}

/// What a model made of its texts, in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelAnswer {
    /// For [`Wanted::TokenCounts`].
    TokenCounts(Vec<usize>),
    /// For the others.
    Vectors {
        /// One vector for each text.
        vectors: Vec<Vec<f32>>,
        /// How many of the texts were longer than the model reads.
        truncated: usize,
    },
}

/// Why a model made nothing of its texts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ModelError {
    /// The computation failed, for a reason that may pass.
    Broken(String),
    /// One of the texts is at fault.
    Input(String),
    /// The model is not there, or cannot be used: somebody has to do something.
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

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) | Self::Input(reason) | Self::Model(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ModelError {}
