//! Texts that a command lets a vectorizer's provider embed, in as many requests as that takes.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, Reply};
use crate::provider::{IssuedToken, Purpose, Verdict, refused_parameters};
use crate::request::{RequestError, Token};
use crate::settings::Settings;
use crate::vectorizer::Profile;

/// The most texts in one request.
const INPUTS_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) profile: Arc<Profile>,
    texts: Vec<Arc<str>>,
    /// Of the first texts.
    vectors: Vec<Arc<[f32]>>,
    /// The tokens that the provider has counted.
    tokens: u64,
    purpose: Purpose,
    timeout: Duration,
    /// The time since 1970.
    wall: Duration,
    /// Parameters that the server rejected.
    without: Vec<&'static str>,
    token: Option<Token>,
}

/// What comes after an answer.
pub(crate) enum Next {
    Call(Call),
    Vectors(Embedded),
}

/// The vectors of all texts.
#[derive(Debug)]
pub(crate) struct Embedded {
    /// One for each text, in order.
    pub(crate) vectors: Vec<Arc<[f32]>>,
    /// The tokens that the provider has counted; 0 if it does not say.
    pub(crate) tokens: u64,
}

impl Embedded {
    /// The vector of the only text.
    pub(crate) fn one(self) -> Result<Arc<[f32]>, String> {
        let mut vectors = self.vectors.into_iter();
        vectors
            .next()
            .ok_or_else(|| "there was no text to embed".to_owned())
    }
}

impl Question {
    pub(super) fn new(
        profile: Arc<Profile>,
        text: &str,
        purpose: Purpose,
        settings: &Settings,
    ) -> Self {
        let wall = settings.wall_start;
        Self::of(
            profile,
            vec![Arc::from(text)],
            purpose,
            (settings.request_timeout(), wall),
        )
    }

    /// Of several texts: at least one. `wall` is the time since 1970.
    pub(crate) const fn of(
        profile: Arc<Profile>,
        texts: Vec<Arc<str>>,
        purpose: Purpose,
        (timeout, wall): (Duration, Duration),
    ) -> Self {
        Self {
            profile,
            texts,
            vectors: vec![],
            tokens: 0,
            purpose,
            timeout,
            wall,
            without: vec![],
            token: None,
        }
    }

    /// The texts of the next request: as many as the provider takes.
    fn batch(&self) -> &[Arc<str>] {
        let limits = self.profile.provider.limits;
        let left = &self.texts[self.vectors.len().min(self.texts.len())..];
        let mut bytes = 0;
        let fits = left.iter().take(limits.inputs.min(INPUTS_MAX));
        let fits = fits.take_while(|text| {
            bytes += text.len();
            bytes <= limits.bytes
        });
        let count = fits.count().max(1);
        &left[..count.min(left.len())]
    }

    /// The next request: for a token if the provider wants one, otherwise for vectors.
    pub(crate) fn call(&self) -> Call {
        let provider = &self.profile.provider;
        if self.token.is_none()
            && let Some(request) = provider.token_request(self.timeout)
        {
            return request.into();
        }
        let mut call = provider.call(self.batch(), self.purpose, self.timeout, &self.without);
        if let (Call::Http(request), Some(token)) = (&mut call, &self.token) {
            request.carry(token);
        }
        call
    }

    /// What an answer brings.
    ///
    /// # Errors
    /// Why there is no vector.
    pub(crate) fn answered(&mut self, reply: Reply) -> Result<Next, String> {
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
        let embedded = self.read(reply)?;
        self.tokens += embedded.tokens;
        self.vectors.extend(embedded.vectors);
        Ok(if self.vectors.len() < self.texts.len() {
            Next::Call(self.call())
        } else {
            Next::Vectors(Embedded {
                vectors: std::mem::take(&mut self.vectors),
                tokens: self.tokens,
            })
        })
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

    fn read(&self, reply: Reply) -> Result<Embedded, String> {
        let provider = &self.profile.provider;
        let account = provider.account();
        let count = self.batch().len();
        let verdict = match reply {
            Reply::Http(Ok(answer)) => provider.judge(answer, count, self.wall),
            Reply::Http(Err(error)) => return Err(self.unreached(&error)),
            Reply::Model(answer) => provider.judge_model(answer, count),
            Reply::Build(_) | Reply::Compute(_) | Reply::File(_) | Reply::Parse(_) => {
                return Err("the provider was not asked".to_owned());
            }
        };
        match verdict {
            // As many as there are texts: that has been checked.
            Verdict::Vectors(found) if !found.vectors.is_empty() => Ok(Embedded {
                vectors: found.vectors,
                tokens: found.tokens.unwrap_or_default(),
            }),
            Verdict::Vectors(_) => Err(format!("{account} answered without a vector")),
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
