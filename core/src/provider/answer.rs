//! Reads answers no further than what was requested, and checks them.

mod path;
mod read;

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use crate::request::Response;
pub(super) use path::{
    AnswerFormat, BARE, COHERE, GEMINI, NOVA, OLLAMA, ONE_CONTENT, OPENAI, TITAN, VERTEX, WATSONX,
};
use read::{Numbers, Reading, read};

/// What a request wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Vectors.
    pub(super) count: usize,
    /// Components of each.
    pub(super) dimensions: usize,
}

/// The vectors of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Vectors {
    /// One for each text, in order.
    pub(crate) vectors: Vec<Arc<[f32]>>,
    /// The number of tokens that the provider has counted, if it says so.
    pub(crate) tokens: Option<u64>,
}

/// Reads the vectors of an answer that is no refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(super) format: AnswerFormat,
    pub(super) wanted: Wanted,
}

impl Reader {
    /// The vectors, one for each text, in order.
    pub(crate) fn read(self, body: &[u8]) -> Result<Vectors, BadAnswer> {
        let (vectors, tokens) = match path::vectors(body, self.format, self.wanted) {
            Err(bad @ BadAnswer::Unreadable(_)) => return Err(error_within(body).unwrap_or(bad)),
            read => read?,
        };
        let vectors = check(vectors, self.wanted.count, self.wanted.dimensions)?;
        Ok(Vectors { vectors, tokens })
    }

    /// A valid answer is not longer.
    pub(super) const fn bytes_max(self) -> usize {
        self.wanted.bytes_max()
    }
}

/// A longer answer is no error.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// The error that a server reports with a status of success, such as OpenRouter.
fn error_within(body: &[u8]) -> Option<BadAnswer> {
    if body.len() > ERROR_BYTES_MAX {
        return None;
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error").filter(|error| !error.is_null())?;
    let code = [
        &error["code"],
        &error["status"],
        &value["code"],
        &value["status"],
    ];
    let number = |code: &Value| code.as_u64().or_else(|| code.as_str()?.parse().ok());
    let code = code.into_iter().find_map(number);
    let status = code.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
    let is_error = |status: &StatusCode| status.is_client_error() || status.is_server_error();
    let mut response = Response::new(body.to_vec());
    *response.status_mut() = status
        .filter(is_error)
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Some(BadAnswer::Error(Box::new(response)))
}

/// The length of a component as text with its separator: the longest number has 24 bytes, and some
/// servers indent.
const NUMBER_BYTES: usize = 40;
/// The length of the text around one vector.
const VECTOR_BYTES: usize = 1024;
/// The length of the text around all vectors. A whole vector of any length fits, so the error can
/// contain its length.
const AROUND_BYTES: usize = 512 * 1024;

impl Wanted {
    const fn bytes_max(self) -> usize {
        let vector = self
            .dimensions
            .saturating_mul(NUMBER_BYTES)
            .saturating_add(VECTOR_BYTES);
        self.count
            .saturating_mul(vector)
            .saturating_add(AROUND_BYTES)
    }
}

/// Why an answer is invalid.
#[derive(Clone, Debug)]
pub(crate) enum BadAnswer {
    /// The number of vectors differs from the number of texts; surplus vectors are not counted.
    Count { wanted: usize, got: usize },
    /// The dimensions differ from the store's: the error is in the vectorizer or the model.
    Dimensions { wanted: usize, got: usize },
    /// An error, as if it had come with its own status.
    Error(Box<Response>),
    /// A vector with a component that is infinite or not a number.
    NotFinite,
    /// Two vectors for one text, or one for a text that was not sent.
    Order,
    /// Longer than this many bytes, and not valid up to there.
    TooLong(usize),
    /// A vector of zeros: it has no direction, so an index by cosine distance does not find it.
    Zero,
    /// Not in the provider's format.
    Unreadable(String),
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { wanted, got } if got > wanted => {
                write!(
                    f,
                    "the provider answered with more vectors than the {wanted} that were asked for"
                )
            }
            Self::Count { wanted, got } => {
                write!(
                    f,
                    "the provider answered with {got} vectors for {wanted} texts"
                )
            }
            Self::Dimensions { wanted, got } => write!(
                f,
                "the model's vectors have {got} dimensions and the vectorizer's {wanted}: \
                 create it with dimensions => {got}, or with another model"
            ),
            Self::Error(error) => f.write_str(&super::said(error.body())),
            Self::NotFinite => f.write_str("a vector holds NaN or infinity"),
            Self::Order => f.write_str("the provider's answer does not say which vector is whose"),
            Self::TooLong(bytes) => write!(
                f,
                "the provider's answer is longer than {bytes} bytes, which is more than the vectors \
                 asked for can take"
            ),
            Self::Zero => f.write_str(
                "the model's vector is all zeros, which no search by cosine distance finds: \
                 change the text, or use a model that has a vector for it",
            ),
            Self::Unreadable(reason) => write!(f, "the provider's answer cannot be read: {reason}"),
        }
    }
}

/// Checks the number of vectors, their dimensions, that every component is finite, and that no
/// vector is all zeros.
pub(super) fn check(
    vectors: Vec<Vec<f32>>,
    count: usize,
    dimensions: usize,
) -> Result<Vec<Arc<[f32]>>, BadAnswer> {
    if vectors.len() != count {
        return Err(BadAnswer::Count {
            wanted: count,
            got: vectors.len(),
        });
    }
    if let Some(other) = vectors.iter().find(|vector| vector.len() != dimensions) {
        return Err(BadAnswer::Dimensions {
            wanted: dimensions,
            got: other.len(),
        });
    }
    if vectors
        .iter()
        .flatten()
        .any(|component| !component.is_finite())
    {
        return Err(BadAnswer::NotFinite);
    }
    if vectors
        .iter()
        .any(|vector| vector.iter().all(|component| *component == 0.0))
    {
        return Err(BadAnswer::Zero);
    }
    Ok(vectors.into_iter().map(Arc::from).collect())
}
