//! Models at Azure: OpenAI's, by the name of a deployment, and those of Azure AI.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::answer;
use super::litellm::{Asked, Made, plain, question};
use super::wire::HttpWire;
use crate::request::{Credential, Secret};

/// The version of the interface if nobody names one: that of LiteLLM.
const VERSION: &str = "2025-02-01-preview";
/// Versions of the surface that needs no version in the URL.
const V1: [&str; 3] = ["v1", "latest", "preview"];

pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let base_url = asked.base_url()?;
    let secret = asked.key(&base_url)?;
    let version = asked.options.text("api_version")?;
    let is_openai = asked.known.name == "azure";
    let path = base_url.as_str().trim_end_matches('/');
    let (url, has_bearer) = if is_openai {
        let version = version.or_else(|| {
            let variable = asked.settings.variable(&["AZURE_API_VERSION"]);
            variable.map(str::to_owned)
        });
        let version = version.unwrap_or_else(|| VERSION.to_owned());
        let version = plain("api_version", version)?;
        let deployment = plain("the name of the deployment", asked.model.clone())?;
        if path.ends_with("/openai/v1") {
            (base_url.endpoint("embeddings")?, true)
        } else if V1.contains(&version.as_str()) {
            (base_url.endpoint("openai/v1/embeddings")?, true)
        } else {
            let path = format!("openai/deployments/{deployment}/embeddings");
            (base_url.endpoint_of_version(&path, &version)?, false)
        }
    } else {
        let has_models = path.ends_with("services.ai.azure.com");
        let path = if has_models {
            "models/embeddings"
        } else {
            "embeddings"
        };
        let url = match version {
            Some(version) => base_url.endpoint_of_version(path, &plain("api_version", version)?)?,
            None => base_url.endpoint(path)?,
        };
        (url, true)
    };
    let mut body = asked.options.rest("dimensions");
    body.insert("model".to_owned(), asked.model.as_str().into());
    if is_openai && !body.contains_key("encoding_format") {
        body.insert("encoding_format".to_owned(), "base64".into());
    }
    let credential = secret.clone().map(|name| {
        let (header, scheme) = if has_bearer {
            (AUTHORIZATION, "Bearer ")
        } else {
            (HeaderName::from_static("api-key"), "")
        };
        Credential::Key(Secret::in_header(name, header, scheme))
    });
    let mut wire = HttpWire::new(url, body, answer::OPENAI, credential);
    wire.question = question(&wire.body);
    Ok(Made {
        wire,
        base_url,
        secret,
        inputs: asked.known.inputs,
    })
}
