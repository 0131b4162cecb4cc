use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

mod connections;

const PATIENCE: Duration = Duration::from_secs(10);

/// A client that keeps its connection, and shows what a real one would hide.
struct Client {
    stream: BufReader<TcpStream>,
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Client {
    fn new(stub: &Stub) -> Self {
        let stream = TcpStream::connect(stub.shared.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    fn send(&self, path: &str, more: &str, body: &str) {
        let length = body.len();
        let mut stream = self.stream.get_ref();
        let head = format!("POST {path} HTTP/1.1\r\nHost: stub\r\nContent-Length: {length}\r\n");
        let request = format!("{head}Content-Type: application/json\r\n{more}\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
    }

    fn receive(&mut self) -> io::Result<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head[9..12].parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        self.stream.read_exact(&mut body)?;
        Ok(Reply {
            status,
            head,
            body: String::from_utf8(body).unwrap(),
        })
    }

    fn post(&mut self, path: &str, body: &Value) -> io::Result<Reply> {
        self.send(path, "", &body.to_string());
        self.receive()
    }

    fn ollama(&mut self, inputs: &[&str]) -> io::Result<Reply> {
        self.post("/api/embed", &json!({"model": "m", "input": inputs}))
    }

    fn openai(&mut self, inputs: &[&str], format: &str) -> io::Result<Reply> {
        let body = json!({"model": "m", "input": inputs, "encoding_format": format});
        self.post("/v1/embeddings", &body)
    }
}

fn vector(value: &Value) -> Vec<f32> {
    if let Some(text) = value.as_str() {
        let bytes = STANDARD.decode(text).unwrap();
        return bytes
            .chunks(4)
            .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
            .collect();
    }
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn ollama_gives_every_text_its_vector() {
    let stub = Stub::start_with(8);
    let mut client = Client::new(&stub);
    let reply = client.ollama(&["a", "b"]).unwrap();
    let body = reply.json();
    assert_eq!((reply.status, &body["model"]), (200, &json!("m")));
    assert_eq!(vector(&body["embeddings"][0]), vector_of("a", 8));
    assert_eq!(vector(&body["embeddings"][1]), vector_of("b", 8));
    assert_eq!(body["embeddings"].as_array().unwrap().len(), 2);
    assert_eq!(body["prompt_eval_count"], 1);

    // Fewer dimensions are given, more are not.
    for (wanted, given) in [(4, 4), (9, 8)] {
        let question = json!({"model": "m", "input": ["a"], "dimensions": wanted});
        let body = client.post("/api/embed", &question).unwrap().json();
        assert_eq!(vector(&body["embeddings"][0]), vector_of("a", given));
    }
    let shown = client
        .post("/api/show", &json!({"model": "m"}))
        .unwrap()
        .json();
    assert_eq!(shown["model_info"]["stub.context_length"], 2_048);

    let requests = stub.requests();
    assert_eq!(requests.len(), 4);
    assert_eq!((requests[0].model(), requests[0].status), ("m", Some(200)));
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    assert!(
        requests
            .iter()
            .all(|request| request.answered >= Some(request.at))
    );
    assert_eq!(requests[1].fields["dimensions"], 4);
    assert_eq!(stub.inputs(), ["a", "b", "a", "a"]);
    assert_eq!(stub.take_requests().len(), 4);
    assert!(stub.requests().is_empty());
    assert_eq!(stub.complaints(), Vec::<String>::new());
}

#[test]
fn openai_gives_floats_or_base64_as_asked() {
    let stub = Stub::start_with(8);
    let mut client = Client::new(&stub);
    for format in ["float", "base64"] {
        let body = client.openai(&["a", "b"], format).unwrap().json();
        for (at, text) in ["a", "b"].into_iter().enumerate() {
            assert_eq!(body["data"][at]["index"], at);
            assert_eq!(
                body["data"][at]["embedding"].is_string(),
                format == "base64"
            );
            assert_eq!(vector(&body["data"][at]["embedding"]), vector_of(text, 8));
        }
        assert_eq!(body["usage"]["total_tokens"], 1);
    }
    let question = json!({"model": "text-embedding-3-small", "input": "a", "dimensions": 512});
    let body = client.post("/embeddings", &question).unwrap().json();
    assert_eq!(vector(&body["data"][0]["embedding"]), vector_of("a", 512));
    assert!(stub.complaints().is_empty());

    let question = json!({"model": "text-embedding-ada-002", "input": "a", "dimensions": 512});
    assert_eq!(client.post("/embeddings", &question).unwrap().status, 400);
}

#[test]
fn malformed_requests_are_refused_and_remembered() {
    let stub = Stub::start();
    let many = vec!["x"; 2_049];
    for (path, body, complaint) in [
        (
            "/api/embed",
            json!({"model": "m", "input": []}),
            "0 inputs, not 1 to 2048",
        ),
        (
            "/api/embed",
            json!({"model": "m", "input": many}),
            "2049 inputs, not 1 to 2048",
        ),
        (
            "/api/embed",
            json!({"model": "m", "input": ["a", ""]}),
            "input 1 is empty",
        ),
        (
            "/api/embed",
            json!({"model": "m", "input": [1]}),
            "input 0 is no text: 1",
        ),
        ("/api/embed", json!({"input": ["a"]}), "model is no name"),
        ("/api/embed", json!({"model": "m"}), "input is None"),
        (
            "/api/embed",
            json!({"model": "m", "input": "a", "truncate": 1}),
            "truncate may not be 1",
        ),
        (
            "/api/embed",
            json!({"model": "m", "input": "a", "x": 1}),
            "request argument: x",
        ),
        ("/api/embed", json!([]), "not a JSON object"),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": "a", "dimensions": 0}),
            "dimensions",
        ),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": "a", "truncate": true}),
            "truncate",
        ),
        ("/v1/elsewhere", json!({}), "no such endpoint"),
    ] {
        let before = stub.complaints().len();
        let reply = Client::new(&stub).post(path, &body).unwrap();
        assert_eq!(
            reply.status,
            if path == "/v1/elsewhere" { 404 } else { 400 }
        );
        let error = &reply.json()["error"];
        assert!(error.is_string() || error["message"].is_string(), "{error}");
        let complaints = stub.complaints();
        assert_eq!(complaints.len(), before + 1);
        assert!(complaints[before].contains(complaint), "{complaints:?}");
    }
    let mut client = Client::new(&stub);
    client.send("/api/embed", "", "{");
    assert_eq!(client.receive().unwrap().status, 400);
    let plain = "POST /api/embed HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";
    client.stream.get_ref().write_all(plain.as_bytes()).unwrap();
    assert_eq!(client.receive().unwrap().status, 400);
    assert!(stub.complaints().last().unwrap().contains("content-type"));
    assert!(
        stub.requests()
            .iter()
            .all(|request| request.inputs.is_empty())
    );
}

#[test]
fn a_key_is_checked_where_one_is_wanted() {
    let stub = Stub::start();
    stub.require_key("sk-right");
    let mut client = Client::new(&stub);
    let body = json!({"model": "m", "input": "a"}).to_string();
    for (header, status) in [
        ("", 401),
        ("Authorization: Bearer sk-wrong\r\n", 401),
        ("Authorization: Bearer sk-right\r\n", 200),
    ] {
        client.send("/v1/embeddings", header, &body);
        assert_eq!(client.receive().unwrap().status, status);
    }
    assert_eq!(client.ollama(&["a"]).unwrap().status, 200);
    assert!(stub.complaints().is_empty());
}

#[test]
fn a_script_is_played_once_and_a_rule_goes_on() {
    let stub = Stub::start_with(4);
    let mut client = Client::new(&stub);
    stub.script(Behaviour::rate_limited("0.5"));
    stub.script(Behaviour::status(503));
    stub.script(Behaviour::Answer(
        Answer::new(500)
            .body("<html>")
            .header("content-type", "text/html"),
    ));
    let reply = client.ollama(&["a"]).unwrap();
    assert!(reply.status == 429 && reply.head.contains("\r\nretry-after: 0.5\r\n"));
    assert!(
        client.ollama(&["a"]).unwrap().json()["error"]
            .as_str()
            .unwrap()
            .contains("busy")
    );
    let reply = client.ollama(&["a"]).unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (500, "<html>"));
    assert_eq!(reply.head.matches("content-type").count(), 1);
    assert_eq!(client.ollama(&["a"]).unwrap().status, 200);

    stub.behave(|request| match request.inputs.len() {
        1 => Behaviour::Honest,
        _ => Behaviour::quota_exhausted(),
    });
    for _ in 0..2 {
        assert_eq!(client.openai(&["a"], "float").unwrap().status, 200);
        let reply = client.openai(&["a", "b"], "float").unwrap();
        assert_eq!(reply.json()["error"]["code"], "insufficient_quota");
    }
    stub.behave_honestly();
    assert_eq!(client.openai(&["a", "b"], "float").unwrap().status, 200);
    let statuses: Vec<_> = stub
        .requests()
        .iter()
        .filter_map(|request| request.status)
        .collect();
    assert_eq!(statuses, [429, 503, 500, 200, 200, 429, 200, 429, 200]);
    stub.script(Behaviour::Honest);
    assert_eq!(stub.clear_script(), 1);
}

#[test]
fn spoilt_answers_are_spoilt_as_told() {
    let stub = Stub::start_with(4);
    let mut client = Client::new(&stub);
    let mut ask = |behaviour| {
        stub.script(behaviour);
        client.openai(&["a", "b", "c"], "base64").unwrap().json()["data"].clone()
    };
    let indexes = |data: &Value| -> Vec<u64> {
        data.as_array()
            .unwrap()
            .iter()
            .map(|item| item["index"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(indexes(&ask(Behaviour::TooFewVectors)), [0, 1]);
    assert_eq!(indexes(&ask(Behaviour::TooManyVectors)), [0, 1, 2, 3]);
    assert_eq!(indexes(&ask(Behaviour::RepeatedIndex)), [0, 1, 0]);
    let reversed = ask(Behaviour::Reversed);
    assert_eq!(indexes(&reversed), [2, 1, 0]);
    assert_eq!(vector(&reversed[0]["embedding"]), vector_of("c", 4));
    assert_eq!(
        vector(&ask(Behaviour::WrongDimensions(5))[0]["embedding"]).len(),
        5
    );
    let spoilt = ask(Behaviour::NotANumber);
    assert!(vector(&spoilt[2]["embedding"])[3].is_nan());
    assert_eq!(vector(&spoilt[0]["embedding"]), vector_of("a", 4));

    stub.script(Behaviour::NotANumber);
    let reply = client.ollama(&["a"]).unwrap();
    assert!(reply.body.contains(",NaN]") && serde_json::from_str::<Value>(&reply.body).is_err());
    stub.script(Behaviour::HonestWith(vec![(
        "x-ratelimit-limit-requests".into(),
        "7".into(),
    )]));
    assert!(
        client
            .ollama(&["a"])
            .unwrap()
            .head
            .contains("x-ratelimit-limit-requests: 7")
    );
}

#[test]
fn inputs_and_models_can_be_refused() {
    let stub = Stub::start();
    let mut client = Client::new(&stub);
    stub.refuse_inputs_with("poison");
    stub.set_context(10);
    assert_eq!(client.ollama(&["a", "a poison b"]).unwrap().status, 400);
    assert_eq!(client.ollama(&["a"]).unwrap().status, 200);
    let long = "twelve chars";
    assert_eq!(client.ollama(&[long]).unwrap().status, 200);
    let strict = json!({"model": "m", "input": [long], "truncate": false});
    let refused = client.post("/api/embed", &strict).unwrap();
    assert!(
        refused
            .body
            .contains("the input length exceeds the context length")
    );
    assert!(
        client
            .openai(&[long], "float")
            .unwrap()
            .body
            .contains("maximum context length")
    );
    stub.refuse_no_inputs();
    assert_eq!(client.ollama(&["poison"]).unwrap().status, 200);

    stub.remove_model("m");
    assert_eq!(client.ollama(&["a"]).unwrap().status, 404);
    stub.add_model("m", 3);
    let body = client.ollama(&["a"]).unwrap().json();
    assert_eq!(vector(&body["embeddings"][0]), vector_of("a", 3));
    assert!(stub.complaints().is_empty());
}
