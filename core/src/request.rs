//! What the core asks of embedding providers, and what it gets back.

use std::fmt;
use std::time::Duration;

/// The handle that the answer to a [`Request`] must carry back. It cannot be copied, so a request
/// is answered at most once.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RequestTicket(pub(crate) u64);

/// One call of a provider.
#[derive(Clone)]
pub struct Request {
    /// The call, without any secret in it.
    pub http: http::Request<Vec<u8>>,
    /// The name of the environment variable whose value [`authorize`](crate::authorize) adds.
    pub secret: Option<String>,
    /// How long the call may take in all, from the connection to the last byte of the answer.
    pub timeout: Duration,
    /// No answer of use is longer than this many bytes, neither packed nor unpacked.
    pub answer_bytes_max: usize,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", self.http.method())
            .field("uri", self.http.uri())
            .field("bytes", &self.http.body().len())
            .field("secret", &self.secret)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What a provider answered, whatever its status.
pub type Response = http::Response<Vec<u8>>;

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
