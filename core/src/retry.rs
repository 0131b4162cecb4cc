//! Retry times: exponential backoff with jitter.

use std::time::Duration;

use crate::random::Random;

/// A backoff: waits that double up to a maximum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// For attempts at a row.
pub(crate) const ITEM: Backoff = Backoff {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(600),
};
/// For attempts to connect to the database: after its return it is in use again within five seconds.
pub(crate) const DATABASE: Backoff = Backoff {
    first: Duration::from_millis(250),
    longest: Duration::from_secs(4),
};
/// For attempts at a statement that failed because of a lock.
pub(crate) const LOCKED: Backoff = Backoff {
    first: Duration::from_millis(20),
    longest: Duration::from_secs(1),
};
/// For attempts at a provider that is busy or down.
pub(crate) const PROVIDER: Backoff = Backoff {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(60),
};
/// For attempts at something that the operator must fix: a key, a quota, a vectorizer's config.
pub(crate) const PAUSE: Backoff = Backoff {
    first: Duration::from_secs(30),
    longest: Duration::from_secs(600),
};
/// For attempts at building a vector index, which takes long.
pub(crate) const INDEX: Backoff = Backoff {
    first: Duration::from_secs(60),
    longest: Duration::from_secs(3600),
};

impl Backoff {
    /// The wait after this many failures in a row (at least one). It doubles each time, and is
    /// reduced by up to a quarter at random, so that many workers do not retry at the same time.
    pub(crate) fn wait(self, failures: u32, random: &mut Random) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        let full = doubled.min(self.longest);
        full - full.mul_f64(random.fraction() / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_lose_at_most_a_quarter() {
        let mut random = Random::new(1);
        for (failures, seconds) in [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (99, 600)] {
            for _ in 0..100 {
                let wait = ITEM.wait(failures, &mut random).as_secs_f64();
                let full = f64::from(seconds);
                assert!(wait <= full && wait >= full * 0.75, "{failures}: {wait}");
            }
        }
    }
}
