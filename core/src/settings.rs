//! What an operator may set, and the bounds on everything.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The settings of one worker, given once at its start.
#[derive(Clone)]
pub struct Settings {
    /// The worker's name and version, for the tracking tables, such as `worker 0.1.0`.
    pub version: String,
    /// The vectorizers to run; empty means all.
    pub vectorizer_ids: Vec<i64>,
    /// The longest gap between two looks at an idle queue.
    pub poll_interval: Duration,
    /// Stop as soon as nothing is due.
    pub once: bool,
    /// Stop at the first failure that is not one row's own.
    pub exit_on_error: bool,
    /// Batches in flight for each vectorizer; `None` takes what the vectorizer's config says.
    pub concurrency: Option<usize>,
    /// How long a claim outlives a worker that died, and the bound on a provider's answer time
    /// (two thirds of it).
    pub lease: Duration,
    /// How long a stopping worker may finish what is in flight.
    pub grace: Duration,
    /// How many requests an account (one provider at one place with one key) may get in a minute.
    pub requests_per_minute: Option<u64>,
    /// How many tokens, estimated as a quarter of the bytes.
    pub tokens_per_minute: Option<u64>,
    /// The bounds on what is in flight.
    pub limits: Limits,
    /// Emit [`Event::Progress`](crate::Event::Progress), for which the queues are counted.
    pub progress: bool,
    /// Where Ollama is; it wins over the `base_url` of a vectorizer's config.
    pub ollama_host: Option<String>,
    /// Where OpenAI is, if the vectorizer's config does not say.
    pub openai_base_url: Option<String>,
    /// Where Voyage AI is, if not at its own address.
    pub voyage_base_url: Option<String>,
    /// Where models that run in the worker's own process are looked up by their names.
    pub models_dir: Option<String>,
    /// Roles whose vectorizers this worker may serve, besides those whose rights it has.
    pub owners: Vec<String>,
    /// Leave the vectorizers of other owners alone.
    pub require_trust: bool,
    /// Which secrets there are and where they may go.
    pub secrets: Secrets,
    /// The time since 1970 at [`Time::ZERO`](crate::Time::ZERO): for dates in headers only.
    pub wall_start: Duration,
}

/// The bounds on what one worker holds at a time. The blocking shell sets `batches` and `requests`
/// to 1; there is no other difference between the shells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Batches in flight for one vectorizer, where nothing asks for more: two is prefetch. More are
    /// claimed while their requests do not fill what may be in flight; with one, never.
    pub batches: usize,
    /// Bytes of text that one read brings, unless one row alone is longer.
    pub bytes: usize,
    /// Chunks that a vectorizer's first commits write, unless one row alone has more. How many the
    /// next ones write depends on how long that takes.
    pub chunks: usize,
    /// Rows of a source that one statement of a resync compares with what is stored.
    pub compared: usize,
    /// Inputs in one request of a provider.
    pub inputs: usize,
    /// Requests in flight towards one provider, at most: it begins with 4 and adapts.
    pub requests: usize,
    /// Rows in one batch, where the vectorizer's config does not say.
    pub rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batches: 2,
            bytes: 4 * 1024 * 1024,
            chunks: 64,
            compared: 10_000,
            inputs: 64,
            requests: 20,
            rows: 50,
        }
    }
}

/// Which environment variables a vectorizer's config may name, and where their values may go.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The names of all variables that are set and not empty.
    pub present: BTreeSet<String>,
    /// The names that may be used; a leading `*` stands for any beginning.
    pub names: Vec<String>,
    /// Hosts that may get any of them, besides the provider's own, loopback and private ones.
    pub hosts: Vec<String>,
    /// No provider is asked, so that no secret is needed.
    pub(crate) are_unasked: bool,
}

/// Why a worker cannot be made from its settings.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SettingsError {
    /// A bound of zero would mean that nothing is ever done.
    #[error("the limit {0} must be at least 1")]
    Limit(&'static str),
    /// The lease must leave time for a request.
    #[error("the lease must be at least 1 second")]
    Lease,
    /// Sub-millisecond polling would only burn the processor.
    #[error("the poll interval must be at least 1 millisecond")]
    PollInterval,
}

impl Settings {
    /// Settings with every default of the command line.
    #[must_use]
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            vectorizer_ids: vec![],
            poll_interval: Duration::from_secs(60),
            once: false,
            exit_on_error: false,
            concurrency: None,
            lease: Duration::from_secs(180),
            grace: Duration::from_secs(8),
            requests_per_minute: None,
            tokens_per_minute: None,
            limits: Limits::default(),
            progress: false,
            ollama_host: None,
            openai_base_url: None,
            voyage_base_url: None,
            models_dir: None,
            owners: vec![],
            require_trust: false,
            secrets: Secrets::default(),
            wall_start: Duration::ZERO,
        }
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
            ("rows", limits.rows),
            ("concurrency", self.concurrency.unwrap_or(1)),
        ];
        let rates = [
            ("requests a minute", self.requests_per_minute),
            ("tokens a minute", self.tokens_per_minute),
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

/// Without the providers' addresses, which may hold passwords.
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

impl Secrets {
    /// The names that a worker hands out unless its operator says otherwise.
    pub const NAMES: &'static [&'static str] = &["*_API_KEY"];

    /// For what asks no provider: nothing is refused, because nothing is handed out.
    pub(crate) fn unasked() -> Self {
        Self {
            are_unasked: true,
            ..Self::default()
        }
    }

    /// Says why the variable `name` may not go to `host`, if so.
    pub(crate) fn refusal(&self, name: &str, host: &str, own_hosts: &[&str]) -> Option<String> {
        if self.are_unasked {
            return None;
        }
        let allowed = self
            .names
            .iter()
            .any(|pattern| match pattern.strip_prefix('*') {
                Some(end) => name.ends_with(end),
                None => name == pattern,
            });
        if !allowed {
            return Some(format!(
                "the secret {name} may not be used by vectorizers: allow it with --secret-names {name}"
            ));
        }
        let own = own_hosts.iter().any(|own| is_within(host, own));
        let named = self.hosts.iter().any(|named| is_within(host, named));
        if !(own || named || is_local(host)) {
            return Some(format!(
                "the secret {name} may not be sent to {host}: allow it with --allow-host {host}"
            ));
        }
        if !self.present.contains(name) {
            return Some(format!(
                "ApiKeyNotFoundError: api_key_name={name}: set the environment variable {name} for the worker"
            ));
        }
        None
    }
}

/// Whether `host` is `domain` or lies below it.
fn is_within(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.to_ascii_lowercase(), domain.to_ascii_lowercase());
    host == domain
        || host
            .strip_suffix(&domain)
            .is_some_and(|rest| rest.ends_with('.'))
}

/// Whether a host is this machine or one of a private network: an address of RFC 1918 or RFC 4193,
/// or a name without a dot that begins with a letter, such as a Compose service. (`134744072` and
/// `0x08080808` are public addresses in disguise, 169.254.169.254 is a cloud's metadata service.)
fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<std::net::Ipv4Addr>() {
        return address.is_loopback() || address.is_private();
    }
    if let Ok(address) = bare.parse::<std::net::Ipv6Addr>() {
        return address.is_loopback() || address.is_unique_local();
    }
    let is_name = bare.starts_with(|c: char| c.is_ascii_alphabetic()) && !bare.contains(['.', ':']);
    is_name || bare == "host.docker.internal" || bare.ends_with(".local")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets {
            present: BTreeSet::from(["OPENAI_API_KEY".to_owned(), "AWS_SECRET".to_owned()]),
            names: vec!["*_API_KEY".to_owned()],
            hosts: vec!["proxy.example.com".to_owned()],
            ..Secrets::default()
        }
    }

    #[test]
    fn a_key_goes_to_its_provider_to_this_machine_and_where_the_operator_says() {
        for host in [
            "api.openai.com",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "10.1.2.3",
            "litellm",
            "proxy.example.com",
        ] {
            assert_eq!(
                secrets().refusal("OPENAI_API_KEY", host, &["openai.com"]),
                None,
                "{host}"
            );
        }
    }

    #[test]
    fn a_key_goes_nowhere_else_and_the_refusal_names_the_flag() {
        for host in [
            "134744072",
            "0x08080808",
            "169.254.169.254",
            "metadata.google.internal",
            "evil.com",
            "openai.com.evil.com",
            "notopenai.com",
            "8.8.8.8",
        ] {
            let refusal = secrets()
                .refusal("OPENAI_API_KEY", host, &["openai.com"])
                .unwrap();
            assert!(refusal.contains("--allow-host"), "{refusal}");
        }
    }

    #[test]
    fn other_variables_of_the_host_are_no_secrets_to_hand_out() {
        let refusal = secrets().refusal("AWS_SECRET", "localhost", &[]).unwrap();
        assert!(refusal.contains("--secret-names"), "{refusal}");
    }

    #[test]
    fn a_missing_key_is_named() {
        let refusal = secrets()
            .refusal("VOYAGE_API_KEY", "localhost", &[])
            .unwrap();
        assert!(refusal.starts_with("ApiKeyNotFoundError"), "{refusal}");
    }
}
