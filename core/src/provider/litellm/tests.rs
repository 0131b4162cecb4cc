use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use std::sync::Arc;

use super::*;
use crate::call::Call;
use crate::provider::{Purpose, recorded};

/// The requests that the Python library sends for the same texts: see `record.py` beside it.
const RECORDED: &str = include_str!("../../../../tests/golden/providers/litellm.jsonl");
fn embedding(model: &str, extra_options: &Value) -> Value {
    json!({"implementation": "litellm", "model": model, "dimensions": 8, "extra_options": extra_options})
}

fn made(config: &Value) -> Result<Provider, String> {
    Provider::from_config(config, &recorded::settings())
}

#[test]
fn every_request_is_the_one_that_the_python_library_sends() {
    let mut prefixes = BTreeSet::new();
    for line in RECORDED.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let model = case["model"].as_str().unwrap();
        let mut options = case["extra_options"].clone();
        // A key in the options is refused.
        options.as_object_mut().unwrap().remove("api_key");
        let provider =
            made(&embedding(model, &options)).unwrap_or_else(|error| panic!("{line}: {error}"));
        prefixes.insert(provider.account.provider);
        let (http, texts) = recorded::request(&provider, &case);
        assert_eq!(http.method().as_str(), case["method"], "{line}");
        assert_eq!(
            http.uri().to_string().trim_end_matches('/'),
            case["url"],
            "{line}"
        );
        let body: Value = serde_json::from_slice(http.body()).unwrap();
        assert_eq!(body, expected_body(&case, texts), "{line}");
        for (name, value) in case["headers"].as_object().unwrap() {
            // Tokens of Vertex come from elsewhere; a signature is of the body as each library writes it.
            let is_signature = value.as_str().unwrap().starts_with("AWS4");
            // Without a key nothing is sent, and no other provider's key is.
            let is_no_key = matches!(provider.account.provider, "litellm_proxy" | "llamafile");
            if provider.wants_token() || is_signature || is_no_key {
                continue;
            }
            let sent = http
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            assert_eq!(sent, value.as_str(), "{name}: {line}");
        }
    }
    assert!(prefixes.len() >= 22, "{prefixes:?}");
}

/// What is sent for so many of the recorded texts.
fn expected_body(case: &Value, texts: usize) -> Value {
    let mut body = case["body"].clone();
    if let Some(parts) = body
        .pointer_mut("/content/parts")
        .and_then(Value::as_array_mut)
    {
        // The library joins all texts in one vector.
        parts.truncate(texts);
    }
    for name in ["instances", "requests"] {
        if let Some(all) = body.get_mut(name).and_then(Value::as_array_mut) {
            all.truncate(texts);
        }
    }
    if case["model"].as_str().unwrap().starts_with("watsonx/") {
        // The library's own token, by mistake.
        body["parameters"].as_object_mut().unwrap().remove("token");
    }
    body
}

#[test]
fn an_unknown_prefix_is_refused_with_those_that_there_are() {
    for model in ["nope/x", "x", "voyage-3", "cohere/", "/x"] {
        let error = made(&embedding(model, &json!({}))).unwrap_err();
        assert!(
            error.contains("azure, azure_ai, bedrock, cohere"),
            "{error}"
        );
    }
}

#[test]
fn questions_have_the_providers_own_form() {
    for (model, options, sent) in [
        (
            "cohere/embed-v4.0",
            json!({}),
            r#""input_type":"search_query""#,
        ),
        (
            "voyage/voyage-3",
            json!({"input_type": "document"}),
            r#""input_type":"query""#,
        ),
        (
            "gemini/gemini-embedding-001",
            json!({"task_type": "RETRIEVAL_DOCUMENT"}),
            r#""taskType":"RETRIEVAL_QUERY""#,
        ),
        (
            "vertex_ai/text-embedding-005",
            json!({"vertex_project": "p", "task_type": "RETRIEVAL_DOCUMENT"}),
            r#""task_type":"RETRIEVAL_QUERY""#,
        ),
        (
            "jina_ai/jina-embeddings-v3",
            json!({"task": "retrieval.passage"}),
            r#""task":"retrieval.query""#,
        ),
        (
            "nvidia_nim/nvidia/nv-embedqa-e5-v5",
            json!({"input_type": "passage"}),
            r#""input_type":"query""#,
        ),
        (
            "bedrock/cohere.embed-english-v3",
            json!({}),
            r#""input_type":"search_query""#,
        ),
        (
            "bedrock/amazon.nova-2-multimodal-embeddings-v1:0",
            json!({}),
            r#""embeddingPurpose":"GENERIC_RETRIEVAL""#,
        ),
    ] {
        let provider = made(&embedding(model, &options)).unwrap();
        let timeout = Duration::from_secs(1);
        let of = |purpose| match provider.call(&[Arc::from("q")], purpose, timeout, &[]) {
            Call::Http(request) => String::from_utf8(request.http.into_body()).unwrap(),
            other @ (Call::Build(_)
            | Call::Compute(_)
            | Call::File(_)
            | Call::Model(_)
            | Call::Parse(_)) => panic!("{other:?}"),
        };
        assert!(of(Purpose::Query).contains(sent), "{model}");
        assert!(!of(Purpose::Document).contains(sent), "{model}");
    }
}

#[test]
fn secrets_in_options_are_refused_and_not_repeated() {
    for (model, options) in [
        ("openai/m", json!({"api_key": "hunter2"})),
        (
            "openai/m",
            json!({"extra_headers": {"authorization": "hunter2"}}),
        ),
        (
            "bedrock/amazon.titan-embed-text-v2:0",
            json!({"aws_secret_access_key": "hunter2"}),
        ),
        (
            "vertex_ai/text-embedding-005",
            json!({"vertex_credentials": "hunter2"}),
        ),
    ] {
        let error = made(&embedding(model, &options)).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("extra_options"), "{error}");
    }
}

/// A vectorizer chooses the address, and a worker's keys do not follow it there.
#[test]
fn no_key_is_sent_and_nothing_is_signed_for_a_foreign_host() {
    let address = json!("https://evil.example/v1");
    for known in KNOWN {
        let (model, address_in) = match known.name {
            "bedrock" => (
                "amazon.titan-embed-text-v2:0",
                "aws_bedrock_runtime_endpoint",
            ),
            _ => ("m", "api_base"),
        };
        let options = json!({address_in: address, "vertex_project": "p"});
        let config = embedding(&format!("{}/{model}", known.name), &options);
        match made(&config) {
            Ok(provider) => {
                let call = provider.call(&[Arc::from("t")], Purpose::Document, Duration::MAX, &[]);
                let Call::Http(request) = call else { panic!() };
                assert_eq!(request.credential, None, "{}", known.name);
            }
            Err(error) => assert!(error.contains("--allow-host"), "{}: {error}", known.name),
        }
        // Nor the keys of other providers, by name.
        for key in [
            "OPENAI_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "VERTEX_CREDENTIALS",
            "COHERE_API_KEY",
        ] {
            let mut config = config.clone();
            config["api_key_name"] = key.into();
            if known.wire != Dialect::Ollama {
                assert!(made(&config).is_err(), "{} {key}", known.name);
            }
        }
    }
}

/// Neither the token of this machine, nor keys of its container, nor a token for an API key of IBM.
#[test]
fn nothing_that_is_issued_to_this_machine_goes_to_a_foreign_host() {
    let evil = "https://evil.example/v1";
    let mut settings = recorded::settings();
    for name in ["VERTEX_CREDENTIALS", "WATSONX_TOKEN"] {
        settings.secrets.present.remove(name);
    }
    let metadata = ("GCE_METADATA_HOST".to_owned(), "h".to_owned());
    settings.variables.extend([metadata]);
    settings
        .secrets
        .present
        .insert("WATSONX_API_KEY".to_owned());
    let keys = "http://169.254.170.2/keys".to_owned();
    settings.secrets.aws = Some(crate::settings::AwsSource::Container(keys));
    for (model, address_in) in [
        ("vertex_ai/text-embedding-005", "api_base"),
        ("watsonx/m", "api_base"),
        (
            "bedrock/amazon.titan-embed-text-v2:0",
            "aws_bedrock_runtime_endpoint",
        ),
    ] {
        let mut options = json!({"vertex_project": "p", "project_id": "p"});
        let own = Provider::from_config(&embedding(model, &options), &settings).unwrap();
        assert!(own.wants_token(), "{model}");
        options[address_in] = evil.into();
        let error = Provider::from_config(&embedding(model, &options), &settings).unwrap_err();
        assert!(
            error.contains("--allow-host evil.example"),
            "{model}: {error}"
        );
        // Nor is a machine's own endpoint a provider.
        options[address_in] = "http://169.254.170.2/v1".into();
        let error = Provider::from_config(&embedding(model, &options), &settings).unwrap_err();
        assert!(error.contains("link-local"), "{model}: {error}");
    }
}

#[test]
fn the_secrets_of_signatures_are_for_their_own_provider_only() {
    for (model, key) in [
        ("openai/m", "AWS_SECRET_ACCESS_KEY"),
        ("cohere/m", "VERTEX_CREDENTIALS"),
        ("bedrock/amazon.titan-embed-text-v2:0", "OPENAI_API_KEY"),
        ("vertex_ai/text-embedding-005", "OPENAI_API_KEY"),
    ] {
        let mut config = embedding(model, &json!({"vertex_project": "p"}));
        config["api_key_name"] = key.into();
        made(&config).unwrap_err();
    }
}
