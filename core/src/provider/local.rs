//! A sentence-transformers model in the worker's own process.

use std::sync::Arc;

use super::{Account, BadAnswer, Purpose, RequestLimits};
use crate::model::{ModelAnswer, ModelRequest, Wanted};
use crate::settings::Settings;

/// Few texts at a time: a request cannot be broken off, and the worker would like to stop in time.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    inputs: 32,
    bytes: 8 * 1024 * 1024,
};

#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(super) model: String,
    pub(super) dimensions: usize,
    models_dir: Option<String>,
}

impl Local {
    pub(super) fn new(model: String, dimensions: usize, settings: &Settings) -> Self {
        Self {
            model,
            dimensions,
            models_dir: settings.models_dir.clone(),
        }
    }

    pub(super) fn account(&self) -> Account {
        Account {
            provider: "sentence_transformers",
            base_url: String::new(),
            secret: None,
        }
    }

    pub(super) fn request(&self, texts: &[Arc<str>], purpose: Purpose) -> ModelRequest {
        let wanted = match purpose {
            Purpose::Document => Wanted::Documents,
            Purpose::Query => Wanted::Queries,
        };
        self.asked(texts, wanted)
    }

    pub(super) fn count_tokens(&self, texts: &[Arc<str>]) -> ModelRequest {
        self.asked(texts, Wanted::TokenCounts)
    }

    fn asked(&self, texts: &[Arc<str>], wanted: Wanted) -> ModelRequest {
        ModelRequest {
            model: self.model.clone(),
            models_dir: self.models_dir.clone(),
            wanted,
            texts: texts.to_vec(),
        }
    }
}

pub(super) fn vectors(answer: ModelAnswer) -> Result<Vec<Vec<f32>>, BadAnswer> {
    match answer {
        ModelAnswer::Vectors { vectors, .. } => Ok(vectors),
        ModelAnswer::TokenCounts(_) => Err(BadAnswer::Unreadable("it has no vectors".to_owned())),
    }
}
