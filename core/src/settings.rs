//! What an operator may set, and the bounds on everything.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::address::BaseUrl;

/// The settings of one worker, given once at its start.
#[derive(Clone)]
pub struct Settings {
    /// The worker's name and version, for the tracking tables, such as `worker 0.1.0`.
    pub version: String,
    /// The name that the program was started with, for messages.
    pub program: String,
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
    /// Work over more bytes than these is a call: see [`Call::Compute`](crate::Call::Compute).
    pub inline_bytes: usize,
    /// Inputs in one request of a provider.
    pub inputs: usize,
    /// Requests in flight towards one provider, at most: it begins with 4 and adapts.
    pub requests: usize,
    /// Bytes of a source row's text, of the chunks made of one row, and of its formatted texts; a row
    /// with more fails.
    pub row_bytes: usize,
    /// Rows in one batch, where the vectorizer's config does not say.
    pub rows: usize,
    /// Calls to compute that are in flight at a time: as many as the shell has threads for them.
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

/// Which environment variables a vectorizer's config may name, and where their values may go.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The names of all variables that are set and not empty.
    pub present: BTreeSet<String>,
    /// The names that may be used; a leading `*` stands for any beginning.
    pub names: Vec<String>,
    /// Hosts that may get any of them, also without TLS, besides the provider's own and loopback.
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
            ("row bytes", limits.row_bytes),
            ("rows", limits.rows),
            ("works", limits.works),
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

    /// Says why the value of the variable `name` may not go to a provider at this place, if so.
    /// `own_hosts` are the provider's own.
    pub(crate) fn refusal(
        &self,
        name: &str,
        place: &BaseUrl,
        own_hosts: &[&str],
    ) -> Option<String> {
        if self.are_unasked {
            return None;
        }
        if let Some(refusal) = self.refusal_of_name(name) {
            return Some(refusal);
        }
        let host = place.host();
        let home = well_known(name).unwrap_or(own_hosts);
        let is_home = home.iter().any(|domain| place.is_within(domain));
        // What the operator says of a provider's address says nothing of other providers' keys.
        let is_vouched = place.is_operators() && home == own_hosts;
        let is_named = self.hosts.iter().any(|named| place.is_within(named));
        let is_here = place.is_loopback();
        if !(is_home || is_vouched || is_named || is_here) {
            return Some(format!(
                "the secret {name} may not be sent to {host}: allow it with --allow-host {host}"
            ));
        }
        if !(place.is_https() || is_named || is_here) {
            return Some(format!(
                "the secret {name} may be sent to {host} over https only: \
                 correct the address, or allow it with --allow-host {host}"
            ));
        }
        if !self.present.contains(name) {
            return Some(format!(
                "ApiKeyNotFoundError: api_key_name={name}: set the environment variable {name} for the worker"
            ));
        }
        None
    }

    /// A key in the place of its name is not repeated.
    fn refusal_of_name(&self, name: &str) -> Option<String> {
        let allows = |pattern: &String| match pattern.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => name == pattern,
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(is_part);
        if is_name && self.names.iter().any(allows) {
            return None;
        }
        let is_shown = is_name && name.len() <= 64 && !name.contains(|c: char| c.is_lowercase());
        Some(if is_shown {
            format!(
                "the secret {name} may not be used by vectorizers: allow it with --secret-names {name}"
            )
        } else {
            "api_key_name must be the name of an environment variable of the worker that --secret-names \
             allows, such as OPENAI_API_KEY, and not a key itself: create the vectorizer with such a \
             name, and replace the key if it was one"
                .to_owned()
        })
    }
}

/// The hosts of the provider whose key this variable holds by general use: it goes nowhere else
/// unless the operator says so.
fn well_known(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "ANTHROPIC_API_KEY" => &["api.anthropic.com"],
        "AZURE_API_KEY" | "AZURE_OPENAI_API_KEY" => &["openai.azure.com"],
        "CO_API_KEY" | "COHERE_API_KEY" => &["api.cohere.ai", "api.cohere.com"],
        "GEMINI_API_KEY" | "GOOGLE_API_KEY" => &["generativelanguage.googleapis.com"],
        "HUGGINGFACE_API_KEY" => &["router.huggingface.co"],
        "JINA_API_KEY" => &["api.jina.ai"],
        "MISTRAL_API_KEY" => &["api.mistral.ai"],
        "OPENAI_API_KEY" => OPENAI_HOSTS,
        "OPENROUTER_API_KEY" => &["openrouter.ai"],
        "TOGETHER_API_KEY" => &["api.together.ai", "api.together.xyz"],
        "VOYAGE_API_KEY" => VOYAGE_HOSTS,
        _ => return None,
    })
}

/// OpenAI's own hosts, and those of its models at Azure.
pub(crate) const OPENAI_HOSTS: &[&str] = &["openai.com", "openai.azure.com"];
/// Voyage AI's own hosts.
pub(crate) const VOYAGE_HOSTS: &[&str] = &["voyageai.com"];

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let present = [
            "OPENAI_API_KEY",
            "VOYAGE_API_KEY",
            "OTHER_API_KEY",
            "AWS_SECRET",
        ];
        Secrets {
            present: present.map(str::to_owned).into(),
            names: vec!["*_API_KEY".to_owned()],
            hosts: vec!["proxy.example.com".to_owned(), "litellm".to_owned()],
            ..Secrets::default()
        }
    }

    fn refusal(name: &str, url: &str) -> Option<String> {
        secrets().refusal(name, &BaseUrl::from_config(url).unwrap(), OPENAI_HOSTS)
    }

    fn refusal_of_operators(name: &str, url: &str) -> Option<String> {
        secrets().refusal(name, &BaseUrl::from_operator(url).unwrap(), OPENAI_HOSTS)
    }

    #[test]
    fn a_key_goes_to_its_provider_to_this_machine_and_where_the_operator_says() {
        for url in [
            "https://api.openai.com/v1",
            "https://r.openai.azure.com/openai/v1?api-version=preview",
            "http://localhost:8080",
            "http://127.0.0.1",
            "http://[::1]:1",
            "https://proxy.example.com",
            "http://a.proxy.example.com",
            "http://litellm:4000",
        ] {
            assert_eq!(refusal("OPENAI_API_KEY", url), None, "{url}");
            assert_eq!(refusal("OTHER_API_KEY", url), None, "{url}");
        }
        let url = "https://10.0.0.1/v1";
        assert_eq!(refusal_of_operators("OPENAI_API_KEY", url), None);
        assert_eq!(refusal_of_operators("OTHER_API_KEY", "https://gpu"), None);
    }

    #[test]
    fn a_key_goes_nowhere_else_and_the_refusal_names_the_flag() {
        for url in [
            "https://ollama",
            "https://10.1.2.3",
            "https://192.168.0.1",
            "https://[fd12::1]",
            "https://nas.local",
            "https://host.docker.internal",
            "https://metadata.google.internal",
            "https://evil.com",
            "https://openai.com.evil.com",
            "https://notopenai.com",
            "https://api.openai.com.",
            "https://8.8.8.8",
            // Only over https.
            "http://api.openai.com",
            "http://r.openai.azure.com",
        ] {
            let refusal = refusal("OPENAI_API_KEY", url).unwrap();
            assert!(refusal.contains("--allow-host"), "{url}: {refusal}");
        }
        for url in [
            "http://10.0.0.1/v1",
            "http://gpu:8000",
            "http://proxy.corp.example",
        ] {
            let refusal = refusal_of_operators("OPENAI_API_KEY", url).unwrap();
            assert!(refusal.contains("over https only"), "{url}: {refusal}");
        }
    }

    #[test]
    fn a_well_known_key_stays_with_its_provider() {
        let refusal = refusal("VOYAGE_API_KEY", "https://api.openai.com/v1").unwrap();
        assert!(refusal.contains("--allow-host"), "{refusal}");
        // The address of one provider says nothing of the key of another.
        let refusal = refusal_of_operators("VOYAGE_API_KEY", "https://gpu.example").unwrap();
        assert!(refusal.contains("--allow-host"), "{refusal}");
    }

    #[test]
    fn other_variables_of_the_host_are_no_secrets_to_hand_out() {
        let refusal = refusal("AWS_SECRET", "http://localhost").unwrap();
        assert!(refusal.contains("--secret-names AWS_SECRET"), "{refusal}");
    }

    #[test]
    fn a_key_in_the_place_of_its_name_is_not_repeated() {
        for key in [
            "sk-proj-abcdef",
            "hf_abcdefgh",
            "AIzaSyD",
            "pa-x",
            "",
            "K=x_API_KEY",
        ] {
            let refusal = refusal(key, "http://localhost").unwrap();
            assert!(key.is_empty() || !refusal.contains(key), "{refusal}");
            assert!(refusal.contains("api_key_name"), "{refusal}");
        }
    }

    #[test]
    fn a_missing_key_is_named() {
        let refusal = refusal("MISSING_API_KEY", "http://localhost").unwrap();
        assert!(refusal.starts_with("ApiKeyNotFoundError"), "{refusal}");
    }
}
