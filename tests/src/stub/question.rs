//! What clients may ask.

use serde_json::{Map, Value};

use super::answer::{Response, error};
use super::dialect::Dialect;

/// OpenAI's limit on one request, which the stub holds Ollama's clients to as well.
const INPUTS_MAX: usize = 2_048;

/// What a request is addressed to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Endpoint {
    /// Of Text Embeddings Inference: its limits.
    Info,
    OllamaEmbed,
    OllamaPull,
    OllamaShow,
    OpenAi,
    Other(Dialect),
    /// Of OAuth: it issues a token for a statement.
    Token,
    Unknown,
}

impl Endpoint {
    pub(super) fn of(method: &str, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = without_tenant(path);
        match (method, path) {
            ("POST", "/api/embed") => Self::OllamaEmbed,
            ("POST", "/api/pull") => Self::OllamaPull,
            ("POST", "/api/show") => Self::OllamaShow,
            ("POST", "/token") | ("GET", "/container") => Self::Token,
            ("GET", path) if path.ends_with("/info") => Self::Info,
            ("GET", path) if path.starts_with("/computeMetadata/v1/instance/") => Self::Token,
            ("POST", path) => match Dialect::of(path) {
                Some(dialect) => Self::Other(dialect),
                None if path.ends_with("/embeddings") => Self::OpenAi,
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    pub(super) fn embeds(self) -> bool {
        matches!(self, Self::OllamaEmbed | Self::OpenAi | Self::Other(_))
    }
}

/// A path without `/~NAME`: below such a path, the stub is a server of its own for each name, so that one stub is many
/// providers.
fn without_tenant(path: &str) -> &str {
    let rest = path.strip_prefix("/~");
    rest.and_then(|rest| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or(path)
}

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) endpoint: Endpoint,
    pub(super) fields: Map<String, Value>,
    pub(super) inputs: Vec<String>,
    /// The header `authorization`.
    pub(super) key: Option<String>,
}

impl Question {
    pub(super) fn model(&self) -> &str {
        self.fields
            .get("model")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn dimensions(&self) -> Option<usize> {
        let dimensions = self.fields.get("dimensions").and_then(Value::as_u64)?;
        usize::try_from(dimensions).ok()
    }

    pub(super) fn wants_base64(&self) -> bool {
        self.fields.get("encoding_format").and_then(Value::as_str) == Some("base64")
    }
}

/// A request that no client should send.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) complaint: String,
    pub(super) response: Response,
}

/// Understands a request, or says what is wrong with it.
pub(super) fn read(
    endpoint: Endpoint,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<Question, Refusal> {
    let header = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let understood = (|| {
        if endpoint == Endpoint::Unknown {
            return Err("no such endpoint".to_owned());
        }
        if matches!(endpoint, Endpoint::Info | Endpoint::Token) {
            let key = header("authorization").map(str::to_owned);
            if path.starts_with("/computeMetadata/") && header("metadata-flavor") != Some("Google")
            {
                return Err("Google's metadata server wants its header".to_owned());
            }
            let body = String::from_utf8_lossy(body).into_owned();
            let fields = [("form", body), ("path", path.to_owned())];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.into()));
            let fields = fields.into_iter().collect();
            return Ok(Question {
                endpoint,
                fields,
                inputs: vec![],
                key,
            });
        }
        let media_type = header("content-type").unwrap_or_default();
        if media_type.split(';').next() != Some("application/json") {
            return Err(format!(
                "content-type is {media_type:?}, not application/json"
            ));
        }
        let body = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        let Value::Object(mut fields) = body else {
            return Err("not a JSON object".to_owned());
        };
        let input = if let Endpoint::Other(dialect) = endpoint {
            Some(dialect.take_inputs(path, &mut fields)?)
        } else {
            fields.remove("input")
        };
        check_fields(endpoint, &fields)?;
        let inputs = if endpoint.embeds() {
            read_inputs(input)?
        } else {
            Vec::new()
        };
        let key = header("authorization").map(str::to_owned);
        Ok(Question {
            endpoint,
            fields,
            inputs,
            key,
        })
    })();
    understood.map_err(|complaint| {
        let status = if endpoint == Endpoint::Unknown {
            404
        } else {
            400
        };
        Refusal {
            response: error(endpoint, status, &complaint, None),
            complaint,
        }
    })
}

fn check_fields(endpoint: Endpoint, fields: &Map<String, Value>) -> Result<(), String> {
    if fields
        .get("model")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return Err("model is no name".to_owned());
    }
    for (name, value) in fields {
        let right = match (endpoint, name.as_str()) {
            (_, "model") | (Endpoint::Other(_), _) => true,
            (Endpoint::OllamaEmbed | Endpoint::OpenAi, "dimensions") => {
                value.as_u64().is_some_and(|dimensions| dimensions > 0)
            }
            (Endpoint::OllamaEmbed, "truncate")
            | (Endpoint::OllamaPull, "stream")
            | (Endpoint::OllamaShow, "verbose") => value.is_boolean(),
            (Endpoint::OllamaEmbed, "options") => value.is_object(),
            (Endpoint::OllamaEmbed, "keep_alive") => value.is_string() || value.is_i64(),
            (Endpoint::OpenAi, "encoding_format") => {
                matches!(value.as_str(), Some("base64" | "float"))
            }
            (Endpoint::OpenAi, "input_type" | "task" | "user") => value.is_string(),
            (Endpoint::OpenAi, "output_dimension") => value.is_u64(),
            (Endpoint::OpenAi, "truncation") => value.is_boolean(),
            _ => return Err(format!("unrecognized request argument: {name}")),
        };
        if !right {
            return Err(format!("{name} may not be {value}"));
        }
    }
    Ok(())
}

/// Takes a text or a list of texts. OpenAI takes lists of tokens, too; they have no vector here.
fn read_inputs(input: Option<Value>) -> Result<Vec<String>, String> {
    let texts = match input {
        Some(Value::Array(texts)) => texts,
        Some(text @ Value::String(_)) => vec![text],
        other => {
            return Err(format!(
                "input is {other:?}, neither a text nor a list of texts"
            ));
        }
    };
    if texts.is_empty() || texts.len() > INPUTS_MAX {
        return Err(format!("{} inputs, not 1 to {INPUTS_MAX}", texts.len()));
    }
    let texts = texts.into_iter().enumerate().map(|(at, text)| {
        let Value::String(text) = text else {
            return Err(format!("input {at} is no text: {text}"));
        };
        if text.is_empty() {
            Err(format!("input {at} is empty"))
        } else {
            Ok(text)
        }
    });
    texts.collect()
}
