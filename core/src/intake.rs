//! The way of a request's secret out, and of the answer in: read within bounds, unpacked within the
//! same bounds, and rid of the secret before anybody sees it.

mod mask;
mod unpack;

use std::fmt;

use http::{HeaderValue, StatusCode};

use crate::provider::Reader;
use crate::request::{Received, Request, RequestError, Response};

/// An answer with no more bytes than these is read within a millisecond or two.
const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Of an answer that is a refusal, so many bytes are read: they say why.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// How the answer to one request is to be taken in.
#[must_use = "an answer goes through `take` before anybody else sees it"]
pub struct Intake {
    secrets: Vec<String>,
    bytes_max: usize,
    reader: Option<Reader>,
}

/// Completes a request with its secrets: the one place where a secret's value is added. `value` looks
/// an environment variable up.
///
/// # Errors
/// If a secret is not set, empty, or no legal header value.
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
    /// How many bytes of the body of an answer with this status are to be read; what is longer is
    /// cut there.
    #[must_use]
    pub fn bytes_max(&self, status: StatusCode) -> usize {
        if status.is_success() {
            self.bytes_max
        } else {
            self.bytes_max.min(REFUSAL_BYTES_MAX)
        }
    }

    /// Takes in what came, a body cut at [`bytes_max`](Self::bytes_max) or none: unpacks gzip and
    /// deflate, masks the secret wherever it is repeated, and reads the vectors. A megabyte takes
    /// some ten milliseconds, so a shell does this for a long answer (see [`is_long`](Self::is_long))
    /// off the thread that polls.
    ///
    /// # Errors
    /// What the shell met, or a body that cannot be unpacked.
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

    /// Whether taking in an answer with a body of so many bytes, as it came, keeps a thread busy for
    /// more than a moment.
    #[must_use]
    pub const fn is_long(bytes: usize) -> bool {
        bytes > INLINE_BYTES_MAX
    }
}

/// Without the secret.
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
