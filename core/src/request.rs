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
    /// The name of the environment variable whose value [`authorize`] adds.
    pub secret: Option<String>,
    /// How long the call may take in all, from the connection to the last byte of the answer.
    pub timeout: Duration,
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

/// An answer is not read beyond this many bytes (2,048 vectors of 16,000 numbers as text stay
/// below it): a shell reports a longer one as [`RequestError::Broken`].
pub const RESPONSE_BYTES_MAX: usize = 512 * 1024 * 1024;

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

/// Completes a request with its secret: the one place where a secret's value is touched.
///
/// # Errors
/// If the request names a secret and `secret` is `None`, empty, or no legal header value.
pub fn authorize(
    request: Request,
    secret: Option<&str>,
) -> Result<http::Request<Vec<u8>>, RequestError> {
    let mut http = request.http;
    let Some(name) = request.secret else {
        return Ok(http);
    };
    let secret = secret
        .map(str::trim)
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| {
            RequestError::Secret(format!(
                "ApiKeyNotFoundError: the environment variable {name} is not set"
            ))
        })?;
    let mut value = http::HeaderValue::try_from(format!("Bearer {secret}")).map_err(|_| {
        RequestError::Secret(format!(
            "the value of {name} holds characters that no header may carry"
        ))
    })?;
    value.set_sensitive(true);
    http.headers_mut()
        .insert(http::header::AUTHORIZATION, value);
    Ok(http)
}
