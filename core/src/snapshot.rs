//! What a worker does at a moment and what it has done since its start, for metrics and health checks.
//!
//! What the database knows (how many rows wait, how many have failed) is not here: `status` reads it there.

use std::time::Duration;

use serde::Serialize;

/// The state of a worker, from [`Worker::snapshot`](crate::Worker::snapshot). Counters begin at zero at the
/// worker's start and never go back.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Snapshot {
    /// The worker's version.
    pub version: String,
    /// Seconds since the worker's start.
    pub uptime: f64,
    /// Whether the worker works: it has found its schema and its vectorizers, the database answers, and it was
    /// not told to stop. If not, [`reason`](Self::reason) says what is missing.
    pub is_ready: bool,
    /// Why the worker is not ready.
    pub reason: Option<String>,
    /// Statements in flight.
    pub statements: usize,
    /// Statements that failed, by kind: `again` (a lock, a cancelled statement), `data`, `outage`, `schema`.
    pub database_errors: Vec<(&'static str, u64)>,
    /// The vectorizers that the worker has loaded, and those that it did something for.
    pub vectorizers: Vec<VectorizerSnapshot>,
    /// The accounts of providers that it has asked.
    pub accounts: Vec<AccountSnapshot>,
}

/// A vectorizer in a [`Snapshot`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VectorizerSnapshot {
    /// Its id.
    pub id: i64,
    /// Its name; empty if its definition cannot be read.
    pub name: String,
    /// Why this worker does not run it now, if there is a reason other than that it is disabled.
    pub reason: Option<String>,
    /// Batches of rows in flight.
    pub batches: usize,
    /// What was done for it.
    #[serde(flatten)]
    pub counts: Counts,
    /// What was done with its documents, if it has some.
    pub documents: Option<DocumentCounts>,
}

/// What a worker has done with the documents of a vectorizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct DocumentCounts {
    /// Documents that were loaded from their addresses.
    pub loaded: u64,
    /// Documents that had not changed since they were loaded last.
    pub unchanged: u64,
    /// Documents that could not be loaded.
    pub not_loaded: u64,
    /// The bytes of the documents that were loaded, unpacked.
    pub bytes: u64,
    /// Documents that became text.
    pub parsed: u64,
    /// Documents that did not.
    pub not_parsed: u64,
    /// How long requests for documents took, in seconds, all together.
    pub loading_seconds: f64,
    /// How long parsing them took.
    pub parsing_seconds: f64,
}

impl DocumentCounts {
    /// Adds what was done since.
    pub(crate) fn add(&mut self, more: Self) {
        self.loaded += more.loaded;
        self.unchanged += more.unchanged;
        self.not_loaded += more.not_loaded;
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.parsed += more.parsed;
        self.not_parsed += more.not_parsed;
        self.loading_seconds += more.loading_seconds;
        self.parsing_seconds += more.parsing_seconds;
    }
}

/// What a worker has done for a vectorizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Rows brought in sync.
    pub rows: u64,
    /// Rows that went to the failed table.
    pub failed: u64,
    /// Attempts that failed and are made again.
    pub retried: u64,
    /// Chunks whose vectors came from the provider.
    pub chunks_embedded: u64,
    /// Chunks that kept their vectors.
    pub chunks_reused: u64,
    /// Tokens, as the provider counted them, or else estimated as a quarter of the bytes.
    pub tokens: u64,
    /// What these tokens cost in US dollars; zero where the model's price is not known.
    pub dollars: f64,
}

/// An account in a [`Snapshot`]: a provider, its address and the name of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccountSnapshot {
    /// The provider's name, such as `ollama`.
    pub provider: String,
    /// The URL that its requests begin with; empty for a model in the worker's own process.
    pub base_url: String,
    /// The name of its key, if it has one.
    pub key: Option<String>,
    /// Requests in flight.
    pub in_flight: usize,
    /// The number of requests that may be in flight now: it adapts to what they bring.
    pub in_flight_max: usize,
    /// Seconds until it is asked again; zero if it may be asked now.
    pub opens_in: f64,
    /// Why it is not asked now, or why it is asked with one request at a time only.
    pub reason: Option<String>,
    /// Requests by their outcome.
    pub outcomes: Vec<(&'static str, u64)>,
    /// The duration of requests that were answered with vectors.
    pub latency: Histogram,
}

/// How many durations are at most as long as each of [`Histogram::BOUNDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// Durations up to each bound and longer than the one before it; the last is for what is longer than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// The sum of all durations, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Upper bounds, in seconds: from a local server's small batch to the timeout of a request.
    pub const BOUNDS: [f64; 12] = [
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
    ];

    /// Adds a duration.
    pub(crate) fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[bucket] += 1;
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_the_bucket_whose_bound_it_reaches() {
        let mut histogram = Histogram::default();
        for millis in [5, 6, 60_000, 60_001] {
            histogram.add(Duration::from_millis(millis));
        }
        let [first, second, .., minute, longer] = histogram.counts;
        assert_eq!((first, second, minute, longer), (1, 1, 1, 1));
        assert!((histogram.sum - 120.012).abs() < 1e-9);
    }
}
