//! What the core asks of embedding providers, and what it gets back.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;

use crate::provider::{BadAnswer, Reader};

/// One call of a provider.
#[derive(Clone)]
pub struct Request {
    /// The call, without any secret in it.
    pub http: http::Request<Vec<u8>>,
    /// What [`authorize`](crate::authorize) adds.
    pub secrets: Vec<Secret>,
    /// How long the call may take in all, from the connection to the last byte of the answer.
    pub timeout: Duration,
    /// No answer of use is longer than this many bytes, neither packed nor unpacked.
    pub answer_bytes_max: usize,
    /// Reads the vectors of an answer; `None` where none are asked for.
    pub(crate) reader: Option<Reader>,
}

/// A secret that a request must carry: where it comes from, and where it goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secret {
    /// The name of the environment variable that holds it.
    pub variable: String,
    /// The header that carries it.
    pub(crate) header: HeaderName,
    /// What stands before it there.
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
    /// A request without a secret that asks for no vectors.
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

/// What a provider answered, whatever its status.
pub type Response = http::Response<Vec<u8>>;

/// An answer that went through [`Intake::take`](crate::Intake::take), so that what is long in it has
/// been read.
#[derive(Debug)]
pub struct Received {
    /// Without its body, if that was read.
    pub(crate) response: Response,
    /// The vectors of the body.
    pub(crate) vectors: Option<Result<Vec<Arc<[f32]>>, BadAnswer>>,
}

impl Received {
    /// The answer; its body is empty where vectors were read from it.
    #[must_use]
    pub const fn response(&self) -> &Response {
        &self.response
    }
}

/// An answer that is still to be read.
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
    /// The connection or the answer broke off; the provider may have done the work.
    Broken(String),
    /// No connection could be made.
    Connect(String),
    /// The secret is not there, so nothing was sent.
    Secret(String),
    /// The time given was over.
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
