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
        self.block(now, retry::PAUSE, None, 1, random)
    }

    fn block(
        &mut self,
        now: Time,
        backoff: Backoff,
        after: Option<Duration>,
        silent: u32,
        random: &mut Random,
    ) -> Option<Duration> {
        // Requests that were in flight together fail together: that is one failure.
        if now < self.blocked_until {
            return None;
        }
        self.failures += 1;
        let wait = backoff
            .wait(self.failures, random)
            .max(after.unwrap_or_default());
        self.blocked_until = now + wait;
        let tell = self.failures >= silent && !self.announced;
        self.announced |= tell;
        tell.then_some(wait)
    }
}
