//! The last hours, for the charts of the page.

use std::collections::VecDeque;
use std::time::Duration;

use pgai_core::{AccountSnapshot, Snapshot};
use serde::Serialize;

use crate::console::wall_time;

/// Between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// A rate over fewer seconds says little.
const SHORT: u64 = 5;
/// Six hours.
const SAMPLES_MAX: usize = 720;

/// Samples, the oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Sample>);

/// Counters since the worker's start at a moment: rates are the differences between two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Sample {
    /// Seconds since 1970.
    at: u64,
    rows: u64,
    failed: u64,
    chunks: u64,
    tokens: u64,
    /// Requests that were answered with vectors.
    answered: u64,
    /// Requests that failed, for whatever reason.
    unanswered: u64,
    /// The duration of the answered ones together, in seconds.
    seconds: f64,
}

impl Sample {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let counts = || snapshot.vectorizers.iter().map(|one| one.counts);
        let latency = || snapshot.accounts.iter().map(|account| account.latency);
        let answered = latency().map(|one| one.counts.iter().sum::<u64>()).sum();
        let requests: u64 = snapshot.accounts.iter().map(requests).sum();
        Self {
            at: wall_time().as_secs(),
            rows: counts().map(|one| one.rows).sum(),
            failed: counts().map(|one| one.failed).sum(),
            chunks: counts().map(|one| one.chunks_embedded).sum(),
            tokens: counts().map(|one| one.tokens).sum(),
            answered,
            unanswered: requests.saturating_sub(answered),
            seconds: latency().map(|one| one.sum).sum(),
        }
    }
}

fn requests(account: &AccountSnapshot) -> u64 {
    account.outcomes.iter().map(|(_, count)| count).sum()
}

impl History {
    pub(super) fn add(&mut self, sample: Sample) {
        if self.0.len() == SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The samples, and the moment as the last one, unless too little time has passed for a rate.
    pub(super) fn until(&self, now: Option<Sample>) -> Vec<Sample> {
        let latest = self.0.back().map_or(0, |sample| sample.at);
        let now = now.filter(|now| now.at.saturating_sub(latest) >= SHORT);
        self.0.iter().copied().chain(now).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_hours_are_kept_and_no_more() {
        let mut history = History::default();
        let sample = Sample::of(&Snapshot::default());
        for at in 0..1000 {
            history.add(Sample { at, ..sample });
        }
        let kept = history.until(Some(Sample { at: 2000, ..sample }));
        assert_eq!(kept.len(), SAMPLES_MAX + 1);
        assert_eq!((kept[0].at, kept[SAMPLES_MAX].at), (280, 2000));
        let kept = history.until(Some(Sample { at: 1001, ..sample }));
        assert_eq!(kept.len(), SAMPLES_MAX);
    }
}
