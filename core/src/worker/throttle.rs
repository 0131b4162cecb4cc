//! When a provider may be asked: shared by all vectorizers with the same provider, place and key.

use std::time::Duration;

use crate::random::Random;
use crate::retry::{self, Backoff};
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) struct Throttle {
    pub(super) in_flight: usize,
    /// Failures since the last answer that was of use.
    pub(super) failures: u32,
    blocked_until: Time,
    /// Whether the operator was told that the provider is paused.
    announced: bool,
}

/// After this many failures in a row an outage is worth an error.
const FAILURES_SILENT: u32 = 3;
/// So is a provider that wants to be left alone for longer than this.
const WAIT_SILENT: Duration = Duration::from_secs(30);

impl Throttle {
    /// Whether a request may be sent now.
    pub(super) fn is_open(&self, now: Time, requests_max: usize) -> bool {
        // While a provider fails, one request at a time finds out whether it still does.
        let max = if self.failures == 0 { requests_max } else { 1 };
        now >= self.blocked_until && self.in_flight < max
    }

    /// When requests may be sent again.
    pub(super) const fn opens(&self) -> Time {
        self.blocked_until
    }

    /// An answer was of use. Returns whether the operator was told of a pause that is over now.
    pub(super) const fn succeeded(&mut self) -> bool {
        self.failures = 0;
        std::mem::replace(&mut self.announced, false)
    }

    /// The provider is busy or down. Returns the wait if the operator should be told of it now.
    pub(super) fn failed(
        &mut self,
        now: Time,
        after: Option<Duration>,
        random: &mut Random,
    ) -> Option<Duration> {
        self.block(now, retry::PROVIDER, after, FAILURES_SILENT, random)
    }

    /// Somebody has to do something about the account. Returns the wait, as above.
    pub(super) fn paused(&mut self, now: Time, random: &mut Random) -> Option<Duration> {
        self.block(now, retry::PAUSE, Some(retry::PAUSE.first), 1, random)
    }

    /// Whether requests will be held back for so long that others should have the rows.
    pub(super) fn is_closed_for_long(&self, now: Time) -> bool {
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
        let after = after.unwrap_or_default();
        // Requests that were in flight together fail together: that is one failure.
        if now < self.blocked_until {
            self.blocked_until = self.blocked_until.max(now + after);
        } else {
            self.failures += 1;
            self.blocked_until = now + backoff.wait(self.failures, random).max(after);
        }
        let wait = self.blocked_until.since(now);
        let is_worth_it = self.failures >= silent || wait >= WAIT_SILENT;
        let tell = is_worth_it && !self.announced;
        self.announced |= tell;
        tell.then_some(wait)
    }
}
