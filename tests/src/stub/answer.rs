//! What Ollama and OpenAI answer.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::question::{Endpoint, Question};
use super::shared::State;
use super::{Behaviour, vector_of};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

/// Answers `/api/show`.
pub(super) fn show(question: &Question, state: &State) -> Response {
    if let Some(refused) = refuse(question, &Behaviour::Honest, state) {
        return refused;
    }
    let body = json!({
        "capabilities": ["embedding"],
        "details": {"family": "stub", "format": "gguf"},
        "model_info": {
            "general.architecture": "stub",
            "stub.context_length": state.context.unwrap_or(2_048),
            "stub.embedding_length": dimensions(question, state),
        },
    });
    Response {
        status: 200,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

/// Answers `/api/pull`, without a stream: a model that is missing is in no library either.
pub(super) fn pull(question: &Question, state: &State) -> Response {
    if state.models.get(question.model()) == Some(&None) {
        let message = "pull model manifest: file does not exist";
        return error(question.endpoint, 500, message, None);
    }
    Response {
        status: 200,
        headers: Vec::new(),
        body: json!({"status": "success"}).to_string(),
    }
}

/// Returns the error that a well-formed request meets, if any.
pub(super) fn refuse(
    question: &Question,
    behaviour: &Behaviour,
    state: &State,
) -> Option<Response> {
    let endpoint = question.endpoint;
    if let Behaviour::Answer(answer) = behaviour {
        let usual = error(
            endpoint,
            answer.status,
            usual_message(endpoint, answer.status),
            None,
        );
        let body = answer.body.clone().unwrap_or(usual.body);
        return Some(Response {
            body,
            headers: answer.headers.clone(),
            ..usual
        });
    }
    let wanted = state.key.as_ref().map(|key| format!("Bearer {key}"));
    if endpoint == Endpoint::OpenAi && wanted.is_some() && question.key != wanted {
        return Some(error(
            endpoint,
            401,
            usual_message(endpoint, 401),
            Some("invalid_api_key"),
        ));
    }
    if state.models.get(question.model()) == Some(&None) {
        let message = if endpoint == Endpoint::OpenAi {
            format!("The model `{}` does not exist", question.model())
        } else {
            format!("model '{}' not found", question.model())
        };
        return Some(error(endpoint, 404, &message, Some("model_not_found")));
    }
    refuse_inputs(question, state).or_else(|| refuse_dimensions(question, state))
}

fn refuse_inputs(question: &Question, state: &State) -> Option<Response> {
    let endpoint = question.endpoint;
    let is_marked = |text: &String| state.markers.iter().any(|marker| text.contains(marker));
    let truncates = question
        .fields
        .get("truncate")
        .and_then(Value::as_bool)
        .unwrap_or(true);
    let cut = truncates && endpoint == Endpoint::OllamaEmbed;
    let is_long = |text: &String| state.context.is_some_and(|max| text.chars().count() > max);
    let long = !cut && question.inputs.iter().any(is_long);
    if long || question.inputs.iter().any(is_marked) {
        // As the providers do, it does not say which.
        let message = match (endpoint, long) {
            (Endpoint::OpenAi, _) => {
                "This model's maximum context length is 8192 tokens, however you requested 9001 \
                 tokens (9001 in your prompt; 0 for the completion). Please reduce your prompt; \
                 or completion length."
            }
            (_, true) => "the input length exceeds the context length",
            (_, false) => "embedding contains NaN or Inf values",
        };
        return Some(error(endpoint, 400, message, None));
    }
    let tokens = estimated_tokens(&question.inputs);
    if endpoint == Endpoint::OpenAi && tokens > 300_000 {
        let message = format!("Requested {tokens} tokens, max 300000 tokens per request");
        return Some(error(
            endpoint,
            400,
            &message,
            Some("max_tokens_per_request"),
        ));
    }
    None
}

fn refuse_dimensions(question: &Question, state: &State) -> Option<Response> {
    let wanted = question
        .dimensions()
        .filter(|_| question.endpoint == Endpoint::OpenAi)?;
    let native = native_dimensions(question.model(), state);
    let message = if question.model() == "text-embedding-ada-002" {
        "This model does not support specifying dimensions.".to_owned()
    } else if wanted > native {
        format!(
            "Invalid value for 'dimensions' = {wanted}. Must be less than or equal to {native}."
        )
    } else {
        return None;
    };
    Some(error(question.endpoint, 400, &message, None))
}

/// How long the vectors of an honest answer are.
pub(super) fn dimensions(question: &Question, state: &State) -> usize {
    let native = native_dimensions(question.model(), state);
    // Ollama takes no notice of more than there are.
    question
        .dimensions()
        .map_or(native, |wanted| wanted.min(native))
}

fn native_dimensions(model: &str, state: &State) -> usize {
    match (state.models.get(model), model) {
        (Some(Some(dimensions)), _) => *dimensions,
        (_, "text-embedding-3-large") => 3_072,
        (_, "text-embedding-3-small" | "text-embedding-ada-002") => 1_536,
        _ => state.dimensions,
    }
}

/// The texts of a request that `/info` names.
pub const INFO_INPUTS: usize = 8;

/// Answers `/info`.
pub(super) fn info() -> Response {
    let body =
        json!({"model_id": "m", "max_client_batch_size": INFO_INPUTS, "max_batch_tokens": 16384});
    Response {
        status: 200,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

/// Issues a token, or keys of AWS if somebody wants to take on a role or is a container.
pub(super) fn token(question: &Question) -> Response {
    let form = question.fields["form"].as_str().unwrap_or_default();
    let body = if form.starts_with("Action=AssumeRoleWithWebIdentity&") {
        let keys = json!({"AccessKeyId": "ASIAISSUED", "SecretAccessKey": "issued-secret",
            "SessionToken": "issued-session", "Expiration": 4e9});
        json!({"AssumeRoleWithWebIdentityResponse":
            {"AssumeRoleWithWebIdentityResult": {"Credentials": keys}}})
    } else if question.fields["path"] == "/container" {
        json!({"AccessKeyId": "ASIAISSUED", "SecretAccessKey": "issued-secret",
            "Token": "issued-session", "Expiration": "2096-11-26T00:00:00Z"})
    } else {
        json!({"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"})
    };
    Response {
        status: 200,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

/// The token that the stub issues.
pub const TOKEN: &str = "ya29.issued-by-the-stub";

/// Answers with a vector for every input, but for what the behaviour spoils.
pub(super) fn embed(question: &Question, behaviour: &Behaviour, honest: usize) -> Response {
    let dimensions = if let Behaviour::WrongDimensions(wrong) = behaviour {
        *wrong
    } else {
        honest
    };
    let texts = question.inputs.iter();
    let mut vectors: Vec<_> = texts.map(|text| vector_of(text, dimensions)).collect();
    if *behaviour == Behaviour::NotANumber {
        let last = vectors.last_mut().and_then(|vector| vector.last_mut());
        last.into_iter().for_each(|component| *component = f32::NAN);
    }
    if *behaviour == Behaviour::TooFewVectors {
        vectors.pop();
    }
    if *behaviour == Behaviour::TooManyVectors {
        vectors.extend(vectors.last().cloned());
    }
    let body = if let Endpoint::Other(dialect) = question.endpoint {
        let tokens = estimated_tokens(&question.inputs);
        dialect.answer(&vectors, tokens).to_string()
    } else if question.endpoint == Endpoint::OpenAi {
        openai_body(question, behaviour, &vectors)
    } else {
        ollama_body(question, &vectors)
    };
    let headers = if let Behaviour::HonestWith(headers) = behaviour {
        headers.clone()
    } else {
        Vec::new()
    };
    Response {
        status: 200,
        headers,
        body,
    }
}

fn ollama_body(question: &Question, vectors: &[Vec<f32>]) -> String {
    let mut body = format!("{{\"model\":{},\"embeddings\":[", json!(question.model()));
    for (at, vector) in vectors.iter().enumerate() {
        body += if at == 0 { "" } else { "," };
        write_numbers(&mut body, vector);
    }
    let tokens = estimated_tokens(&question.inputs);
    body + &format!(
        "],\"total_duration\":1000000,\"load_duration\":1000,\"prompt_eval_count\":{tokens}}}"
    )
}

fn openai_body(question: &Question, behaviour: &Behaviour, vectors: &[Vec<f32>]) -> String {
    let mut items: Vec<_> = vectors.iter().enumerate().collect();
    if *behaviour == Behaviour::RepeatedIndex {
        items.last_mut().into_iter().for_each(|item| item.0 = 0);
    }
    if *behaviour == Behaviour::Reversed {
        items.reverse();
    }
    let mut body = String::from("{\"object\":\"list\",\"data\":[");
    for (at, (index, vector)) in items.into_iter().enumerate() {
        body += if at == 0 { "" } else { "," };
        body += &format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":");
        if question.wants_base64() {
            let bytes: Vec<u8> = vector
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            body.push('"');
            STANDARD.encode_string(bytes, &mut body);
            body.push('"');
        } else {
            write_numbers(&mut body, vector);
        }
        body.push('}');
    }
    let (model, tokens) = (json!(question.model()), estimated_tokens(&question.inputs));
    body + &format!(
        "],\"model\":{model},\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}"
    )
}

fn write_numbers(body: &mut String, vector: &[f32]) {
    for (at, value) in vector.iter().enumerate() {
        body.push(if at == 0 { '[' } else { ',' });
        // The shortest digits that read back as the same number; `NaN` for what JSON lacks.
        write!(body, "{value}").expect("writing to a string");
    }
    body.push(']');
}

/// OpenAI's own estimate for its limit on a request: a quarter of a token per byte.
fn estimated_tokens(inputs: &[String]) -> usize {
    inputs.iter().map(String::len).sum::<usize>().div_ceil(4)
}

/// An error in the shape of the provider.
pub(super) fn error(
    endpoint: Endpoint,
    status: u16,
    message: &str,
    code: Option<&str>,
) -> Response {
    let body = if let Endpoint::Other(dialect) = endpoint {
        dialect.error(status, message)
    } else if endpoint == Endpoint::OpenAi {
        let (kind, usual) = match status {
            429 => ("requests", Some("rate_limit_exceeded")),
            500.. => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        let code = code.or(usual);
        json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
    } else {
        json!({ "error": message })
    };
    Response {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

fn usual_message(endpoint: Endpoint, status: u16) -> &'static str {
    match (endpoint, status) {
        (Endpoint::OpenAi, 401) => "Incorrect API key provided.",
        (Endpoint::OpenAi, 429) => "Rate limit reached for requests.",
        (Endpoint::OpenAi, 500) => "The server had an error while processing your request.",
        (Endpoint::OpenAi, 503) => "The engine is currently overloaded, please try again later.",
        (_, 401) => "unauthorized",
        (_, 404) => "model not found",
        (_, 429) => "too many requests",
        (_, 503) => "server busy, please try again.  maximum pending requests exceeded",
        (_, 500..) => "an error was encountered while running the model",
        _ => "bad request",
    }
}
