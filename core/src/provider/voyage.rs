//! Voyage AI: `POST /v1/embeddings`, like OpenAI's API except for the names of its parameters.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Account, AnswerFormat, Common, HttpWire, Provider, RequestLimits, Tokenizer, Wire, read_config,
};
use crate::address::BaseUrl;
use crate::request::Secret;
use crate::settings::{Settings, VOYAGE_HOSTS};

/// pgai's limit on inputs. A request to the models with the lowest limit may have 120,000 tokens.
/// A token is counted as three bytes; most texts have more bytes per token. A request that is
/// rejected anyway is split.
const LIMITS: RequestLimits = RequestLimits {
    inputs: 128,
    bytes: 360_000,
};

#[derive(Deserialize)]
struct Config {
    api_key_name: Option<String>,
    input_type: Option<String>,
    output_dimension: Option<usize>,
    output_dtype: Option<String>,
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
    let base_url = settings.voyage_base_url.as_deref();
    let base_url = BaseUrl::from_operator(base_url.unwrap_or("https://api.voyageai.com/v1"))?;
    let secret = config
        .api_key_name
        .unwrap_or_else(|| "VOYAGE_API_KEY".to_owned());
    if let Some(refusal) = settings.secrets.refusal(&secret, &base_url, VOYAGE_HOSTS) {
        return Err(refusal);
    }
    let mut body = Map::new();
    body.insert("model".to_owned(), model.as_str().into());
    // Who wants documents embedded as such wants questions embedded as questions.
    let question = config.input_type.as_ref().map(|_| ("input_type", "query"));
    if let Some(input_type) = config.input_type {
        body.insert("input_type".to_owned(), input_type.into());
    }
    if let Some(dimension) = config.output_dimension {
        body.insert("output_dimension".to_owned(), dimension.into());
    }
    body.insert("truncation".to_owned(), true.into());
    body.insert("encoding_format".to_owned(), "base64".into());
    Ok(Provider {
        account: Account {
            provider: "voyageai",
            base_url: base_url.as_str().to_owned(),
            secret: Some(secret.clone()),
        },
        limits: LIMITS,
        tokenizer: Tokenizer::Unknown,
        tokens_max: None,
        if_unreachable: "check the network, and VOYAGE_BASE_URL if it is set",
        wire: Wire::Http(Box::new(HttpWire {
            url: base_url.endpoint("embeddings")?,
            body,
            question,
            answer: AnswerFormat::OpenAi,
            secret: Some(Secret::bearer(secret)),
            pull: None,
        })),
        model,
        dimensions,
    })
}
