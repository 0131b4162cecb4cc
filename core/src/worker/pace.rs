//! When to look at a vectorizer's queue: at once where there is work, ever more rarely where there
//! is none.

use std::time::Duration;

use crate::time::Time;

/// The first gap after something happened.
const GAP_FIRST: Duration = Duration::from_millis(10);
/// After so many claims without anything the gap between two notifications that are heeded doubles.
const FUTILE_MAX: u32 = 16;
/// It doubles so many times: to 640 ms.
const DOUBLINGS_MAX: u32 = 6;
/// While gaps are this short, writers are told that no notification is needed.
const GAP_PROMISED: Duration = Duration::from_millis(160);
/// What a promise lasts beyond the next look: the way to the database and back.
const PROMISE_SLACK: Duration = Duration::from_millis(20);

/// The rhythm of claims. A wake-up that was missed, because its transaction rang before the bell
/// ran out and committed after, is made up for by looking again after as much time as has passed
/// since the last activity: it costs about as long as that transaction was old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    poll_interval: Duration,
    /// The last time that a claim got something or a notification came.
    active: Time,
    next: Time,
    /// When a notification may bring the next claim.
    heeded_at: Time,
    /// Whether a notification brings the next claim.
    is_woken: bool,
    /// Claims after notifications that got nothing, one after the other.
    futile: u32,
}

impl Pace {
    pub(super) const fn new(now: Time, poll_interval: Duration) -> Self {
        Self {
            poll_interval,
            active: now,
            next: now,
            heeded_at: now,
            is_woken: false,
            futile: 0,
        }
    }

    /// When the next claim is due.
    pub(super) const fn next(&self) -> Time {
        self.next
    }

    /// A claim got something: there may be more.
    pub(super) const fn found(&mut self, now: Time) {
        self.active = now;
        self.next = now;
        self.futile = 0;
    }

    /// A notification came. Anybody can send them: the more of them have led to nothing, the longer
    /// the next one waits, so that a flood costs few claims.
    pub(super) fn woken(&mut self, now: Time) {
        self.is_woken = true;
        if self.futile < FUTILE_MAX {
            self.active = now;
        }
        self.next = self.next.min(now.max(self.heeded_at));
    }

    /// Look again at once, without pretending that anything happened.
    pub(super) const fn again(&mut self, now: Time) {
        self.next = now;
    }

    /// A claim that took this long got nothing.
    pub(super) fn empty(&mut self, now: Time, took: Duration) {
        self.futile += u32::from(std::mem::take(&mut self.is_woken));
        let doublings = (self.futile / FUTILE_MAX).min(DOUBLINGS_MAX);
        self.heeded_at = now + (GAP_FIRST * 2_u32.pow(doublings)).min(self.poll_interval);
        self.next = now + self.gap(now).max(took * 10).min(self.poll_interval);
    }

    /// The gap if a claim gets nothing now: as long as the time since the last activity.
    fn gap(&self, now: Time) -> Duration {
        now.since(self.active)
            .max(GAP_FIRST)
            .min(self.poll_interval)
    }

    /// What a claim that is asked now may promise to writers: to look again by itself.
    pub(super) fn promise(&self, now: Time) -> Option<Duration> {
        let gap = self.gap(now);
        (gap <= GAP_PROMISED).then_some(gap + PROMISE_SLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_double_up_to_the_poll_interval() {
        let mut pace = Pace::new(Time::ZERO, Duration::from_secs(1));
        let mut gaps = vec![];
        for _ in 0..9 {
            let now = pace.next();
            pace.empty(now, Duration::ZERO);
            gaps.push(pace.next().since(now).as_millis());
        }
        assert_eq!(gaps, [10, 10, 20, 40, 80, 160, 320, 640, 1000]);
    }

    #[test]
    fn a_flood_of_notifications_costs_few_claims_and_a_single_one_none_of_its_speed() {
        let poll_interval = Duration::from_secs(60);
        let mut pace = Pace::new(Time::ZERO, poll_interval);
        let mut claims = 0;
        for ms in 0..60_000 {
            let now = Time::new(Duration::from_millis(ms));
            pace.woken(now);
            if pace.next() <= now {
                claims += 1;
                pace.empty(now, Duration::ZERO);
            }
        }
        assert!((100..=300).contains(&claims), "{claims} claims in a minute");

        let mut now = Time::new(Duration::from_secs(90));
        for _ in 0..3 {
            pace.woken(now);
            assert!(pace.next() <= now);
            pace.found(now);
            pace.empty(now, Duration::ZERO);
            now = now + Duration::from_secs(1);
        }
    }

    #[test]
    fn a_slow_claim_is_not_asked_all_the_time() {
        let mut pace = Pace::new(Time::ZERO, Duration::from_secs(60));
        pace.empty(Time::ZERO, Duration::from_millis(50));
        assert_eq!(pace.next(), Time::new(Duration::from_millis(500)));
    }

    #[test]
    fn a_promise_is_made_only_while_gaps_are_short_and_lasts_until_the_next_look() {
        let mut pace = Pace::new(Time::ZERO, Duration::from_secs(60));
        let mut promised = 0;
        for _ in 0..20 {
            let now = pace.next();
            let promise = pace.promise(now);
            pace.empty(now, Duration::ZERO);
            if let Some(promise) = promise {
                promised += 1;
                assert!(now + promise > pace.next());
            }
        }
        assert_eq!(promised, 6);
    }
}
