//! The tokens of `worker serve`: each stands for a database and a role.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The tokens, each with the place of its URL in [`Tokens::urls`]. Tokens are kept as digests only, so the time that a
/// search for one takes tells nothing of another.
#[derive(Clone, Default)]
pub struct Tokens {
    places: BTreeMap<[u8; 32], usize>,
    urls: Vec<String>,
}

/// Why tokens cannot be used.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum TokensError {
    /// There are none.
    #[error("there are no tokens: give lines of a token, a space, and a database URL")]
    Empty,
    /// A line, counted from 1, without a URL.
    #[error(
        "line {0}: a token is followed by a space and the database URL of the role that it stands for"
    )]
    Line(usize),
    /// A token that can be guessed.
    #[error("line {0}: the token has fewer than {TOKEN_MIN} characters")]
    Short(usize),
    /// A token stands for one role.
    #[error("line {0}: this token stands in a line above, too")]
    Twice(usize),
}

/// The least number of characters in a token.
const TOKEN_MIN: usize = 16;

impl Tokens {
    /// Reads lines of a token, white space and a database URL. Empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    /// If a line is something else. The message does not repeat it.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let mut tokens = Self::default();
        for (at, line) in text.lines().enumerate() {
            let (at, line) = (at + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts = line.split_once(char::is_whitespace);
            let (token, url) = parts.ok_or(TokensError::Line(at))?;
            if token.chars().count() < TOKEN_MIN {
                return Err(TokensError::Short(at));
            }
            let url = url.trim();
            let place = tokens.urls.iter().position(|known| known == url);
            let place = place.unwrap_or_else(|| {
                tokens.urls.push(url.to_owned());
                tokens.urls.len() - 1
            });
            if tokens.places.insert(digest(token), place).is_some() {
                return Err(TokensError::Twice(at));
            }
        }
        if tokens.urls.is_empty() {
            return Err(TokensError::Empty);
        }
        Ok(tokens)
    }

    /// The URLs of all tokens, each once.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The place of the URL for the value of a request's header `Authorization`; `None` if it has no token that is
    /// known.
    #[must_use]
    pub fn place(&self, authorization: &str) -> Option<usize> {
        let (scheme, token) = authorization.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        let place = self.places.get(&digest(token.trim()));
        place.copied().filter(|_| is_bearer)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Prints neither tokens nor URLs, which may contain passwords.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("count", &self.places.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_the_url_of_its_line() {
        let text = "# tenants\n\n0123456789abcdef  postgres://acme@h/d\r\n\
                    fedcba9876543210\thost=h user=globex\nsecond-of-acme-01 postgres://acme@h/d\n";
        let tokens = Tokens::parse(text).unwrap();
        assert_eq!(tokens.urls(), ["postgres://acme@h/d", "host=h user=globex"]);
        for (authorization, place) in [
            ("Bearer 0123456789abcdef", Some(0)),
            ("bearer  fedcba9876543210 ", Some(1)),
            ("Bearer second-of-acme-01", Some(0)),
            ("Basic 0123456789abcdef", None),
            ("Bearer 0123456789abcdeF", None),
            ("Bearer ", None),
            ("Bearer", None),
            ("", None),
        ] {
            assert_eq!(tokens.place(authorization), place, "{authorization:?}");
        }
        assert!(!format!("{tokens:?}").contains("postgres"));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, error) in [
            ("", TokensError::Empty),
            ("# none\n", TokensError::Empty),
            ("\n0123456789abcdef\n", TokensError::Line(2)),
            ("short postgres://h/d", TokensError::Short(1)),
            (
                "0123456789abcdef u\n0123456789abcdef v",
                TokensError::Twice(2),
            ),
        ] {
            assert_eq!(Tokens::parse(text).map(drop), Err(error), "{text:?}");
        }
    }
}
