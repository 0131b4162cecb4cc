//! OpenAI's API, which many other servers support: `POST /v1/embeddings`.

use serde_json::{Map, Value};

use super::known::OPENAI_HOSTS;
use super::wire::HttpWire;
use super::{
    Account, Common, Prompts, Provider, RequestLimits, TokensOf, Wire, answer, read_config,
};
use crate::address::BaseUrl;
use crate::request::{Credential, Secret};
use crate::settings::Settings;

/// The limit of 300,000 tokens is enforced as a quarter of the bytes (pgai#730), so 1.2 MB; a tenth of
/// it is kept as a reserve.
pub(super) const BYTES_MAX: usize = 1_080_000;
/// OpenAI's limits.
const LIMITS: RequestLimits = RequestLimits {
    inputs: 2048,
    bytes: BYTES_MAX,
};

/// The models for which pgai truncates texts, at one token less than their limit.
const CUT: &[&str] = &[
    "text-embedding-ada-002",
    "text-embedding-3-small",
    "text-embedding-3-large",
];
const TOKENS_MAX: usize = 8191;

#[derive(serde::Deserialize)]
struct Config {
    api_key_name: Option<String>,
    base_url: Option<String>,
    user: Option<String>,
}

pub(super) fn provider(
    config: &Value,
    Common { model, dimensions }: Common,
    settings: &Settings,
) -> Result<Provider, String> {
    let config: Config = read_config(config)?;
    let is_ada = model.ends_with("text-embedding-ada-002");
    if is_ada && dimensions != 1536 {
        return Err("dimensions must be 1536 for text-embedding-ada-002".to_owned());
    }
    let base_url = match (&config.base_url, settings.variable(&["OPENAI_BASE_URL"])) {
        (Some(url), _) => BaseUrl::from_config(url)?,
        (None, Some(url)) => BaseUrl::from_operator(url)?,
        (None, None) => BaseUrl::from_operator("https://api.openai.com/v1")?,
    };
    let secret = config.api_key_name;
    let refusal = secret.as_ref();
    if let Some(refusal) =
        refusal.and_then(|name| settings.secrets.refusal(name, &base_url, OPENAI_HOSTS))
    {
        return Err(refusal);
    }
    let mut body = Map::new();
    body.insert("model".to_owned(), model.as_str().into());
    // This model refuses the parameter.
    if !is_ada {
        body.insert("dimensions".to_owned(), dimensions.into());
    }
    if let Some(user) = config.user {
        body.insert("user".to_owned(), user.into());
    }
    body.insert("encoding_format".to_owned(), "base64".into());
    Ok(Provider {
        account: Account {
            provider: "openai",
            base_url: base_url.as_str().to_owned(),
            secret: secret.clone(),
        },
        limits: LIMITS,
        tokens_of: TokensOf::Cl100k,
        tokens_max: CUT.contains(&model.as_str()).then_some(TOKENS_MAX),
        if_unreachable: "check the base_url of the vectorizer's embedding or OPENAI_BASE_URL, and the \
            network",
        prompts: Prompts::default(),
        keys: 1,
        wire: Wire::Http(Box::new(HttpWire::new(
            base_url.endpoint("embeddings")?,
            body,
            answer::OPENAI,
            secret.map(|name| Credential::Key(Secret::bearer(name))),
        ))),
        model,
        dimensions,
    })
}
