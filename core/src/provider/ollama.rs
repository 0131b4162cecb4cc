//! Ollama's own interface: `POST /api/embed`.

use std::num::NonZeroUsize;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::litellm::{Asked, Made};
use super::wire::HttpWire;
use super::{
    Account, Common, Prompts, Provider, RequestLimits, TokensOf, Wire, answer, read_config,
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
    /// Texts are cut to so many tokens of cl100k_base, as in pgai-rs.
    max_tokens: Option<NonZeroUsize>,
}

pub(super) fn provider(
    config: &Value,
    Common { model, dimensions }: Common,
    settings: &Settings,
) -> Result<Provider, String> {
    let config: Config = read_config(config)?;
    let base_url = match (settings.variable(&["OLLAMA_HOST"]), &config.base_url) {
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
        tokens_of: TokensOf::Unknown,
        tokens_max: config.max_tokens.map(NonZeroUsize::get),
        if_unreachable: "start Ollama (`ollama serve`), or say with OLLAMA_HOST where it is",
        prompts: Prompts::default(),
        keys: 1,
        wire: Wire::Http(Box::new(http_wire(&base_url, body)?)),
        model,
        dimensions,
    })
}

fn http_wire(base_url: &BaseUrl, body: Map<String, Value>) -> Result<HttpWire, String> {
    let url = base_url.endpoint("api/embed")?;
    let mut wire = HttpWire::new(url, body, answer::OLLAMA, None);
    wire.pull = Some(base_url.endpoint("api/pull")?);
    Ok(wire)
}

/// As LiteLLM asks Ollama: what is no parameter of a request is an option of the model.
pub(super) fn wire(asked: &mut Asked<'_>) -> Result<Made, String> {
    let mut body = Map::new();
    body.insert("model".to_owned(), asked.model.as_str().into());
    for name in ["dimensions", "keep_alive", "truncate"] {
        if let Some(value) = asked.options.take(name) {
            body.insert(name.to_owned(), value);
        }
    }
    let given = asked.options.text("api_base")?;
    let variable = asked.settings.variable(asked.known.base_variables);
    let base_url = match (given, variable) {
        (Some(url), _) => BaseUrl::from_config(&with_scheme(&url))?,
        (None, Some(url)) => BaseUrl::from_operator(&with_scheme(url))?,
        (None, None) => BaseUrl::from_operator(asked.known.base_url)?,
    };
    let mut options = std::mem::take(&mut asked.options.0);
    if let Some(Value::Object(more)) = options.remove("options") {
        options.extend(more);
    }
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    Ok(Made {
        wire: http_wire(&base_url, body)?,
        base_url,
        secret: None,
        inputs: asked.known.inputs,
    })
}

/// `OLLAMA_HOST` in every form that Ollama's own programs accept (`envconfig.Host`): quotes around it, no
/// scheme, no port, an IPv6 address with or without brackets, a path.
fn with_scheme(host: &str) -> String {
    let host = host.trim().trim_matches(['"', '\'', ' ']);
    let (scheme, rest, port) = match host.split_once("://") {
        // The scheme's own port.
        Some((scheme, rest)) => (scheme, rest, ""),
        None => ("http", host, ":11434"),
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_bare_ipv6 = place.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = place
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let place = match place {
        place if is_bare_ipv6 => format!("[{place}]{port}"),
        place if has_port => match place.strip_prefix(':') {
            Some(port) => format!("127.0.0.1:{port}"),
            None => place.to_owned(),
        },
        "" => format!("127.0.0.1{port}"),
        place => format!("{place}{port}"),
    };
    match path.trim_end_matches('/') {
        "" => format!("{scheme}://{place}"),
        path => format!("{scheme}://{place}/{path}"),
    }
}
