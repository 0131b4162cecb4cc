//! The requests of providers' own Python packages, and of LiteLLM, as they were recorded
//! (`tests/golden/providers`).

use std::time::Duration;

use serde_json::{Value, json};

use super::{Provider, Purpose, known};
use crate::call::Call;
use crate::intake::{Vault, authorize};
use crate::settings::{Secrets, Settings};

/// The environment of the recordings.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_REGION_NAME", "us-east-1"),
    (
        "AWS_SECRET_ACCESS_KEY",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    ),
    ("AZURE_AI_API_BASE", "https://r.services.ai.azure.com"),
    ("AZURE_API_BASE", "https://r.openai.azure.com"),
    ("AZURE_API_VERSION", "2024-02-01"),
    (
        "DATABRICKS_API_BASE",
        "https://d.cloud.databricks.com/serving-endpoints",
    ),
    ("HOSTED_VLLM_API_BASE", "http://localhost:8000/v1"),
    ("LM_STUDIO_API_BASE", "http://localhost:1234/v1"),
    ("VERTEX_CREDENTIALS", "/etc/key.json"),
    ("WATSONX_PROJECT_ID", "p"),
    ("WATSONX_TOKEN", "tok"),
    ("WATSONX_URL", "https://us-south.ml.cloud.ibm.com"),
];
/// Of the variables that may contain its key, the first one is set for each of these providers.
const WITH_KEYS: &[&str] = &[
    "azure",
    "azure_ai",
    "cohere",
    "dashscope",
    "databricks",
    "fireworks_ai",
    "gemini",
    "hosted_vllm",
    "huggingface",
    "infinity",
    "jina_ai",
    "lm_studio",
    "mistral",
    "nebius",
    "nvidia_nim",
    "openai",
    "openrouter",
    "sambanova",
    "together_ai",
    "voyage",
    "xinference",
];

/// The environment of the recordings, at this time since 1970.
struct Recorded(Duration);

fn variable(name: &str) -> Option<String> {
    let known = ENVIRONMENT.iter().find(|(known, _)| *known == name);
    let key = name.strip_suffix("_API_KEY");
    let key = key.map(|name| format!("key-of-{}", name.to_lowercase()));
    known.map(|(_, value)| (*value).to_owned()).or(key)
}

impl Vault for Recorded {
    fn variable(&self, name: &str) -> Option<String> {
        variable(name)
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("there are no files".to_owned())
    }

    fn wall_time(&self) -> Duration {
        self.0
    }

    fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, String> {
        Err("there are no keys".to_owned())
    }
}

/// What a worker in this environment knows.
pub(super) fn settings() -> Settings {
    let mut settings = Settings::new("test");
    settings.variables = ENVIRONMENT
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let keys = WITH_KEYS.iter().map(|name| {
        let known = known::provider(name).unwrap();
        known.keys[0].to_owned()
    });
    settings.secrets.present = settings.variables.keys().cloned().chain(keys).collect();
    settings.secrets.names = Secrets::NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    settings
}

/// The request for two texts, or for one if the provider takes one at a time; at the time of this recording if it
/// is signed. Returns how many texts it has, too.
pub(super) fn request(provider: &Provider, recording: &Value) -> (http::Request<Vec<u8>>, usize) {
    let texts = ["a text", "another"].map(std::sync::Arc::from);
    let texts = &texts[..provider.limits.inputs.min(2)];
    let call = provider.call(texts, Purpose::Document, Duration::from_secs(1), &[]);
    let Call::Http(mut request) = call else {
        panic!("{recording}")
    };
    // This header of AWS's package is signed, and the worker's shells send it by themselves.
    if recording["package"] == "bedrock" {
        let json = http::HeaderValue::from_static("application/json");
        request
            .http
            .headers_mut()
            .insert(http::header::ACCEPT, json);
    }
    let date = recording["headers"]["x-amz-date"].as_str();
    let date = date.unwrap_or("20261126T000000Z");
    let date = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", date).unwrap();
    let date = date
        .to_datetime()
        .unwrap()
        .to_zoned(jiff::tz::TimeZone::UTC);
    let seconds = date.unwrap().timestamp().as_second();
    let vault = Recorded(Duration::from_secs(u64::try_from(seconds).unwrap()));
    (authorize(*request, &vault).unwrap().0, texts.len())
}

/// What the worker does differently on purpose.
fn without_differences(package: &str, url: &str, body: &Value) -> (String, Value) {
    let (mut url, mut body) = (url.to_owned(), body.clone());
    match package {
        // As LiteLLM: another name of the same host.
        "cohere" => url = url.replace("api.cohere.com", "api.cohere.ai"),
        // As LiteLLM: the version of the interface in Google's manual; without the role, which means nothing here.
        "gemini" => {
            url = url.replace("/v1/", "/v1beta/");
            for request in body["requests"].as_array_mut().unwrap() {
                request["content"].as_object_mut().unwrap().remove("role");
            }
        }
        // A parameter without a value is left out.
        "voyageai" => body
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null()),
        _ => {}
    }
    (url, body)
}

#[test]
fn every_request_is_the_one_that_the_providers_package_sends() {
    let recordings = include_str!("../../../tests/golden/providers/packages.jsonl").lines();
    let mut compared = std::collections::BTreeMap::new();
    for line in recordings {
        let recording: Value = serde_json::from_str(line).unwrap();
        let package = recording["package"].as_str().unwrap();
        let provider = Provider::from_config(&recording["config"], &settings());
        let provider = provider.unwrap_or_else(|error| panic!("{line}: {error}"));
        let (sent, _) = request(&provider, &recording);
        let url = recording["url"].as_str().unwrap();
        let (url, body) = without_differences(package, url, &recording["body"]);
        assert_eq!(sent.method().as_str(), recording["method"], "{line}");
        assert_eq!(sent.uri().to_string(), url, "{line}");
        let sent_body: Value = serde_json::from_slice(sent.body()).unwrap();
        assert_eq!(sent_body, body, "{line}");
        for (name, value) in recording["headers"].as_object().unwrap() {
            let header = sent.headers().get(name);
            let header = header.map(|header| json!(header.to_str().unwrap()));
            assert_eq!(header.as_ref(), Some(value), "{name}: {line}");
        }
        *compared.entry(package.to_owned()).or_insert(0) += 1;
    }
    let packages: Vec<_> = compared.into_iter().collect();
    let expected = [
        ("bedrock", 3),
        ("cohere", 2),
        ("gemini", 2),
        ("ollama", 3),
        ("openai", 3),
        ("voyageai", 3),
    ];
    assert_eq!(
        packages,
        expected.map(|(name, count)| (name.to_owned(), count))
    );
}
