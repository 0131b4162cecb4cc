//! IBM's watsonx: `POST /ml/v1/text/embeddings`, with a token that is ready, or is issued for an API key.

use serde_json::{Map, Value};

use super::answer;
use super::litellm::{Asked, Made};
use super::wire::{HttpWire, Texts, TokenSource};
use crate::address::BaseUrl;
use crate::request::{Credential, Secret};

/// Where IBM Cloud issues tokens.
const TOKENS: &str = "https://iam.cloud.ibm.com/identity/token";
const PATH: &str = "ml/v1/text/embeddings?version=2024-03-13";

pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let base_url = asked.base_url()?;
    let secret = asked.key(&base_url)?;
    let project = asked.options.text("project_id")?;
    let project = project.or_else(|| {
        let variable = asked.settings.variable(&["WATSONX_PROJECT_ID"]);
        variable.map(str::to_owned)
    });
    let project = project.ok_or(
        "embedding config: put project_id into extra_options, or set WATSONX_PROJECT_ID for the worker",
    )?;
    let parameters = asked.options.rest("dimensions");
    let mut body = Map::new();
    body.insert("model_id".to_owned(), asked.model.as_str().into());
    body.insert("project_id".to_owned(), project.into());
    body.insert("parameters".to_owned(), Value::Object(parameters));
    let is_token = |name: &&String| name.ends_with("_TOKEN");
    let credential = secret.as_ref().filter(is_token);
    let credential = credential.map(|name| Credential::Key(Secret::bearer(name.clone())));
    let url = base_url.endpoint(PATH)?;
    let mut wire = HttpWire::new(url, body, answer::WATSONX, credential);
    if let Some(name) = secret.as_ref().filter(|name| !is_token(name)) {
        let place = asked.settings.variable(&["WATSONX_IAM_URL"]);
        wire.token = Some(TokenSource {
            url: BaseUrl::from_operator(place.unwrap_or(TOKENS))?.itself()?,
            credential: Credential::Ibm {
                variable: name.clone(),
            },
        });
    }
    wire.texts = Texts::Array("inputs");
    Ok(Made {
        wire,
        base_url,
        secret,
        inputs: asked.known.inputs,
    })
}
