//! A scene: one worker, the model database, and a provider that a test plays.

use std::time::Duration;

use pgai_core::{Event, Received, Reply, Request, RequestError, Response, Settings, Summary};

use super::database::{Database, Destination, Edit, Isolation};
use super::node::Node;
use super::provider;

/// What a provider says to a request.
pub type Answer = Result<Response, RequestError>;

/// One worker on one table of texts. Time passes only when nothing else can happen.
pub struct Scene {
    now: Duration,
    database: Database,
    node: Node,
    /// When each request in flight is answered.
    due: Vec<Duration>,
    /// How long each request takes.
    pub latency: Duration,
    /// All events so far.
    pub events: Vec<Event>,
    /// The texts of each request so far.
    pub requests: Vec<Vec<String>>,
}

impl Scene {
    /// An empty table, with one vectorizer that makes a chunk of every word.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            now: Duration::ZERO,
            database: Database::new(Destination::Table, None),
            node: Node::new(Duration::ZERO, 1, settings),
            due: vec![],
            latency: Duration::ZERO,
            events: vec![],
            requests: vec![],
        }
    }

    /// Inserts or updates a row.
    pub fn put(&mut self, key: i64, text: &str) {
        let edit = Edit::Put {
            key,
            text: text.to_owned(),
        };
        self.database
            .apply(&edit, &Isolation::ReadCommitted, self.now);
        self.node.worker.wake(Some("1"));
    }

    /// Asks the worker to stop.
    pub fn stop(&mut self) {
        self.node.worker.stop();
    }

    /// The time that has passed.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Items on the queue, each with the attempts that failed.
    #[must_use]
    pub fn queue(&self) -> Vec<(i64, i64)> {
        self.database.tables().queue()
    }

    /// Keys that are leased now.
    #[must_use]
    pub fn leased(&self) -> Vec<i64> {
        self.database.leased_keys(self.now)
    }

    /// Rows that were given up, with the reasons.
    #[must_use]
    pub fn failed(&self) -> Vec<(i64, String)> {
        self.database.tables().failed.clone().into_iter().collect()
    }

    /// Keys with at least one stored chunk.
    #[must_use]
    pub fn stored(&self) -> Vec<i64> {
        let mut keys: Vec<_> = self
            .database
            .tables()
            .store
            .keys()
            .map(|(key, _)| *key)
            .collect();
        keys.dedup();
        keys
    }

    /// The texts of all stored chunks.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let store = self.database.tables().store.values();
        store.map(|(text, _)| text.to_string()).collect()
    }

    /// Plays for at most this long, or until `done`; `provider` answers the requests. Returns the
    /// worker's last word, if it stopped.
    pub fn play(
        &mut self,
        at_most: Duration,
        provider: &mut dyn FnMut(Duration, &Request) -> Answer,
        done: &dyn Fn(&Self) -> bool,
    ) -> Option<Summary> {
        let end = self.now + at_most;
        loop {
            self.events.extend(
                self.node
                    .poll(self.now, &super::library::Library::default())
                    .expect("a worker comes to rest")
                    .events,
            );
            if self.node.summary.is_some() || done(self) {
                return self.node.summary.clone();
            }
            if self.node.answer_queries(&mut self.database, self.now) {
                continue;
            }
            while self.due.len() < self.node.requests.len() {
                let texts = self.node.requests[self.due.len()].texts.clone();
                self.requests.push(texts);
                self.due.push(self.now + self.latency);
            }
            if let Some(at) = self.due.iter().position(|at| *at <= self.now) {
                self.due.remove(at);
                let asked = self.node.requests.remove(at);
                let answer = provider(self.now, &asked.request);
                let reply = Reply::Http(answer.map(Received::from));
                self.node
                    .worker
                    .handle_call(self.node.time(self.now), asked.ticket, reply);
                continue;
            }
            let next = self
                .node
                .wakes_at()
                .into_iter()
                .chain(self.due.iter().copied())
                .min();
            match next {
                Some(at) if at <= end => self.now = at,
                _ => {
                    self.now = end;
                    return None;
                }
            }
        }
    }
}

/// The answer of a provider that works.
///
/// # Errors
/// Never.
pub fn embed(request: &Request) -> Answer {
    Ok(provider::embedded(request))
}

/// A refusal with this status and body.
///
/// # Errors
/// Never.
///
/// # Panics
/// If HTTP knows no such status.
pub fn refuse(status: u16, body: &str) -> Answer {
    let mut response = Response::new(body.as_bytes().to_vec());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status of HTTP");
    Ok(response)
}
