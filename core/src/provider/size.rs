//! The size of requests that a server accepts, learnt from what it says when it rejects one.

/// A limit of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SizeLimit {
    /// So many texts.
    Inputs(usize),
    /// So many bytes of text.
    Bytes(usize),
}

/// The limits that the page `/info` of Text Embeddings Inference names: the number of texts.
pub(crate) fn named(body: &[u8]) -> Option<usize> {
    let info: serde_json::Value = serde_json::from_slice(body).ok()?;
    let texts = usize::try_from(info["max_client_batch_size"].as_u64()?).ok()?;
    (texts > 0).then_some(texts)
}

/// Words for the texts of a request, in lower case.
const INPUTS: &[&str] = &[
    "array",
    "batch",
    "documents",
    "inputs",
    "instance",
    "items",
    "list",
    "requests can be",
    "texts",
];
/// Words for a limit.
const LIMIT: &[&str] = &[
    "allowed",
    "at most",
    "exceed",
    "larger than",
    "less than or equal",
    "limit",
    "max",
    "more than",
    "too long",
    "too many",
    "up to",
];
/// Words for all tokens of a request, not of one text.
const OF_REQUEST: &[&str] = &[
    "batch",
    "input token count",
    "in request",
    "in the request",
    "per request",
    "per_request",
    "total",
];
/// Words for the size of a request's body.
const BODY: &[&str] = &[
    "payload too large",
    "entity too large",
    "body too large",
    "request too large",
];

/// Of a limit in tokens, this part is used: tokens are distributed unevenly.
const MARGIN: f64 = 0.95;

/// The limit that a rejected request with so many texts and bytes has exceeded, if the message names one.
pub(crate) fn exceeded(message: &str, inputs: usize, bytes: usize) -> Option<SizeLimit> {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if inputs < 2 {
        return None;
    }
    let numbers = numbers(&message);
    let is_of_tokens = message.contains("token");
    if is_of_tokens && has(OF_REQUEST) && has(LIMIT) {
        return Some(SizeLimit::Bytes(bytes_for_tokens(&numbers, bytes)));
    }
    if has(BODY) || message.starts_with("413") {
        return Some(SizeLimit::Bytes(bytes / 2));
    }
    if is_of_tokens || !(has(INPUTS) && has(LIMIT)) {
        return None;
    }
    let below = numbers
        .into_iter()
        .filter(|number| (1..inputs).contains(number));
    below.max().map(SizeLimit::Inputs)
}

/// The bytes that are as many tokens as allowed, if the message has both numbers: the limit, and those of
/// the request. Otherwise half.
fn bytes_for_tokens(numbers: &[usize], bytes: usize) -> usize {
    // No limit of a request is smaller, and statuses are.
    let tokens: Vec<usize> = numbers
        .iter()
        .copied()
        .filter(|number| *number >= 1000)
        .collect();
    let (least, most) = (tokens.iter().min(), tokens.iter().max());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    match (least, most) {
        (Some(limit), Some(sent)) if limit < sent => {
            (bytes as f64 * *limit as f64 / *sent as f64 * MARGIN) as usize
        }
        _ => bytes / 2,
    }
}

/// The whole numbers of a text; commas within them are skipped.
fn numbers(text: &str) -> Vec<usize> {
    let text = text.replace(',', "");
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_found_in_the_words_of_many_servers() {
        for (message, inputs, limit) in [
            (
                "400 Bad Request: batch size is invalid, it should not be larger than 10.: input.contents",
                64,
                10,
            ),
            (
                "422 Unprocessable Entity: batch size 64 > maximum allowed batch size 32",
                64,
                32,
            ),
            (
                "400 Bad Request: invalid request: total number of texts must be at most 96 - received 128",
                128,
                96,
            ),
            (
                "400 Bad Request: * BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch",
                128,
                100,
            ),
            (
                "400 Bad Request: 250 instance(s) is allowed per prediction. Actual: 300",
                300,
                250,
            ),
            (
                "422 Unprocessable Entity: List should have at most 512 items after validation, not 600",
                600,
                512,
            ),
            (
                "400 Bad Request: Invalid 'input': array too long. Expected an array with maximum length 2048, \
                 but got an array with length 3000 instead.",
                3000,
                2048,
            ),
            (
                "400 Bad Request: Input list is too long. Maximum length allowed is 150, got 200",
                200,
                150,
            ),
            (
                "400 Bad Request: The batch size limit is 1,000. Your batch size is 1,500.",
                1500,
                1000,
            ),
        ] {
            let found = exceeded(message, inputs, 10_000);
            assert_eq!(found, Some(SizeLimit::Inputs(limit)), "{message}");
        }
    }

    #[test]
    fn limits_in_tokens_become_bytes() {
        for (message, bytes) in [
            (
                "400 Bad Request: Requested 400000 tokens, max 300000 tokens per request",
                712_500,
            ),
            (
                "400 Bad Request: Too many tokens in batch. Max is 16384 tokens, split the request",
                500_000,
            ),
            (
                "400 Bad Request: Unable to submit request because the input token count is 40000 but the \
                 model supports up to 20000.",
                475_000,
            ),
            ("413 Payload Too Large", 500_000),
        ] {
            let found = exceeded(message, 50, 1_000_000);
            assert_eq!(found, Some(SizeLimit::Bytes(bytes)), "{message}");
        }
    }

    #[test]
    fn other_refusals_name_no_limit_of_a_request() {
        for message in [
            "400 Bad Request: This model's maximum context length is 8192 tokens, however you requested 9001 \
             tokens (9001 in your prompt; 0 for the completion). Please reduce your prompt; or completion \
             length.",
            "400 Bad Request: the input length exceeds the context length",
            "400 Bad Request: embedding contains NaN or Inf values",
            "400 Bad Request: no such word",
            "422 Unprocessable Entity: `inputs` must have less than 512 tokens. Given: 600",
        ] {
            assert_eq!(exceeded(message, 600, 1_000_000), None, "{message}");
        }
        assert_eq!(exceeded("413 Payload Too Large", 1, 1_000_000), None);
    }
}
