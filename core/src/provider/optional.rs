//! Optional request parameters: a server that does not support them can still embed.

use http::StatusCode;

use crate::request::Response;

/// A parameter that is omitted after a server has rejected it, and its names in error messages.
struct Optional {
    name: &'static str,
    /// In lower case, each a whole word.
    called: &'static [&'static str],
}

const OPTIONAL: &[Optional] = &[
    Optional {
        name: "dimensions",
        called: &["dimensions", "matryoshka"],
    },
    Optional {
        name: "encoding_format",
        called: &["encoding_format", "encoding format", "base64"],
    },
    Optional {
        name: "input_type",
        called: &["input_type"],
    },
    Optional {
        name: "keep_alive",
        called: &["keep_alive"],
    },
    Optional {
        name: "options",
        called: &["options"],
    },
    Optional {
        name: "output_dimension",
        called: &["output_dimension"],
    },
    Optional {
        name: "truncation",
        called: &["truncation"],
    },
    Optional {
        name: "user",
        called: &["user"],
    },
];

/// Words in messages that reject a parameter, in lower case: of OpenAI, vLLM, LiteLLM, pydantic,
/// the decoders of Go and Rust, and Python's calls.
const REFUSED: &[&str] = &[
    "additional propert",
    "does not accept",
    "drop_params",
    "extra fields",
    "extra inputs",
    "extra_forbidden",
    "invalid",
    "must be",
    "not allowed",
    "not permitted",
    "not recognized",
    "not support",
    "not valid",
    "unexpected",
    "unknown",
    "unrecognized",
    "unsupported",
    "value_error.extra",
];

/// The optional parameters that an error message names, except those already omitted.
pub(crate) fn refused(response: &Response, without: &[&'static str]) -> Vec<&'static str> {
    let status = response.status();
    let is_about_more = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::PAYMENT_REQUIRED
            | StatusCode::FORBIDDEN
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
    );
    if is_about_more || !(status.is_client_error() || status.is_server_error()) {
        return vec![];
    }
    let body = String::from_utf8_lossy(response.body()).to_lowercase();
    if !REFUSED.iter().any(|sign| body.contains(sign)) {
        return vec![];
    }
    let is_named = |optional: &&Optional| {
        !without.contains(&optional.name)
            && optional.called.iter().any(|name| match optional.name {
                // Other sentences have these words, too.
                "options" | "truncation" | "user" => is_quoted(&body, name),
                _ => is_word(&body, name),
            })
    };
    let named = OPTIONAL.iter().filter(is_named);
    named.map(|optional| optional.name).collect()
}

fn ends(body: &str, name: &str) -> impl Iterator<Item = (Option<char>, Option<char>)> {
    body.match_indices(name).map(|(at, name)| {
        let before = body[..at].chars().next_back();
        (before, body[at + name.len()..].chars().next())
    })
}

fn is_word(body: &str, name: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    ends(body, name).any(|(before, after)| !is_part(before) && !is_part(after))
}

/// In quotes, after a colon or after a word for a parameter: `'user'`, `"user"`, `argument:
/// user`, `Setting user is not supported`.
fn is_quoted(body: &str, name: &str) -> bool {
    let is_quote = |c: Option<char>| matches!(c, Some('\'' | '"' | '`' | '\\'));
    let before_name = [
        "setting ",
        "supplied: ",
        "parameter ",
        "parameters: ",
        "argument ",
        "field ",
    ];
    ends(body, name).any(|(before, after)| is_quote(before) && is_quote(after))
        || before_name
            .iter()
            .any(|words| is_word(body, &format!("{words}{name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_by(status: u16, body: &str) -> Vec<&'static str> {
        let mut response = Response::new(body.as_bytes().to_vec());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        refused(&response, &[])
    }

    #[test]
    fn parameters_are_found_in_the_words_of_many_servers() {
        for (status, body, names) in [
            (
                400,
                r#"{"object": "error", "message": "Model \"BAAI/bge-m3\" does not support matryoshka representation, changing output dimensions will lead to poor results.", "type": "BadRequestError", "param": null, "code": 400}"#,
                &["dimensions"][..],
            ),
            (
                400,
                r#"{"error": {"message": "This model does not support specifying dimensions.", "param": null}}"#,
                &["dimensions"],
            ),
            (
                400,
                r#"{"error": {"message": "Unrecognized request argument supplied: dimensions"}}"#,
                &["dimensions"],
            ),
            (
                422,
                r#"{"detail": [{"type": "extra_forbidden", "loc": ["body", "dimensions"], "msg": "Extra inputs are not permitted", "input": 768}]}"#,
                &["dimensions"],
            ),
            (
                422,
                r#"{"detail": [{"type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted"}, {"type": "extra_forbidden", "loc": ["body", "encoding_format"], "msg": "Extra inputs are not permitted"}]}"#,
                &["encoding_format", "user"],
            ),
            (
                422,
                r#"{"detail": [{"loc": ["body", "encoding_format"], "msg": "extra fields not permitted", "type": "value_error.extra"}]}"#,
                &["encoding_format"],
            ),
            (
                400,
                r#"{"error": {"message": "litellm.UnsupportedParamsError: Setting dimensions is not supported for OpenAI `text-embedding-3` and later models. To drop it from the call, set `litellm.drop_params = True`."}}"#,
                &["dimensions"],
            ),
            (
                500,
                r#"{"error": {"message": "litellm.UnsupportedParamsError: Setting user/encoding format is not supported by HuggingFace. To drop it from the call, set `litellm.drop_params = True`."}}"#,
                &["encoding_format", "user"],
            ),
            (
                400,
                r#"{"error": {"message": "bedrock does not support parameters: {'encoding_format': 'base64'}, for model=m"}}"#,
                &["encoding_format"],
            ),
            (
                500,
                "TypeError: encode() got an unexpected keyword argument 'dimensions'",
                &["dimensions"],
            ),
            (
                400,
                r#"{"error": {"message": "json: unknown field \"keep_alive\""}}"#,
                &["keep_alive"],
            ),
            (
                400,
                r#"{"error": "json: unknown field \"options\""}"#,
                &["options"],
            ),
            (
                422,
                "Failed to deserialize the JSON body: unknown field `truncation`, expected one of `input`",
                &["truncation"],
            ),
            (
                400,
                r#"{"detail": "Model m does not support output_dimension 512."}"#,
                &["output_dimension"],
            ),
            (
                400,
                r#"{"error": {"message": "Invalid value: 'base64'. Supported values are: 'float'.", "param": "encoding_format"}}"#,
                &["encoding_format"],
            ),
        ] {
            assert_eq!(refused_by(status, body), names, "{body}");
        }
    }

    #[test]
    fn other_refusals_name_no_parameter() {
        for (status, body) in [
            (
                400,
                r#"{"error": {"message": "the user sent an invalid input"}}"#,
            ),
            (400, "This model's maximum context length is 8192 tokens"),
            (500, "EOF"),
            (401, "unknown user: dimensions not allowed"),
            (429, "dimensions: unexpected load"),
            (200, "dimensions not supported"),
            (
                422,
                "Input validation error: `inputs` must have less than 512 tokens",
            ),
        ] {
            assert_eq!(refused_by(status, body), [""; 0], "{body}");
        }
    }

    #[test]
    fn what_was_left_out_is_not_refused_again() {
        let mut response = Response::new(b"unexpected keyword argument 'dimensions'".to_vec());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        assert_eq!(refused(&response, &["dimensions"]), [""; 0]);
    }
}
