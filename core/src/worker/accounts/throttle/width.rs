//! How many requests may be in flight towards a provider.

use std::time::Duration;

use crate::time::Time;

/// Requests in flight before anything is known of the provider.
const FIRST: usize = 4;
/// Twice as many requests in flight are worth it if they bring this much more: a provider that works
/// on one request at a time only lets the others wait.
const GAIN: f64 = 1.25;
/// A provider that takes this long for a request has enough to do: more requests would wait there, and
/// some until their time is up.
const SLOW: Duration = Duration::from_secs(5);
/// After a doubling that was not worth it, the next one is tried this much later.
const REST: Duration = Duration::from_secs(60);

/// Doubles while that brings more inputs a second. A refusal halves it; from then on it grows by one
/// after as many good answers (additive increase, multiplicative decrease).
#[derive(Debug)]
pub(super) struct Width {
    requests: usize,
    climb: Climb,
    window: Window,
}

#[derive(Debug)]
enum Climb {
    /// Once there was a refusal.
    Adding,
    /// `before`: inputs a second with half the width.
    Doubling { before: f64 },
    /// Twice as much was not worth it.
    Level { until: Time },
}

/// As many good answers as requests may be in flight.
#[derive(Debug, Default)]
struct Window {
    began: Option<Time>,
    answers: usize,
    inputs: usize,
    /// As many requests were in flight as may be: with more there might have been more.
    is_full: bool,
}

impl Width {
    pub(super) fn new() -> Self {
        Self {
            requests: FIRST,
            climb: Climb::Doubling { before: 0.0 },
            window: Window::default(),
        }
    }

    pub(super) const fn requests(&self) -> usize {
        self.requests
    }

    /// A request was sent; so many are in flight now.
    pub(super) fn sent(&mut self, now: Time, in_flight: usize) {
        self.window.began.get_or_insert(now);
        self.window.is_full |= in_flight >= self.requests;
    }

    /// A good answer came after `took` with so many vectors; so many requests are still in flight.
    pub(super) fn answered(
        &mut self,
        now: Time,
        took: Duration,
        inputs: usize,
        in_flight: usize,
        max: usize,
    ) {
        self.window.answers += 1;
        self.window.inputs += inputs;
        if self.window.answers < self.requests {
            return;
        }
        let window = std::mem::take(&mut self.window);
        self.window.began = (in_flight > 0).then_some(now);
        if window.is_full && self.requests < max && took < SLOW {
            self.grow(now, window.rate(now));
        }
        self.requests = self.requests.min(max);
    }

    fn grow(&mut self, now: Time, rate: f64) {
        match self.climb {
            Climb::Adding => self.requests += 1,
            Climb::Doubling { before } if rate >= before * GAIN => {
                self.requests *= 2;
                self.climb = Climb::Doubling { before: rate };
            }
            Climb::Doubling { .. } => {
                self.requests = (self.requests / 2).max(FIRST);
                self.climb = Climb::Level { until: now + REST };
            }
            Climb::Level { until } if now >= until => {
                self.requests *= 2;
                self.climb = Climb::Doubling { before: rate };
            }
            Climb::Level { .. } => {}
        }
    }

    pub(super) fn refused(&mut self) {
        self.requests = (self.requests / 2).max(1);
        self.climb = Climb::Adding;
        self.window = Window::default();
    }
}

impl Window {
    #[expect(clippy::cast_precision_loss, reason = "no window has 2^53 inputs")]
    fn rate(&self, now: Time) -> f64 {
        let time = self.began.map_or(Duration::ZERO, |began| now.since(began));
        self.inputs as f64 / time.as_secs_f64().max(1e-6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A provider that works on `side_by_side` requests of 64 inputs at a time, each 100 ms, for this
    /// long; returns the widths after each answer.
    fn widths(width: &mut Width, side_by_side: usize, seconds: u64) -> Vec<usize> {
        let mut now = Duration::ZERO;
        let mut ends: Vec<Duration> = vec![];
        let mut free = vec![Duration::ZERO; side_by_side];
        let mut widths = vec![];
        while now < Duration::from_secs(seconds) {
            while ends.len() < width.requests() {
                let place = free.iter_mut().min().unwrap();
                *place = now.max(*place) + Duration::from_millis(100);
                ends.push(*place);
                width.sent(Time::new(now), ends.len());
            }
            ends.sort_unstable();
            now = ends.remove(0);
            let took = Duration::from_millis(100);
            width.answered(Time::new(now), took, 64, ends.len(), 32);
            widths.push(width.requests());
        }
        widths
    }

    #[test]
    fn it_doubles_while_that_brings_more() {
        assert_eq!(widths(&mut Width::new(), 1_000, 2).last(), Some(&32));
        let most = widths(&mut Width::new(), 8, 10);
        assert_eq!(most.iter().max(), Some(&16), "one step too many is tried");
        assert_eq!(most.last(), Some(&8));
    }

    #[test]
    fn one_request_at_a_time_is_not_asked_for_more_than_a_few() {
        let widths = widths(&mut Width::new(), 1, 50);
        assert_eq!(widths.iter().max(), Some(&8));
        let few = widths.iter().filter(|width| **width == 4).count();
        assert!(few * 10 > widths.len() * 9, "{few} of {}", widths.len());
    }

    #[test]
    fn after_a_refusal_it_grows_slowly() {
        let mut width = Width::new();
        widths(&mut width, 1_000, 2);
        width.refused();
        assert_eq!(width.requests(), 16);
        let after = widths(&mut width, 1_000, 1);
        assert!(after.windows(2).all(|pair| pair[1] <= pair[0] + 1));
        assert!(*after.last().unwrap() > 20);
    }

    #[test]
    fn a_slow_provider_is_left_in_peace() {
        let mut width = Width::new();
        for answer in 0..100 {
            let now = Time::new(SLOW * answer);
            width.sent(now, FIRST);
            width.answered(now, SLOW, 64, FIRST - 1, 32);
        }
        assert_eq!(width.requests(), FIRST);
    }

    #[test]
    fn a_width_that_is_not_used_does_not_grow() {
        let mut width = Width::new();
        for second in 0..100 {
            let now = Time::new(Duration::from_secs(second));
            width.sent(now, 1);
            width.answered(now, Duration::ZERO, 1, 0, 32);
        }
        assert_eq!(width.requests(), FIRST);
    }
}
