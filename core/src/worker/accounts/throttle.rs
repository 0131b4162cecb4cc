//! When a provider may be asked: shared by all vectorizers with the same provider, place and key.

mod budget;
mod width;

use std::time::Duration;

use budget::{Bucket, Remote};
pub(in crate::worker) use budget::{bytes_of, tokens_of};
use width::Width;

use crate::provider::{Remaining, WAIT_MAX};
use crate::random::Random;
use crate::retry::{self, Backoff};
use crate::time::Time;

#[derive(Debug)]
pub(in crate::worker) struct Throttle {
    in_flight: usize,
    /// The tokens of what is in flight.
    tokens_out: u64,
    width: Width,
    remote: Remote,
    /// What the operator allows.
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// Answers that were of use.
    answers: u64,
    /// A request failed since, and it is not clear whose fault that was.
    stumbled: bool,
    /// Failures since the last answer that was of use.
    pub(in crate::worker) failures: u32,
    blocked_until: Time,
    /// What the provider said when it failed last.
    reason: String,
    /// Whether the operator was told of the wait that goes on now.
    wait_told: bool,
    /// Whether the operator was told that the provider is paused.
    announced: bool,
}

/// After this many failures in a row an outage is worth an error.
const FAILURES_SILENT: u32 = 3;
/// So is a provider that wants to be left alone for longer than this.
const WAIT_SILENT: Duration = Duration::from_secs(30);
/// A wait that is longer than this is told once.
const WAIT_TOLD: Duration = Duration::from_secs(10);
/// Why nothing is sent where the provider did not refuse anything.
const USED_UP: &str = "its headers (x-ratelimit-...) say that its limit is used up until then";
const OWN_LIMIT: &str =
    "the limit of requests or tokens a minute that this worker was given is used up";

/// The operator's limits for each account.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::worker) struct Allowance {
    pub(in crate::worker) requests_per_minute: Option<u64>,
    pub(in crate::worker) tokens_per_minute: Option<u64>,
}

impl Throttle {
    pub(in crate::worker) fn new(allowance: Allowance, now: Time) -> Self {
        let bucket = |per_minute: u64| Bucket::new(per_minute, now);
        Self {
            in_flight: 0,
            tokens_out: 0,
            width: Width::new(),
            remote: Remote::default(),
            requests: allowance.requests_per_minute.map(bucket),
            tokens: allowance.tokens_per_minute.map(bucket),
            answers: 0,
            stumbled: false,
            failures: 0,
            blocked_until: Time::ZERO,
            reason: String::new(),
            wait_told: false,
            announced: false,
        }
    }

    /// Whether a request of so many tokens may be sent now.
    pub(in crate::worker) fn is_open(&self, now: Time, requests_max: usize, tokens: u64) -> bool {
        self.in_flight < self.width(requests_max)
            && self.opens(now) <= now
            && self.remote.opens(now, tokens) <= now
    }

    /// How many requests may be in flight. While a provider fails, one at a time finds out whether it
    /// still does.
    pub(in crate::worker) fn width(&self, requests_max: usize) -> usize {
        if self.failures == 0 {
            self.width.requests().min(requests_max)
        } else {
            1
        }
    }

    /// When requests may be sent again, as far as that does not depend on their size.
    pub(in crate::worker) fn opens(&self, now: Time) -> Time {
        let buckets = [&self.requests, &self.tokens].into_iter().flatten();
        let bucket = buckets.map(|bucket| bucket.opens(now)).max();
        self.blocked_until.max(bucket.unwrap_or(Time::ZERO))
    }

    /// Until when the provider itself keeps a request of so many tokens back, and why.
    pub(in crate::worker) fn kept_back(&self, now: Time, tokens: u64) -> (Time, &str) {
        let used_up = self.remote.opens(now, tokens);
        if used_up > self.blocked_until {
            (used_up, USED_UP)
        } else {
            (self.blocked_until, &self.reason)
        }
    }

    /// Why nothing is sent now, or one request at a time only.
    pub(in crate::worker) fn why_it_waits(&self, now: Time) -> Option<&str> {
        let (until, reason) = self.kept_back(now, 1);
        if until > now || self.failures > 0 {
            Some(reason)
        } else {
            (self.opens(now) > now).then_some(OWN_LIMIT)
        }
    }

    /// Requests in flight.
    pub(in crate::worker) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The wait of a request of so many tokens and its reason, if it is long and not yet told.
    pub(in crate::worker) fn untold_wait(
        &mut self,
        now: Time,
        tokens: u64,
    ) -> Option<(Duration, String)> {
        let (until, reason) = self.kept_back(now, tokens);
        let own = self.opens(now);
        let (until, reason) = if own > until {
            (own, OWN_LIMIT)
        } else {
            (until, reason)
        };
        let wait = until.since(now);
        let tell = wait > WAIT_TOLD && !self.wait_told && !self.announced;
        let told = tell.then(|| (wait, reason.to_owned()));
        self.wait_told |= tell;
        told
    }

    /// When something may have changed.
    pub(in crate::worker) fn wakes(&self, now: Time) -> impl Iterator<Item = Time> {
        std::iter::once(self.opens(now)).chain(self.remote.resets())
    }

    pub(in crate::worker) fn sent(&mut self, now: Time, tokens: u64) {
        self.in_flight += 1;
        self.wait_told = false;
        self.tokens_out += tokens;
        self.width.sent(now, self.in_flight);
        self.remote.sent(now, tokens);
        if let Some(bucket) = &mut self.requests {
            bucket.take(now, 1);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(now, tokens);
        }
    }

    /// A request is no longer in flight.
    pub(in crate::worker) const fn back(&mut self, tokens: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.tokens_out = self.tokens_out.saturating_sub(tokens);
    }

    /// What an answer says of the limits, once it is [`back`](Self::back).
    pub(in crate::worker) fn heard(&mut self, now: Time, said: &Remaining) {
        self.remote
            .heard(now, said, self.in_flight as u64, self.tokens_out);
    }

    /// An answer that took so long was of use, with so many vectors. Returns whether the operator was told of a pause
    /// that is over now.
    pub(in crate::worker) fn succeeded(
        &mut self,
        now: Time,
        took: Duration,
        vectors: usize,
        requests_max: usize,
    ) -> bool {
        self.answers += 1;
        self.stumbled = false;
        self.failures = 0;
        self.width
            .answered(now, took, vectors, self.in_flight, requests_max);
        std::mem::replace(&mut self.announced, false)
    }

    /// A request failed, perhaps for its own inputs. Says whether it is not the first since the last
    /// answer that was of use: then the provider fails.
    pub(in crate::worker) const fn stumbled(&mut self) -> bool {
        std::mem::replace(&mut self.stumbled, true) || self.failures > 0
    }

    /// Fewer requests at a time: one was not answered in time.
    pub(in crate::worker) fn narrow(&mut self) {
        self.width.refused();
    }

    /// Answers that were of use, so far.
    pub(in crate::worker) const fn answers(&self) -> u64 {
        self.answers
    }

    /// Whether nothing has failed since the last answer.
    pub(in crate::worker) const fn is_well(&self) -> bool {
        self.failures == 0 && !self.stumbled
    }

    /// The provider is busy or down. Returns the wait if the operator should be told of it now.
    pub(in crate::worker) fn failed(
        &mut self,
        now: Time,
        after: Option<Duration>,
        reason: &str,
        random: &mut Random,
    ) -> Option<Duration> {
        reason.clone_into(&mut self.reason);
        self.block(now, retry::PROVIDER, after, FAILURES_SILENT, random)
    }

    /// Somebody has to do something about the account. Returns the wait, as above.
    pub(in crate::worker) fn paused(
        &mut self,
        now: Time,
        reason: &str,
        random: &mut Random,
    ) -> Option<Duration> {
        reason.clone_into(&mut self.reason);
        self.block(now, retry::PAUSE, Some(retry::PAUSE.first), 1, random)
    }

    /// Whether requests will be held back for so long that others should have the rows.
    pub(in crate::worker) fn is_closed_for_long(&self, now: Time) -> bool {
        self.failures >= FAILURES_SILENT || self.blocked_until.since(now) >= WAIT_SILENT
    }

    fn block(
        &mut self,
        now: Time,
        backoff: Backoff,
        after: Option<Duration>,
        silent: u32,
        random: &mut Random,
    ) -> Option<Duration> {
        let after = after.unwrap_or_default().min(WAIT_MAX);
        // Requests that were in flight together fail together: that is one failure.
        if now < self.blocked_until {
            self.blocked_until = self.blocked_until.max(now + after);
        } else {
            self.failures += 1;
            self.width.refused();
            self.blocked_until = now + backoff.wait(self.failures, random).max(after);
        }
        let wait = self.blocked_until.since(now);
        let is_worth_it = self.failures >= silent || wait >= WAIT_SILENT;
        let tell = is_worth_it && !self.announced;
        self.announced |= tell;
        tell.then_some(wait)
    }
}
