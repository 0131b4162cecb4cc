//! One build, from the taken lease to its end.

use std::sync::Arc;
use std::time::Duration;

use super::{GAVE_WAY, LEASE, Step, WATCH};
use crate::index::{IndexProgress, IndexQuery, TakenBuild};
use crate::query::{ClaimId, DbError};
use crate::random::Random;
use crate::retry;
use crate::time::Time;
use crate::vectorizer::Profile;

/// The time between two log lines about a build.
const TELL: Duration = Duration::from_secs(60);

/// A build whose lease this worker holds.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) profile: Arc<Profile>,
    pub(super) began: Time,
    /// When it may be tried again, after it ended without an index.
    pub(super) retry_in: Duration,
    claim: ClaimId,
    sql: String,
    failures: u32,
    state: State,
    /// When the next statement about it is due.
    ask_at: Time,
    tell_at: Time,
    /// Whether a statement about it is in flight.
    is_asked: bool,
    /// Why it is cancelled, if it is.
    cancelled: Option<Outcome>,
}

#[derive(Debug)]
enum State {
    Wanted,
    Out,
    Ended(Outcome),
}

/// Whether a statement is about a text index.
pub(super) fn is_of_text(sql: &str) -> bool {
    sql.contains("ai._text_keep(") || sql.contains("_vectorizer_text_idx_")
}

/// How a build has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Done,
    Failed(DbError),
    /// Another session waited for the table.
    GaveWay,
    /// The worker stops.
    Stopped,
}

impl Build {
    pub(super) fn new(profile: Arc<Profile>, claim: ClaimId, now: Time, taken: TakenBuild) -> Self {
        Self {
            profile,
            began: now,
            retry_in: Duration::ZERO,
            claim,
            sql: taken.sql,
            failures: taken.failures,
            state: State::Wanted,
            ask_at: now + WATCH,
            tell_at: now + TELL,
            is_asked: false,
            cancelled: None,
        }
    }

    /// The statement, once.
    pub(super) fn start(&mut self) -> Option<String> {
        if !matches!(self.state, State::Wanted) {
            return None;
        }
        self.state = State::Out;
        Some(self.sql.clone())
    }

    /// Whether it removes what an interrupted build has left.
    pub(super) fn is_drop(&self) -> bool {
        self.sql.starts_with("drop ")
    }

    /// Whether it is about the text index, and not about the vector index.
    pub(super) fn is_of_text(&self) -> bool {
        is_of_text(&self.sql)
    }

    /// Wants it to end, for this reason.
    pub(super) fn cancel(&mut self, why: Outcome) {
        match self.state {
            State::Wanted => self.state = State::Ended(why),
            State::Out => {
                self.cancelled.get_or_insert(why);
            }
            State::Ended(_) => {}
        }
    }

    pub(super) fn ended(&mut self, now: Time, result: Result<(), DbError>) {
        let outcome = match (result, self.cancelled.take()) {
            (Ok(()), _) => Outcome::Done,
            (Err(_), Some(why)) => why,
            (Err(error), None) => Outcome::Failed(error),
        };
        self.state = State::Ended(outcome);
        self.ask_at = now;
    }

    pub(super) const fn outcome(&self) -> &Outcome {
        match &self.state {
            State::Ended(outcome) => outcome,
            State::Out | State::Wanted => &Outcome::Stopped,
        }
    }

    pub(super) fn ask_at(&self) -> Option<Time> {
        (!self.is_asked && !matches!(self.state, State::Wanted)).then_some(self.ask_at)
    }

    pub(super) fn next_query(
        &mut self,
        now: Time,
        random: &mut Random,
    ) -> Option<(Step, IndexQuery)> {
        if self.is_asked || now < self.ask_at {
            return None;
        }
        let (vectorizer, claim) = (self.profile.id, self.claim);
        match &self.state {
            State::Wanted => None,
            State::Out => {
                self.is_asked = true;
                let query = IndexQuery::Watch {
                    vectorizer,
                    claim,
                    lease: LEASE,
                    cancels: self.cancelled.is_some(),
                };
                Some((Step::Watch, query))
            }
            State::Ended(outcome) => {
                self.is_asked = true;
                let (retry_in, reason) = match outcome {
                    // (If there is an index now, nobody waits.)
                    Outcome::Done if !self.is_drop() => (GAVE_WAY, None),
                    Outcome::Done | Outcome::Stopped => (Duration::ZERO, None),
                    Outcome::GaveWay => (GAVE_WAY, None),
                    Outcome::Failed(error) => {
                        let failures = self.failures + 1;
                        (retry::INDEX.wait(failures, random), Some(error.to_string()))
                    }
                };
                self.retry_in = retry_in;
                let query = IndexQuery::End {
                    vectorizer,
                    claim,
                    retry_in,
                    reason,
                };
                Some((Step::End, query))
            }
        }
    }

    /// Returns the progress if it is to be told, and for how long the build has run.
    pub(super) fn watched(
        &mut self,
        now: Time,
        progress: Option<IndexProgress>,
    ) -> Option<(String, Duration)> {
        self.unanswered(now);
        let progress = progress?;
        if progress.is_in_the_way {
            self.cancel(Outcome::GaveWay);
            // At once.
            self.ask_at = now;
        }
        if now < self.tell_at {
            return None;
        }
        self.tell_at = now + TELL;
        Some((progress.said.unwrap_or_default(), now.since(self.began)))
    }

    /// A statement about it has ended, with or without an answer.
    pub(super) fn unanswered(&mut self, now: Time) {
        self.is_asked = false;
        self.ask_at = now + WATCH;
    }
}

#[cfg(test)]
mod tests;
