//! Ollama's own interface: `POST /api/embed`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Account, AnswerFormat, Common, HttpWire, Provider, RequestLimits, Tokenizer, Wire, read_config,
};
use crate::address::BaseUrl;
use crate::settings::Settings;

/// Ollama documents no limit; this is pgai's maximum.
const LIMITS: RequestLimits = RequestLimits {
    inputs: 2048,
    bytes: 8 * 1024 * 1024,
};

#[derive(Deserialize)]
struct Config {
    base_url: Option<String>,
    options: Option<Value>,
    keep_alive: Option<String>,
}

pub(super) fn provider(
    config: &Value,
    Common { model, dimensions }: Common,
    settings: &Settings,
) -> Result<Provider, String> {
    let config: Config = read_config(config)?;
    let base_url = match (&settings.ollama_host, &config.base_url) {
        (Some(host), _) => BaseUrl::from_operator(&with_scheme(host))?,
        (None, Some(host)) => BaseUrl::from_config(&with_scheme(host))?,
        (None, None) => BaseUrl::from_operator("http://localhost:11434")?,
    };
    let mut body = Map::new();
    body.insert("model".to_owned(), model.as_str().into());
    if let Some(options) = config.options {
        body.insert("options".to_owned(), options);
    }
    if let Some(keep_alive) = config.keep_alive {
        body.insert("keep_alive".to_owned(), keep_alive.into());
    }
    Ok(Provider {
        account: Account {
            provider: "ollama",
            base_url: base_url.as_str().to_owned(),
            secret: None,
        },
        limits: LIMITS,
        tokenizer: Tokenizer::Unknown,
        tokens_max: None,
        if_unreachable: "start Ollama (`ollama serve`), or say with OLLAMA_HOST where it is",
        wire: Wire::Http(Box::new(HttpWire {
            url: base_url.endpoint("api/embed")?,
            body,
            question: None,
            answer: AnswerFormat::Ollama,
            secret: None,
            pull: Some(base_url.endpoint("api/pull")?),
        })),
        model,
        dimensions,
    })
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
