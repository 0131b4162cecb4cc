//! Tokens that providers issue, and that requests carry for a while.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::said;
use crate::request::{AwsKeys, Response, Token};

/// A token, and how long it is valid.
#[derive(Clone, Debug)]
pub(crate) struct IssuedToken {
    pub(crate) token: Token,
    pub(crate) valid: Duration,
}

/// A token is replaced after this part of its time.
const USED: f64 = 0.9;
/// Where AWS's keys are.
const AWS_KEYS: &str =
    "/AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials";
/// If the answer does not say how long it is valid.
const VALID: u64 = 3600;

impl IssuedToken {
    /// Reads an answer of a token endpoint (RFC 6749, section 5.1), of AWS's Security Token Service, or of the endpoint of a container.
    /// `wall` is the time since 1970.
    ///
    /// # Errors
    /// What the endpoint says. A token is never part of it.
    pub(crate) fn read(response: &Response, wall: Duration) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            expires_in: Option<Value>,
        }
        let status = response.status();
        if !status.is_success() {
            return Err(format!(
                "no token was issued: {status}: {}",
                said(response.body())
            ));
        }
        let unreadable = || "no token was issued: the answer cannot be read".to_owned();
        let body: Value = serde_json::from_slice(response.body()).map_err(|_| unreadable())?;
        // A container's are not within anything.
        let of_container = Some(&body).filter(|body| body.get("AccessKeyId").is_some());
        if let Some(keys) = body.pointer(AWS_KEYS).or(of_container) {
            return Self::of_aws(keys, wall).ok_or_else(unreadable);
        }
        let answer: Answer = serde_json::from_value(body).map_err(|_| unreadable())?;
        // Azure's machines give it as text.
        let seconds = |it: Value| it.as_u64().or_else(|| it.as_str()?.parse().ok());
        let seconds = answer.expires_in.and_then(seconds).unwrap_or(VALID);
        let valid = Duration::from_secs(seconds);
        Ok(Self {
            token: Token::Bearer(answer.access_token),
            valid: valid.mul_f64(USED),
        })
    }

    /// Keys of AWS with the moment at which they expire: a time since 1970, or a date.
    fn of_aws(keys: &Value, wall: Duration) -> Option<Self> {
        let field = |name: &str| keys[name].as_str().map(str::to_owned);
        let expires = match keys["Expiration"].as_str() {
            Some(date) => Duration::try_from(date.parse::<Timestamp>().ok()?.as_duration()).ok()?,
            None => Duration::try_from_secs_f64(keys["Expiration"].as_f64()?).ok()?,
        };
        Some(Self {
            token: Token::Aws(AwsKeys {
                id: field("AccessKeyId")?,
                secret: field("SecretAccessKey")?,
                session: field("SessionToken").or_else(|| field("Token")),
            }),
            valid: expires.saturating_sub(wall).mul_f64(USED),
        })
    }
}
