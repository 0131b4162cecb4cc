use super::*;

fn refusal(status: u16, headers: &[(&'static str, &str)], body: &str) -> Refusal {
    let mut response = Response::new(body.as_bytes().to_vec());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    Refusal::from_response(
        &response,
        Duration::from_secs(1_445_412_400),
        "host/v1/embeddings",
    )
}

#[test]
fn each_status_has_its_meaning() {
    let inputs = |status, body| matches!(refusal(status, &[], body), Refusal::Inputs(_));
    let pause = |status, body| matches!(refusal(status, &[], body), Refusal::Pause(_));
    let retry = |status, body| matches!(refusal(status, &[], body), Refusal::Retry { .. });
    for status in [400, 413, 422] {
        assert!(inputs(status, "{}"), "{status}");
    }
    for status in [401, 403, 302] {
        assert!(pause(status, ""), "{status}");
    }
    for status in [409, 429] {
        assert!(
            retry(status, r#"{"error": {"message": "later"}}"#),
            "{status}"
        );
    }
    for (status, busy) in [
        (408, false),
        (500, false),
        (502, false),
        (503, true),
        (504, false),
        (524, false),
        (529, true),
    ] {
        let refusal = refusal(status, &[], "EOF");
        assert!(
            matches!(refusal, Refusal::Failed { is_busy, .. } if is_busy == busy),
            "{status}"
        );
    }
    let later = refusal(503, &[("retry-after", "2")], "");
    assert!(matches!(later, Refusal::Retry { .. }));
    assert!(pause(429, r#"{"error": {"code": "insufficient_quota"}}"#));
    for (status, body) in [
        (
            500,
            r#"{"error": {"message": "input (900 tokens) is too large to process"}}"#,
        ),
        (
            500,
            r#"{"error": {"message": "litellm.APIConnectionError: OllamaException - {\"error\":\"the input length exceeds the context length\"}", "code": "500"}}"#,
        ),
        (
            500,
            r#"{"error": {"message": "litellm.ContextWindowExceededError: too long"}}"#,
        ),
        (
            429,
            r#"{"error": {"message": "Request too large for m on tokens per min (TPM): Limit 40000, Requested 50000", "code": "rate_limit_exceeded"}}"#,
        ),
    ] {
        assert!(inputs(status, body), "{body}");
    }
    assert!(matches!(
        refusal(404, &[], r#"{"error": "model 'm' not found"}"#),
        Refusal::ModelMissing(_)
    ));
}

#[test]
fn a_wrong_path_is_told_from_a_missing_model() {
    for body in [
        r#"{"error": "model 'm' not found"}"#,
        r#"{"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}"#,
        r#"{"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}"#,
    ] {
        let refusal = refusal(404, &[], body);
        assert!(
            matches!(refusal, Refusal::ModelMissing(_)),
            "{body}: {refusal:?}"
        );
    }
    for (status, body, said) in [
        (404, "404 page not found", "404 page not found"),
        (404, r#"{"detail": "Not Found"}"#, "Not Found"),
        (
            404,
            "<html><head><title>404 Not Found</title></head><body>nginx</body></html>",
            "404 Not Found: 404 Not Found;",
        ),
        (405, "", "405 Method Not Allowed"),
    ] {
        let Refusal::Vectorizer(reason) = refusal(status, &[], body) else {
            panic!("{body}")
        };
        assert!(reason.contains(said), "{reason}");
        assert!(reason.contains("host/v1/embeddings was asked"), "{reason}");
    }
}

#[test]
fn a_redirect_says_where_it_leads() {
    let location = [("location", "https://new.example/v1/embeddings")];
    let Refusal::Pause(reason) = refusal(308, &location, "") else {
        panic!()
    };
    assert_eq!(
        reason,
        "308 Permanent Redirect: host/v1/embeddings redirects to https://new.example/v1/embeddings, \
         which is not followed: correct the address"
    );
}

#[test]
fn the_message_is_found_where_each_provider_puts_it() {
    for body in [
        r#"{"error": {"message": "it"}}"#,
        r#"{"error": "it"}"#,
        r#"{"detail": "it"}"#,
        r#"{"detail": [{"loc": ["body"], "msg": "it", "type": "x"}]}"#,
        r#"{"message": "it"}"#,
        r#"{"Message": "it"}"#,
        r#"[{"error": {"code": 400, "message": "it"}}]"#,
        "<html><title>it</title></html>",
        "it",
    ] {
        assert_eq!(said(body.as_bytes()), "it", "{body}");
    }
}

#[test]
fn a_model_that_the_account_may_not_use_is_no_fault_of_the_account() {
    for (status, body) in [
        (
            403,
            r#"{"error": {"message": "Project `proj_1` does not have access to model `m`",
                "type": "invalid_request_error", "param": null, "code": "model_not_found"}}"#,
        ),
        (
            403,
            r#"{"error": {"message": "You are not allowed to generate embeddings from this model",
                "type": "invalid_request_error", "code": "model_not_found"}}"#,
        ),
        (
            401,
            r#"{"error": {"message": "key not allowed to access model. This key can only access models=['a']. Tried to access m", "type": "key_model_access_denied", "code": "401"}}"#,
        ),
        (
            403,
            r#"{"message": "You don't have access to the model with the specified model ID."}"#,
        ),
        (
            403,
            r#"{"detail": "Your organization may not use the model voyage-x."}"#,
        ),
    ] {
        let Refusal::Vectorizer(reason) = refusal(status, &[], body) else {
            panic!("{body}")
        };
        assert!(reason.contains("check the model's name"), "{reason}");
    }
    for (status, body) in [
        (403, ""),
        (
            403,
            r#"{"error": {"message": "Country not supported", "code": "unsupported_country"}}"#,
        ),
        (
            401,
            r#"{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}"#,
        ),
        (
            401,
            r#"{"error": {"message": "You need an API key to access the model"}}"#,
        ),
        (
            402,
            r#"{"error": {"message": "add credit to access this model"}}"#,
        ),
    ] {
        let refusal = refusal(status, &[], body);
        assert!(matches!(refusal, Refusal::Pause(_)), "{body}");
    }
}

#[test]
fn what_a_provider_says_is_cut_and_has_no_keys() {
    let Refusal::Pause(reason) = refusal(
        401,
        &[],
        r#"{"error": {"message": "Incorrect API key provided: sk-proj-abcdefgh."}}"#,
    ) else {
        panic!()
    };
    assert_eq!(
        reason,
        "401 Unauthorized: Incorrect API key provided: [redacted]."
    );
    assert!(brief(&"é ".repeat(5000)).len() < 410);
    assert_eq!(
        brief("{\"k\":\"sk-proj-abcdefgh\"}\0x"),
        "{\"k\":\"[redacted]\"} x"
    );
}

/// `tests/golden/providers/refusals.jsonl`: for each provider what it says, by its documentation and in reports of
/// its users, if the key is wrong, what was paid for is used up, it is busy, the model is missing, or an input
/// is the cause.
#[test]
fn the_errors_of_every_provider_mean_what_they_say() {
    use serde_json::Value;

    let mut kinds = std::collections::BTreeMap::<String, Vec<String>>::new();
    for line in include_str!("../../../../tests/golden/providers/refusals.jsonl").lines() {
        let golden: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| golden[name].as_str().unwrap();
        let headers = golden["headers"].as_object().unwrap();
        let headers: Vec<(&'static str, &str)> = headers
            .iter()
            .map(|(name, value)| (&*name.clone().leak(), value.as_str().unwrap()))
            .collect();
        let status = u16::try_from(golden["status"].as_u64().unwrap()).unwrap();
        let refusal = refusal(status, &headers, text("body"));
        let is_right = match text("kind") {
            "key" | "quota" => matches!(refusal, Refusal::Pause(_)),
            "busy" => matches!(refusal, Refusal::Failed { .. } | Refusal::Retry { .. }),
            // With a 400, a text that surely can be embedded finds out what is wrong.
            "model" => match refusal {
                Refusal::ModelMissing(_) | Refusal::Vectorizer(_) => true,
                Refusal::Inputs(_) => status == 400,
                Refusal::Failed { .. } | Refusal::Pause(_) | Refusal::Retry { .. } => false,
            },
            "input" => matches!(refusal, Refusal::Inputs(_)),
            kind => panic!("{kind}"),
        };
        assert!(is_right, "{line}: {refusal:?}");
        // The words are those of the message, not a piece of JSON.
        assert!(
            !refusal.to_string().contains('{') || text("body").contains("OllamaException"),
            "{refusal}"
        );
        let provider = kinds.entry(text("provider").to_owned()).or_default();
        provider.push(text("kind").to_owned());
    }
    for known in super::super::known::KNOWN {
        let kinds = kinds
            .get(known.name)
            .unwrap_or_else(|| panic!("{} has no errors", known.name));
        for kind in ["key", "busy", "model", "input"] {
            assert!(
                kinds.iter().any(|known| known == kind),
                "{}: {kind}",
                known.name
            );
        }
    }
}
