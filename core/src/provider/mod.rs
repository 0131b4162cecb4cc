//! Embedding providers: how each is asked, what it may be asked at once, and what its answers mean.

mod answer;
mod local;
mod ollama;
mod openai;
mod optional;
mod refusal;
mod remaining;
mod voyage;
mod wait;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::Value;

use crate::call::Call;
use crate::cut::cut;
use crate::model::{ModelAnswer, ModelError, ModelRequest};
use crate::request::{Received, Request};
use crate::settings::Settings;
use crate::tokens;

pub(crate) use answer::BadAnswer;
use answer::Wanted;
pub(crate) use optional::refused as refused_parameters;
pub(crate) use refusal::{Refusal, brief, said};
pub(crate) use remaining::Remaining;
pub(crate) use wait::WAIT_MAX;

/// The provider of a vectorizer, from the `embedding` part of its config.
#[derive(Clone, Debug)]
pub(crate) enum Provider {
    Local(local::Local),
    Ollama(ollama::Ollama),
    OpenAi(openai::OpenAi),
    Voyage(voyage::Voyage),
}

/// The numbers of tokens of some texts.
#[derive(Debug)]
pub(crate) enum Tokens {
    Asked(ModelRequest),
    Counted(Vec<usize>),
}

/// What a text is embedded for: some models want to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// To be found.
    Document,
    /// To find others.
    Query,
}

/// What shares a throttle: one provider at one place, with one key.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Account {
    pub(crate) provider: &'static str,
    pub(crate) base_url: String,
    pub(crate) secret: Option<String>,
}

impl Account {
    /// Whether it is the worker's own process.
    pub(crate) const fn is_here(&self) -> bool {
        self.base_url.is_empty()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.provider)?;
        match self.base_url.as_str() {
            "" => Ok(()),
            url => write!(f, " at {url}"),
        }
    }
}

/// What one request may hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RequestLimits {
    pub(crate) inputs: usize,
    pub(crate) bytes: usize,
}

/// What an answer turned out to be.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The vectors, one for each input, in order.
    Vectors(Vec<Arc<[f32]>>),
    /// An answer that must not be used.
    Bad(BadAnswer),
    /// No.
    Refused(Refusal),
}

#[derive(Deserialize)]
struct Common {
    implementation: String,
    model: Option<String>,
    dimensions: Option<usize>,
}

impl Provider {
    /// Reads the `embedding` object of a config, and checks that its secret may be used.
    pub(crate) fn from_config(config: &Value, settings: &Settings) -> Result<Self, String> {
        let common: Common = serde_json::from_value(config.clone())
            .map_err(|error| format!("embedding config: {}", cut(&error.to_string())))?;
        let model = common
            .model
            .ok_or("embedding config: the model is missing")?;
        let dimensions = common
            .dimensions
            .filter(|dimensions| (1..=16_000).contains(dimensions))
            .ok_or("embedding config: dimensions must be between 1 and 16000")?;
        match common.implementation.as_str() {
            "ollama" => {
                ollama::Ollama::from_config(config, model, dimensions, settings).map(Self::Ollama)
            }
            "openai" => {
                openai::OpenAi::from_config(config, model, dimensions, settings).map(Self::OpenAi)
            }
            "sentence_transformers" => {
                Ok(Self::Local(local::Local::new(model, dimensions, settings)))
            }
            "voyageai" => {
                voyage::Voyage::from_config(config, model, dimensions, settings).map(Self::Voyage)
            }
            other => Err(format!(
                "this worker does not know the embedding implementation {:?}: \
                 it knows ollama, openai, sentence_transformers and voyageai",
                cut(other)
            )),
        }
    }

    pub(crate) const fn dimensions(&self) -> usize {
        match self {
            Self::Local(local) => local.dimensions,
            Self::Ollama(ollama) => ollama.dimensions,
            Self::OpenAi(openai) => openai.dimensions,
            Self::Voyage(voyage) => voyage.dimensions,
        }
    }

    pub(crate) fn model(&self) -> &str {
        match self {
            Self::Local(local) => &local.model,
            Self::Ollama(ollama) => &ollama.model,
            Self::OpenAi(openai) => &openai.model,
            Self::Voyage(voyage) => &voyage.model,
        }
    }

    pub(crate) fn account(&self) -> Account {
        match self {
            Self::Local(local) => local.account(),
            Self::Ollama(ollama) => ollama.account(),
            Self::OpenAi(openai) => openai.account(),
            Self::Voyage(voyage) => voyage.account(),
        }
    }

    pub(crate) const fn limits(&self) -> RequestLimits {
        match self {
            Self::Local(_) => local::LIMITS,
            Self::Ollama(_) => ollama::LIMITS,
            Self::OpenAi(_) => openai::LIMITS,
            Self::Voyage(_) => voyage::LIMITS,
        }
    }

    /// The call that embeds these texts, without the optional parameters of these names.
    pub(crate) fn call(
        &self,
        texts: &[Arc<str>],
        purpose: Purpose,
        timeout: Duration,
        without: &[&'static str],
    ) -> Call {
        match self {
            Self::Local(local) => Call::Model(local.request(texts, purpose)),
            Self::Ollama(ollama) => ollama.request(texts, timeout, without).into(),
            Self::OpenAi(openai) => openai.request(texts, timeout, without).into(),
            Self::Voyage(voyage) => voyage.request(texts, purpose, timeout, without).into(),
        }
    }

    /// Whether requests have this optional parameter.
    pub(crate) fn sends(&self, parameter: &str) -> bool {
        match self {
            Self::Local(_) => false,
            Self::Ollama(ollama) => ollama.sends(parameter),
            Self::OpenAi(openai) => openai.sends(parameter),
            Self::Voyage(voyage) => voyage.sends(parameter),
        }
    }

    /// What is sent in place of a text that is longer than the model takes, where neither the
    /// provider nor the model cuts it off.
    pub(crate) fn cut(&self, text: &str) -> Option<String> {
        match self {
            Self::OpenAi(openai) => openai.cut(text),
            Self::Local(_) | Self::Ollama(_) | Self::Voyage(_) => None,
        }
    }

    /// How many tokens each text has: counted here, or to be asked of the model.
    pub(crate) fn tokens(&self, texts: &[Arc<str>]) -> Tokens {
        match self {
            Self::Local(local) => Tokens::Asked(local.count_tokens(texts)),
            Self::Ollama(_) | Self::OpenAi(_) | Self::Voyage(_) => {
                let counts = texts.iter().map(|text| {
                    // A quarter of the bytes is what OpenAI's own estimate is (pgai#730).
                    tokens::count(text).unwrap_or_else(|| text.len().div_ceil(4))
                });
                Tokens::Counted(counts.collect())
            }
        }
    }

    /// What the numbers of [`tokens`](Self::tokens) are.
    pub(crate) fn token_measure(&self) -> &'static str {
        match self {
            Self::Local(_) => "counted by the model itself",
            Self::OpenAi(_) if tokens::count("").is_some() => "counted with cl100k_base",
            Self::Ollama(_) | Self::Voyage(_) if tokens::count("").is_some() => {
                "counted with OpenAI's cl100k_base, not with the model's own tokenizer"
            }
            Self::Ollama(_) | Self::OpenAi(_) | Self::Voyage(_) => {
                "estimated as a quarter of the bytes"
            }
        }
    }

    /// The request that makes the provider fetch its model, where it can.
    pub(crate) fn pull(&self, timeout: Duration) -> Option<Request> {
        match self {
            Self::Ollama(ollama) => Some(ollama.pull(timeout)),
            Self::Local(_) | Self::OpenAi(_) | Self::Voyage(_) => None,
        }
    }

    /// What to do where no connection can be made.
    pub(crate) const fn if_unreachable(&self) -> &'static str {
        match self {
            Self::Ollama(_) => "start Ollama (`ollama serve`), or say with OLLAMA_HOST where it is",
            Self::OpenAi(_) => {
                "check the base_url of the vectorizer's embedding or OPENAI_BASE_URL, and the network"
            }
            // Which cannot be out of reach.
            Self::Local(_) => "",
            Self::Voyage(_) => "check the network, and VOYAGE_BASE_URL if it is set",
        }
    }

    /// What to do where the provider does not have the model.
    pub(crate) fn if_model_is_missing(&self) -> String {
        let check = "check the model's name in the vectorizer's embedding";
        match self {
            Self::Ollama(ollama) => format!("{check}, or run `ollama pull {}`", ollama.model),
            Self::Local(_) | Self::OpenAi(_) | Self::Voyage(_) => check.to_owned(),
        }
    }

    /// What an answer to a request for `count` texts means. `wall` is the time since 1970.
    pub(crate) fn judge(&self, answer: Received, count: usize, wall: Duration) -> Verdict {
        let Received { response, vectors } = answer;
        if !response.status().is_success() {
            return Verdict::Refused(Refusal::from_response(&response, wall));
        }
        Verdict::from(vectors.unwrap_or_else(|| self.reader(count).read(response.body())))
    }

    /// What reads the answer to a request for `count` texts.
    fn reader(&self, count: usize) -> Reader {
        Reader {
            wire: match self {
                Self::Ollama(_) => Wire::Ollama,
                Self::Local(_) | Self::OpenAi(_) | Self::Voyage(_) => Wire::OpenAi,
            },
            wanted: Wanted {
                count,
                dimensions: self.dimensions(),
            },
        }
    }

    /// What a local model's answer to a request for `count` texts means.
    pub(crate) fn judge_model(
        &self,
        answer: Result<ModelAnswer, ModelError>,
        count: usize,
    ) -> Verdict {
        match answer {
            Ok(answer) => Verdict::from(
                local::vectors(answer)
                    .and_then(|vectors| answer::check(vectors, count, self.dimensions())),
            ),
            Err(ModelError::Broken(reason)) => Verdict::Refused(Refusal::Failed {
                reason,
                is_busy: false,
                after: None,
            }),
            Err(ModelError::Input(reason)) => Verdict::Refused(Refusal::Inputs(reason)),
            Err(ModelError::Model(reason)) => Verdict::Refused(Refusal::Vectorizer(reason)),
        }
    }
}

impl From<Result<Vec<Arc<[f32]>>, BadAnswer>> for Verdict {
    fn from(vectors: Result<Vec<Arc<[f32]>>, BadAnswer>) -> Self {
        match vectors {
            Ok(vectors) => Self::Vectors(vectors),
            Err(bad) => Self::Bad(bad),
        }
    }
}

/// Reads the vectors of an answer that is no refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    wire: Wire,
    wanted: Wanted,
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug)]
enum Wire {
    Ollama,
    OpenAi,
}

impl Reader {
    /// The vectors, one for each text, in order.
    pub(crate) fn read(self, body: &[u8]) -> Result<Vec<Arc<[f32]>>, BadAnswer> {
        let vectors = match self.wire {
            Wire::Ollama => ollama::vectors(body, self.wanted),
            Wire::OpenAi => openai::vectors(body, self.wanted),
        };
        answer::check(vectors?, self.wanted.count, self.wanted.dimensions)
    }
}

/// Leaves these parameters out of a body.
fn leave_out(body: &mut serde_json::Map<String, Value>, without: &[&'static str]) {
    for name in without {
        body.remove(*name);
    }
}

/// A POST with a JSON body. The URL was checked when the provider was made.
struct Post<'a> {
    url: &'a http::Uri,
    body: Value,
    secret: Option<String>,
    timeout: Duration,
}

/// No answer that has no vectors in it is longer.
const OTHER_BYTES_MAX: usize = 64 * 1024;

impl Post<'_> {
    /// It asks for vectors.
    fn embedding(self, wire: Wire, count: usize, dimensions: usize) -> Request {
        let wanted = Wanted { count, dimensions };
        self.request(wanted.bytes_max(), Some(Reader { wire, wanted }))
    }

    /// It asks for something else.
    fn other(self) -> Request {
        self.request(OTHER_BYTES_MAX, None)
    }

    fn request(self, answer_bytes_max: usize, reader: Option<Reader>) -> Request {
        let mut http = http::Request::new(self.body.to_string().into_bytes());
        *http.method_mut() = http::Method::POST;
        *http.uri_mut() = self.url.clone();
        let headers = http.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let packed = HeaderValue::from_static("gzip, deflate");
        headers.insert(header::ACCEPT_ENCODING, packed);
        Request {
            http,
            secret: self.secret,
            timeout: self.timeout,
            answer_bytes_max,
            reader,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        let mut settings = Settings::new("test");
        settings.secrets.names = vec!["*_API_KEY".to_owned()];
        settings.secrets.present.insert("OPENAI_API_KEY".to_owned());
        settings
    }

    fn request(provider: &Provider, texts_sent: &[&str], purpose: Purpose) -> Request {
        match provider.call(&texts(texts_sent), purpose, Duration::from_secs(1), &[]) {
            Call::Http(request) => *request,
            other @ (Call::Compute(_) | Call::Model(_)) => panic!("{other:?}"),
        }
    }

    fn texts(texts: &[&str]) -> Vec<Arc<str>> {
        texts.iter().map(|text| Arc::from(*text)).collect()
    }

    fn response(status: u16, body: &str) -> Received {
        let mut response = http::Response::new(body.as_bytes().to_vec());
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response.into()
    }

    #[test]
    fn ollama_is_asked_at_the_address_of_the_environment_first() {
        let config = json!({"implementation": "ollama", "model": "m", "dimensions": 2,
            "base_url": "http://config:1", "keep_alive": "5m", "options": {"num_ctx": 64}});
        for (host, url) in [
            (None, "http://config:1/api/embed"),
            (Some("http://env:2/"), "http://env:2/api/embed"),
            (Some("env"), "http://env:11434/api/embed"),
            (Some("env:3"), "http://env:3/api/embed"),
            (Some("https://env"), "https://env/api/embed"),
        ] {
            let settings = Settings {
                ollama_host: host.map(str::to_owned),
                ..settings()
            };
            let provider = Provider::from_config(&config, &settings).unwrap();
            let request = request(&provider, &["a", "b"], Purpose::Document);
            assert_eq!(request.http.uri().to_string(), url);
            let body: Value = serde_json::from_slice(request.http.body()).unwrap();
            assert_eq!(
                body,
                json!({"model": "m", "input": ["a", "b"], "keep_alive": "5m", "options": {"num_ctx": 64}})
            );
        }
    }

    #[test]
    fn openai_is_asked_for_base64_and_takes_both_forms() {
        let config = json!({"implementation": "openai", "model": "text-embedding-3-small", "dimensions": 2,
            "api_key_name": "OPENAI_API_KEY", "user": "u"});
        let provider = Provider::from_config(&config, &settings()).unwrap();
        let request = request(&provider, &["a"], Purpose::Document);
        assert_eq!(request.http.uri(), "https://api.openai.com/v1/embeddings");
        assert_eq!(request.secret.as_deref(), Some("OPENAI_API_KEY"));
        let body: Value = serde_json::from_slice(request.http.body()).unwrap();
        assert_eq!(
            body,
            json!({"model": "text-embedding-3-small", "input": ["a"], "dimensions": 2, "user": "u",
                "encoding_format": "base64"})
        );
        for embedding in ["[1.5, -2]", "\"AADAPwAAAMA=\""] {
            let body = format!(r#"{{"data": [{{"index": 0, "embedding": {embedding}}}]}}"#);
            let Verdict::Vectors(vectors) = provider.judge(response(200, &body), 1, Duration::ZERO)
            else {
                panic!("{body}")
            };
            assert_eq!(*vectors[0], [1.5, -2.0]);
        }
    }

    #[test]
    fn vectors_come_in_the_order_of_their_index() {
        let config = json!({"implementation": "openai", "model": "m", "dimensions": 1});
        let provider = Provider::from_config(&config, &settings()).unwrap();
        let body =
            r#"{"data": [{"index": 1, "embedding": [1]}, {"index": 0, "embedding": [0.5]}]}"#;
        let Verdict::Vectors(vectors) = provider.judge(response(200, body), 2, Duration::ZERO)
        else {
            panic!()
        };
        assert_eq!((vectors[0][0], vectors[1][0]), (0.5, 1.0));
        let twice =
            r#"{"data": [{"index": 1, "embedding": [1]}, {"index": 1, "embedding": [0.5]}]}"#;
        assert!(matches!(
            provider.judge(response(200, twice), 2, Duration::ZERO),
            Verdict::Bad(_)
        ));
    }

    #[test]
    fn an_answer_that_does_not_fit_is_not_used() {
        let config = json!({"implementation": "ollama", "model": "m", "dimensions": 2});
        let provider = Provider::from_config(&config, &settings()).unwrap();
        for (body, dimensions) in [
            (r#"{"embeddings": [[1, 2]]}"#, false),
            (r#"{"embeddings": [[1, 2], [1, 2], [1, 2]]}"#, false),
            (r#"{"embeddings": [[1, 2], [1, 2, 3]]}"#, true),
            (r#"{"embeddings": [[1, 2], [1, null]]}"#, false),
            (r#"{"embeddings": [[1, 2], [1, 1e60]]}"#, false),
            (r#"{"embeddings": [[1, 2], [1, "#, false),
            ("", false),
        ] {
            let Verdict::Bad(bad) = provider.judge(response(200, body), 2, Duration::ZERO) else {
                panic!("{body}")
            };
            assert_eq!(
                matches!(bad, BadAnswer::Dimensions { .. }),
                dimensions,
                "{body}"
            );
        }
    }

    #[test]
    fn a_bad_address_is_refused_before_anything_is_sent() {
        for base_url in ["ftp://x", "nonsense", "http://", ""] {
            let config = json!({"implementation": "openai", "model": "m", "dimensions": 2, "base_url": base_url});
            let error = Provider::from_config(&config, &settings()).unwrap_err();
            assert!(error.contains("base_url"), "{error}");
        }
    }
}
