//! A server on this machine, which says which requests came.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request: its method, path, headers in lower case, and body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// A status, headers and a body.
pub(crate) type Answer = (u16, Vec<(&'static str, String)>, String);
type Answers = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (all, answers): (_, Answers) = (Arc::clone(&asked), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, answers) = (Arc::clone(&all), Arc::clone(&answers));
                thread::spawn(move || serve(stream, &all, &answers));
            }
        });
        Self { url, asked }
    }

    /// The requests since the last time.
    pub(crate) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, all: &Mutex<Vec<Asked>>, answers: &Answers) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut asked = Asked::default();
    let mut words = line.split_whitespace().map(str::to_owned);
    asked.method = words.next().unwrap_or_default();
    asked.path = words.next().unwrap_or_default();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.trim().split_once(':') {
            let name = name.to_ascii_lowercase();
            asked.headers.insert(name, value.trim().to_owned());
        }
    }
    let length = asked.headers.get("content-length");
    asked.body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut asked.body).unwrap();
    let (status, headers, body) = answers(&asked);
    all.lock().unwrap().push(asked);
    let mut answer = format!("HTTP/1.1 {status} Some\r\nconnection: close\r\n");
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    // An answer of 304 has no body.
    if status != 304 {
        answer.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let _ = stream.write_all(format!("{answer}\r\n{body}").as_bytes());
}
