//! Hugging Face's inference router and endpoints, and Text Embeddings Inference.

use serde_json::{Map, Value};

use super::answer;
use super::litellm::{Asked, Made, encoded};
use super::wire::{HttpWire, Texts};
use crate::request::{Credential, Secret};

/// The page of Text Embeddings Inference with the server's limits, beside the one that embeds.
fn info(url: &http::Uri) -> Option<http::Uri> {
    let path = url.path().trim_end_matches('/');
    let below = path.strip_suffix("/embed");
    let parent = below.or_else(|| path.is_empty().then_some(""))?;
    let place = url.authority()?;
    let scheme = url.scheme_str()?;
    format!("{scheme}://{place}{parent}/info").parse().ok()
}

/// Options of the service, not of the model.
const OPTIONS: [&str; 2] = ["use_cache", "wait_for_model"];

pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let is_router = !asked.options.0.contains_key("api_base")
        && asked
            .settings
            .variable(asked.known.base_variables)
            .is_none();
    let base_url = asked.base_url()?;
    let secret = asked.key(&base_url)?;
    // LiteLLM asks for the model's task if this is missing; only this one has vectors.
    drop(asked.options.take("input_type"));
    let mut options = Map::new();
    for name in OPTIONS {
        if let Some(value) = asked.options.take(name) {
            options.insert(name.to_owned(), value);
        }
    }
    let mut body = asked.options.rest("dimensions");
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    let url = if is_router {
        let model = encoded(&asked.model, "/");
        base_url.endpoint(&format!("pipeline/feature-extraction/{model}"))?
    } else {
        base_url.itself()?
    };
    let credential = secret
        .clone()
        .map(|name| Credential::Key(Secret::bearer(name)));
    let mut wire = HttpWire::new(url, body, answer::BARE, credential);
    wire.texts = Texts::Array("inputs");
    wire.info = (!is_router).then(|| info(&wire.url)).flatten();
    Ok(Made {
        wire,
        base_url,
        secret,
        inputs: asked.known.inputs,
    })
}
