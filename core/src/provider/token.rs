//! Tokens that providers issue, and that requests carry for a while.

use std::time::Duration;

use serde::Deserialize;

use super::said;
use crate::request::{Response, Token};

/// A token, and how long it is valid.
#[derive(Clone, Debug)]
pub(crate) struct IssuedToken {
    pub(crate) token: Token,
    pub(crate) valid: Duration,
}

/// A token is replaced after this part of its time.
const USED: f64 = 0.9;
/// If the answer does not say how long it is valid.
const VALID: u64 = 3600;

impl IssuedToken {
    /// Reads an answer of a token endpoint (RFC 6749, section 5.1).
    ///
    /// # Errors
    /// What the endpoint says. A token is never part of it.
    pub(crate) fn read(response: &Response) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            expires_in: Option<u64>,
        }
        let status = response.status();
        if !status.is_success() {
            return Err(format!(
                "no token was issued: {status}: {}",
                said(response.body())
            ));
        }
        let answer: Answer = serde_json::from_slice(response.body())
            .map_err(|_| "no token was issued: the answer cannot be read".to_owned())?;
        let valid = Duration::from_secs(answer.expires_in.unwrap_or(VALID));
        Ok(Self {
            token: Token(answer.access_token),
            valid: valid.mul_f64(USED),
        })
    }
}
