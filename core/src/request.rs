//! Requests to embedding providers, and their answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::provider::{BadAnswer, Reader};

/// One request to a provider.
#[derive(Clone)]
pub struct Request {
    /// The request, without secrets.
    pub http: http::Request<Vec<u8>>,
    /// The secrets that [`authorize`](crate::authorize) adds.
    pub secrets: Vec<Secret>,
    /// The timeout of the whole request, from the connection to the last byte of the answer.
    pub timeout: Duration,
    /// A valid answer is not longer than this many bytes, neither packed nor unpacked.
    pub answer_bytes_max: usize,
    /// Reads the vectors of an answer; `None` if the request does not ask for vectors.
    pub(crate) reader: Option<Reader>,
}

/// A secret of a request: its source and its header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secret {
    /// The name of the environment variable that contains it.
    pub variable: String,
    /// The header that carries it.
    pub(crate) header: HeaderName,
    /// The prefix in the header.
    pub(crate) scheme: &'static str,
}

impl Secret {
    /// A bearer token (RFC 6750).
    #[must_use]
    pub const fn bearer(variable: String) -> Self {
        Self {
            variable,
            header: AUTHORIZATION,
            scheme: "Bearer ",
        }
    }
}

impl Request {
    /// A request without a secret that does not ask for vectors.
    #[must_use]
    pub const fn new(
        http: http::Request<Vec<u8>>,
        timeout: Duration,
        answer_bytes_max: usize,
    ) -> Self {
        Self {
            http,
            secrets: vec![],
            timeout,
            answer_bytes_max,
            reader: None,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.http.method())
            .field("uri", self.http.uri())
            .field("bytes", &self.http.body().len())
            .field("secrets", &self.secrets)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// A provider's answer, with any status.
pub type Response = http::Response<Vec<u8>>;

/// An answer that [`Intake::take`](crate::Intake::take) has processed, so its vectors have been
/// read.
#[derive(Debug)]
pub struct Received {
    /// The answer; its body is empty if it was read.
    pub(crate) response: Response,
    /// The vectors of the body.
    pub(crate) vectors: Option<Result<Vec<Arc<[f32]>>, BadAnswer>>,
}

impl Received {
    /// The answer; its body is empty if vectors were read from it.
    #[must_use]
    pub const fn response(&self) -> &Response {
        &self.response
    }
}

/// An answer that has not been read yet.
impl From<Response> for Received {
    fn from(response: Response) -> Self {
        Self {
            response,
            vectors: None,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RequestError {
    /// The connection broke; the provider may have done the work.
    Broken(String),
    /// No connection could be made.
    Connect(String),
    /// The secret does not exist, so nothing was sent.
    Secret(String),
    /// The timeout was exceeded.
    Timeout,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => write!(f, "the connection broke: {reason}"),
            Self::Connect(reason) => write!(f, "no connection: {reason}"),
            Self::Secret(reason) => f.write_str(reason),
            Self::Timeout => f.write_str("no answer within the time given"),
        }
    }
}

impl std::error::Error for RequestError {}
