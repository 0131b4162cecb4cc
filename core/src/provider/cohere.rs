//! Cohere: `POST /v2/embed`.

use super::answer;
use super::litellm::{Asked, Made, question};
use super::wire::{HttpWire, Texts};
use crate::request::{Credential, Secret};

pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let base_url = asked.base_url()?;
    let secret = asked.key(&base_url)?;
    let mut body = asked.options.rest("output_dimension");
    body.insert("model".to_owned(), asked.model.as_str().into());
    // Models since version 3 want one.
    body.entry("input_type")
        .or_insert_with(|| "search_document".into());
    let credential = secret
        .clone()
        .map(|name| Credential::Key(Secret::bearer(name)));
    let mut wire = HttpWire::new(base_url.itself()?, body, answer::COHERE, credential);
    wire.texts = Texts::Array("texts");
    wire.question = question(&wire.body);
    Ok(Made {
        wire,
        base_url,
        secret,
        inputs: asked.known.inputs,
    })
}
