use serde_json::json;

use super::*;
use crate::request::{Credential, Secret};

fn settings() -> Settings {
    let mut settings = Settings::new("test");
    settings.secrets.names = vec!["*_API_KEY".to_owned()];
    settings.secrets.present.insert("OPENAI_API_KEY".to_owned());
    settings
}

fn request(provider: &Provider, texts_sent: &[&str], purpose: Purpose) -> Request {
    match provider.call(&texts(texts_sent), purpose, Duration::from_secs(1), &[]) {
        Call::Http(request) => *request,
        other @ (Call::Build(_)
        | Call::Compute(_)
        | Call::File(_)
        | Call::Model(_)
        | Call::Parse(_)) => panic!("{other:?}"),
    }
}

fn texts(texts: &[&str]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(*text)).collect()
}

fn response(status: u16, body: &str) -> Received {
    let mut response = http::Response::new(body.as_bytes().to_vec());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response.into()
}

#[test]
fn ollama_is_asked_at_the_address_of_the_environment_first() {
    let config = json!({"implementation": "ollama", "model": "m", "dimensions": 2,
        "base_url": "http://config:1", "keep_alive": "5m", "options": {"num_ctx": 64}});
    for (host, url) in [
        (None, "http://config:1/api/embed"),
        (Some("http://env:2/"), "http://env:2/api/embed"),
        (Some("env"), "http://env:11434/api/embed"),
        (Some("env:3"), "http://env:3/api/embed"),
        (Some("https://env"), "https://env/api/embed"),
        (Some("http://env/"), "http://env/api/embed"),
        (Some("\"env\""), "http://env:11434/api/embed"),
        (Some(" 'env:4' "), "http://env:4/api/embed"),
        (Some("env/path/"), "http://env:11434/path/api/embed"),
        (Some("https://env:5/path"), "https://env:5/path/api/embed"),
        (Some(":6"), "http://127.0.0.1:6/api/embed"),
        (Some("0.0.0.0"), "http://0.0.0.0:11434/api/embed"),
        (Some("::1"), "http://[::1]:11434/api/embed"),
        (Some("[::1]"), "http://[::1]:11434/api/embed"),
        (Some("[::1]:7"), "http://[::1]:7/api/embed"),
    ] {
        let settings = Settings {
            variables: host
                .map(|host| ("OLLAMA_HOST".to_owned(), host.to_owned()))
                .into_iter()
                .collect(),
            ..settings()
        };
        let provider = Provider::from_config(&config, &settings).unwrap();
        let request = request(&provider, &["a", "b"], Purpose::Document);
        assert_eq!(request.http.uri().to_string(), url);
        let body: Value = serde_json::from_slice(request.http.body()).unwrap();
        assert_eq!(
            body,
            json!({"model": "m", "input": ["a", "b"], "keep_alive": "5m", "options": {"num_ctx": 64}})
        );
    }
}

#[test]
fn openai_is_asked_for_base64_and_takes_both_forms() {
    let config = json!({"implementation": "openai", "model": "text-embedding-3-small", "dimensions": 2,
        "api_key_name": "OPENAI_API_KEY", "user": "u"});
    let provider = Provider::from_config(&config, &settings()).unwrap();
    let request = request(&provider, &["a"], Purpose::Document);
    assert_eq!(request.http.uri(), "https://api.openai.com/v1/embeddings");
    assert_eq!(
        request.credential,
        Some(Credential::Key(Secret::bearer("OPENAI_API_KEY".to_owned())))
    );
    let body: Value = serde_json::from_slice(request.http.body()).unwrap();
    assert_eq!(
        body,
        json!({"model": "text-embedding-3-small", "input": ["a"], "dimensions": 2, "user": "u",
            "encoding_format": "base64"})
    );
    for embedding in ["[1.5, -2]", "\"AADAPwAAAMA=\""] {
        let body = format!(r#"{{"data": [{{"index": 0, "embedding": {embedding}}}]}}"#);
        let Verdict::Vectors(Vectors { vectors, .. }) =
            provider.judge(response(200, &body), 1, Duration::ZERO)
        else {
            panic!("{body}")
        };
        assert_eq!(*vectors[0], [1.5, -2.0]);
    }
}

#[test]
fn vectors_come_in_the_order_of_their_index() {
    let config = json!({"implementation": "openai", "model": "m", "dimensions": 1});
    let provider = Provider::from_config(&config, &settings()).unwrap();
    let body = r#"{"data": [{"index": 1, "embedding": [1]}, {"index": 0, "embedding": [0.5]}]}"#;
    let Verdict::Vectors(Vectors { vectors, .. }) =
        provider.judge(response(200, body), 2, Duration::ZERO)
    else {
        panic!()
    };
    assert_eq!((vectors[0][0], vectors[1][0]), (0.5, 1.0));
    let twice = r#"{"data": [{"index": 1, "embedding": [1]}, {"index": 1, "embedding": [0.5]}]}"#;
    assert!(matches!(
        provider.judge(response(200, twice), 2, Duration::ZERO),
        Verdict::Bad(_)
    ));
}

#[test]
fn an_answer_that_does_not_fit_is_not_used() {
    let config = json!({"implementation": "ollama", "model": "m", "dimensions": 2});
    let provider = Provider::from_config(&config, &settings()).unwrap();
    for (body, dimensions) in [
        (r#"{"embeddings": [[1, 2]]}"#, false),
        (r#"{"embeddings": [[1, 2], [1, 2], [1, 2]]}"#, false),
        (r#"{"embeddings": [[1, 2], [1, 2, 3]]}"#, true),
        (r#"{"embeddings": [[1, 2], [1, null]]}"#, false),
        (r#"{"embeddings": [[1, 2], [1, 1e60]]}"#, false),
        (r#"{"embeddings": [[1, 2], [1, "#, false),
        ("", false),
    ] {
        let Verdict::Bad(bad) = provider.judge(response(200, body), 2, Duration::ZERO) else {
            panic!("{body}")
        };
        assert_eq!(
            matches!(bad, BadAnswer::Dimensions { .. }),
            dimensions,
            "{body}"
        );
    }
}

#[test]
fn a_bad_address_is_refused_before_anything_is_sent() {
    for base_url in ["ftp://x", "nonsense", "http://", ""] {
        let config = json!({"implementation": "openai", "model": "m", "dimensions": 2, "base_url": base_url});
        let error = Provider::from_config(&config, &settings()).unwrap_err();
        assert!(error.contains("base_url"), "{error}");
    }
}

/// OpenRouter and others answer 200 with an error in the body.
#[test]
fn an_error_with_a_status_of_success_is_an_error() {
    let config = json!({"implementation": "openai", "model": "m", "dimensions": 2});
    let provider = Provider::from_config(&config, &settings()).unwrap();
    let judged = |body: &str| match provider.judge(response(200, body), 2, Duration::ZERO) {
        Verdict::Refused(refusal) => refusal,
        other @ (Verdict::Vectors(_) | Verdict::Bad(_)) => panic!("{body}: {other:?}"),
    };
    let busy = judged(r#"{"error": {"message": "Rate limited", "code": 429}}"#);
    assert!(matches!(busy, Refusal::Retry { .. }), "{busy:?}");
    let refused = judged(r#"{"error": {"message": "No such key", "code": "401"}}"#);
    assert!(matches!(refused, Refusal::Pause(_)), "{refused:?}");
    let failed = judged(r#"{"error": {"message": "Provider returned error"}}"#);
    assert!(matches!(failed, Refusal::Failed { .. }), "{failed:?}");
    for body in [r#"{"error": null, "data": 1}"#, "[1]", "{}"] {
        let verdict = provider.judge(response(200, body), 2, Duration::ZERO);
        assert!(matches!(verdict, Verdict::Bad(_)), "{body}");
    }
}
