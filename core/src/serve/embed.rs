//! Requests that want vectors, and their answers: `/v1/embed`, and `/v1/embeddings` in OpenAI's shape.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refused::Refused;
use crate::command::question::Embedded;
use crate::provider::Purpose;
use crate::vectorizer::Profile;

/// The most texts of a request, as with OpenAI.
const INPUTS_MAX: usize = 2048;

/// The body of `/v1/embed`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbedBody {
    vectorizer: super::search::Name,
    input: Input,
    #[serde(default, rename = "as")]
    purpose: As,
}

/// The body of `/v1/embeddings`. Parameters that it does not know mean nothing, as with other servers of this interface.
#[derive(Debug, Deserialize)]
struct EmbeddingsBody {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
    /// What Cohere and Voyage call it.
    #[serde(default)]
    input_type: As,
}

/// What the texts are.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum As {
    Document,
    #[default]
    Query,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
    /// Of a tokenizer that may be another one than the model's.
    Tokens(#[expect(dead_code, reason = "it is refused")] Vec<Value>),
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Base64,
    #[default]
    Float,
}

/// Texts to be embedded.
#[derive(Debug)]
pub(super) struct Embed {
    pub(super) whose: Whose,
    pub(super) texts: Vec<Arc<str>>,
    pub(super) purpose: Purpose,
    shape: Shape,
}

/// Whose model is meant.
#[derive(Debug)]
pub(super) enum Whose {
    Model(String),
    Vectorizer(String),
}

/// The shape of the answer.
#[derive(Clone, Copy, Debug)]
enum Shape {
    OpenAi {
        encoding: Encoding,
        dimensions: Option<usize>,
    },
    Plain,
}

impl Embed {
    /// Of `/v1/embed`.
    pub(super) fn plain(body: &[u8]) -> Result<Self, Refused> {
        let body: EmbedBody = read(body)?;
        Ok(Self {
            whose: Whose::Vectorizer(body.vectorizer.0),
            texts: body.input.texts()?,
            purpose: body.purpose.into(),
            shape: Shape::Plain,
        })
    }

    /// Of `/v1/embeddings`.
    pub(super) fn of_openai(body: &[u8]) -> Result<Self, Refused> {
        let body: EmbeddingsBody = read(body)?;
        Ok(Self {
            whose: Whose::Model(body.model),
            texts: body.input.texts()?,
            purpose: body.input_type.into(),
            shape: Shape::OpenAi {
                encoding: body.encoding_format,
                dimensions: body.dimensions,
            },
        })
    }

    /// Refuses what the model does not do.
    pub(super) fn check(&self, profile: &Profile) -> Result<(), Refused> {
        let has = profile.provider.dimensions;
        match self.shape {
            Shape::OpenAi {
                dimensions: Some(wanted),
                ..
            } if wanted != has => Err(Refused::request(format!(
                "dimensions is {wanted}, and the vectors of {:?} have {has}: leave it out",
                profile.provider.model
            ))),
            Shape::OpenAi { .. } | Shape::Plain => Ok(()),
        }
    }

    pub(super) fn answer(&self, profile: &Profile, embedded: &Embedded) -> Value {
        let model = &profile.provider.model;
        let vectors = embedded.vectors.iter();
        match self.shape {
            Shape::Plain => {
                let vectors: Vec<_> = vectors.map(|vector| numbers(vector)).collect();
                json!({"model": model, "dimensions": profile.provider.dimensions,
                    "generation": profile.plan.number, "embeddings": vectors})
            }
            Shape::OpenAi { encoding, .. } => {
                let data = vectors.enumerate().map(|(index, vector)| {
                    let vector = match encoding {
                        Encoding::Base64 => json!(base64(vector)),
                        Encoding::Float => numbers(vector),
                    };
                    json!({"object": "embedding", "index": index, "embedding": vector})
                });
                let data: Vec<_> = data.collect();
                let tokens = embedded.tokens;
                json!({"object": "list", "model": model, "data": data,
                    "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
            }
        }
    }
}

impl Input {
    fn texts(self) -> Result<Vec<Arc<str>>, Refused> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
            Self::Tokens(_) => {
                return Err(Refused::request(
                    "input is a text or a list of texts here, not of tokens",
                ));
            }
        };
        if texts.is_empty() || texts.len() > INPUTS_MAX {
            return Err(Refused::request(format!(
                "input has {} texts: give 1 to {INPUTS_MAX}",
                texts.len()
            )));
        }
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(Refused::request("input has an empty text"));
        }
        Ok(texts.into_iter().map(Arc::from).collect())
    }
}

impl From<As> for Purpose {
    fn from(purpose: As) -> Self {
        match purpose {
            As::Document => Self::Document,
            As::Query => Self::Query,
        }
    }
}

/// Reads a body. The error says where it is wrong.
pub(super) fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused::request(format!("the body is not what is wanted: {error}")))
}

/// The numbers with as few digits as a number of 32 bits needs.
fn numbers(vector: &[f32]) -> Value {
    let short = |number: &f32| {
        number
            .to_string()
            .parse()
            .unwrap_or_else(|_| f64::from(*number))
    };
    Value::from_iter(vector.iter().map(short))
}

/// The numbers as OpenAI's clients read them: 32 bits each, the lowest byte first.
fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_text_or_texts() {
        for (body, wanted) in [
            (r#"{"vectorizer": "a", "input": "x"}"#, Ok(1)),
            (
                r#"{"vectorizer": 7, "input": ["x", "y"], "as": "document"}"#,
                Ok(2),
            ),
            (r#"{"vectorizer": "a", "input": []}"#, Err("0 texts")),
            (r#"{"vectorizer": "a", "input": " "}"#, Err("empty text")),
            (
                r#"{"vectorizer": "a", "input": [1, 2]}"#,
                Err("not of tokens"),
            ),
            (
                r#"{"vectorizer": "a", "input": "x", "k": 1}"#,
                Err("unknown field `k`"),
            ),
            (r#"{"vectorizer": "a""#, Err("line 1 column 18")),
        ] {
            match (Embed::plain(body.as_bytes()), wanted) {
                (Ok(embed), Ok(count)) => assert_eq!(embed.texts.len(), count, "{body}"),
                (Err(refused), Err(part)) => assert!(refused.message.contains(part), "{refused:?}"),
                (got, _) => panic!("{body}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_number_has_the_digits_that_it_needs() {
        assert_eq!(
            numbers(&[0.1, -2.0, 0.222_438_7]).to_string(),
            "[0.1,-2.0,0.2224387]"
        );
    }

    #[test]
    fn base64_is_of_little_endian_floats() {
        assert_eq!(base64(&[1.0, -2.0]), "AACAPwAAAMA=");
    }
}
