//! Reranking: `worker search --rerank`, `worker evaluate --rerank`, and `"rerank": true` in a request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tests::stage::{PATIENCE, Stage};

use super::manual::{MANUAL, blog};
use super::{Server, TOKEN, docs, ids};

/// One request: its path, its header `authorization`, its body.
type Asked = (String, String, Value);

/// A reranker that finds a text the better the more it has of the letter k.
struct Reranker {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Reranker {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let remembered: Arc<Mutex<Vec<Asked>>> = Arc::clone(&asked);
        thread::spawn(move || {
            for connection in listener.incoming() {
                answer(connection.unwrap(), &remembered);
            }
        });
        Self { url, asked }
    }
}

fn answer(mut connection: TcpStream, asked: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut head = vec![];
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let lines = head.iter().filter_map(|line| line.split_once(": "));
        let mut lines = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        lines
            .next()
            .map_or(String::new(), |(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    let texts = body.get("documents").or_else(|| body.get("texts")).unwrap();
    let texts = texts.as_array().unwrap().iter().enumerate();
    let name = if path.starts_with("/tei") {
        "score"
    } else {
        "relevance_score"
    };
    let scores = texts.map(|(index, text)| {
        let count = text.as_str().unwrap().matches('k').count();
        json!({"index": index, name: count as f64 / 10.0})
    });
    // Not in the order of the texts, as servers do it.
    let scores: Vec<Value> = scores.rev().collect();
    let (status, said) = match path.as_str() {
        "/tei/rerank" => ("200 OK", json!(scores)),
        "/voyage/rerank" => ("200 OK", json!({"object": "list", "data": scores})),
        "/few/rerank" => ("200 OK", json!(scores[1..])),
        "/busy/rerank" => ("503 Service Unavailable", json!({"error": "overloaded"})),
        _ => ("200 OK", json!({"results": scores})),
    };
    asked
        .lock()
        .unwrap()
        .push((path, header("authorization"), body));
    let said = said.to_string();
    write!(
        connection,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
        said.len()
    )
    .unwrap();
}

fn command(
    stage: &Stage,
    shell: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut process = stage.worker_with(shell, arguments, environment);
    let code = process.wait(PATIENCE).code();
    (code, process.lines().join("\n"))
}

#[test]
fn each_server_reranks() {
    let reranker = Reranker::start();
    let stage = docs();
    let at = |path: &str| format!("{}/{path}", reranker.url);
    for (name, variable, key, path) in [
        (
            "cohere/m",
            "COHERE_RERANK_API_BASE",
            "COHERE_API_KEY",
            "cohere",
        ),
        ("jina_ai/m", "JINA_AI_API_BASE", "JINA_AI_API_KEY", "jina"),
        ("voyage/m", "VOYAGE_BASE_URL", "VOYAGE_API_KEY", "voyage"),
        ("tei/", "", "", "tei"),
    ] {
        let url = at(path);
        let name = if name == "tei/" {
            format!("tei/{url}")
        } else {
            name.to_owned()
        };
        let environment = [(variable, url.as_str()), (key, "s3cret")];
        let environment = if key.is_empty() {
            &[][..]
        } else {
            &environment[..]
        };
        for shell in ["worker", "worker-blocking"] {
            let arguments = [
                "search",
                "docs",
                "sea ships",
                "--rerank",
                &name,
                "-k",
                "2",
                "--json",
            ];
            let (code, said) = command(&stage, shell, &arguments, environment);
            assert_eq!(code, Some(0), "{name}: {said}");
            let found: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(found.as_array().unwrap().len(), 2, "{said}");
            assert_eq!(
                (&found[0]["key"], &found[0]["rerank_score"]),
                (&json!(["2"]), &json!(0.1)),
                "{name}"
            );
            let (asked, authorization, body) = reranker.asked.lock().unwrap().pop().unwrap();
            assert_eq!(asked, format!("/{path}/rerank"));
            assert_eq!(body["query"], "sea ships");
            if key.is_empty() {
                assert_eq!(
                    (
                        authorization.as_str(),
                        body["texts"].as_array().unwrap().len()
                    ),
                    ("", 3)
                );
            } else {
                assert_eq!(authorization, "Bearer s3cret");
                assert_eq!(
                    (&body["model"], body["documents"].as_array().unwrap().len()),
                    (&json!("m"), 3)
                );
            }
        }
    }
    for (path, part) in [("busy", "overloaded"), ("few", "does not have 3 scores")] {
        let name = format!("tei/{}", at(path));
        let (code, said) = command(
            &stage,
            "worker",
            &["search", "docs", "sea", "--rerank", &name],
            &[],
        );
        assert_eq!(code, Some(1));
        assert!(said.contains(part) && said.contains(&name), "{said}");
    }
    let arguments = ["search", "docs", "sea", "--rerank", "cohere/m"];
    let (code, said) = command(&stage, "worker", &arguments, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("COHERE_API_KEY"), "{said}");
}

#[test]
fn evaluate_and_serve_rerank() {
    let reranker = Reranker::start();
    let stage = docs();
    let name = format!("tei/{}/tei", reranker.url);
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // The vector finds row 3 first, and the reranker row 2.
    let queries = write("queries", "1\tsea ships\n");
    let qrels = write("qrels", "1\t2\t1\n");
    let arguments = [
        "evaluate",
        "docs",
        "--queries",
        &queries,
        "--qrels",
        &qrels,
        "--rerank",
        &name,
        "-k",
        "1",
        "--json",
    ];
    for shell in ["worker", "worker-blocking"] {
        let (code, said) = command(&stage, shell, &arguments, &[]);
        assert_eq!(code, Some(0), "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["searches"][0]["mrr"], 0.0, "{said}");
        assert_eq!(said["searches"][1]["search"], "vector, reranked");
        assert_eq!(said["searches"][1]["mrr"], 1.0, "{said}");
    }

    let tokens = [(TOKEN, stage.worker_url.as_str())];
    let server = Server::start(&stage, &tokens, &["--rerank", &name]);
    let body = json!({"vectorizer": "docs", "query": "sea ships", "k": 2, "rerank": true});
    let found = server.good("v1/search", &body);
    assert_eq!(ids(&found)[0], 2);
    assert_eq!(found["results"].as_array().unwrap().len(), 2);
    assert_eq!(found["results"][0]["rerank_score"], 0.1);
    let plain = server.good(
        "v1/search",
        &json!({"vectorizer": "docs", "query": "sea ships"}),
    );
    assert_eq!(ids(&plain)[0], 3);
    let without = Server::of(&stage);
    let (status, said) = without.site.post("v1/search", &body.to_string());
    assert_eq!(status, 400);
    assert!(said.contains("without --rerank"), "{said}");
}

#[test]
fn a_cross_encoder_reranks_in_the_process() {
    let stage = docs();
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../embed-local/tests");
    let arguments = [
        "search",
        "docs",
        "blue flow",
        "--rerank",
        "cross",
        "--models-dir",
        models,
        "--json",
    ];
    let (code, said) = command(&stage, "worker", &arguments, &[]);
    assert_eq!(code, Some(0), "{said}");
    let found: Value = serde_json::from_str(&said).unwrap();
    let scores: Vec<f64> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["rerank_score"].as_f64().unwrap())
        .collect();
    assert!(
        scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b),
        "{scores:?}"
    );
    // A model of another kind is refused.
    let arguments = [
        "search",
        "docs",
        "x",
        "--rerank",
        "tiny",
        "--models-dir",
        models,
    ];
    let (code, said) = command(&stage, "worker", &arguments, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("bert.pooler.dense"), "{said}");
}

#[test]
fn the_commands_of_the_manual_run() {
    let reranker = Reranker::start();
    let stage = blog();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        path("queries.jsonl"),
        "{\"id\": 1, \"text\": \"bake bread\"}",
    )
    .unwrap();
    std::fs::write(path("qrels.tsv"), "1\t7\t1").unwrap();
    let model = directory.path().join("cross-encoder/ms-marco-MiniLM-L6-v2");
    std::fs::create_dir_all(&model).unwrap();
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../embed-local/tests/cross");
    for file in std::fs::read_dir(tiny).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), model.join(file.file_name())).unwrap();
    }
    let (models, url) = (path(""), format!("{}/cohere", reranker.url));
    let environment = [
        ("PGAI_MODELS_DIR", models.as_str()),
        ("COHERE_API_KEY", "s3cret"),
        ("COHERE_RERANK_API_BASE", url.as_str()),
    ];
    let lines = MANUAL
        .lines()
        .filter_map(|line| line.strip_prefix("worker "));
    let mut commands = 0;
    for line in lines.filter(|line| line.contains("--rerank")) {
        let line = line.replace("\"how to bake\"", "bake");
        let arguments = line.split_whitespace().map(|word| match word {
            "queries.jsonl" | "qrels.tsv" => path(word),
            other => other.to_owned(),
        });
        let arguments: Vec<String> = arguments.collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (code, said) = command(&stage, "worker", &arguments, &environment);
        assert_eq!(code, Some(0), "{line}: {said}");
        commands += 1;
    }
    assert_eq!(commands, 2);
}
