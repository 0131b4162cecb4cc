//! A text that a command lets a vectorizer's provider embed, in as many requests as that takes.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, Reply};
use crate::provider::{IssuedToken, Purpose, Verdict, refused_parameters};
use crate::request::{RequestError, Token};
use crate::settings::Settings;
use crate::vectorizer::Profile;

/// See the module.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) profile: Arc<Profile>,
    text: Arc<str>,
    purpose: Purpose,
    timeout: Duration,
    /// The time since 1970.
    wall: Duration,
    /// Parameters that the server rejected.
    without: Vec<&'static str>,
    token: Option<Token>,
}

/// What comes after an answer.
pub(super) enum Next {
    Call(Call),
    Vector(Arc<[f32]>),
}

impl Question {
    pub(super) fn new(
        profile: Arc<Profile>,
        text: &str,
        purpose: Purpose,
        settings: &Settings,
    ) -> Self {
        Self {
            profile,
            text: Arc::from(text),
            purpose,
            timeout: settings.request_timeout(),
            wall: settings.wall_start,
            without: vec![],
            token: None,
        }
    }

    /// The next request: for a token if the provider wants one, otherwise for the vector.
    pub(super) fn call(&self) -> Call {
        let provider = &self.profile.provider;
        if self.token.is_none()
            && let Some(request) = provider.token_request(self.timeout)
        {
            return request.into();
        }
        let texts = [Arc::clone(&self.text)];
        let mut call = provider.call(&texts, self.purpose, self.timeout, &self.without);
        if let (Call::Http(request), Some(token)) = (&mut call, &self.token) {
            request.carry(token);
        }
        call
    }

    /// What an answer brings.
    ///
    /// # Errors
    /// Why there is no vector.
    pub(super) fn answered(&mut self, reply: Reply) -> Result<Next, String> {
        let provider = &self.profile.provider;
        if self.token.is_none() && provider.wants_token() {
            let Reply::Http(answer) = reply else {
                return Err("the provider was not asked".to_owned());
            };
            let answer = answer.map_err(|error| self.unreached(&error))?;
            let account = provider.account();
            let issued = IssuedToken::read(answer.response(), self.wall);
            self.token = Some(
                issued
                    .map_err(|reason| format!("{account}: {reason}"))?
                    .token,
            );
            return Ok(Next::Call(self.call()));
        }
        if self.leaves_out(&reply) {
            return Ok(Next::Call(self.call()));
        }
        self.vector(reply).map(Next::Vector)
    }

    /// Whether an answer rejects optional parameters, which are omitted from now on.
    fn leaves_out(&mut self, reply: &Reply) -> bool {
        let Reply::Http(Ok(answer)) = reply else {
            return false;
        };
        let mut refused = refused_parameters(&answer.response, &self.without);
        refused.retain(|name| self.profile.provider.sends(name));
        self.without.extend(&refused);
        !refused.is_empty()
    }

    fn vector(&self, reply: Reply) -> Result<Arc<[f32]>, String> {
        let provider = &self.profile.provider;
        let account = provider.account();
        let verdict = match reply {
            Reply::Http(Ok(answer)) => provider.judge(answer, 1, self.wall),
            Reply::Http(Err(error)) => return Err(self.unreached(&error)),
            Reply::Model(answer) => provider.judge_model(answer, 1),
            Reply::Build(_) | Reply::Compute(_) | Reply::File(_) | Reply::Parse(_) => {
                return Err("the provider was not asked".to_owned());
            }
        };
        match verdict {
            Verdict::Vectors(found) => {
                let vector = found.vectors.into_iter().next();
                vector.ok_or_else(|| format!("{account} answered without a vector"))
            }
            Verdict::Bad(bad) => Err(format!("{account}: {bad}")),
            Verdict::Refused(refusal) => {
                Err(format!("{account}, model {:?}: {refusal}", provider.model))
            }
        }
    }

    /// The message for a provider that did not answer.
    fn unreached(&self, error: &RequestError) -> String {
        let account = self.profile.provider.account();
        match error {
            RequestError::Secret(reason) => reason.clone(),
            RequestError::Broken(_) | RequestError::Connect(_) | RequestError::Timeout => {
                format!("{account} does not answer: {error}: check that it runs, and its address")
            }
        }
    }
}
