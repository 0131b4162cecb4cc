//! A sentence-transformers model in the worker's own process.

use super::{Account, BadAnswer, Common, Prompts, Provider, RequestLimits, TokensOf, Wire};
use crate::model::ModelAnswer;
use crate::settings::Settings;

/// Few texts at a time: a request cannot be cancelled, and the worker should be able to stop in
/// time.
const LIMITS: RequestLimits = RequestLimits {
    inputs: 32,
    bytes: 8 * 1024 * 1024,
};

pub(super) fn provider(Common { model, dimensions }: Common, settings: &Settings) -> Provider {
    Provider {
        account: Account {
            provider: "sentence_transformers",
            base_url: String::new(),
            secret: None,
        },
        limits: LIMITS,
        tokens_of: TokensOf::Model,
        tokens_max: None,
        // Which cannot be out of reach.
        if_unreachable: "",
        prompts: Prompts::default(),
        keys: 1,
        wire: Wire::Model {
            models_dir: settings.models_dir.clone(),
        },
        model,
        dimensions,
    }
}

pub(super) fn vectors(answer: ModelAnswer) -> Result<Vec<Vec<f32>>, BadAnswer> {
    match answer {
        ModelAnswer::Vectors { vectors, .. } => Ok(vectors),
        ModelAnswer::Scores(_) | ModelAnswer::Tokenizer(_) => {
            Err(BadAnswer::Unreadable("it has no vectors".to_owned()))
        }
    }
}
