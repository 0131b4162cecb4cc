//! Embedding providers: the format of their requests, their limits, and the meaning of their
//! answers.
//!
//! A [`Provider`] is data: its file reads the configuration and fills in the fields, and everything
//! below works on these.

mod answer;
mod azure;
mod bedrock;
mod cohere;
mod gemini;
mod huggingface;
mod known;
mod litellm;
mod local;
mod ollama;
mod openai;
mod optional;
mod prices;
#[cfg(test)]
mod recorded;
mod refusal;
mod remaining;
mod rerank;
mod size;
mod token;
mod vertex;
mod voyage;
mod wait;
mod watsonx;
mod wire;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::Call;
use crate::cut::cut;
use crate::model::{self, ModelAnswer, ModelError, ModelRequest, Tokenizer};
use crate::request::{Received, Request};
use crate::settings::Settings;
use crate::tokens;

use answer::Wanted;
pub(crate) use answer::{BadAnswer, Reader, Vectors};
pub(crate) use known::{hosts_of_key, is_signing, variables};
pub(crate) use optional::refused as refused_parameters;
pub use prices::Prices;
pub(crate) use prices::{Price, shown};
pub(crate) use refusal::{Refusal, brief, said};
pub(crate) use remaining::Remaining;
pub(crate) use rerank::{Reranker, order};
pub(crate) use size::{SizeLimit, exceeded, named as limit_named};
pub(crate) use token::IssuedToken;
pub(crate) use wait::WAIT_MAX;
use wire::HttpWire;

/// The provider of a vectorizer, from the `embedding` part of its config.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) model: String,
    pub(crate) dimensions: usize,
    account: Account,
    pub(crate) limits: RequestLimits,
    tokens_of: TokensOf,
    /// Longer texts are truncated here to this many tokens, because neither the provider nor the
    /// model does it.
    tokens_max: Option<usize>,
    /// What stands before each text that is embedded, and is not stored.
    prompts: Prompts,
    /// Advice if no connection can be made.
    pub(crate) if_unreachable: &'static str,
    /// How many keys there are, to be used in turn.
    pub(crate) keys: usize,
    wire: Wire,
}

/// The page with a server's limits comes at once, or is not waited for.
const INFO_TIMEOUT: Duration = Duration::from_secs(10);

/// How a provider is called.
#[derive(Clone, Debug)]
enum Wire {
    Http(Box<HttpWire>),
    /// In the worker process.
    Model {
        models_dir: Option<String>,
    },
}

/// What a model wants to see before a text.
#[derive(Clone, Debug, Default, Deserialize)]
struct Prompts {
    document_prompt: Option<String>,
    query_prompt: Option<String>,
}

impl Prompts {
    fn of(&self, purpose: Purpose) -> Option<&str> {
        let prompt = match purpose {
            Purpose::Document => &self.document_prompt,
            Purpose::Query => &self.query_prompt,
        };
        prompt.as_deref().filter(|prompt| !prompt.is_empty())
    }
}

/// Whose tokens a model has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TokensOf {
    Cl100k,
    /// Those of the model in this process.
    Model,
    Unknown,
}

/// The purpose of a text; some models need it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// A stored text.
    Document,
    /// A search text.
    Query,
}

/// The identity for a throttle: one provider at one place, with one key.
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

/// The limits of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RequestLimits {
    pub(crate) inputs: usize,
    pub(crate) bytes: usize,
}

/// The meaning of an answer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The vectors, one for each input, in order.
    Vectors(Vectors),
    /// An invalid answer.
    Bad(BadAnswer),
    /// The provider rejected the request.
    Refused(Refusal),
}

/// The fields of every `embedding` object.
struct Common {
    model: String,
    dimensions: usize,
}

/// Reads the fields of the `embedding` object of a config that a provider needs.
fn read_config<T: DeserializeOwned>(config: &Value) -> Result<T, String> {
    serde_json::from_value(config.clone())
        .map_err(|error| format!("embedding config: {}", cut(&error.to_string())))
}

impl Provider {
    /// Reads the `embedding` object of a config, and checks that its secret may be used.
    pub(crate) fn from_config(config: &Value, settings: &Settings) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Any {
            implementation: String,
            model: Option<String>,
            dimensions: Option<usize>,
        }
        let any: Any = read_config(config)?;
        let common = Common {
            model: any.model.ok_or("embedding config: the model is missing")?,
            dimensions: any
                .dimensions
                .filter(|dimensions| (1..=16_000).contains(dimensions))
                .ok_or("embedding config: dimensions must be between 1 and 16000")?,
        };
        let provider = match any.implementation.as_str() {
            "litellm" => litellm::provider(config, common, settings),
            "ollama" => ollama::provider(config, common, settings),
            "openai" => openai::provider(config, common, settings),
            "sentence_transformers" => Ok(local::provider(common, settings)),
            "voyageai" => voyage::provider(config, common, settings),
            other => Err(format!(
                "this worker does not know the embedding implementation {:?}: \
                 it knows litellm, ollama, openai, sentence_transformers and voyageai",
                cut(other)
            )),
        };
        let keys = |secret: &String| settings.secrets.keys.get(secret).copied();
        let prompts = read_config(config)?;
        provider.map(|provider| Self {
            prompts,
            keys: provider.account.secret.as_ref().and_then(keys).unwrap_or(1),
            ..provider
        })
    }

    pub(crate) fn account(&self) -> Account {
        self.account.clone()
    }

    /// The call that embeds these texts, without the optional parameters of these names.
    pub(crate) fn call(
        &self,
        texts: &[Arc<str>],
        purpose: Purpose,
        timeout: Duration,
        without: &[&'static str],
    ) -> Call {
        let prompted = self.prompted(texts, purpose);
        let texts = &*prompted;
        let wire = match &self.wire {
            Wire::Http(wire) => wire,
            Wire::Model { .. } => {
                let wanted = match purpose {
                    // The model's own prompt is for questions that have none yet.
                    Purpose::Query if self.prompts.of(purpose).is_none() => model::Wanted::Queries,
                    Purpose::Document | Purpose::Query => model::Wanted::Documents,
                };
                return Call::Model(self.model_request(texts, wanted));
            }
        };
        let reader = self.reader(wire, texts.len());
        wire.request(texts, purpose, timeout, without, reader)
            .into()
    }

    /// The texts as they are sent: with the prompt for this purpose.
    pub(crate) fn prompted<'a>(
        &self,
        texts: &'a [Arc<str>],
        purpose: Purpose,
    ) -> Cow<'a, [Arc<str>]> {
        let Some(prompt) = self.prompts.of(purpose) else {
            return Cow::Borrowed(texts);
        };
        let texts = texts
            .iter()
            .map(|text| Arc::from(format!("{prompt}{text}")));
        Cow::Owned(texts.collect())
    }

    /// Whether requests need a token.
    pub(crate) fn wants_token(&self) -> bool {
        match &self.wire {
            Wire::Http(wire) => wire.token.is_some(),
            Wire::Model { .. } => false,
        }
    }

    /// The request for a token, if this provider wants one before anything else.
    pub(crate) fn token_request(&self, timeout: Duration) -> Option<Request> {
        match &self.wire {
            Wire::Http(wire) => wire.token(timeout),
            Wire::Model { .. } => None,
        }
    }

    fn model_request(&self, texts: &[Arc<str>], wanted: model::Wanted) -> ModelRequest {
        let models_dir = match &self.wire {
            Wire::Http(_) => None,
            Wire::Model { models_dir } => models_dir.clone(),
        };
        ModelRequest {
            model: self.model.clone(),
            models_dir,
            wanted,
            texts: texts.to_vec(),
        }
    }

    /// Whether requests have this optional parameter.
    pub(crate) fn sends(&self, parameter: &str) -> bool {
        match &self.wire {
            Wire::Http(wire) => wire.sends(parameter),
            Wire::Model { .. } => false,
        }
    }

    /// The truncated text that is sent if a text is longer than the model's limit, and neither
    /// the provider nor the model truncates it.
    pub(crate) fn cut(&self, text: &str) -> Option<String> {
        tokens::cut(text, self.tokens_max?)
    }

    /// The number of tokens of a text, by the model's own tokenizer if there is one here.
    pub(crate) fn count_tokens(&self, text: &str, tokenizer: Option<&Tokenizer>) -> usize {
        match tokenizer {
            Some(tokenizer) => (tokenizer.count)(text) + tokenizer.added,
            // A quarter of the bytes is what OpenAI's own estimate is (pgai#730).
            None => tokens::count(text).unwrap_or_else(|| text.len().div_ceil(4)),
        }
    }

    /// The request for the model's own tokenizer, if the model runs in this process.
    pub(crate) fn tokenizer_request(&self) -> Option<ModelRequest> {
        let is_here = self.tokens_of == TokensOf::Model;
        is_here.then(|| self.model_request(&[], model::Wanted::Tokenizer))
    }

    /// The unit of [`count_tokens`](Self::count_tokens).
    pub(crate) fn token_measure(&self) -> &'static str {
        match (self.tokens_of, tokens::count("")) {
            (TokensOf::Model, _) => "counted by the model itself",
            (TokensOf::Cl100k, Some(_)) => "counted with cl100k_base",
            (TokensOf::Unknown, Some(_)) => {
                "counted with OpenAI's cl100k_base, not with the model's own tokenizer"
            }
            (TokensOf::Cl100k | TokensOf::Unknown, None) => "estimated as a quarter of the bytes",
        }
    }

    /// Whether the server has a page with its limits.
    pub(crate) fn has_info(&self) -> bool {
        matches!(&self.wire, Wire::Http(wire) if wire.info.is_some())
    }

    /// The request for the limits of the server, if it has such a page.
    pub(crate) fn info_request(&self) -> Option<Request> {
        match &self.wire {
            Wire::Http(wire) => wire.info(INFO_TIMEOUT),
            Wire::Model { .. } => None,
        }
    }

    /// The request that makes the provider pull its model, if it can.
    pub(crate) fn pull(&self, timeout: Duration) -> Option<Request> {
        let Wire::Http(wire) = &self.wire else {
            return None;
        };
        wire.pull(&self.model, timeout)
    }

    /// Advice if the provider does not have the model.
    pub(crate) fn if_model_is_missing(&self) -> String {
        let check = "check the model's name in the vectorizer's embedding";
        match self.account.provider {
            "ollama" => format!("{check}, or run `ollama pull {}`", self.model),
            _ => check.to_owned(),
        }
    }

    /// What an answer to a request for `count` texts means. `wall` is the time since 1970.
    pub(crate) fn judge(&self, answer: Received, count: usize, wall: Duration) -> Verdict {
        let Received {
            response, vectors, ..
        } = answer;
        if !response.status().is_success() {
            return Verdict::Refused(Refusal::from_response(&response, wall, &self.place()));
        }
        let read = || match &self.wire {
            Wire::Http(wire) => self.reader(wire, count).read(response.body()),
            Wire::Model { .. } => Err(BadAnswer::Unreadable("no provider was called".to_owned())),
        };
        match vectors.unwrap_or_else(read) {
            // Some servers report an error with a status of success.
            Err(BadAnswer::Error(error)) => {
                Verdict::Refused(Refusal::from_response(&error, wall, &self.place()))
            }
            vectors => Verdict::from(vectors),
        }
    }

    /// The address that is asked, for messages.
    fn place(&self) -> String {
        match &self.wire {
            Wire::Http(wire) => wire.place(),
            Wire::Model { .. } => String::new(),
        }
    }

    /// What reads the answer to a request for `count` texts.
    const fn reader(&self, wire: &HttpWire, count: usize) -> Reader {
        Reader {
            format: wire.answer,
            wanted: Wanted {
                count,
                dimensions: self.dimensions,
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
                    .and_then(|vectors| answer::check(vectors, count, self.dimensions))
                    .map(|vectors| Vectors {
                        vectors,
                        tokens: None,
                    }),
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

impl From<Result<Vectors, BadAnswer>> for Verdict {
    fn from(vectors: Result<Vectors, BadAnswer>) -> Self {
        match vectors {
            Ok(vectors) => Self::Vectors(vectors),
            Err(bad) => Self::Bad(bad),
        }
    }
}

#[cfg(test)]
mod tests;
