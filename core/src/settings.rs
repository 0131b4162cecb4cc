//! The settings of a worker, and its limits.

mod secrets;
mod stores;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

pub use secrets::{AwsSource, Secrets};
pub(crate) use stores::{
    AzureAccess, CONNECTION, GoogleAccess, METADATA_HOST, S3Store, field_of_connection,
    metadata_token, plain_region,
};
pub use stores::{AzureSecret, EntraProof, StoreSettings};

use crate::provider::Prices;

/// The settings of one worker, given once at its start.
#[derive(Clone)]
pub struct Settings {
    /// The worker's name and version, for the tracking tables, such as `worker 0.1.0`.
    pub version: String,
    /// The name that the program was started with, for messages.
    pub program: String,
    /// The vectorizers to run; empty means all.
    pub vectorizer_ids: Vec<i64>,
    /// The maximum gap between two polls of an idle queue.
    pub poll_interval: Duration,
    /// Stop as soon as no item is due.
    pub once: bool,
    /// Stop at the first failure that does not concern one row only.
    pub exit_on_error: bool,
    /// Batches in flight for each vectorizer; `None` uses the value in the vectorizer's config.
    pub concurrency: Option<usize>,
    /// The duration of a claim's leases. If a worker dies, other workers wait this long. A
    /// provider's answer may take up to two thirds of it.
    pub lease: Duration,
    /// How long a stopping worker may take to finish the work in flight.
    pub grace: Duration,
    /// The maximum number of requests per minute to an account (one provider at one place with
    /// one key).
    pub requests_per_minute: Option<u64>,
    /// The maximum number of tokens per minute to an account, estimated as a quarter of the
    /// bytes.
    pub tokens_per_minute: Option<u64>,
    /// The most that an account may cost in a day (in UTC), in millionths of a US dollar.
    pub spend_per_day: Option<u64>,
    /// The prices of models.
    pub prices: Prices,
    /// The limits of the work in flight.
    pub limits: Limits,
    /// Whether to emit [`Event::Progress`](crate::Event::Progress), for which the queues are
    /// counted.
    pub progress: bool,
    /// Whether to make [`Span`](crate::Span)s, which [`Worker::take_spans`](crate::Worker::take_spans)
    /// returns.
    pub traces: bool,
    /// The environment variables that say where providers are, such as `OLLAMA_HOST`.
    pub variables: BTreeMap<String, String>,
    /// The directory of models that run in the worker process.
    pub models_dir: Option<String>,
    /// How documents are loaded and parsed.
    pub documents: DocumentSettings,
    /// Roles whose vectorizers this worker may serve, in addition to those whose privileges it
    /// has.
    pub owners: Vec<String>,
    /// Do not serve the vectorizers of other owners.
    pub require_trust: bool,
    /// The available secrets, and where they may be sent.
    pub secrets: Secrets,
    /// The time since 1970 at [`Time::ZERO`](crate::Time::ZERO): for dates in headers, and to know which day it is.
    pub wall_start: Duration,
}

/// How documents are loaded and parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DocumentSettings {
    /// Whether the shell can parse documents; if not, vectorizers with documents cannot run.
    pub can_parse: bool,
    /// The directory below which files may be read; `None`: no files are read.
    pub directory: Option<String>,
    /// The addresses that may be loaded besides `https://` of public hosts: each a URL with `*` for any characters,
    /// such as `http://minio:9000/*`.
    pub allowed: Vec<String>,
    /// The object stores that this worker has credentials for.
    pub stores: StoreSettings,
    /// The maximum size of a document behind an address, in bytes. Documents in a column are limited by
    /// [`Limits::row_bytes`].
    pub bytes_max: usize,
}

impl Default for DocumentSettings {
    fn default() -> Self {
        Self {
            can_parse: false,
            directory: None,
            allowed: vec![],
            stores: StoreSettings::default(),
            bytes_max: 100 * 1024 * 1024,
        }
    }
}

/// The limits on what one worker holds at a time. The shells differ in nothing but `requests` and
/// `works`: as many as they have connections and threads for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The default number of batches in flight for one vectorizer; two means that one is
    /// prefetched. More are claimed while their requests are fewer than the limit; with one, never.
    pub batches: usize,
    /// Bytes of text that one read returns, unless one row alone is longer.
    pub bytes: usize,
    /// Chunks that a vectorizer's first commits write, unless one row alone has more. The size of
    /// later commits depends on how long they take.
    pub chunks: usize,
    /// Rows of a source that one statement of a resync compares with what is stored.
    pub compared: usize,
    /// Work on more bytes than this is a call: see [`Call::Compute`](crate::Call::Compute).
    pub inline_bytes: usize,
    /// Inputs in one request of a provider.
    pub inputs: usize,
    /// The maximum number of requests in flight to one provider. The number starts at 4 and
    /// adapts.
    pub requests: usize,
    /// Bytes of a source row's text, of the chunks of one row, and of its formatted texts; a row with
    /// more fails.
    pub row_bytes: usize,
    /// Rows in one batch, if the vectorizer's config does not contain a value.
    pub rows: usize,
    /// The maximum number of compute calls in flight: the number of the shell's threads for
    /// them.
    pub works: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batches: 2,
            bytes: 4 * 1024 * 1024,
            chunks: 64,
            compared: 10_000,
            inline_bytes: 32 * 1024,
            inputs: 64,
            requests: 20,
            row_bytes: 64 * 1024 * 1024,
            rows: 50,
            works: 2,
        }
    }
}

/// Why settings are invalid.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SettingsError {
    /// With a limit of zero the worker would never do anything.
    #[error("the limit {0} must be at least 1")]
    Limit(&'static str),
    /// The lease must leave time for a request.
    #[error("the lease must be at least 1 second")]
    Lease,
    /// Polling more often would only use CPU time.
    #[error("the poll interval must be at least 1 millisecond")]
    PollInterval,
}

impl Settings {
    /// Settings with every default of the command line.
    #[must_use]
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            program: "worker".to_owned(),
            vectorizer_ids: vec![],
            poll_interval: Duration::from_secs(60),
            once: false,
            exit_on_error: false,
            concurrency: None,
            lease: Duration::from_secs(180),
            grace: Duration::from_secs(8),
            requests_per_minute: None,
            tokens_per_minute: None,
            spend_per_day: None,
            prices: Prices::default(),
            limits: Limits::default(),
            progress: false,
            traces: false,
            variables: BTreeMap::new(),
            models_dir: None,
            documents: DocumentSettings::default(),
            owners: vec![],
            require_trust: false,
            secrets: Secrets::default(),
            wall_start: Duration::ZERO,
        }
    }

    /// The value of the first of these variables that is set.
    pub(crate) fn variable(&self, names: &[&str]) -> Option<&str> {
        names
            .iter()
            .find_map(|name| self.variables.get(*name))
            .map(String::as_str)
    }

    /// The longest time that one request may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.lease * 2 / 3
    }

    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let limits = self.limits;
        let bounds = [
            ("batches", limits.batches),
            ("bytes", limits.bytes),
            ("chunks", limits.chunks),
            ("inputs", limits.inputs),
            ("requests", limits.requests),
            ("row bytes", limits.row_bytes),
            ("rows", limits.rows),
            ("works", limits.works),
            ("concurrency", self.concurrency.unwrap_or(1)),
        ];
        let rates = [
            ("requests a minute", self.requests_per_minute),
            ("tokens a minute", self.tokens_per_minute),
            ("dollars a day", self.spend_per_day),
        ];
        if let Some((name, _)) = rates.iter().find(|(_, rate)| *rate == Some(0)) {
            return Err(SettingsError::Limit(name));
        }
        if let Some((name, _)) = bounds.iter().find(|(_, bound)| *bound == 0) {
            return Err(SettingsError::Limit(name));
        }
        if self.lease < Duration::from_secs(1) {
            return Err(SettingsError::Lease);
        }
        if self.poll_interval < Duration::from_millis(1) {
            return Err(SettingsError::PollInterval);
        }
        Ok(())
    }
}

/// Does not print the providers' addresses, which may contain passwords.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("version", &self.version)
            .field("vectorizer_ids", &self.vectorizer_ids)
            .field("poll_interval", &self.poll_interval)
            .field("once", &self.once)
            .field("concurrency", &self.concurrency)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
