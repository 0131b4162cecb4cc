//! Adds the secret or a signature to a request, and processes the answer: it is read and unpacked within
//! limits, and the secret is masked in it.

mod aws;
mod azure;
mod google;
mod hmac;
mod mask;
mod unpack;

use std::fmt;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::packing::Packing;
use crate::provider::Reader;
use crate::request::{Credential, Received, Request, RequestError, Response, Secret, Token};

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
    packing: Option<Packing>,
}

/// Where a worker's secrets are. A shell reads them at each request, so a key that was replaced in its
/// file is used from the next request on.
pub trait Vault {
    /// The value of an environment variable, or of the file that the variable with `_FILE` appended
    /// names.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &str) -> Result<String, String>;

    /// The time since 1970.
    fn wall_time(&self) -> Duration;

    /// Signs a message with a private RSA key in PEM (PKCS #8), as RS256 of RFC 7518.
    ///
    /// # Errors
    /// If the key is not such a key.
    fn sign(&self, key: &str, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// Adds to a request what shows who is asking. Secrets are added only here.
///
/// # Errors
/// If a secret is not set, is empty, or cannot be used.
pub fn authorize(
    request: Request,
    vault: &impl Vault,
) -> Result<(http::Request<Vec<u8>>, Intake), RequestError> {
    let mut http = request.http;
    let secrets = match &request.credential {
        None => Ok(vec![]),
        Some(Credential::Key(secret)) => key(&mut http, secret, vault),
        Some(Credential::Token(Token::Bearer(token))) => token_of(&mut http, token),
        Some(Credential::Token(Token::Aws(_))) => Err("keys are no token".to_owned()),
        Some(Credential::WebIdentity) => aws::ask_for_keys(&mut http, vault),
        Some(Credential::Container) => aws::ask_in_container(&mut http, vault),
        Some(Credential::Ibm { variable }) => ask_ibm(&mut http, variable, vault),
        Some(Credential::Metadata) => Ok(vec![]),
        Some(Credential::Aws(credential)) => aws::sign(&mut http, credential, vault),
        Some(Credential::Azure(credential)) => azure::sign(&mut http, credential, vault),
        Some(Credential::Entra(proof)) => azure::ask(&mut http, *proof, vault),
        Some(Credential::Google { variable }) => google::ask(&mut http, variable, vault),
    };
    let intake = Intake {
        secrets: secrets.map_err(RequestError::Secret)?,
        bytes_max: request.answer_bytes_max,
        reader: request.reader,
        packing: request.packing,
    };
    Ok((http, intake))
}

type Http = http::Request<Vec<u8>>;

/// Puts a key into its header. Returns what must not be seen in the answer.
fn key(http: &mut Http, secret: &Secret, vault: &impl Vault) -> Result<Vec<String>, String> {
    let name = &secret.variable;
    let keys = value(name, vault)?;
    let several = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
    let several: Vec<&str> = several.collect();
    // There may be fewer by now, in a file.
    let number = secret.number.checked_rem(several.len()).unwrap_or(0);
    let value = several.get(number).copied().unwrap_or(&keys);
    let broken = || format!("the value of {name} holds characters that no header may carry");
    put(http, &secret.header, &format!("{}{value}", secret.scheme)).ok_or_else(broken)?;
    Ok(vec![value.to_owned()])
}

fn token_of(http: &mut Http, token: &str) -> Result<Vec<String>, String> {
    let broken = || "the token holds characters that no header may carry".to_owned();
    put(http, &AUTHORIZATION, &format!("Bearer {token}")).ok_or_else(broken)?;
    Ok(vec![token.to_owned()])
}

/// A header that is not printed.
fn put(http: &mut Http, name: &HeaderName, value: &str) -> Option<()> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    http.headers_mut().insert(name.clone(), value);
    Some(())
}

/// Puts fields into the body as a form, and asks for JSON.
fn put_form(http: &mut Http, fields: &[(&str, &str)]) {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        value.bytes().for_each(|byte| encode(&mut body, byte));
    }
    *http.body_mut() = body.into_bytes();
    let json = HeaderValue::from_static("application/json");
    http.headers_mut().insert(http::header::ACCEPT, json);
}

/// Percent-encodes a byte unless RFC 3986 calls it unreserved.
pub(crate) fn encode(text: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        text.push(char::from(byte));
    } else {
        text.push_str(&format!("%{byte:02X}"));
    }
}

/// Puts an API key of IBM Cloud into the body of a request for a token of its Identity and Access
/// Management.
fn ask_ibm(http: &mut Http, variable: &str, vault: &impl Vault) -> Result<Vec<String>, String> {
    let key = value(variable, vault)?;
    let grant = "urn:ibm:params:oauth:grant-type:apikey";
    put_form(http, &[("grant_type", grant), ("apikey", &key)]);
    Ok(vec![key])
}

/// The value of a variable that must be set.
fn value(name: &str, vault: &impl Vault) -> Result<String, String> {
    let value = vault.variable(name);
    let value = value.as_deref().map(str::trim).unwrap_or_default();
    if value.is_empty() {
        return Err(format!(
            "ApiKeyNotFoundError: the environment variable {name} is not set"
        ));
    }
    Ok(value.to_owned())
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
    /// gzip, deflate and packed documents, masks the secret wherever it is repeated, and reads the vectors. A megabyte
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
        let damage = self.unpack_document(&mut response);
        let reader = self.reader.filter(|_| response.status().is_success());
        let vectors = reader.map(|reader| reader.read(response.body()));
        if vectors.is_some() {
            response.body_mut().clear();
        }
        Ok(Received {
            response,
            vectors,
            damage,
        })
    }

    /// Unpacks a document. Returns why it cannot be.
    fn unpack_document(&self, response: &mut Response) -> Option<String> {
        let packing = self.packing?;
        // One that was cut off is too large, packed or not.
        if !response.status().is_success() || response.body().len() >= self.bytes_max {
            return None;
        }
        let packed = std::mem::take(response.body_mut());
        match packing.unpacked(packed, self.bytes_max) {
            Ok(document) => {
                *response.body_mut() = document;
                None
            }
            Err(error) => Some(format!("the document cannot be unpacked: {error}")),
        }
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

    /// An environment with one variable.
    struct Known(&'static str, Option<&'static str>);

    impl Vault for Known {
        fn variable(&self, name: &str) -> Option<String> {
            self.1.filter(|_| name == self.0).map(str::to_owned)
        }

        fn file(&self, _: &str) -> Result<String, String> {
            Err("there are no files".to_owned())
        }

        fn wall_time(&self) -> Duration {
            Duration::ZERO
        }

        fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, String> {
            Err("there are no keys".to_owned())
        }
    }

    fn authorized(
        value: Option<&'static str>,
        number: usize,
    ) -> Result<(Http, Intake), RequestError> {
        let timeout = Duration::from_secs(1);
        let mut request = Request::new(http::Request::default(), timeout, 1_000_000);
        request.credential = value.map(|_| {
            Credential::Key(Secret {
                number,
                ..Secret::bearer("X_API_KEY".to_owned())
            })
        });
        authorize(request, &Known("X_API_KEY", value))
    }

    fn request(value: Option<&'static str>) -> Result<Intake, RequestError> {
        authorized(value, 0).map(|(_, intake)| intake)
    }

    #[test]
    fn of_several_keys_the_wanted_one_is_sent() {
        for (number, sent) in [
            (0, "Bearer a"),
            (1, "Bearer b"),
            (2, "Bearer c"),
            (3, "Bearer a"),
        ] {
            let (http, intake) = authorized(Some("a, b,,c"), number).unwrap();
            assert_eq!(http.headers()[AUTHORIZATION], sent);
            assert_eq!(intake.secrets, [sent.trim_start_matches("Bearer ")]);
        }
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
