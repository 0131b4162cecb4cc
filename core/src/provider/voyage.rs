//! Voyage AI: `POST /v1/embeddings`, like OpenAI's API except for the names of its parameters.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::known::VOYAGE_HOSTS;
use super::wire::HttpWire;
use super::{
    Account, Common, Prompts, Provider, RequestLimits, TokensOf, Wire, answer, read_config,
};
use crate::address::BaseUrl;
use crate::request::{Credential, Secret};
use crate::settings::Settings;

/// A request to the models with the lowest limit may have 120,000 tokens. A token is counted as three
/// bytes; most texts have more bytes per token. A request that is rejected anyway is split.
pub(super) const BYTES_MAX: usize = 360_000;
/// pgai's limit on inputs.
const LIMITS: RequestLimits = RequestLimits {
    inputs: 128,
    bytes: BYTES_MAX,
};

#[derive(Deserialize)]
struct Config {
    api_key_name: Option<String>,
    input_type: Option<String>,
    output_dimension: Option<usize>,
    output_dtype: Option<String>,
    base_url: Option<String>,
}

pub(super) fn provider(
    config: &Value,
    Common { model, dimensions }: Common,
    settings: &Settings,
) -> Result<Provider, String> {
    let config: Config = read_config(config)?;
    // Others are bytes or packed bits, which a column of pgvector's type vector does not hold.
    let dtype = config.output_dtype.as_deref();
    if dtype.is_some_and(|dtype| dtype != "float") {
        return Err(
            "embedding config: output_dtype must be float: a vector column holds nothing else"
                .to_owned(),
        );
    }
    let base_url = match (&config.base_url, settings.variable(&["VOYAGE_BASE_URL"])) {
        (Some(url), _) => BaseUrl::from_config(url)?,
        (None, Some(url)) => BaseUrl::from_operator(url)?,
        (None, None) => BaseUrl::from_operator("https://api.voyageai.com/v1")?,
    };
    let secret = config
        .api_key_name
        .unwrap_or_else(|| "VOYAGE_API_KEY".to_owned());
    if let Some(refusal) = settings.secrets.refusal(&secret, &base_url, VOYAGE_HOSTS) {
        return Err(refusal);
    }
    let mut body = Map::new();
    body.insert("model".to_owned(), model.as_str().into());
    // Who wants documents embedded as such wants questions embedded as questions.
    let question = config
        .input_type
        .as_ref()
        .map(|_| ("input_type", "query".into()));
    if let Some(input_type) = config.input_type {
        body.insert("input_type".to_owned(), input_type.into());
    }
    if let Some(dimension) = config.output_dimension {
        body.insert("output_dimension".to_owned(), dimension.into());
    }
    if let Some(dtype) = config.output_dtype {
        body.insert("output_dtype".to_owned(), dtype.into());
    }
    body.insert("truncation".to_owned(), true.into());
    body.insert("encoding_format".to_owned(), "base64".into());
    let mut wire = HttpWire::new(
        base_url.endpoint("embeddings")?,
        body,
        answer::OPENAI,
        Some(Credential::Key(Secret::bearer(secret.clone()))),
    );
    wire.question.extend(question);
    Ok(Provider {
        account: Account {
            provider: "voyageai",
            base_url: base_url.as_str().to_owned(),
            secret: Some(secret),
        },
        limits: LIMITS,
        tokens_of: TokensOf::Unknown,
        tokens_max: None,
        if_unreachable: "check the network, and VOYAGE_BASE_URL if it is set",
        prompts: Prompts::default(),
        keys: 1,
        wire: Wire::Http(Box::new(wire)),
        model,
        dimensions,
    })
}
