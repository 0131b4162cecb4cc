//! The secrets that a vectorizer's config may name, and where they may be sent.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::BaseUrl;
use crate::provider::{hosts_of_key, is_signing};

/// The environment variables that a vectorizer's config may name, and where their values may be
/// sent.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The names of all variables that are set and not empty.
    pub present: BTreeSet<String>,
    /// Where keys of Amazon Web Services are, if they are not in variables or a file.
    pub aws: Option<AwsSource>,
    /// How many keys, separated by commas, a variable contains, if there are several.
    pub keys: BTreeMap<String, usize>,
    /// The allowed names; a leading `*` matches any beginning.
    pub names: Vec<String>,
    /// Hosts to which any of them may be sent, also without TLS, in addition to the provider's
    /// own and loopback.
    pub hosts: Vec<String>,
    /// No provider is called, so no secret is needed.
    pub(crate) are_unasked: bool,
}

/// Where keys of Amazon Web Services are issued to this worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AwsSource {
    /// At this URL, which the operator's environment names: ECS and EKS give it to their containers.
    Container(String),
    /// By the metadata service of an EC2 instance, which is at this address: for the role of the instance.
    Instance(String),
    /// In exchange for the token of a web identity, for a role.
    WebIdentity,
}

impl AwsSource {
    /// Where keys are issued, if the environment has none: the order is that of AWS's own programs.
    pub(crate) fn of(value: impl Fn(&str) -> Option<String>) -> Option<Self> {
        /// The endpoint of ECS.
        const ENDPOINT: &str = "http://169.254.170.2";
        let is_set = |name| value(name).is_some();
        if is_set("AWS_ACCESS_KEY_ID") || is_set("AWS_PROFILE") {
            return None;
        }
        if is_set("AWS_WEB_IDENTITY_TOKEN_FILE") && is_set("AWS_ROLE_ARN") {
            return Some(Self::WebIdentity);
        }
        let relative = value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let relative = relative.map(|path| format!("{ENDPOINT}{path}"));
        let url = relative.or_else(|| value("AWS_CONTAINER_CREDENTIALS_FULL_URI"));
        url.map(Self::Container).or_else(|| Self::instance(&value))
    }

    /// AWS's own programs try the metadata service wherever they run. Here the operator says that it is there, so that
    /// a worker elsewhere says at once that it has no credentials.
    fn instance(value: impl Fn(&str) -> Option<String>) -> Option<Self> {
        const ENDPOINT: &str = "http://169.254.169.254";
        let disabled = value("AWS_EC2_METADATA_DISABLED").map(|it| it.to_ascii_lowercase());
        let endpoint = value("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        match disabled.as_deref() {
            Some("false") => Some(endpoint.unwrap_or_else(|| ENDPOINT.to_owned())),
            None => endpoint,
            Some(_) => None,
        }
        .map(|endpoint| Self::Instance(endpoint.trim_end_matches('/').to_owned()))
    }
}

impl Secrets {
    /// The default names of secrets.
    pub const NAMES: &'static [&'static str] = &[
        "*_API_KEY",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_SECRET_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HF_TOKEN",
        "VERTEXAI_CREDENTIALS",
        "VERTEX_CREDENTIALS",
        "WATSONX_APIKEY",
        "WATSONX_TOKEN",
    ];

    /// For commands that do not call a provider: nothing is rejected, because no secret is
    /// sent.
    pub(crate) fn unasked() -> Self {
        Self {
            are_unasked: true,
            ..Self::default()
        }
    }

    /// Returns the reason if the value of the variable `name` must not be sent to a provider at
    /// this place. `own_hosts` are the provider's own.
    pub(crate) fn refusal(
        &self,
        name: &str,
        place: &BaseUrl,
        own_hosts: &[&str],
    ) -> Option<String> {
        if is_signing(name) {
            return (!self.are_unasked).then(|| {
                format!("the secret {name} is for requests to its own provider, and is not sent anywhere")
            });
        }
        self.refusal_at(
            name,
            place,
            hosts_of_key(name).unwrap_or(own_hosts),
            own_hosts,
        )
    }

    /// The same for a variable with which requests to this host are signed.
    pub(crate) fn refusal_to_sign(
        &self,
        name: &str,
        place: &BaseUrl,
        own_host: &str,
    ) -> Option<String> {
        if let Some(hosts) = hosts_of_key(name).filter(|_| !is_signing(name)) {
            return self.refusal_at(name, place, hosts, &[own_host]);
        }
        self.refusal_at(name, place, &[own_host], &[own_host])
    }

    /// The same for a token that is issued to this machine, for requests to this host.
    pub(crate) fn refusal_of_issued(&self, place: &BaseUrl, own_host: &str) -> Option<String> {
        let (name, hosts) = ("of this machine", &[own_host]);
        let refusal = || self.refusal_of_place(name, place, hosts, hosts);
        if self.are_unasked { None } else { refusal() }
    }

    /// Whether a variable is set.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.are_unasked || self.present.contains(name)
    }

    fn refusal_at(
        &self,
        name: &str,
        place: &BaseUrl,
        home: &[&str],
        own_hosts: &[&str],
    ) -> Option<String> {
        if self.are_unasked {
            return None;
        }
        if let Some(refusal) = self.refusal_of_name(name) {
            return Some(refusal);
        }
        if let Some(refusal) = self.refusal_of_place(name, place, home, own_hosts) {
            return Some(refusal);
        }
        if !self.present.contains(name) {
            return Some(format!(
                "ApiKeyNotFoundError: api_key_name={name}: set the environment variable {name} for the worker"
            ));
        }
        None
    }

    /// The reason if this place may not see a secret, whatever its name is.
    fn refusal_of_place(
        &self,
        name: &str,
        place: &BaseUrl,
        home: &[&str],
        own_hosts: &[&str],
    ) -> Option<String> {
        let host = place.host();
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
        None
    }

    /// The message does not repeat a key in place of its name.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// OpenAI's.
    const HOSTS: &[&str] = &["openai.com", "openai.azure.com"];

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
        secrets().refusal(name, &BaseUrl::from_config(url).unwrap(), HOSTS)
    }

    fn refusal_of_operators(name: &str, url: &str) -> Option<String> {
        secrets().refusal(name, &BaseUrl::from_operator(url).unwrap(), HOSTS)
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
