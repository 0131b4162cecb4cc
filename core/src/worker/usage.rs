//! What requests have used: counted here, and added to the database now and then.
//!
//! An addition has a number. It is made again under the same number until the database says that it was made, so one
//! whose answer was lost counts once: twice only if another worker has added to the same row in between. What a worker
//! that is killed has not added yet, of at most the last ten seconds, is not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Worker;
use super::calls::{Called, Purpose};
use super::session::MISSING_TABLE;
use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use crate::call::Reply;
use crate::event::Event;
use crate::model::ModelAnswer;
use crate::provider::BadAnswer;
use crate::query::{DbError, Query, UsageAddition, UsageEntry};
use crate::request::RequestError;
use crate::time::Time;

/// Additions to the database come no more often.
const EVERY: Duration = Duration::from_secs(10);
/// An addition that the database does not take is tried again after this long.
const REFUSED: Duration = Duration::from_secs(60);
/// The tokens of a probe, at most.
pub(super) const PROBE_TOKENS: u64 = 2;
const DAY: u64 = 24 * 60 * 60;

#[derive(Debug)]
pub(super) struct Usage {
    /// What is to be added, by vectorizer, model and day.
    counted: BTreeMap<(i64, String, u64), Tokens>,
    /// What was sent to the database and may have been added.
    sent: Option<UsageAddition>,
    is_out: bool,
    at: Time,
    not_before: Time,
    is_told: bool,
}

/// Requests and tokens, and the part of the tokens that is estimated.
#[derive(Clone, Copy, Debug, Default)]
struct Tokens {
    requests: u64,
    tokens: u64,
    estimated: u64,
}

/// What came of a request, as far as its tokens go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Used {
    Counted(u64),
    Estimated(u64),
    Nothing,
    /// There was no answer: the provider may have done its work.
    Perhaps(u64),
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            counted: BTreeMap::new(),
            sent: None,
            is_out: false,
            at: Time::ZERO + EVERY,
            not_before: Time::ZERO,
            is_told: false,
        }
    }
}

impl Used {
    fn of(reply: &Reply, estimate: u64) -> Self {
        match reply {
            Reply::Http(Ok(answer)) if !answer.response.status().is_success() => Self::Nothing,
            Reply::Http(Ok(answer)) => match &answer.vectors {
                Some(Ok(vectors)) => vectors
                    .tokens
                    .map_or(Self::Estimated(estimate), Self::Counted),
                Some(Err(BadAnswer::Error(_))) => Self::Nothing,
                // The provider has done its work, whatever the answer is worth.
                Some(Err(_)) | None => Self::Estimated(estimate),
            },
            Reply::Http(Err(RequestError::Broken(_) | RequestError::Timeout)) => {
                Self::Perhaps(estimate)
            }
            Reply::Model(Ok(ModelAnswer::Vectors { .. })) => Self::Estimated(estimate),
            Reply::Http(Err(RequestError::Connect(_) | RequestError::Secret(_)))
            | Reply::Model(Ok(ModelAnswer::Scores(_) | ModelAnswer::Tokenizer(_)) | Err(_))
            | Reply::Build(_)
            | Reply::Compute(_)
            | Reply::File(_)
            | Reply::Parse(_) => Self::Nothing,
        }
    }

    /// The tokens that are counted.
    const fn counted(self) -> Option<u64> {
        match self {
            Self::Counted(tokens) | Self::Estimated(tokens) => Some(tokens),
            Self::Nothing | Self::Perhaps(_) => None,
        }
    }

    /// What a ceiling loses by it.
    const fn spent(self) -> u64 {
        match self {
            Self::Counted(tokens) | Self::Estimated(tokens) | Self::Perhaps(tokens) => tokens,
            Self::Nothing => 0,
        }
    }
}

impl Usage {
    fn count(&mut self, vectorizer: i64, model: &str, day: u64, used: Used) {
        let (tokens, estimated) = match used {
            Used::Counted(tokens) => (tokens, 0),
            Used::Estimated(tokens) => (tokens, tokens),
            Used::Nothing | Used::Perhaps(_) => return,
        };
        let key = (vectorizer, model.to_owned(), day);
        let counted = self.counted.entry(key).or_default();
        counted.requests += 1;
        counted.tokens = counted.tokens.saturating_add(tokens);
        counted.estimated = counted.estimated.saturating_add(estimated);
    }

    /// Whether everything that was counted is in the database.
    pub(super) fn is_written(&self) -> bool {
        self.counted.is_empty() && self.sent.is_none()
    }

    /// When the next addition is due; a worker that stops does not wait for its turn.
    pub(super) fn due(&self, is_running: bool) -> Option<Time> {
        let at = if is_running {
            self.at.max(self.not_before)
        } else {
            self.not_before
        };
        (!self.is_written() && !self.is_out).then_some(at)
    }

    /// The next addition: first the one that may not have been made.
    fn next(&mut self, number: i64) -> UsageAddition {
        let addition = self.sent.take().unwrap_or_else(|| {
            let counted = std::mem::take(&mut self.counted);
            let entry =
                |((vectorizer, model, day), tokens): ((i64, String, u64), Tokens)| UsageEntry {
                    vectorizer,
                    model,
                    day,
                    requests: tokens.requests,
                    tokens: tokens.tokens,
                    estimated: tokens.estimated,
                };
            UsageAddition {
                number,
                entries: counted.into_iter().map(entry).collect(),
            }
        });
        self.is_out = true;
        self.sent = Some(addition.clone());
        addition
    }

    fn answered(&mut self, now: Time) {
        (self.is_out, self.sent) = (false, None);
        (self.at, self.is_told) = (now + EVERY, false);
    }
}

/// Days since 1970, in UTC.
pub(super) const fn day_of(wall: Duration) -> u64 {
    wall.as_secs() / DAY
}

impl Worker {
    /// The day of a moment.
    pub(super) fn day_at(&self, at: Time) -> u64 {
        day_of(self.settings.wall_start + at.since_start())
    }

    /// When the day of this number begins, as far as it does after the worker's start.
    pub(super) fn beginning_of(&self, day: u64) -> Time {
        let wall = Duration::from_secs(day.saturating_mul(DAY));
        Time::new(wall.saturating_sub(self.settings.wall_start))
    }

    /// Counts what a request has used. The day is the one on which it was sent.
    pub(super) fn metered(&mut self, called: &Called, reply: &Reply) {
        let estimate = match &called.purpose {
            Purpose::Embed { tokens, .. } => *tokens,
            Purpose::Probe { .. } => PROBE_TOKENS,
            Purpose::Build
            | Purpose::Compare(_)
            | Purpose::Document { .. }
            | Purpose::Limits
            | Purpose::Plan { .. }
            | Purpose::Pull
            | Purpose::Token
            | Purpose::Tokenizer => return,
        };
        let used = Used::of(reply, estimate);
        let (profile, day) = (&called.profile, self.day_at(called.at));
        self.meters
            .request(profile, reply, self.now.since(called.at), used.counted());
        self.usage
            .count(profile.id, &profile.provider.model, day, used);
        self.settle_budgets(profile, day, estimate, used.spent());
    }

    pub(super) fn usage_query(&mut self) -> (Asked, Query) {
        let number = self.random.positive();
        let addition = self.usage.next(number);
        (Asked::AddUsage, Query::AddUsage(addition))
    }

    pub(super) fn usage_added(&mut self) {
        self.usage.answered(self.now);
    }

    pub(super) fn usage_refused(&mut self, trouble: Trouble, error: &DbError) {
        self.usage.is_out = false;
        match trouble {
            Trouble::Again | Trouble::Outage => self.usage.not_before = self.now + HOUSEKEEPING,
            Trouble::Data | Trouble::Schema => {
                if trouble == Trouble::Data || !self.life.is_running() {
                    self.usage.answered(self.now);
                }
                self.usage.not_before = self.now + REFUSED;
                if !std::mem::replace(&mut self.usage.is_told, true) {
                    let reason = match error.sqlstate.as_deref() {
                        Some(MISSING_TABLE) => self.outdated_schema(),
                        _ => remedy(error),
                    };
                    self.events.push_back(Event::DatabaseTrouble {
                        reason: format!("tokens cannot be counted: {reason}"),
                        retry_in: REFUSED,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Vectors;
    use crate::request::{Received, Response};

    fn answer(status: u16, vectors: Option<Result<Vectors, BadAnswer>>) -> Reply {
        let mut response = Response::new(vec![]);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        Reply::Http(Ok(Received {
            response,
            vectors,
            damage: None,
        }))
    }

    #[test]
    fn an_answer_counts_as_its_provider_says_and_a_refusal_not_at_all() {
        let said = |tokens| {
            Some(Ok(Vectors {
                tokens,
                ..Vectors::default()
            }))
        };
        for (reply, used) in [
            (answer(200, said(Some(7))), Used::Counted(7)),
            (answer(200, said(None)), Used::Estimated(3)),
            (answer(200, Some(Err(BadAnswer::Zero))), Used::Estimated(3)),
            (answer(429, None), Used::Nothing),
            (answer(500, None), Used::Nothing),
            (Reply::Http(Err(RequestError::Timeout)), Used::Perhaps(3)),
            (
                Reply::Http(Err(RequestError::Connect("no".to_owned()))),
                Used::Nothing,
            ),
        ] {
            assert_eq!(Used::of(&reply, 3), used, "{reply:?}");
        }
    }

    #[test]
    fn an_addition_without_an_answer_is_made_again_under_its_number() {
        let mut usage = Usage::default();
        usage.count(1, "m", 5, Used::Counted(10));
        usage.count(1, "m", 5, Used::Estimated(4));
        usage.count(1, "m", 6, Used::Perhaps(9));
        let first = usage.next(100);
        assert_eq!(first.entries.len(), 1);
        let entry = &first.entries[0];
        assert_eq!((entry.requests, entry.tokens, entry.estimated), (2, 14, 4));
        usage.is_out = false;
        usage.count(1, "m", 5, Used::Counted(1));
        assert_eq!(usage.next(200), first, "the same, and nothing more");
        usage.answered(Time::ZERO);
        let second = usage.next(300);
        assert_eq!((second.number, second.entries[0].tokens), (300, 1));
        usage.answered(Time::ZERO);
        assert!(usage.is_written());
    }
}
