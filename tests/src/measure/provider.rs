//! A provider that answers at once, from prepared pieces, so that what is measured is the worker.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::process::listen;
use crate::stub::vector_of;

/// So many vectors are prepared; inputs get them in turn.
const VECTORS: usize = 64;

/// What it says of a model, as far as pgai asks.
const SHOWN: &str =
    r#"{"model_info": {"general.architecture": "stub", "stub.context_length": 8192}}"#;

/// A running provider that speaks Ollama's `/api/embed` and `/api/show`. Its thread ends with the
/// process.
#[derive(Debug)]
pub struct Canned {
    address: String,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    inputs: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    fn add(&self, inputs: usize, bytes: usize) {
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inputs.fetch_add(number(inputs), Ordering::Relaxed);
        self.bytes.fetch_add(number(bytes), Ordering::Relaxed);
    }
}

impl Canned {
    /// Starts a provider of so many dimensions, each of whose answers takes so long.
    ///
    /// # Panics
    ///
    /// If the system gives it no port or thread.
    pub fn start(dimensions: usize, latency: Duration) -> Self {
        let listener = listen();
        let address = listener.local_addr().expect("an address").to_string();
        let counts = Arc::new(Counts::default());
        let vectors: Arc<[String]> = (0..VECTORS)
            .map(|number| {
                let vector = vector_of(&number.to_string(), dimensions);
                serde_json::to_string(&vector).expect("numbers are JSON")
            })
            .collect();
        let shared = Arc::clone(&counts);
        thread::spawn(move || serve(&listener, &vectors, &shared, latency));
        Self { address, counts }
    }

    /// Its base URL: `OLLAMA_HOST`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests, inputs, and bytes of their bodies since the last call.
    pub fn take_counts(&self) -> (u64, u64, u64) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let Counts {
            requests,
            inputs,
            bytes,
        } = &*self.counts;
        (take(requests), take(inputs), take(bytes))
    }
}

fn serve(listener: &TcpListener, vectors: &Arc<[String]>, counts: &Arc<Counts>, latency: Duration) {
    for stream in listener.incoming().flatten() {
        let (vectors, counts) = (Arc::clone(vectors), Arc::clone(counts));
        // A client that goes away ends its thread.
        thread::spawn(move || converse(stream, &vectors, &counts, latency).ok());
    }
}

fn converse(
    mut stream: TcpStream,
    vectors: &[String],
    counts: &Counts,
    latency: Duration,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![];
    let mut at = 0;
    loop {
        let Some((head, length)) = head(&buffer) else {
            if fill(&mut stream, &mut buffer)? == 0 {
                return Ok(());
            }
            continue;
        };
        while buffer.len() < head + length {
            if fill(&mut stream, &mut buffer)? == 0 {
                return Ok(());
            }
        }
        let body: Vec<u8> = buffer.drain(..head + length).skip(head).collect();
        let question: Value = serde_json::from_slice(&body)?;
        // Without inputs it is `/api/show` or `/api/pull`.
        let answer = match question["input"].as_array() {
            Some(inputs) => {
                counts.add(inputs.len(), length);
                thread::sleep(latency);
                answer(vectors, &mut at, inputs.len())
            }
            None => SHOWN.to_owned(),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes())?;
    }
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut piece = [0; 65_536];
    let read = stream.read(&mut piece)?;
    buffer.extend_from_slice(&piece[..read]);
    Ok(read)
}

/// The lengths of a request's head and body, once the head is there.
fn head(buffer: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return None,
        Err(error) => panic!("a worker sent no HTTP: {error}"),
    };
    let length = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |header| {
            let text = str::from_utf8(header.value).expect("a length is ASCII");
            text.parse().expect("a length is a number")
        });
    Some((head, length))
}

fn answer(vectors: &[String], at: &mut usize, inputs: usize) -> String {
    let mut answer = String::from("{\"model\":\"stub\",\"embeddings\":[");
    for number in 0..inputs {
        if number > 0 {
            answer.push(',');
        }
        answer.push_str(&vectors[*at % vectors.len()]);
        *at += 1;
    }
    answer.push_str("],\"total_duration\":1,\"load_duration\":1,\"prompt_eval_count\":1}");
    answer
}
