//! Why a request gets no result, and what its client is told.

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::query::DbError;
use crate::request::Response;

/// The SQLSTATE of `ai.search` for a vectorizer or a generation that does not exist.
pub(super) const NO_DATA_FOUND: &str = "P0002";

/// See the module.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// What the operator should read, and the client should not.
    pub(super) trouble: Option<String>,
}

impl Refused {
    /// The request is wrong.
    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            trouble: None,
        }
    }

    /// A model's server has not done its work. The reason contains no secret, but the address of that server.
    pub(super) fn of_provider(reason: String) -> Self {
        Self {
            trouble: Some(reason.clone()),
            ..Self::new(StatusCode::BAD_GATEWAY, reason)
        }
    }
}

/// What PostgreSQL says of a request's statement is for its client; what is wrong with the server is not.
impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        let Some(code) = error.sqlstate.as_deref() else {
            return Self {
                trouble: Some(error.explain()),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the database does not answer: try again later",
                )
            };
        };
        let status = match code {
            "42501" => StatusCode::FORBIDDEN,
            NO_DATA_FOUND => StatusCode::NOT_FOUND,
            // query_canceled
            "57014" => StatusCode::GATEWAY_TIMEOUT,
            // Values, names and the state of the vectorizer: its client can change the request.
            "42703" | "42704" | "42804" | "42809" | "42883" | "42P01" | "55000" => {
                StatusCode::BAD_REQUEST
            }
            _ if code.starts_with("22") => StatusCode::BAD_REQUEST,
            // The connection broke, the server is full, or it is stopped or was just started.
            _ if ["08", "53", "57P"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            trouble: (!status.is_client_error()).then(|| error.to_string()),
            ..Self::new(status, error.message)
        }
    }
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, body: impl Into<String>) -> Response {
    let mut answer = Response::new(body.into().into_bytes());
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// The answer to a request that is refused, in the shape of OpenAI's.
#[must_use]
pub fn refusal(status: StatusCode, message: &str) -> Response {
    let kind = match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    let mut answer = json(status, body.to_string());
    let headers = answer.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    answer
}

/// The answer to a method that an address does not have.
#[must_use]
pub fn not_allowed(allowed: &'static str) -> Response {
    let message = format!("this address takes {allowed} only");
    let mut answer = refusal(StatusCode::METHOD_NOT_ALLOWED, &message);
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_database_have_a_status() {
        for (code, status) in [
            (Some("42501"), 403),
            (Some("42703"), 400),
            (Some("22P02"), 400),
            (Some("55000"), 400),
            (Some("57014"), 504),
            (Some("57P01"), 503),
            (Some("53300"), 503),
            (Some("XX000"), 500),
            (None, 503),
        ] {
            let refused = Refused::from(DbError {
                sqlstate: code.map(str::to_owned),
                message: "because".to_owned(),
            });
            assert_eq!(refused.status.as_u16(), status, "{code:?}");
            assert_eq!(refused.trouble.is_some(), status >= 500, "{code:?}");
        }
    }
}
