//! `POST /v1/embeddings` and `GET /v1/models`, in OpenAI's shape.

use serde_json::json;
use tests::stage::DIMENSIONS;
use tests::stub::vector_of;

use super::{Server, docs};

#[test]
fn the_models_of_the_vectorizers_embed() {
    let stage = docs();
    let server = Server::of(&stage);
    let models = server.site.json("v1/models");
    assert_eq!(models["data"].as_array().unwrap().len(), 1);
    assert_eq!(models["data"][0]["id"], "stub");
    assert_eq!(models["data"][0]["owned_by"], "ollama");
    // By the model, or by the name of the vectorizer; what is not known is ignored.
    for model in ["stub", "docs"] {
        let body = json!({"model": model, "input": ["a", "b"], "user": "somebody"});
        let answer = server.good("v1/embeddings", &body);
        assert_eq!(answer["object"], "list");
        assert_eq!(answer["model"], "stub");
        assert_eq!(answer["data"][1]["index"], 1);
        let vector: Vec<f32> =
            serde_json::from_value(answer["data"][1]["embedding"].clone()).unwrap();
        assert_eq!(vector, vector_of("b", DIMENSIONS));
        assert!(answer["usage"]["total_tokens"].is_u64(), "{answer}");
    }
    let body = json!({"model": "stub", "input": "a", "encoding_format": "base64", "dimensions": DIMENSIONS});
    let answer = server.good("v1/embeddings", &body);
    let text = answer["data"][0]["embedding"].as_str().unwrap();
    // Eight numbers of four bytes.
    assert_eq!(text.len(), 44);
}
