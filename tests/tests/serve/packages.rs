//! The clients that applications and agents use: the Python packages `openai` and `mcp`.

use serde_json::{Value, json};
use tests::process::worker_path;
use tests::python;
use tests::stage::DIMENSIONS;
use tests::stub::vector_of;

use super::{Server, TOKEN, docs};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/packages.py");

#[test]
fn real_clients_are_served() {
    let python = python::with(&["mcp==2.3.0", "openai==3.57.0"]).unwrap();
    let stage = docs();
    let server = Server::of(&stage);
    let worker = worker_path("worker");
    // Agents start the worker with few variables of their own: the vectorizer names its provider.
    let mut stage = stage;
    stage.run(&format!(
        "update ai.vectorizer set config = jsonb_set(config, '{{embedding,base_url}}', to_jsonb('{}'::text))",
        stage.stub.url()
    ));
    let said = python::run(
        &python,
        &[
            SCRIPT,
            &server.site.url,
            TOKEN,
            worker.to_str().unwrap(),
            &stage.worker_url,
        ],
    );
    let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
    let openai = &said["openai"];
    assert_eq!(openai["models"], json!(["stub"]));
    let near = |vector: &Value, text: &str| {
        let vector: Vec<f32> = serde_json::from_value(vector.clone()).unwrap();
        let pairs = vector.iter().zip(vector_of(text, DIMENSIONS));
        vector.len() == DIMENSIONS && pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6)
    };
    assert!(near(&openai["vectors"][0], "a text") && near(&openai["vectors"][1], "another"));
    assert!(near(&openai["plain"], "a text"));
    assert!(
        openai["refused"].as_str().unwrap().contains("token"),
        "{openai}"
    );
    for way in ["http", "pipes"] {
        let agent = &said["agents"][way];
        assert_eq!(agent["tools"], json!(["list", "search", "status"]), "{way}");
        assert_eq!(agent["found"][0]["key"], json!({"id": 2}), "{way}: {agent}");
        assert_eq!(agent["wrong"], true, "{way}");
        assert_eq!(agent["listed"], "docs", "{way}");
        assert_eq!(agent["status"], "docs", "{way}");
    }
}
