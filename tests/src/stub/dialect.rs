//! The wire formats of other providers: how their requests hold texts, and how they answer.

use serde_json::{Map, Value, json};

/// A wire format that is neither Ollama's nor OpenAI's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    BedrockCohere,
    Cohere,
    Gemini,
    HuggingFace,
    Nova,
    Titan,
    Vertex,
    VertexContent,
    Watsonx,
}

impl Dialect {
    /// That of a path.
    pub(super) fn of(path: &str) -> Option<Self> {
        let model = path.strip_prefix("/model/");
        let bedrock = |maker| model.is_some_and(|model: &str| model.contains(maker));
        let is = |part: &str| path.contains(part);
        Some(match path {
            "/v2/embed" => Self::Cohere,
            _ if bedrock("cohere.") => Self::BedrockCohere,
            _ if bedrock("amazon.titan") => Self::Titan,
            _ if bedrock("amazon.nova") => Self::Nova,
            _ if is(":batchEmbedContents") => Self::Gemini,
            _ if is(":predict") => Self::Vertex,
            _ if is(":embedContent") => Self::VertexContent,
            _ if is("/feature-extraction/") => Self::HuggingFace,
            _ if is("/ml/v1/text/embeddings") => Self::Watsonx,
            _ => return None,
        })
    }

    /// Takes the texts out of a body, and puts the model's name into it. The model has the name that the
    /// body or the path says.
    pub(super) fn take_inputs(
        self,
        path: &str,
        body: &mut Map<String, Value>,
    ) -> Result<Value, String> {
        let missing = |what: &str| format!("{what} is missing");
        let mut list = |name: &str| body.remove(name).ok_or_else(|| missing(name));
        let of_each = |all: Value, place: &str| -> Result<Value, String> {
            let texts = all.as_array().ok_or("no list")?.iter();
            let texts = texts.map(|one| one.pointer(place).cloned().ok_or_else(|| missing(place)));
            texts.collect()
        };
        let texts = match self {
            Self::BedrockCohere | Self::Cohere => list("texts")?,
            Self::HuggingFace | Self::Watsonx => list("inputs")?,
            Self::Gemini => of_each(list("requests")?, "/content/parts/0/text")?,
            Self::Vertex => of_each(list("instances")?, "/content")?,
            Self::Titan => list("inputText")?,
            Self::VertexContent => of_each(json!([list("content")?]), "/parts/0/text")?,
            Self::Nova => of_each(json!([list("singleEmbeddingParams")?]), "/text/value")?,
        };
        let in_path = || {
            path.split('/')
                .rfind(|part| *part != "invoke")
                .unwrap_or_default()
        };
        let model = body.remove("model").or_else(|| body.remove("model_id"));
        let model = model.unwrap_or_else(|| in_path().split(':').next().into());
        body.insert("model".to_owned(), model);
        Ok(texts)
    }

    /// The answer with these vectors.
    pub(super) fn answer(self, vectors: &[Vec<f32>], tokens: usize) -> Value {
        let one = vectors.first();
        let each =
            |name: &str| Value::from_iter(vectors.iter().map(|vector| json!({name: vector})));
        match self {
            Self::BedrockCohere => {
                json!({"embeddings": vectors, "response_type": "embeddings_floats"})
            }
            Self::Cohere => json!({
                "embeddings": {"float": vectors},
                "meta": {"billed_units": {"input_tokens": tokens}},
            }),
            Self::Gemini => json!({"embeddings": each("values")}),
            Self::HuggingFace => json!(vectors),
            Self::Nova => json!({"embeddings": [{"embeddingType": "TEXT", "embedding": one}]}),
            Self::Titan => json!({"embedding": one, "inputTextTokenCount": tokens}),
            Self::Vertex => {
                let predictions = vectors
                    .iter()
                    .map(|vector| json!({"embeddings": {"values": vector}}));
                json!({"predictions": Value::from_iter(predictions)})
            }
            Self::VertexContent => json!({"embedding": {"values": one}}),
            Self::Watsonx => json!({"results": each("embedding"), "input_token_count": tokens}),
        }
    }

    /// An error in the provider's shape.
    pub(super) fn error(self, status: u16, message: &str) -> Value {
        match self {
            Self::BedrockCohere | Self::Cohere | Self::Nova | Self::Titan => {
                json!({ "message": message })
            }
            Self::Gemini | Self::Vertex | Self::VertexContent => {
                json!({"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}})
            }
            Self::HuggingFace => json!({"error": message, "error_type": "validation"}),
            Self::Watsonx => json!({"errors": [{"code": "invalid", "message": message}]}),
        }
    }
}
