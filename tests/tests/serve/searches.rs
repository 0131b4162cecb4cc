//! `POST /v1/search`, `POST /v1/embed`, and the description of the interface.

use serde_json::{Value, json};
use tests::process::Signal;
use tests::stage::{DIMENSIONS, PATIENCE};
use tests::stub::vector_of;

use super::{Server, docs, ids};

#[test]
fn a_question_finds_the_nearest_chunks() {
    let mut stage = docs();
    let server = Server::of(&stage);
    let found = server.good(
        "v1/search",
        &json!({"vectorizer": "docs", "query": "knead the dough", "k": 2}),
    );
    assert_eq!(ids(&found)[0], 2);
    let first = &found["results"][0];
    assert_eq!(found["results"].as_array().unwrap().len(), 2);
    assert_eq!(first["chunk"], "knead the dough");
    assert!(first["distance"].as_f64().unwrap() < 1e-6, "{first}");
    assert_eq!(
        first.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["chunk", "chunk_seq", "distance", "key"]
    );
    // With a vector, nothing is embedded; by id; with columns and a filter.
    let asked = stage.stub.requests().len();
    let vector = vector_of("knead the dough", DIMENSIONS);
    let found = server.good(
        "v1/search",
        &json!({"vectorizer": 1, "embedding": vector, "filter": {"lang": "de", "year": {">": 2000}},
            "columns": ["year"], "neighbours": 1, "best_per_row": true}),
    );
    assert_eq!(ids(&found), [3]);
    assert_eq!(found["results"][0]["source"], json!({"year": 2003}));
    assert_eq!(found["results"][0]["chunks_before"], json!([]));
    assert_eq!(stage.stub.requests().len(), asked);
    // By words, too, once there is a text index.
    let words = json!({"vectorizer": "docs", "query": "ships", "hybrid": true, "text_weight": 5});
    let (status, said) = server.site.post("v1/search", &words.to_string());
    assert_eq!(status, 400);
    assert!(said.contains("no text index"), "{said}");
    stage.run("select ai.enable_hybrid('docs')");
    let found = server.good("v1/search", &words);
    assert_eq!(ids(&found)[0], 3, "{found}");
    assert_eq!(found["results"][0]["text_rank"], 1);
    assert_eq!(stage.stub.complaints(), Vec::<String>::new());
}

#[test]
fn a_search_is_of_the_generation_whose_model_embedded_the_question() {
    let mut stage = docs();
    stage.stub.add_model("other", DIMENSIONS);
    let server = Server::of(&stage);
    let question = json!({"vectorizer": "docs", "query": "knead the dough", "k": 1});
    let words = json!({"vectorizer": "docs", "query": "dough", "k": 1, "hybrid": true});
    stage.run("select ai.enable_hybrid('docs')");
    let embed = json!({"vectorizer": "docs", "input": "knead the dough"});
    let embedded = server.good("v1/embed", &embed);
    assert_eq!(embedded["generation"], 1);
    let change = format!(
        "select ai.alter_vectorizer('docs', embedding => ai.embedding_ollama('other', {DIMENSIONS}))"
    );
    stage.run(&change);
    stage.once("worker");
    // The server does not know yet that another model serves.
    for search in [&question, &words] {
        let found = server.good("v1/search", search);
        assert_eq!(found["generation"], 1, "{found}");
        assert_eq!(ids(&found), [2]);
    }
    let asked = |stage: &tests::stage::Stage| {
        let requests = stage.stub.requests();
        requests.last().unwrap().model().to_owned()
    };
    assert_eq!(asked(&stage), "stub");
    stage.run("select ai.finish_change('docs')");
    // A vector of the old model is compared with no other.
    let vector = json!({"vectorizer": "docs", "embedding": embedded["embeddings"][0]});
    let (status, said) = server.site.post("v1/search", &vector.to_string());
    assert_eq!(status, 404, "{said}");
    // Now there is no such generation any more, and it reads the vectorizers anew.
    for search in [&question, &words] {
        let found = server.good("v1/search", search);
        assert_eq!(found["generation"], 2, "{found}");
        assert_eq!(ids(&found), [2]);
        assert_eq!(asked(&stage), "other");
    }
    // A client with a vector of the old one is told.
    let old = json!({"vectorizer": "docs", "embedding": embedded["embeddings"][0], "generation": embedded["generation"]});
    let (status, said) = server.site.post("v1/search", &old.to_string());
    assert_eq!(status, 404, "{said}");
    assert!(said.contains("has no generation 1"), "{said}");
}

#[test]
fn texts_are_embedded_as_questions_or_as_documents() {
    let stage = docs();
    let server = Server::of(&stage);
    let one = server.good(
        "v1/embed",
        &json!({"vectorizer": "docs", "input": "a text"}),
    );
    assert_eq!(one["model"], "stub");
    assert_eq!(one["dimensions"], DIMENSIONS);
    let vectors = |answer: &Value| -> Vec<Vec<f32>> {
        serde_json::from_value(answer["embeddings"].clone()).unwrap()
    };
    assert_eq!(vectors(&one), [vector_of("a text", DIMENSIONS)]);
    // More than one request of the provider takes.
    let texts: Vec<String> = (0..200).map(|n| format!("text {n}")).collect();
    let many = server.good(
        "v1/embed",
        &json!({"vectorizer": "docs", "input": texts, "as": "document"}),
    );
    let wanted = texts.iter().map(|text| vector_of(text, DIMENSIONS));
    assert!(vectors(&many) == wanted.collect::<Vec<_>>());
    assert!(
        stage
            .stub
            .requests()
            .iter()
            .all(|request| request.inputs.len() <= 64)
    );
}

#[test]
fn the_interface_is_described_and_each_address_of_it_answers() {
    let stage = docs();
    let server = Server::of(&stage);
    let nobody = tests::site::Site::of(&server.process);
    assert_eq!(nobody.get("healthz"), (200, "ok\n".to_owned()));
    let described = nobody.json("openapi.json");
    let paths = described["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 5);
    for (path, methods) in paths {
        let path = path.trim_start_matches('/');
        let (status, said) = if methods.get("get").is_some() {
            server.site.get(path)
        } else {
            server.site.post(path, "{}")
        };
        assert!(matches!(status, 200 | 400), "{path}: {status} {said}");
    }
    // What the description allows is what the server knows.
    let allowed = described["components"]["schemas"]["Search"]["properties"].as_object();
    let (_, said) = server
        .site
        .post("v1/search", r#"{"vectorizer": "a", "none": 1}"#);
    for name in allowed.unwrap().keys() {
        assert!(said.contains(&format!("`{name}`")), "{name}: {said}");
    }
}

#[test]
fn a_server_ends_when_it_is_told_to() {
    let stage = docs();
    let mut server = Server::of(&stage);
    server.process.signal(Signal::Term);
    assert_eq!(server.process.wait(PATIENCE).code(), Some(0));
}
