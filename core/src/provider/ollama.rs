//! Ollama's own interface: `POST /api/embed`.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Account, BadAnswer, RequestLimits, endpoint, leave_out, post};
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
    base_url: String,
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

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
}

impl Ollama {
    pub(super) fn from_config(
        config: &Value,
        model: String,
        dimensions: usize,
        settings: &Settings,
    ) -> Result<Self, String> {
        let config: Config = serde_json::from_value(config.clone())
            .map_err(|error| format!("embedding config: {error}"))?;
        let host = settings.ollama_host.as_ref().or(config.base_url.as_ref());
        let base_url = host.map_or_else(
            || "http://localhost:11434".to_owned(),
            |host| with_scheme(host),
        );
        Ok(Self {
            model,
            dimensions,
            embed: endpoint(&base_url, "api/embed")?,
            pull: endpoint(&base_url, "api/pull")?,
            base_url,
            options: config.options,
            keep_alive: config.keep_alive,
        })
    }

    pub(super) fn account(&self) -> Account {
        Account {
            provider: "ollama",
            base_url: self.base_url.clone(),
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
        post(&self.embed, &Value::Object(body), None, timeout)
    }

    pub(super) fn sends(&self, parameter: &str) -> bool {
        match parameter {
            "keep_alive" => self.keep_alive.is_some(),
            "options" => self.options.is_some(),
            _ => false,
        }
    }

    pub(super) fn pull(&self, timeout: Duration) -> Request {
        post(
            &self.pull,
            &json!({"model": self.model, "stream": false}),
            None,
            timeout,
        )
    }
}

pub(super) fn vectors(body: &[u8]) -> Result<Vec<Vec<f32>>, BadAnswer> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| BadAnswer::unreadable(&error))?;
    Ok(answer.embeddings)
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
