//! Tokens for object stores, which are issued to the worker and used until they run out.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Object, Store, element, instance};
use crate::provider::{IssuedToken, brief};
use crate::request::{AwsKeys, Response, Token};
use crate::time::Time;

/// Whose a token is.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum TokenOf {
    /// The keys that AWS issues to this worker.
    Aws,
    /// The token of Microsoft Entra ID, or of Azure's machine.
    Azure,
    /// The token of Google's service account, or of the machine.
    Google,
    /// What the metadata service of an EC2 instance wants to see with each request.
    Instance,
    /// The name of the instance's role.
    InstanceRole,
    /// The keys of a role of AWS.
    Role(String),
}

/// The tokens that a worker has.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeMap<TokenOf, (Token, Time)>);

/// The tokens that are still valid at a moment.
#[derive(Clone, Copy)]
pub(super) struct Valid<'a>(&'a Tokens, Time);

/// A token is used for this long at least: otherwise a wrong clock would ask for one again and again.
const USED_MIN: Duration = Duration::from_secs(60);

impl Tokens {
    pub(super) const fn at(&self, now: Time) -> Valid<'_> {
        Valid(self, now)
    }

    /// The answer to a request for a token.
    ///
    /// # Errors
    /// Why none was issued.
    pub(super) fn heard(
        &mut self,
        of: TokenOf,
        response: &Response,
        now: Time,
        wall: Duration,
    ) -> Result<(), String> {
        let issued = match &of {
            TokenOf::Role(role) => of_role(response, wall)
                .map_err(|reason| format!("the role {role} is not taken on: {reason}")),
            TokenOf::Aws | TokenOf::Azure | TokenOf::Google => IssuedToken::read(response, wall),
            TokenOf::Instance | TokenOf::InstanceRole => instance::read(response),
        };
        let IssuedToken { token, valid } = match issued {
            Ok(issued) => issued,
            Err(reason) => {
                // The keys that asked for the role may have run out before their time.
                self.0.remove(&TokenOf::Aws);
                // The instance may have been given another role.
                self.0.remove(&TokenOf::Instance);
                self.0.remove(&TokenOf::InstanceRole);
                return Err(reason);
            }
        };
        self.0.insert(of, (token, now + valid.max(USED_MIN)));
        Ok(())
    }

    /// Uses the tokens with which an object was asked for no more. Says whether there was one.
    pub(super) fn forget(&mut self, object: &Object) -> bool {
        let of = match (object.store, &object.role) {
            (Store::Azure, _) => TokenOf::Azure,
            (Store::Google, _) => TokenOf::Google,
            (Store::S3, None) => TokenOf::Aws,
            (Store::S3, Some(role)) => TokenOf::Role(role.clone()),
        };
        self.0.remove(&of).is_some()
    }
}

impl<'a> Valid<'a> {
    pub(super) fn get(self, of: &TokenOf) -> Option<&'a Token> {
        let (token, until) = self.0.0.get(of)?;
        (*until > self.1).then_some(token)
    }
}

/// Reads the answer to AssumeRole.
fn of_role(response: &Response, wall: Duration) -> Result<IssuedToken, String> {
    let xml = String::from_utf8_lossy(response.body());
    let status = response.status();
    if !status.is_success() {
        let code = element(&xml, "Code").unwrap_or_default();
        let message = element(&xml, "Message").unwrap_or_default();
        let advice = match code.as_str() {
            "AccessDenied" => {
                ": let the role trust the worker's credentials (sts:AssumeRole), with the external id of \
                 AWS_ASSUME_ROLE_EXTERNAL_ID if it wants one"
            }
            _ => "",
        };
        let (code, message) = (brief(&code), brief(&message));
        return Err(format!("{} {code}: {message}{advice}", status.as_u16()));
    }
    let issued = || {
        let expires: Timestamp = element(&xml, "Expiration")?.parse().ok()?;
        let expires = Duration::try_from(expires.as_duration()).ok()?;
        Some(IssuedToken {
            token: Token::Aws(AwsKeys {
                id: element(&xml, "AccessKeyId")?,
                secret: element(&xml, "SecretAccessKey")?,
                session: element(&xml, "SessionToken"),
            }),
            // It is replaced before its time.
            valid: expires.saturating_sub(wall).mul_f64(0.9),
        })
    };
    issued().ok_or_else(|| "the answer cannot be read".to_owned())
}
