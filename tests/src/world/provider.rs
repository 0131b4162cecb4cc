//! The model provider: the vector of a text is a hash of the text.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use pgai_core::{CallTicket, Request, RequestError, Response};
use serde_json::{Value, json};

use super::Coverage;
use super::database::DIMENSIONS;
use super::entropy::Entropy;
use super::mutant::Mutant;
use crate::stub::vector_of;

/// The word that a provider may refuse.
const POISON: &str = "cow";

/// What it says then.
const REFUSAL: &str = "no such word";

/// And what it says when it refuses whatever is sent.
pub(super) const REFUSAL_OF_ALL: &str = "no such parameter";

/// The word that may make the provider fail.
const STUMBLING: &str = "bee";

/// What it says then, where it says anything.
const STUMBLED: &str = "EOF";

/// What it says while it is down.
pub(super) const OUTAGE: &str = "gone";

/// How a provider fails at a text, without a word about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stumble {
    /// 502, by a proxy.
    BadGateway,
    /// 500, as Ollama says when its runner has crashed.
    Eof,
    /// The connection breaks.
    Reset,
    /// No answer in time.
    Timeout,
    /// 503, by a proxy.
    Unavailable,
}

impl Stumble {
    pub(super) const ALL: [Self; 5] = [
        Self::BadGateway,
        Self::Eof,
        Self::Reset,
        Self::Timeout,
        Self::Unavailable,
    ];

    fn answer(self) -> Result<Response, RequestError> {
        match self {
            Self::BadGateway => Ok(refusal(StatusCode::BAD_GATEWAY, STUMBLED)),
            Self::Eof => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, STUMBLED)),
            Self::Reset => Err(RequestError::Broken(STUMBLED.to_owned())),
            Self::Timeout => Err(RequestError::Timeout),
            Self::Unavailable => Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, STUMBLED)),
        }
    }
}

/// Whether a text makes the provider fail, where texts do.
pub(super) fn is_stumbling(text: &str) -> bool {
    text.split(' ').any(|word| word == STUMBLING)
}

/// How an answer can fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// 429, with the time to wait.
    Busy,
    /// 429, without.
    BusyForHowLong,
    /// The body ends in the middle.
    Cut,
    /// 503.
    Down,
    /// There is no body.
    Empty,
    /// 500.
    ErrorInside,
    /// A component is too large for a float.
    Infinite,
    /// A component is not there.
    Null,
    /// No answer in time.
    Timeout,
    /// A vector is missing.
    TooFew,
    /// A vector nobody asked for.
    TooMany,
    /// The last vector is too long.
    WrongDimensions,
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::Busy,
        Self::BusyForHowLong,
        Self::Cut,
        Self::Down,
        Self::Empty,
        Self::ErrorInside,
        Self::Infinite,
        Self::Null,
        Self::Timeout,
        Self::TooFew,
        Self::TooMany,
        Self::WrongDimensions,
    ];

    /// Whether it looks as if the provider were down.
    pub(super) const fn is_of_an_outage(self) -> bool {
        matches!(self, Self::Down | Self::ErrorInside | Self::Timeout)
    }

    /// Those that one world has: any of them, or one.
    pub(super) fn some(entropy: &mut Entropy<'_>) -> Vec<Self> {
        let only = entropy.index(Self::ALL.len());
        if entropy.chance(2) {
            return vec![Self::ALL[only]];
        }
        let mut some = Self::ALL.to_vec();
        some.retain(|_| entropy.chance(2));
        some
    }

    /// What becomes of a good answer.
    fn apply(self, body: &mut Value) -> Response {
        let vectors = body["embeddings"].as_array_mut();
        let vectors = vectors.expect("an answer has vectors");
        let last = vectors.len() - 1;
        match self {
            Self::Busy => {
                let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, "busy");
                let seconds = HeaderValue::from_static("2");
                response.headers_mut().insert(RETRY_AFTER, seconds);
                return response;
            }
            Self::BusyForHowLong => return refusal(StatusCode::TOO_MANY_REQUESTS, "busy"),
            Self::Cut => {
                let text = body.to_string();
                return Response::new(text.as_bytes()[..text.len() / 2].to_vec());
            }
            Self::Down => return refusal(StatusCode::SERVICE_UNAVAILABLE, "down"),
            Self::Empty => return Response::default(),
            Self::ErrorInside => return refusal(StatusCode::INTERNAL_SERVER_ERROR, "oh"),
            Self::Infinite => vectors[last][0] = json!(1e300),
            Self::Null => vectors[last][0] = Value::Null,
            Self::Timeout => unreachable!("there is no answer"),
            Self::TooFew => drop(vectors.pop()),
            Self::TooMany => vectors.push(vectors[last].clone()),
            Self::WrongDimensions => vectors[last] = json!([1.0, 0.0, 0.0]),
        }
        Response::new(body.to_string().into_bytes())
    }
}

/// How the provider is just now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mood {
    /// The request or its answer is lost.
    pub(super) lose: bool,
    /// The answer fails.
    pub(super) fault: Option<Fault>,
    /// A certain word is refused.
    pub(super) poison: bool,
    /// Every request is refused.
    pub(super) refuse_all: bool,
    /// A certain word makes it fail.
    pub(super) stumble: Option<Stumble>,
    /// It is down.
    pub(super) down: bool,
    pub(super) mutant: Option<Mutant>,
}

/// A request on its way.
pub(super) struct Asked {
    pub(super) ticket: CallTicket,
    pub(super) model: String,
    pub(super) texts: Vec<String>,
    pub(super) request: Request,
    pub(super) at: Duration,
}

impl Asked {
    pub(super) fn new(ticket: CallTicket, request: Request, at: Duration) -> Self {
        let (model, texts) = question(&request);
        Self {
            ticket,
            model,
            texts,
            request,
            at,
        }
    }

    pub(super) fn answer(
        &self,
        mood: Mood,
        coverage: &mut Coverage,
    ) -> Result<Response, RequestError> {
        if mood.lose {
            coverage.refused += 1;
            return Err(RequestError::Broken("lost".to_owned()));
        }
        // A provider that takes the probe, and nothing else, makes its own refusal look like the
        // rows'.
        let takes_probe = mood.mutant == Some(Mutant::ProbeIsTaken);
        let is_probe = takes_probe && self.texts.iter().any(|text| text == "probe");
        let is_asked_for_proof = self.texts.iter().any(|text| text == "probe");
        let outage_takes_probe =
            mood.mutant == Some(Mutant::OutageTakesProbes) && is_asked_for_proof;
        if mood.down && !outage_takes_probe {
            coverage.refused += 1;
            return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, OUTAGE));
        }
        if let Some(stumble) = mood.stumble {
            // Where it fails at the probe, too, nothing shows that it is the text's fault.
            let probe_fails =
                mood.mutant == Some(Mutant::ProbesFailWithTexts) && is_asked_for_proof;
            if probe_fails || self.texts.iter().any(|text| is_stumbling(text)) {
                coverage.stumbled += 1;
                return stumble.answer();
            }
        }
        if mood.refuse_all && !is_probe {
            coverage.refused += 1;
            return Ok(refusal(StatusCode::BAD_REQUEST, REFUSAL_OF_ALL));
        }
        if mood.poison && self.texts.iter().any(|text| text == POISON) {
            coverage.poisoned += 1;
            return Ok(refusal(StatusCode::BAD_REQUEST, REFUSAL));
        }
        if mood.fault == Some(Fault::Timeout) {
            coverage.refused += 1;
            return Err(RequestError::Timeout);
        }
        let mut body = body_for(&self.model, &self.texts);
        if mood.mutant == Some(Mutant::ProviderMixesUpAnswers)
            && let Some(vectors) = body["embeddings"].as_array_mut()
            && vectors.len() > 1
        {
            vectors.rotate_left(1);
        }
        match mood.fault {
            Some(fault) => {
                coverage.refused += 1;
                Ok(fault.apply(&mut body))
            }
            None => Ok(Response::new(body.to_string().into_bytes())),
        }
    }
}

fn refusal(status: StatusCode, reason: &str) -> Response {
    let mut response = Response::new(reason.as_bytes().to_vec());
    *response.status_mut() = status;
    response
}

fn body_for(model: &str, texts: &[String]) -> Value {
    let vectors: Vec<_> = texts.iter().map(|text| vector_for(model, text)).collect();
    let vectors: Vec<_> = vectors.iter().map(|vector| &vector[..]).collect();
    json!({ "embeddings": vectors })
}

/// The vector that a model gives a text.
pub(super) fn vector_for(model: &str, text: &str) -> Arc<[f32]> {
    vector_of(&format!("{model}: {text}"), DIMENSIONS).into()
}

/// What a provider that works says to a request.
pub(super) fn embedded(request: &Request) -> Response {
    let (model, texts) = question(request);
    Response::new(body_for(&model, &texts).to_string().into_bytes())
}

/// The model and the texts of a request.
fn question(request: &Request) -> (String, Vec<String>) {
    let body: Value = serde_json::from_slice(request.http.body()).expect("a request is JSON");
    let text = |text: &Value| text.as_str().expect("a text").to_owned();
    let texts = body["input"].as_array().map(Vec::as_slice);
    let texts = texts.unwrap_or_default().iter().map(text).collect();
    (text(&body["model"]), texts)
}

/// Whether a row may have been given up for this: what the provider said of the row's own text, or
/// that it never had a vector for it. What it says of every text it says of this one only around the
/// moment when it begins or ceases to; the ledger counts how often that can be.
pub(super) fn is_about_a_row(reason: &str, faults: &[Fault]) -> bool {
    let of_answers = faults.iter().any(|fault| match fault {
        Fault::Cut | Fault::Empty | Fault::Null => reason.contains("answer cannot be read"),
        Fault::Infinite => reason.contains("NaN or infinity"),
        Fault::TooFew | Fault::TooMany => reason.contains("answered with"),
        Fault::Busy
        | Fault::BusyForHowLong
        | Fault::Down
        | Fault::ErrorInside
        | Fault::Timeout
        | Fault::WrongDimensions => false,
    });
    reason.contains(REFUSAL) || reason.contains(REFUSAL_OF_ALL) || of_answers
}
