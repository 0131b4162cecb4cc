//! Masks the value of a secret in what a provider sends back.

use std::borrow::Cow;

use http::HeaderValue;

use crate::request::{RequestError, Response};

/// Replaces a secret.
const MASK: &[u8] = b"[redacted]";
/// If a text may have been truncated, a part of the secret at its end is masked if it has at
/// least this many bytes.
const BEGINNING_MIN: usize = 4;
/// A shorter value is not masked in vectors: in base64 they contain every short text by chance,
/// and such a value (`none`, `ollama`) is not a secret.
const IN_VECTORS_MIN: usize = 8;
/// The number of nested escapes that are decoded in the search for a secret.
const ESCAPES_MAX: usize = 16;

/// Masks the secret in a body, in headers or in an error's text: as plain text, and as escaped in
/// JSON, in a URL, or in JSON within JSON.
pub(super) fn masked(
    answer: Result<Response, RequestError>,
    secret: &str,
) -> Result<Response, RequestError> {
    let secret = secret.as_bytes();
    match answer {
        Ok(mut response) => {
            for value in response.headers_mut().values_mut() {
                if let Cow::Owned(clean) = without(value.as_bytes(), secret) {
                    *value = HeaderValue::from_bytes(&clean)
                        .unwrap_or(HeaderValue::from_static("[redacted]"));
                }
            }
            let is_short = secret.len() < IN_VECTORS_MIN;
            if !(is_short && response.status().is_success())
                && let Cow::Owned(clean) = without(response.body(), secret)
            {
                *response.body_mut() = clean;
            }
            Ok(response)
        }
        Err(error) => Err(match error {
            RequestError::Broken(reason) => RequestError::Broken(text_without(&reason, secret)),
            RequestError::Connect(reason) => RequestError::Connect(text_without(&reason, secret)),
            RequestError::Secret(reason) => RequestError::Secret(reason),
            RequestError::Timeout => RequestError::Timeout,
        }),
    }
}

fn text_without(text: &str, secret: &[u8]) -> String {
    String::from_utf8_lossy(&without(text.as_bytes(), secret)).into_owned()
}

fn without<'a>(text: &'a [u8], secret: &[u8]) -> Cow<'a, [u8]> {
    let Some(first) = secret.first().copied() else {
        return Cow::Borrowed(text);
    };
    let mut clean: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(ahead) = text[at..]
        .iter()
        .position(|byte| *byte == first || matches!(byte, b'\\' | b'%'))
    {
        at += ahead;
        match matched(text, at, secret) {
            Some(end) => {
                let clean = clean.get_or_insert_default();
                clean.extend_from_slice(&text[copied..at]);
                clean.extend_from_slice(MASK);
                copied = end;
                at = end;
            }
            None => at += 1,
        }
    }
    match clean {
        Some(mut clean) => {
            clean.extend_from_slice(&text[copied..]);
            Cow::Owned(clean)
        }
        None => Cow::Borrowed(text),
    }
}

/// The end of the secret that starts here, if one does.
fn matched(text: &[u8], mut at: usize, secret: &[u8]) -> Option<usize> {
    for (number, byte) in secret.iter().enumerate() {
        if at == text.len() && number >= BEGINNING_MIN {
            return Some(at);
        }
        at += length_of(&text[at..], *byte)?;
    }
    Some(at)
}

/// The number of bytes that represent this byte here: itself, or an escape of it.
fn length_of(text: &[u8], byte: u8) -> Option<usize> {
    match *text.first()? {
        b'\\' => {
            let slashes = text
                .iter()
                .take(ESCAPES_MAX)
                .take_while(|c| **c == b'\\')
                .count();
            let rest = &text[slashes..];
            match rest {
                [b'u', b'0', b'0', high, low, ..] if hexadecimal(*high, *low) == Some(byte) => {
                    Some(slashes + 5)
                }
                _ if byte == b'\\' => Some(slashes),
                [first, ..] if *first == byte => Some(slashes + 1),
                _ => None,
            }
        }
        b'%' => {
            let mut rest = &text[1..];
            for _ in 0..ESCAPES_MAX {
                let Some(inner) = rest.strip_prefix(b"25") else {
                    break;
                };
                // `%25` alone is a percent sign itself.
                if !inner.first().is_some_and(u8::is_ascii_hexdigit) {
                    break;
                }
                rest = inner;
            }
            match rest {
                [high, low, ..] if hexadecimal(*high, *low) == Some(byte) => {
                    Some(text.len() - rest.len() + 2)
                }
                _ => (byte == b'%').then_some(1),
            }
        }
        other => (other == byte).then_some(1),
    }
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |c: u8| char::from(c).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Ab/c+d\"e\\f%g-1234";

    fn clean(text: &str) -> String {
        text_without(text, SECRET.as_bytes())
    }

    #[test]
    fn every_form_is_masked() {
        let json = serde_json::to_string(SECRET).unwrap();
        let twice = serde_json::to_string(&json).unwrap();
        let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let unicode: String = SECRET
            .bytes()
            .map(|byte| format!("\\u{byte:04x}"))
            .collect();
        let forms = [
            SECRET.to_owned(),
            json.trim_matches('"').to_owned(),
            json.trim_matches('"').replace('/', "\\/"),
            twice.trim_matches(['"', '\\']).to_owned(),
            percent.clone(),
            percent.to_lowercase(),
            percent.replace('%', "%25"),
            "Ab%2Fc%2bd%22e%5Cf%25g-1234".to_owned(),
            unicode.clone(),
            unicode.replace('\\', "\\\\"),
        ];
        for form in forms {
            assert_eq!(clean(&form), "[redacted]", "{form}");
            assert_eq!(
                clean(&format!("{{\"key\": \"{form}\"}} {form}!")),
                "{\"key\": \"[redacted]\"} [redacted]!",
                "{form}"
            );
        }
    }

    #[test]
    fn the_beginning_of_a_secret_at_a_cut_is_masked() {
        assert_eq!(clean("key Ab/c+"), "key [redacted]");
        assert_eq!(clean("key Ab/c+x"), "key Ab/c+x");
        assert_eq!(clean("key Ab"), "key Ab");
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "",
            "Ab/c+x",
            "%",
            "%2",
            "\\",
            "\\u00",
            "100 % \\ of AbAbAb",
            "é%é\\é",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn bodies_headers_and_errors_are_masked_and_vectors_are_not_hurt() {
        let answer = |status: u16, body: &str| {
            let mut response = Response::new(body.as_bytes().to_vec());
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            let value = HeaderValue::from_str("key=sk-0123456789").unwrap();
            response.headers_mut().insert("x-debug", value);
            Ok(response)
        };
        let secret = "sk-0123456789";
        for status in [200, 400] {
            let response = masked(answer(status, "it was sk-0123456789"), secret).unwrap();
            assert_eq!(response.body(), b"it was [redacted]");
            assert_eq!(response.headers()["x-debug"], "key=[redacted]");
        }
        let response = masked(answer(200, "\"AAnoneAA=\""), "none").unwrap();
        assert_eq!(response.body(), b"\"AAnoneAA=\"");
        let response = masked(answer(400, "bad key none"), "none").unwrap();
        assert_eq!(response.body(), b"bad key [redacted]");
        let error = masked(Err(RequestError::Broken(secret.to_owned())), secret);
        assert_eq!(
            error.unwrap_err(),
            RequestError::Broken("[redacted]".to_owned())
        );
    }
}
