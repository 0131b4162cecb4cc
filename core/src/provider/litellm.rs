//! `ai.embedding_litellm`: the model's prefix chooses the provider, as in the Python library LiteLLM, and
//! `extra_options` mean what they mean there.

use serde_json::{Map, Value};

use super::known::{self, Dialect, KNOWN, Known};
use super::wire::HttpWire;
use super::{
    Account, Common, Prompts, Provider, RequestLimits, TokensOf, Wire, answer, azure, bedrock,
    cohere, gemini, huggingface, ollama, read_config, vertex, watsonx,
};
use crate::address::BaseUrl;
use crate::cut::cut;
use crate::request::{Credential, Secret};
use crate::settings::Settings;

#[derive(serde::Deserialize)]
struct Config {
    api_key_name: Option<String>,
    #[serde(default)]
    extra_options: Map<String, Value>,
}

/// What a vectorizer asks of a provider.
pub(super) struct Asked<'a> {
    pub(super) known: &'static Known,
    /// Without the prefix.
    pub(super) model: String,
    pub(super) options: Options,
    pub(super) settings: &'a Settings,
    key: Option<String>,
}

/// `extra_options`: what has been taken is not sent.
#[derive(Debug, Default)]
pub(super) struct Options(pub(super) Map<String, Value>);

/// How a provider is called, and which of its accounts that is.
pub(super) struct Made {
    pub(super) wire: HttpWire,
    pub(super) base_url: BaseUrl,
    /// The variable of the key.
    pub(super) secret: Option<String>,
    /// The maximum number of texts in one request.
    pub(super) inputs: usize,
}

/// Options of the Python library itself.
const OF_THE_LIBRARY: &[&str] = &[
    "caching",
    "custom_llm_provider",
    "drop_params",
    "max_retries",
    "num_retries",
    "request_timeout",
    "timeout",
];

/// Names without a prefix that LiteLLM knows: with these beginnings.
const WITHOUT_PREFIX: &[(&str, &str)] = &[
    ("amazon.titan-embed", "bedrock"),
    ("cohere.embed", "bedrock"),
    ("embed-", "cohere"),
    ("text-embedding-3-", "openai"),
    ("text-embedding-ada-", "openai"),
    ("text-embedding-0", "vertex_ai"),
    ("text-multilingual-embedding-", "vertex_ai"),
    ("textembedding-gecko", "vertex_ai"),
];

pub(super) fn provider(
    config: &Value,
    Common { model, dimensions }: Common,
    settings: &Settings,
) -> Result<Provider, String> {
    let config: Config = read_config(config)?;
    let mut options = Options(config.extra_options);
    let named = options.text("custom_llm_provider")?;
    let (known, name) = named_provider(&model, named.as_deref())?;
    if options.0.contains_key("api_key") {
        return Err(
            "embedding config: extra_options must not contain api_key: put the key into an environment \
             variable of the worker, and its name into api_key_name"
                .to_owned(),
        );
    }
    for name in ["extra_headers", "headers"] {
        if options.0.contains_key(name) {
            return Err(format!(
                "embedding config: extra_options: {name} is not supported"
            ));
        }
    }
    OF_THE_LIBRARY
        .iter()
        .for_each(|name| drop(options.take(name)));
    if let Some(Value::Object(more)) = options.take("extra_body") {
        options.0.extend(more);
    }
    let mut asked = Asked {
        known,
        model: name.to_owned(),
        options,
        settings,
        key: config.api_key_name,
    };
    let made = match known.wire {
        Dialect::Azure => azure::wire(&mut asked),
        Dialect::Bedrock => bedrock::wire(&mut asked),
        Dialect::Cohere => cohere::wire(&mut asked),
        Dialect::Gemini => gemini::wire(&mut asked),
        Dialect::HuggingFace => huggingface::wire(&mut asked),
        Dialect::Ollama => ollama::wire(&mut asked),
        Dialect::OpenAi(dimensions) => openai(&mut asked, dimensions),
        Dialect::Vertex => vertex::wire(&mut asked),
        Dialect::Watsonx => watsonx::wire(&mut asked),
    }?;
    let tokens_of = match known.name {
        "azure" | "openai" => TokensOf::Cl100k,
        _ => TokensOf::Unknown,
    };
    Ok(Provider {
        account: Account {
            provider: known.name,
            base_url: made.base_url.as_str().to_owned(),
            secret: made.secret,
        },
        limits: RequestLimits {
            inputs: made.inputs,
            bytes: known.bytes,
        },
        tokens_of,
        tokens_max: None,
        if_unreachable: "check the network, and api_base in the extra_options of the vectorizer's embedding",
        prompts: Prompts::default(),
        keys: 1,
        wire: Wire::Http(Box::new(made.wire)),
        model,
        dimensions,
    })
}

/// The provider, and the model's name there.
fn named_provider<'m>(
    model: &'m str,
    named: Option<&str>,
) -> Result<(&'static Known, &'m str), String> {
    if let Some(known) = named.and_then(known::provider) {
        let prefix = format!("{}/", known.name);
        return Ok((known, model.strip_prefix(&prefix).unwrap_or(model)));
    }
    if let Some((prefix, name)) = model.split_once('/')
        && let Some(known) = known::provider(prefix)
        && !name.is_empty()
    {
        return Ok((known, name));
    }
    let begins = |(start, _): &&(&str, &str)| model.starts_with(start);
    let known = WITHOUT_PREFIX.iter().find(begins);
    if let Some(known) = known.and_then(|(_, name)| known::provider(name)) {
        return Ok((known, model));
    }
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    Err(format!(
        "this worker does not know the provider of the model {:?}: its name must begin with the name of a \
         provider and a slash; the providers are {}",
        cut(model),
        names.join(", ")
    ))
}

fn openai(asked: &mut Asked<'_>, dimensions: &'static str) -> Result<Made, String> {
    let base_url = asked.base_url()?;
    let secret = asked.key(&base_url)?;
    let mut body = asked.options.rest(dimensions);
    body.insert("model".to_owned(), asked.model.as_str().into());
    let credential = secret
        .clone()
        .map(|name| Credential::Key(Secret::bearer(name)));
    let mut wire = HttpWire::new(
        base_url.endpoint("embeddings")?,
        body,
        answer::OPENAI,
        credential,
    );
    wire.question = question(&wire.body);
    Ok(Made {
        wire,
        base_url,
        secret,
        inputs: asked.known.inputs,
    })
}

/// What is different if a question is embedded: whoever wants documents embedded as such wants questions
/// embedded as questions.
pub(super) fn question(body: &Map<String, Value>) -> Vec<(&'static str, Value)> {
    let forms = [
        ("input_type", "document", "query"),
        ("input_type", "passage", "query"),
        ("input_type", "search_document", "search_query"),
        ("task", "retrieval.passage", "retrieval.query"),
        ("taskType", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
        ("task_type", "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY"),
    ];
    let forms = forms
        .into_iter()
        .filter(|(name, document, _)| body.get(*name).and_then(Value::as_str) == Some(*document));
    forms.map(|(name, _, query)| (name, query.into())).collect()
}

impl Asked<'_> {
    /// The base URL: of the options, of the operator's environment, or the provider's own.
    pub(super) fn base_url(&mut self) -> Result<BaseUrl, String> {
        let given = self.options.text("api_base")?;
        let given = given.or(self.options.text("base_url")?);
        if let Some(url) = given {
            return BaseUrl::from_config(&url);
        }
        let variables = self.known.base_variables;
        if let Some(url) = self.settings.variable(variables) {
            return BaseUrl::from_operator(url);
        }
        if self.known.base_url.is_empty() {
            return Err(format!(
                "embedding config: the provider {} has no address of its own: put api_base into \
                 extra_options, or set {} for the worker",
                self.known.name,
                variables.join(" or ")
            ));
        }
        BaseUrl::from_operator(self.known.base_url)
    }

    /// The base URL that the vectorizer or the operator gives, otherwise this host of the provider's own.
    pub(super) fn base_url_or(&self, given: Option<String>, host: &str) -> Result<BaseUrl, String> {
        match (given, self.settings.variable(self.known.base_variables)) {
            (Some(url), _) => BaseUrl::from_config(&url),
            (None, Some(url)) => BaseUrl::from_operator(url),
            (None, None) => BaseUrl::from_operator(&format!("https://{host}")),
        }
    }

    /// The variable of the key that may be sent to this place; none if the provider is an own server and
    /// there is no key.
    pub(super) fn key(&self, place: &BaseUrl) -> Result<Option<String>, String> {
        let known = self.known;
        let is_optional = known.hosts.is_empty() || known.wire == Dialect::HuggingFace;
        let name = match self.key_name() {
            Some(name) => name,
            None if is_optional => return Ok(None),
            None => known
                .keys
                .first()
                .map(|name| (*name).to_owned())
                .unwrap_or_default(),
        };
        let refusal = self.settings.secrets.refusal(&name, place, known.hosts);
        refusal.map_or(Ok(Some(name)), Err)
    }

    /// The variable of the key: the one that the vectorizer names, or the provider's first one that is
    /// set.
    pub(super) fn key_name(&self) -> Option<String> {
        let present = &self.settings.secrets.present;
        let is_set = |name: &&&str| present.contains(**name);
        let set = || self.known.keys.iter().find(is_set);
        self.key
            .clone()
            .or_else(|| set().map(|name| (*name).to_owned()))
    }
}

impl Options {
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// An option that must be a text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!(
                "embedding config: extra_options: {name} must be a text"
            )),
        }
    }

    /// The other options, with the number of dimensions under this name.
    pub(super) fn rest(&mut self, dimensions: &str) -> Map<String, Value> {
        let wanted = self.take("dimensions");
        let mut rest = std::mem::take(&mut self.0);
        if let Some(wanted) = wanted {
            rest.insert(dimensions.to_owned(), wanted);
        }
        rest
    }
}

/// Percent-encodes a part of a path, but for letters, digits and the characters in `kept`.
pub(super) fn encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || kept.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Checks a text that becomes part of a host name or of a query.
pub(super) fn plain(what: &str, text: String) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !text.is_empty() && text.chars().all(is_part) {
        return Ok(text);
    }
    Err(format!(
        "embedding config: {what} must consist of letters, digits, dots and hyphens"
    ))
}

#[cfg(test)]
mod tests;
