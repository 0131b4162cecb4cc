//! Adds the secret to a request, and processes the answer: it is read and unpacked within limits,
//! and the secret is masked in it.

mod mask;
mod unpack;

use std::fmt;

use http::{HeaderValue, StatusCode};

use crate::provider::Reader;
use crate::request::{Received, Request, RequestError, Response};

/// An answer of at most this many bytes is processed within a millisecond or two.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The number of bytes that are read of an error answer: they say why.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// How to process the answer to one request.
#[must_use = "an answer goes through `take` before anybody else sees it"]
pub struct Intake {
    secrets: Vec<String>,
    bytes_max: usize,
    reader: Option<Reader>,
}

/// Adds the secrets to a request. Secrets are added only here. `value` returns the value of an
/// environment variable.
///
/// # Errors
/// If a secret is not set, is empty, or is not a legal header value.
pub fn authorize(
    request: Request,
    value: impl Fn(&str) -> Option<String>,
) -> Result<(http::Request<Vec<u8>>, Intake), RequestError> {
    let mut http = request.http;
    let mut intake = Intake {
        secrets: vec![],
        bytes_max: request.answer_bytes_max,
        reader: request.reader,
    };
    for secret in request.secrets {
        let name = secret.variable;
        let value = value(&name);
        let value = value
            .as_deref()
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| {
                RequestError::Secret(format!(
                    "ApiKeyNotFoundError: the environment variable {name} is not set"
                ))
            })?;
        let mut carried =
            HeaderValue::try_from(format!("{}{value}", secret.scheme)).map_err(|_| {
                RequestError::Secret(format!(
                    "the value of {name} holds characters that no header may carry"
                ))
            })?;
        carried.set_sensitive(true);
        http.headers_mut().insert(secret.header, carried);
        intake.secrets.push(value.to_owned());
    }
    Ok((http, intake))
}

impl Intake {
    /// The maximum number of bytes to read of the body of an answer with this status; a longer
    /// body is truncated.
    #[must_use]
    pub fn bytes_max(&self, status: StatusCode) -> usize {
        if status.is_success() {
            self.bytes_max
        } else {
            self.bytes_max.min(REFUSAL_BYTES_MAX)
        }
    }

    /// Processes an answer, whose body may be truncated at [`bytes_max`](Self::bytes_max). Unpacks
    /// gzip and deflate, masks the secret wherever it is repeated, and reads the vectors. A megabyte
    /// takes some ten milliseconds. So for a long answer (see [`is_long`](Self::is_long)) a shell
    /// calls this outside of the polling thread.
    ///
    /// # Errors
    /// The error from the shell, or a body that cannot be unpacked.
    pub fn take(self, answer: Result<Response, RequestError>) -> Result<Received, RequestError> {
        let answer = answer.and_then(|response| {
            let bytes_max = self.bytes_max(response.status());
            unpack::unpacked(response, bytes_max)
        });
        let answer = self
            .secrets
            .iter()
            .fold(answer, |answer, secret| mask::masked(answer, secret));
        let mut response = answer?;
        let reader = self.reader.filter(|_| response.status().is_success());
        let vectors = reader.map(|reader| reader.read(&std::mem::take(response.body_mut())));
        Ok(Received { response, vectors })
    }

    /// Whether processing an answer takes long enough to use another thread. `bytes` is the length
    /// of the body as it was received.
    #[must_use]
    pub const fn is_long(bytes: usize) -> bool {
        bytes > INLINE_BYTES_MAX
    }
}

/// Does not print the secret.
impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::request::Secret;

    fn request(secret: Option<&str>) -> Result<Intake, RequestError> {
        let timeout = Duration::from_secs(1);
        let mut request = Request::new(http::Request::default(), timeout, 1_000_000);
        let variable = secret.map(|_| "X_API_KEY".to_owned());
        request.secrets.extend(variable.map(Secret::bearer));
        let value = |_: &str| secret.map(str::to_owned);
        authorize(request, value).map(|(_, intake)| intake)
    }

    #[test]
    fn refusals_are_read_to_64_kilobytes_and_answers_to_their_bound() {
        let intake = request(None).unwrap();
        for (status, bytes) in [
            (200, 1_000_000),
            (299, 1_000_000),
            (302, 65_536),
            (500, 65_536),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(intake.bytes_max(status), bytes, "{status}");
        }
    }

    #[test]
    fn no_debug_output_shows_a_secret() {
        let intake = request(Some("key-of-somebody")).unwrap();
        assert!(!format!("{intake:?}").contains("somebody"));
    }

    #[test]
    fn a_missing_secret_is_named_and_a_broken_one_is_not_repeated() {
        let refusal = |secret| request(Some(secret)).unwrap_err().to_string();
        assert!(refusal(" ").contains("X_API_KEY"));
        assert!(!refusal("broken\nkey").contains("broken"));
    }
}
