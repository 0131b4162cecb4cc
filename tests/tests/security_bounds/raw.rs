//! A provider that answers with any bytes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What it sends: a status, headers, and a body for so many texts.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) encoding: Option<&'static str>,
    pub(crate) body: Arc<dyn Fn(usize) -> Vec<u8> + Send + Sync>,
}

/// Starts it, and returns its base URL. It ends with the test's process.
pub(crate) fn provider(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream, &answer));
        }
    });
    url
}

/// A client that has read enough hangs up: that ends the thread.
fn serve(mut stream: TcpStream, answer: &Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let question: serde_json::Value = serde_json::from_slice(&body).ok()?;
        let texts = question["input"].as_array().map_or(1, Vec::len);
        let body = (answer.body)(texts);
        let encoding = answer
            .encoding
            .map_or_else(String::new, |name| format!("content-encoding: {name}\r\n"));
        let head = format!(
            "HTTP/1.1 {} x\r\ncontent-type: application/json\r\n{encoding}content-length: {}\r\n\r\n",
            answer.status,
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body).ok()?;
    }
}

/// An honest answer of Ollama's: two dimensions.
pub(crate) fn honest(texts: usize) -> Vec<u8> {
    let vectors = vec!["[0.25,0.5]"; texts].join(",");
    format!("{{\"embeddings\":[{vectors}]}}").into_bytes()
}
