//! What an account may still spend: as its provider says, and as the operator allows.

use std::time::Duration;

use crate::provider::Remaining;
use crate::time::Time;

/// What one request costs: one request, and tokens estimated as a quarter of its bytes, which is
/// OpenAI's own estimate (pgai#730).
pub(crate) const fn tokens_of(bytes: usize) -> u64 {
    bytes as u64 / 4 + 1
}

/// The bytes of a request that costs so many tokens, or a few less.
pub(crate) const fn bytes_of(tokens: u64) -> usize {
    tokens.saturating_sub(1) as usize * 4
}

/// What the provider said is left, less what was sent since.
#[derive(Debug, Default)]
pub(super) struct Remote {
    requests: Option<Window>,
    tokens: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    left: u64,
    /// All of it comes back then.
    reset: Time,
    /// The most that ever was left, and the longest time to a reset: what the next window is taken
    /// to be like until its first answer.
    whole: u64,
    length: Duration,
}

impl Remote {
    /// Takes the headers of an answer. What is in flight may not be counted in them yet.
    pub(super) fn heard(
        &mut self,
        now: Time,
        said: &Remaining,
        requests_out: u64,
        tokens_out: u64,
    ) {
        for (window, said, out) in [
            (&mut self.requests, said.requests, requests_out),
            (&mut self.tokens, said.tokens, tokens_out),
        ] {
            if let Some((left, reset)) = said {
                let before = *window;
                *window = Some(Window {
                    left: left.saturating_sub(out),
                    reset: now + reset,
                    whole: before.map_or(left, |before| before.whole.max(left)),
                    length: before.map_or(reset, |before| before.length.max(reset)),
                });
            }
        }
    }

    /// Until when a request of this cost would be refused. A request that costs more than ever is
    /// left goes when the window is fresh: the provider has to say what it thinks of it.
    pub(super) fn opens(&self, now: Time, tokens: u64) -> Time {
        let wait = |window: Option<Window>, cost: u64| match window {
            Some(window) if window.left < cost && now < window.reset => window.reset,
            _ => Time::ZERO,
        };
        wait(self.requests, 1).max(wait(self.tokens, tokens))
    }

    pub(super) fn sent(&mut self, now: Time, tokens: u64) {
        let windows = [(&mut self.requests, 1), (&mut self.tokens, tokens)];
        for (window, cost) in windows {
            let Some(window) = window else { continue };
            if now >= window.reset {
                (window.left, window.reset) = (window.whole, now + window.length);
            }
            window.left = window.left.saturating_sub(cost);
        }
    }

    pub(super) fn resets(&self) -> impl Iterator<Item = Time> {
        [self.requests, self.tokens]
            .into_iter()
            .flatten()
            .map(|window| window.reset)
    }
}

/// A token bucket: so much a minute, spread evenly. It may go into debt for one cost that is larger
/// than what is in it, and is closed until the debt is paid: so any minute sees at most what is
/// allowed, a second's worth of it, and one cost more.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    level: f64,
    at: Time,
}

impl Bucket {
    pub(super) fn new(per_minute: u64, now: Time) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody allows 2^53 tokens a minute"
        )]
        let per_second = per_minute as f64 / 60.0;
        Self {
            per_second,
            level: per_second.max(1.0),
            at: now,
        }
    }

    fn level(&self, now: Time) -> f64 {
        let refilled = self.level + self.per_second * now.since(self.at).as_secs_f64();
        refilled.min(self.per_second.max(1.0))
    }

    /// When something may be taken.
    pub(super) fn opens(&self, now: Time) -> Time {
        // Less than a whole one is not there yet; what is owed must be paid first.
        let missing = self.per_second.min(1.0) - self.level(now);
        if missing <= 0.0 {
            return Time::ZERO;
        }
        // Rounded up: woken a microsecond early, one would wait for nothing.
        now + Duration::from_secs_f64(missing / self.per_second) + Duration::from_micros(1)
    }

    pub(super) fn take(&mut self, now: Time, cost: u64) {
        #[expect(clippy::cast_precision_loss, reason = "no request has 2^53 tokens")]
        let cost = cost as f64;
        self.level = self.level(now) - cost;
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Time {
        Time::new(Duration::from_secs_f64(seconds))
    }

    /// Takes whenever it may, for an hour, and returns the most that any minute saw.
    fn most_in_a_minute(per_minute: u64, cost: u64) -> u64 {
        let mut bucket = Bucket::new(per_minute, Time::ZERO);
        let mut now = Time::ZERO;
        let mut taken: Vec<Time> = vec![];
        while now < seconds(3600.0) {
            let opens = bucket.opens(now);
            if opens > now {
                now = opens;
                continue;
            }
            bucket.take(now, cost);
            taken.push(now);
        }
        let in_minute = |from: &Time| {
            let until = *from + Duration::from_secs(60);
            taken
                .iter()
                .filter(|at| (*from..until).contains(at))
                .count() as u64
                * cost
        };
        taken.iter().map(in_minute).max().unwrap_or(0)
    }

    #[test]
    fn no_minute_sees_much_more_than_is_allowed_and_most_see_that() {
        for (per_minute, cost) in [(1, 1), (7, 1), (60, 1), (600, 1), (1000, 90), (1000, 5000)] {
            let most = most_in_a_minute(per_minute, cost);
            let second = per_minute.div_ceil(60);
            assert!(
                most <= per_minute + second + cost,
                "{per_minute}, {cost}: {most}"
            );
            assert!(
                most + second + cost >= per_minute,
                "{per_minute}, {cost}: {most}"
            );
        }
    }

    #[test]
    fn what_the_provider_said_is_left_is_spent_and_then_waited_for() {
        let mut remote = Remote::default();
        assert_eq!(remote.opens(Time::ZERO, 1_000_000), Time::ZERO);
        let said = Remaining {
            requests: Some((3, Duration::from_secs(20))),
            tokens: Some((1000, Duration::from_secs(6))),
        };
        // One is in flight still, with 400 tokens.
        remote.heard(Time::ZERO, &said, 1, 400);
        assert_eq!(remote.opens(Time::ZERO, 601), seconds(6.0));
        assert_eq!(remote.opens(Time::ZERO, 600), Time::ZERO);
        remote.sent(Time::ZERO, 100);
        remote.sent(Time::ZERO, 100);
        assert_eq!(
            remote.opens(Time::ZERO, 1),
            seconds(20.0),
            "no request is left"
        );
        assert_eq!(remote.opens(seconds(20.0), 1_000_000), Time::ZERO);
        // The next window is like the first one, until an answer says otherwise.
        for _ in 0..3 {
            assert_eq!(remote.opens(seconds(20.0), 1), Time::ZERO);
            remote.sent(seconds(20.0), 1);
        }
        assert_eq!(remote.opens(seconds(20.0), 1), seconds(40.0));
    }
}
