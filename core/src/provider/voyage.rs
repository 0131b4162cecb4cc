//! Voyage AI: `POST /v1/embeddings`, like OpenAI's but for the names of its parameters.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Account, Post, Purpose, RequestLimits, Wire, leave_out};
use crate::address::BaseUrl;
use crate::cut::cut;
use crate::request::Request;
use crate::settings::{Settings, VOYAGE_HOSTS};

/// pgai's bound on inputs. Of tokens, a request to the models with the narrowest limit may hold
/// 120,000: counted as three bytes each, which most texts exceed. What is refused all the same is
/// split.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    inputs: 128,
    bytes: 360_000,
};

#[derive(Clone, Debug)]
pub(crate) struct Voyage {
    pub(super) model: String,
    pub(super) dimensions: usize,
    base_url: BaseUrl,
    embeddings: http::Uri,
    secret: Option<String>,
    input_type: Option<String>,
    output_dimension: Option<usize>,
}

#[derive(Deserialize)]
struct Config {
    api_key_name: Option<String>,
    input_type: Option<String>,
    output_dimension: Option<usize>,
    output_dtype: Option<String>,
}

impl Voyage {
    pub(super) fn from_config(
        config: &Value,
        model: String,
        dimensions: usize,
        settings: &Settings,
    ) -> Result<Self, String> {
        let config: Config = serde_json::from_value(config.clone())
            .map_err(|error| format!("embedding config: {}", cut(&error.to_string())))?;
        // Others are bytes or packed bits, which a column of pgvector's type vector does not hold.
        if config
            .output_dtype
            .as_deref()
            .is_some_and(|dtype| dtype != "float")
        {
            return Err(
                "embedding config: output_dtype must be float: a vector column holds nothing else"
                    .to_owned(),
            );
        }
        let base_url = settings.voyage_base_url.as_deref();
        let base_url = BaseUrl::from_operator(base_url.unwrap_or("https://api.voyageai.com/v1"))?;
        let embeddings = base_url.endpoint("embeddings")?;
        let secret = config
            .api_key_name
            .unwrap_or_else(|| "VOYAGE_API_KEY".to_owned());
        match settings.secrets.refusal(&secret, &base_url, VOYAGE_HOSTS) {
            Some(refusal) => Err(refusal),
            None => Ok(Self {
                model,
                dimensions,
                base_url,
                embeddings,
                secret: Some(secret),
                input_type: config.input_type,
                output_dimension: config.output_dimension,
            }),
        }
    }

    pub(super) fn account(&self) -> Account {
        Account {
            provider: "voyageai",
            base_url: self.base_url.as_str().to_owned(),
            secret: self.secret.clone(),
        }
    }

    pub(super) fn sends(&self, parameter: &str) -> bool {
        match parameter {
            "encoding_format" | "truncation" => true,
            "input_type" => self.input_type.is_some(),
            "output_dimension" => self.output_dimension.is_some(),
            _ => false,
        }
    }

    pub(super) fn request(
        &self,
        texts: &[Arc<str>],
        purpose: Purpose,
        timeout: Duration,
        without: &[&'static str],
    ) -> Request {
        let input_type = match (purpose, &self.input_type) {
            // Who wants documents embedded as such wants questions embedded as questions.
            (Purpose::Query, Some(_)) => Some("query"),
            (Purpose::Query, None) => None,
            (Purpose::Document, input_type) => input_type.as_deref(),
        };
        let mut body = Map::new();
        body.insert(
            "input".to_owned(),
            texts.iter().map(|text| &**text).collect(),
        );
        body.insert("model".to_owned(), self.model.as_str().into());
        if let Some(input_type) = input_type {
            body.insert("input_type".to_owned(), input_type.into());
        }
        if let Some(dimension) = self.output_dimension {
            body.insert("output_dimension".to_owned(), dimension.into());
        }
        body.insert("truncation".to_owned(), true.into());
        body.insert("encoding_format".to_owned(), "base64".into());
        leave_out(&mut body, without);
        Post {
            url: &self.embeddings,
            body: Value::Object(body),
            secret: self.secret.clone(),
            timeout,
        }
        .embedding(Wire::OpenAi, texts.len(), self.dimensions)
    }
}
