//! OpenAI's interface, which many other servers speak: `POST /v1/embeddings`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Account, BadAnswer, RequestLimits, endpoint, leave_out, post};
use crate::request::Request;
use crate::settings::Settings;
use crate::tokens;

/// At most 2,048 inputs. The bound of 300,000 tokens is enforced as a quarter of the bytes
/// (pgai#730), so 1.2 MB; a tenth of it is kept in hand.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    inputs: 2048,
    bytes: 1_080_000,
};

/// The models that pgai cuts texts for, at one token less than they take.
const CUT: &[&str] = &[
    "text-embedding-ada-002",
    "text-embedding-3-small",
    "text-embedding-3-large",
];
const TOKENS_MAX: usize = 8191;

/// Hosts that a key may be sent to without an operator's word.
const HOSTS: &[&str] = &["openai.com", "openai.azure.com"];

#[derive(Clone, Debug)]
pub(crate) struct OpenAi {
    pub(super) model: String,
    pub(super) dimensions: usize,
    base_url: String,
    embeddings: http::Uri,
    secret: Option<String>,
    user: Option<String>,
}

#[derive(serde::Deserialize)]
struct Config {
    api_key_name: Option<String>,
    base_url: Option<String>,
    user: Option<String>,
}

#[derive(serde::Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(serde::Deserialize)]
struct Item {
    embedding: Numbers,
    index: Option<usize>,
}

impl OpenAi {
    pub(super) fn from_config(
        config: &Value,
        model: String,
        dimensions: usize,
        settings: &Settings,
    ) -> Result<Self, String> {
        let config: Config = serde_json::from_value(config.clone())
            .map_err(|error| format!("embedding config: {error}"))?;
        if model.ends_with("text-embedding-ada-002") && dimensions != 1536 {
            return Err("dimensions must be 1536 for text-embedding-ada-002".to_owned());
        }
        let base_url = config
            .base_url
            .or_else(|| settings.openai_base_url.clone())
            .unwrap_or_else(|| "https://api.openai.com/v1".to_owned());
        let embeddings = endpoint(&base_url, "embeddings")?;
        let refusal = config.api_key_name.as_ref().and_then(|name| {
            settings
                .secrets
                .refusal(name, embeddings.host().unwrap_or_default(), HOSTS)
        });
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Self {
                model,
                dimensions,
                base_url,
                embeddings,
                secret: config.api_key_name,
                user: config.user,
            }),
        }
    }

    pub(super) fn account(&self) -> Account {
        Account {
            provider: "openai",
            base_url: self.base_url.clone(),
            secret: self.secret.clone(),
        }
    }

    /// What is sent in place of a text that has more tokens than the model takes.
    pub(super) fn cut(&self, text: &str) -> Option<String> {
        if CUT.contains(&self.model.as_str()) {
            tokens::cut(text, TOKENS_MAX)
        } else {
            None
        }
    }

    pub(super) fn sends(&self, parameter: &str) -> bool {
        match parameter {
            // This model refuses the parameter.
            "dimensions" => !self.model.ends_with("text-embedding-ada-002"),
            "encoding_format" => true,
            "user" => self.user.is_some(),
            _ => false,
        }
    }

    pub(super) fn request(
        &self,
        texts: &[Arc<str>],
        timeout: Duration,
        without: &[&'static str],
    ) -> Request {
        let mut body = Map::new();
        body.insert(
            "input".to_owned(),
            texts.iter().map(|text| &**text).collect(),
        );
        body.insert("model".to_owned(), self.model.as_str().into());
        if self.sends("dimensions") {
            body.insert("dimensions".to_owned(), self.dimensions.into());
        }
        if let Some(user) = &self.user {
            body.insert("user".to_owned(), user.as_str().into());
        }
        body.insert("encoding_format".to_owned(), "base64".into());
        leave_out(&mut body, without);
        post(
            &self.embeddings,
            &Value::Object(body),
            self.secret.clone(),
            timeout,
        )
    }
}

/// The vectors in the order of their `index`; a server that sends none has them in order.
pub(super) fn vectors(body: &[u8]) -> Result<Vec<Vec<f32>>, BadAnswer> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| BadAnswer::unreadable(&error))?;
    let mut places: Vec<Option<Vec<f32>>> = answer.data.iter().map(|_| None).collect();
    for (place, item) in answer.data.into_iter().enumerate() {
        match places.get_mut(item.index.unwrap_or(place)) {
            Some(free @ None) => *free = Some(item.embedding.0),
            Some(Some(_)) | None => return Err(BadAnswer::Order),
        }
    }
    Ok(places.into_iter().flatten().collect())
}

/// An embedding in either form: an array of numbers, or base64 of little-endian `f32`s.
struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EitherForm)
    }
}

struct EitherForm;

impl<'de> Visitor<'de> for EitherForm {
    type Value = Numbers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers or base64")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Numbers, E> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(E::custom)?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom("the base64 does not hold whole 32-bit numbers"));
        }
        Ok(Numbers(
            numbers
                .iter()
                .map(|number| f32::from_le_bytes(*number))
                .collect(),
        ))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Numbers, A::Error> {
        let mut numbers = Vec::with_capacity(sequence.size_hint().unwrap_or(1536));
        while let Some(number) = sequence.next_element()? {
            numbers.push(number);
        }
        Ok(Numbers(numbers))
    }
}
