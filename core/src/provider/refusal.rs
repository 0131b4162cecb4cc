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

/// Statuses of servers that failed, like those from 500: the second one is of Text Embeddings Inference if
/// the model failed.
const OF_SERVERS: [StatusCode; 2] = [StatusCode::REQUEST_TIMEOUT, StatusCode::FAILED_DEPENDENCY];

/// Codes or types of errors that mean that nothing is left of what was paid for, with any status: of
/// OpenAI (two), a LiteLLM proxy, DashScope, Fireworks and watsonx.
const UNPAID: &[&str] = &[
    "insufficient_quota",
    "billing_hard_limit_reached",
    "budget_exceeded",
    "Arrearage",
    "suspended",
    "token_quota_reached",
];

/// The reason that Google's details of an error have if the key is wrong; the status is 400.
const BAD_KEY: &str = "API_KEY_INVALID";

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
            status if status.is_client_error() && has_code(response.body(), UNPAID) => {
                Self::Pause(reason)
            }
            // Google's answer to a wrong key.
            StatusCode::BAD_REQUEST if details(response.body(), "reason") == [BAD_KEY] => {
                Self::Pause(reason)
            }
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
            // More than the whole limit: waiting does not help.
            StatusCode::TOO_MANY_REQUESTS if words.contains("request too large") => {
                Self::Inputs(reason)
            }
            StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => retry(reason),
            status if status.is_server_error() || OF_SERVERS.contains(&status) => {
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
    // A 401 without a code may ask for a key "to use the model".
    let is_plain = response.status() == StatusCode::FORBIDDEN;
    let words = said(response.body()).to_lowercase();
    has_code(response.body(), MODEL_DENIED_CODES)
        || (is_plain && MODEL_DENIED_WORDS.iter().any(|sign| words.contains(sign)))
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or(Value::Null)
}

/// Whether an error has one of these codes or types.
fn has_code(body: &[u8], codes: &[&str]) -> bool {
    let value = parsed(body);
    let places = ["/error/code", "/error/type", "/errors/0/code"];
    let mut said = places.iter().filter_map(|at| value.pointer(at)?.as_str());
    said.any(|code| codes.contains(&code))
}

/// The values of a field in Google's details of an error.
pub(super) fn details(body: &[u8], name: &str) -> Vec<String> {
    let value = parsed(body);
    let error = if value.is_array() {
        &value[0]["error"]
    } else {
        &value["error"]
    };
    let details = error["details"].as_array().into_iter().flatten();
    let values = details.filter_map(|detail| detail[name].as_str());
    values.map(str::to_owned).collect()
}

/// Where providers put the message of an error: JSON pointers, the first one that leads to a text. Lists of
/// errors are FastAPI's (`detail`), watsonx's (`errors`) and Google's (the whole). Issuers of tokens describe theirs
/// (RFC 6749, section 5.2).
const MESSAGES: &[&str] = &[
    "/error/message",
    "/error/message/detail/0/msg",
    "/error_description",
    "/error",
    "/detail",
    "/detail/0/msg",
    "/detail/error",
    "/detail/message",
    "/errors/0/message",
    "/errors/0",
    "/message",
    "/message/detail/0/msg",
    "/Message",
    "/title",
    "/0/error/message",
];

/// The error message in a body.
pub(crate) fn said(body: &[u8]) -> String {
    let value = parsed(body);
    let mut said = MESSAGES.iter().filter_map(|at| value.pointer(at)?.as_str());
    if let Some(said) = said.find(|said| !said.trim().is_empty()) {
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
mod tests;
