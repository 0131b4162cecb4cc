//! Google's Gemini: `POST /v1beta/models/…:batchEmbedContents`.

use http::HeaderName;
use serde_json::{Map, Value, json};

use super::answer;
use super::litellm::{Asked, Made, encoded, question};
use super::wire::{HttpWire, Texts};
use crate::request::{Credential, Secret};

pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let base_url = asked.base_url()?;
    let secret = asked.key(&base_url)?;
    let task = asked.options.take("task_type");
    let mut object = asked.options.rest("outputDimensionality");
    if let Some(task) = task {
        object.insert("taskType".to_owned(), task);
    }
    let model = format!("models/{}", asked.model);
    object.insert("model".to_owned(), model.into());
    let path = format!("models/{}:batchEmbedContents", encoded(&asked.model, ""));
    let key = HeaderName::from_static("x-goog-api-key");
    let credential = secret
        .clone()
        .map(|name| Credential::Key(Secret::in_header(name, key, "")));
    let mut wire = HttpWire::new(
        base_url.endpoint(&path)?,
        Map::new(),
        answer::GEMINI,
        credential,
    );
    wire.question = question(&object);
    wire.texts = Texts::Objects {
        array: "requests",
        object,
        put: put_content,
    };
    Ok(Made {
        wire,
        base_url,
        secret,
        inputs: asked.known.inputs,
    })
}

/// Several parts in one content would become one vector, so each text has its own.
pub(super) fn put_content(object: &mut Map<String, Value>, text: &str) {
    object.insert("content".to_owned(), json!({"parts": [{"text": text}]}));
}
