//! HTTP/1.1 on one connection, by hand: no server library breaks off in the middle of an answer.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Map;

use super::answer::{self, Response};
use super::question::{self, Endpoint, Question, Refusal};
use super::shared::Shared;
use super::{Behaviour, Recorded};

/// Serves requests until the client goes or the stub is to cut the connection.
pub(super) fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 * 1_024, stream);
    loop {
        let head = match Head::read(&mut reader) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            Err(error) => {
                if error.kind() == ErrorKind::InvalidData {
                    shared.state().complaints.push(format!("not HTTP: {error}"));
                }
                return Err(error);
            }
        };
        let endpoint = Endpoint::of(&head.method, &head.path);
        if endpoint.embeds() && closes_before_reading(shared) {
            let id = record(shared, &head, None);
            finish(shared, id, &Reply::Nothing);
            return Ok(());
        }
        let body = head.read_body(&mut reader, stream)?;
        let question = question::read(endpoint, &head.path, &head.headers, &body);
        let id = record(shared, &head, question.as_ref().ok());
        let reply = reply(shared, stream, endpoint, id, question);
        // Before the client can act on the answer: a test that sees the effect sees the record.
        finish(shared, id, &reply);
        if let Err(error) = reply.write(stream) {
            finish(shared, id, &Reply::Nothing);
            return Err(error);
        }
        if matches!(reply, Reply::Nothing | Reply::Half(_)) || !head.keep_alive {
            return Ok(());
        }
    }
}

/// What goes back to the client.
enum Reply {
    Half(Response),
    Nothing,
    Whole(Response),
}

impl Reply {
    fn write(&self, mut stream: &TcpStream) -> io::Result<()> {
        let (Self::Half(response) | Self::Whole(response)) = self else {
            return Ok(());
        };
        let mut bytes = format!("HTTP/1.1 {} Stub\r\n", response.status).into_bytes();
        write!(bytes, "content-length: {}\r\n", response.body.len())?;
        let typed = response
            .headers
            .iter()
            .any(|(name, _)| name == "content-type");
        if !typed {
            write!(bytes, "content-type: application/json\r\n")?;
        }
        for (name, value) in &response.headers {
            write!(bytes, "{name}: {value}\r\n")?;
        }
        write!(bytes, "\r\n")?;
        let length = match self {
            Self::Half(_) => response.body.len() / 2,
            Self::Nothing | Self::Whole(_) => response.body.len(),
        };
        bytes.extend_from_slice(&response.body.as_bytes()[..length]);
        stream.write_all(&bytes)
    }
}

fn reply(
    shared: &Shared,
    stream: &TcpStream,
    endpoint: Endpoint,
    id: u64,
    question: Result<Question, Refusal>,
) -> Reply {
    let question = match question {
        Ok(question) => question,
        Err(refusal) => {
            shared.state().complaints.push(refusal.complaint);
            return Reply::Whole(refusal.response);
        }
    };
    match endpoint {
        Endpoint::OllamaPull => return Reply::Whole(answer::pull(&question, &shared.state())),
        Endpoint::OllamaShow | Endpoint::Unknown => {
            return Reply::Whole(answer::show(&question, &shared.state()));
        }
        Endpoint::Info => return Reply::Whole(answer::info()),
        Endpoint::Token => return Reply::Whole(answer::token(&question)),
        Endpoint::OllamaEmbed | Endpoint::OpenAi | Endpoint::Other(_) => {}
    }
    let mut behaviour = choose(shared, id);
    hold(shared, stream, id);
    while let Behaviour::Delayed(time, then) = behaviour {
        thread::sleep(time);
        behaviour = *then;
    }
    if matches!(
        behaviour,
        Behaviour::CloseAfterReading | Behaviour::CloseBeforeReading
    ) {
        Reply::Nothing
    } else if behaviour == Behaviour::Truncated {
        Reply::Half(answer(shared, &question, &Behaviour::Honest))
    } else {
        Reply::Whole(answer(shared, &question, &behaviour))
    }
}

/// Answers without the lock: a thousand vectors take a while.
fn answer(shared: &Shared, question: &Question, behaviour: &Behaviour) -> Response {
    let refused = answer::refuse(question, behaviour, &shared.state());
    let dimensions = answer::dimensions(question, &shared.state());
    refused.unwrap_or_else(|| answer::embed(question, behaviour, dimensions))
}

fn closes_before_reading(shared: &Shared) -> bool {
    let mut state = shared.state();
    state
        .script
        .pop_front_if(|next| *next == Behaviour::CloseBeforeReading)
        .is_some()
}

fn choose(shared: &Shared, id: u64) -> Behaviour {
    let mut state = shared.state();
    if let Some(scripted) = state.script.pop_front() {
        return scripted;
    }
    let rule = state.rule.clone();
    let recorded = state.requests.get(&id).cloned();
    drop(state);
    // Without the lock: a rule may ask the stub something.
    let decided = rule
        .zip(recorded)
        .map(|(rule, recorded)| (rule.0)(&recorded));
    decided.unwrap_or(Behaviour::Honest)
}

fn record(shared: &Shared, head: &Head, question: Option<&Question>) -> u64 {
    let recorded = Recorded {
        path: head.path.clone(),
        headers: head.headers.clone(),
        inputs: question
            .map(|question| question.inputs.clone())
            .unwrap_or_default(),
        fields: question.map_or_else(Map::new, |question| question.fields.clone()),
        at: Instant::now(),
        answered: None,
        status: None,
    };
    let mut state = shared.state();
    let id = state.next_id();
    state.requests.insert(id, recorded);
    state.under_way.insert(id);
    drop(state);
    shared.changed.notify_all();
    id
}

fn finish(shared: &Shared, id: u64, reply: &Reply) {
    let mut state = shared.state();
    state.under_way.remove(&id);
    if let Some(recorded) = state.requests.get_mut(&id) {
        (recorded.status, recorded.answered) = match reply {
            Reply::Half(response) => (Some(response.status), None),
            Reply::Nothing => (None, None),
            Reply::Whole(response) => (Some(response.status), Some(Instant::now())),
        };
    }
    drop(state);
    shared.changed.notify_all();
}

/// Waits while the test holds requests back, or until the client has gone.
fn hold(shared: &Shared, stream: &TcpStream, id: u64) {
    /// How late a client that goes is noticed.
    const LOOK: Duration = Duration::from_millis(10);
    let mut state = shared.state();
    let Some(recorded) = state.requests.get(&id).cloned() else {
        return;
    };
    let Some(held) = state.hold.clone() else {
        return;
    };
    drop(state);
    if !(held.applies.0)(&recorded) {
        return;
    }
    state = shared.state();
    state.waiting += 1;
    shared.changed.notify_all();
    while let Some(hold) = &mut state.hold {
        if hold.permits > 0 {
            hold.permits -= 1;
            break;
        }
        let waited = shared.changed.wait_timeout(state, LOOK);
        state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        if has_gone(stream) {
            break;
        }
    }
    state.waiting -= 1;
    drop(state);
    shared.changed.notify_all();
}

fn has_gone(stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let gone = match stream.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    stream.set_nonblocking(false).is_err() || gone
}

/// A request up to its body.
struct Head {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    keep_alive: bool,
}

impl Head {
    /// Returns `None` where the client has closed the connection between two requests.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        const SIZE_MAX: u64 = 64 * 1_024;
        let mut bytes = Vec::new();
        let mut limited = reader.take(SIZE_MAX);
        while !bytes.ends_with(b"\r\n\r\n") {
            if limited.read_until(b'\n', &mut bytes)? == 0 {
                let nothing = bytes.is_empty();
                return if nothing {
                    Ok(None)
                } else {
                    Err(invalid("the head breaks off"))
                };
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        request
            .parse(&bytes)
            .map_err(|error| invalid(&error.to_string()))?;
        let headers = request.headers.iter().map(|header| {
            let value = String::from_utf8_lossy(header.value).trim().to_owned();
            (header.name.to_ascii_lowercase(), value)
        });
        let headers: Vec<_> = headers.collect();
        let close = ("connection".to_owned(), "close".to_owned());
        Ok(Some(Self {
            method: request.method.unwrap_or_default().to_owned(),
            path: request.path.unwrap_or_default().to_owned(),
            keep_alive: request.version == Some(1) && !headers.contains(&close),
            headers,
        }))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn read_body(&self, reader: &mut impl BufRead, mut stream: &TcpStream) -> io::Result<Vec<u8>> {
        if self
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = Vec::new();
        if self
            .header("transfer-encoding")
            .is_some_and(|value| value.ends_with("chunked"))
        {
            while read_chunk(reader, &mut body)? {}
            return Ok(body);
        }
        let length = self.header("content-length").map_or(Ok(0), str::parse);
        let length: u64 = length.map_err(|_| invalid("content-length is no number"))?;
        if reader.take(length).read_to_end(&mut body)? as u64 != length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }
}

/// Returns whether more chunks follow.
fn read_chunk(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(digits, 16).map_err(|_| invalid("a chunk without a size"))?;
    reader.take(size).read_to_end(body)?;
    // The end of the chunk, or, after the last one, of the (empty) trailer.
    line.clear();
    reader.read_line(&mut line)?;
    if line.trim().is_empty() {
        Ok(size > 0)
    } else {
        Err(invalid("a chunk without an end"))
    }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}
