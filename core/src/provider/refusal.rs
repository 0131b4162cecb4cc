//! The meaning of a provider's error answer, from its status, headers and body.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::wait;
use crate::request::Response;

/// Why a provider did not embed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The request failed, and the answer does not say whether its inputs or the provider are
    /// the cause.
    Failed {
        reason: String,
        /// The provider is overloaded: it is not called for a while, whatever the cause.
        is_busy: bool,
        after: Option<Duration>,
    },
    /// One of the inputs is the cause: the batch is split in half until the bad input is found.
    Inputs(String),
    /// The model does not exist.
    ModelMissing(String),
    /// The whole account fails until the operator acts: a wrong key, no quota.
    Pause(String),
    /// The whole provider fails for a while.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    /// This vectorizer fails until the operator acts: its model cannot be used.
    Vectorizer(String),
}

/// A 500 with one of these texts is caused by the input (llama.cpp#25293, pgai#921): a retry
/// does not help. In lower case.
const PERMANENT: &[&str] = &[
    "too large to process",
    "unsupported value: nan",
    "context length",
    "context window",
    "contextwindowexceeded",
    "maximum input length",
    "input is too long",
    "too many tokens in",
];

/// Service Unavailable, and the status that Anthropic and others send when they are overloaded.
const OVERLOADED: [u16; 2] = [503, 529];

/// Codes or types of errors that mean that this account has no access to this model: of OpenAI and
/// of a LiteLLM proxy.
const MODEL_DENIED_CODES: &[&str] = &[
    "model_not_found",
    "model_not_available",
    "model_access_denied",
    "key_model_access_denied",
    "team_model_access_denied",
    "user_model_access_denied",
    "org_model_access_denied",
];
/// Words that mean the same if there is no code: in lower case.
const MODEL_DENIED_WORDS: &[&str] = &[
    "access to model",
    "access to the model",
    "access to this model",
    "access model",
    "access the model",
    "access this model",
    "use model",
    "use the model",
    "use this model",
    "model not found",
    "model is not available",
    "model does not exist",
];
/// Advice in this case.
const IF_MODEL_IS_DENIED: &str = "check the model's name in the vectorizer's embedding, or let the \
     key's project or organization use this model";

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { reason, .. }
            | Self::Inputs(reason)
            | Self::ModelMissing(reason)
            | Self::Pause(reason)
            | Self::Retry { reason, .. }
            | Self::Vectorizer(reason) => f.write_str(reason),
        }
    }
}

impl Refusal {
    /// `wall` is the time since 1970; `place` is the address that was asked.
    pub(super) fn from_response(response: &Response, wall: Duration, place: &str) -> Self {
        let status = response.status();
        let said = said(response.body());
        let reason = if said.is_empty() {
            status.to_string()
        } else {
            format!("{status}: {said}")
        };
        let words = said.to_lowercase();
        let retry = |reason| Self::Retry {
            reason,
            after: wait::asked_for(response, wall),
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if denies_model(response) => {
                Self::Vectorizer(format!("{reason}; {IF_MODEL_IS_DENIED}"))
            }
            StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
                Self::Pause(reason)
            }
            StatusCode::NOT_FOUND if is_about_model(&words) => Self::ModelMissing(reason),
            // The server knows no such path: it says nothing of a model.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                Self::Vectorizer(format!("{reason}; {place} was asked: {IF_PATH_IS_WRONG}"))
            }
            StatusCode::TOO_MANY_REQUESTS if code(response.body()) == "insufficient_quota" => {
                Self::Pause(reason)
            }
            // More than the whole limit: waiting does not help.
            StatusCode::TOO_MANY_REQUESTS if words.contains("request too large") => {
                Self::Inputs(reason)
            }
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => retry(reason),
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                let after = wait::asked_for(response, wall);
                let is_overloaded = OVERLOADED.contains(&status.as_u16());
                if PERMANENT.iter().any(|sign| words.contains(sign)) {
                    Self::Inputs(reason)
                } else if is_overloaded && after.is_some() {
                    retry(reason)
                } else {
                    Self::Failed {
                        reason,
                        is_busy: is_overloaded || after.is_some(),
                        after,
                    }
                }
            }
            status if status.is_client_error() => Self::Inputs(reason),
            status if status.is_redirection() => {
                let to = response.headers().get(http::header::LOCATION);
                let to = to.and_then(|to| to.to_str().ok()).map(brief);
                let to = to.map_or_else(String::new, |to| format!(" to {to}"));
                Self::Pause(format!(
                    "{status}: {place} redirects{to}, which is not followed: correct the address"
                ))
            }
            // Nothing that HTTP knows.
            _ => Self::Pause(reason),
        }
    }
}

/// Advice if the server does not know the path.
const IF_PATH_IS_WRONG: &str = "check the address in the vectorizer's embedding or the worker's environment; \
     of an interface like OpenAI's, it usually ends in /v1";

/// Whether an answer that something was not found is about the model, or about a deployment of it.
fn is_about_model(words: &str) -> bool {
    words.contains("model") || words.contains("deployment")
}

/// Whether only the model is rejected, so that the account may work with another one.
fn denies_model(response: &Response) -> bool {
    let value = parsed(response.body());
    let mut codes = ["code", "type"]
        .into_iter()
        .filter_map(|name| value["error"][name].as_str());
    // A 401 without a code may ask for a key "to use the model".
    let is_plain = response.status() == StatusCode::FORBIDDEN;
    let words = said(response.body()).to_lowercase();
    codes.any(|code| MODEL_DENIED_CODES.contains(&code))
        || (is_plain && MODEL_DENIED_WORDS.iter().any(|sign| words.contains(sign)))
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

fn code(body: &[u8]) -> String {
    let body = parsed(body);
    let error = &body["error"];
    let code = error["code"].as_str().or_else(|| error["type"].as_str());
    code.unwrap_or_default().to_owned()
}

/// The error message in a body: providers put it in one of these places.
pub(crate) fn said(body: &[u8]) -> String {
    let value = parsed(body);
    let first = |list: &Value| list.get(0).cloned().unwrap_or_default();
    // Of several errors, FastAPI lists them in `detail`, and Google answers with a list.
    let (value, detail) = (
        if value.is_array() {
            first(&value)
        } else {
            value.clone()
        },
        first(&value["detail"]),
    );
    let said = value["error"]["message"]
        .as_str()
        .or_else(|| value["error"].as_str())
        .or_else(|| value["detail"].as_str())
        .or_else(|| detail["msg"].as_str())
        .or_else(|| value["message"].as_str())
        .or_else(|| value["Message"].as_str());
    if let Some(said) = said {
        return brief(said);
    }
    let text = String::from_utf8_lossy(body);
    brief(title(&text).unwrap_or(&text))
}

/// The title of a page of HTML, which proxies answer with.
fn title(text: &str) -> Option<&str> {
    let is_page = text.trim_start().starts_with('<');
    let (_, rest) = text.split_once("<title>").filter(|_| is_page)?;
    rest.split_once("</title>").map(|(title, _)| title)
}

/// A provider's message for logs and tables: truncated, on one line, and without anything that
/// looks like a key.
pub(crate) fn brief(text: &str) -> String {
    const BYTES_MAX: usize = 400;
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut brief = plain
        .split_whitespace()
        .map(redacted)
        .collect::<Vec<_>>()
        .join(" ");
    if brief.len() > BYTES_MAX {
        let end = brief
            .char_indices()
            .map(|(at, _)| at)
            .take_while(|at| *at <= BYTES_MAX)
            .last();
        brief.truncate(end.unwrap_or(0));
        brief.push_str("...");
    }
    brief
}

/// Redacts a word from the place where it looks like the beginning of a provider's key.
fn redacted(word: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut clean = String::new();
    for part in word.split_inclusive(|c| !is_part(c)) {
        let bare = part.trim_end_matches(|c| !is_part(c));
        let key = ["sk-", "pa-", "hf_", "AIza"]
            .iter()
            .any(|start| bare.starts_with(start));
        if key && bare.len() > 8 {
            clean.push_str("[redacted]");
            clean.push_str(&part[bare.len()..]);
        } else {
            clean.push_str(part);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
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
}
