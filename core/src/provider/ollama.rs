//! Ollama's own interface: `POST /api/embed`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Value, json};

use super::answer::{Numbers, Reading, Wanted, read};
use super::{Account, BadAnswer, Post, RequestLimits, Wire, leave_out};
use crate::address::BaseUrl;
use crate::cut::cut;
use crate::request::Request;
use crate::settings::Settings;

/// Ollama names no limit; this is what pgai sends at most.
pub(super) const LIMITS: RequestLimits = RequestLimits {
    inputs: 2048,
    bytes: 8 * 1024 * 1024,
};

#[derive(Clone, Debug)]
pub(crate) struct Ollama {
    pub(super) model: String,
    pub(super) dimensions: usize,
    base_url: BaseUrl,
    embed: http::Uri,
    pull: http::Uri,
    options: Option<Value>,
    keep_alive: Option<String>,
}

#[derive(Deserialize)]
struct Config {
    base_url: Option<String>,
    options: Option<Value>,
    keep_alive: Option<String>,
}

impl Ollama {
    pub(super) fn from_config(
        config: &Value,
        model: String,
        dimensions: usize,
        settings: &Settings,
    ) -> Result<Self, String> {
        let config: Config = serde_json::from_value(config.clone())
            .map_err(|error| format!("embedding config: {}", cut(&error.to_string())))?;
        let base_url = match (&settings.ollama_host, &config.base_url) {
            (Some(host), _) => BaseUrl::from_operator(&with_scheme(host))?,
            (None, Some(host)) => BaseUrl::from_config(&with_scheme(host))?,
            (None, None) => BaseUrl::from_operator("http://localhost:11434")?,
        };
        Ok(Self {
            model,
            dimensions,
            embed: base_url.endpoint("api/embed")?,
            pull: base_url.endpoint("api/pull")?,
            base_url,
            options: config.options,
            keep_alive: config.keep_alive,
        })
    }

    pub(super) fn account(&self) -> Account {
        Account {
            provider: "ollama",
            base_url: self.base_url.as_str().to_owned(),
            secret: None,
        }
    }

    pub(super) fn request(
        &self,
        texts: &[Arc<str>],
        timeout: Duration,
        without: &[&'static str],
    ) -> Request {
        let mut body = Map::new();
        body.insert("model".to_owned(), self.model.as_str().into());
        body.insert(
            "input".to_owned(),
            texts.iter().map(|text| &**text).collect(),
        );
        if let Some(options) = &self.options {
            body.insert("options".to_owned(), options.clone());
        }
        if let Some(keep_alive) = &self.keep_alive {
            body.insert("keep_alive".to_owned(), keep_alive.as_str().into());
        }
        leave_out(&mut body, without);
        Post {
            url: &self.embed,
            body: Value::Object(body),
            secret: None,
            timeout,
        }
        .embedding(Wire::Ollama, texts.len(), self.dimensions)
    }

    pub(super) fn sends(&self, parameter: &str) -> bool {
        match parameter {
            "keep_alive" => self.keep_alive.is_some(),
            "options" => self.options.is_some(),
            _ => false,
        }
    }

    pub(super) fn pull(&self, timeout: Duration) -> Request {
        Post {
            url: &self.pull,
            body: json!({"model": self.model, "stream": false}),
            secret: None,
            timeout,
        }
        .other()
    }
}

pub(super) fn vectors(body: &[u8], wanted: Wanted) -> Result<Vec<Vec<f32>>, BadAnswer> {
    read(body, &Reading::new(wanted), Answer)
}

/// `{"embeddings": [[…], …]}`.
struct Answer<'r>(&'r Reading);

/// `[[…], …]`.
struct Vectors<'r>(&'r Reading);

impl<'de> DeserializeSeed<'de> for Answer<'_> {
    type Value = Vec<Vec<f32>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = Vec<Vec<f32>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with embeddings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut vectors = None;
        while let Some(name) = map.next_key::<String>()? {
            if name == "embeddings" {
                vectors = Some(map.next_value_seed(Vectors(self.0))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        vectors.ok_or_else(|| A::Error::missing_field("embeddings"))
    }
}

impl<'de> DeserializeSeed<'de> for Vectors<'_> {
    type Value = Vec<Vec<f32>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Vectors<'_> {
    type Value = Vec<Vec<f32>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of vectors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut vectors: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::with_capacity(self.0.wanted.count);
        while all.len() < self.0.wanted.count {
            match vectors.next_element_seed(Numbers(self.0))? {
                Some(vector) => all.push(vector),
                None => return Ok(all),
            }
        }
        match vectors.next_element::<IgnoredAny>()? {
            Some(_) => self.0.too_many(),
            None => Ok(all),
        }
    }
}

/// `OLLAMA_HOST` may be a bare host, with or without a port, as for Ollama's own programs.
fn with_scheme(host: &str) -> String {
    let host = host.trim();
    if host.contains("://") {
        return host.to_owned();
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port {
        format!("http://{host}")
    } else {
        format!("http://{host}:11434")
    }
}
