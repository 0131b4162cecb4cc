//! A worker led by the hand: the real core on a real PostgreSQL, one statement at a time, so that a
//! test can put an application's statements exactly where it wants them.

use std::error::Error;
use std::time::Duration;

use ::postgres::Client;
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use bytes::BytesMut;
use pgai_core::{
    Binary, Call, CallTicket, DbError, Output, Param, Query, QueryTicket, Reply, Request, Response,
    Rows, Settings, Time, Worker, session_settings,
};
use serde_json::{Value, json};

use crate::stub::vector_of;

/// A worker that does nothing but what it is told. Its provider answers at once.
pub struct Hand {
    worker: Worker,
    client: Client,
    now: Duration,
    queries: Vec<(QueryTicket, Query)>,
    calls: Vec<(CallTicket, Call)>,
    /// The texts that the provider was asked for.
    pub embedded: Vec<String>,
    /// A text that the provider refuses.
    pub poison: Option<String>,
    /// The status that the provider answers every request with, instead of vectors.
    pub refusal: Option<u16>,
    /// Whether the provider says nothing at all.
    pub is_silent: bool,
    /// How many numbers the provider's vectors have.
    pub dimensions: usize,
    /// Whether leases in the database grow old with the worker's time, and not with the real one only.
    pub ages_leases: bool,
}

impl Hand {
    /// A worker on this connection, which it makes its own.
    ///
    /// # Panics
    /// If the session's settings are refused.
    #[must_use]
    pub fn new(client: Client, seed: u64) -> Self {
        Self::with(client, seed, Settings::new("led by the hand"))
    }

    /// The same with other settings.
    ///
    /// # Panics
    /// If the session's settings are refused, or these.
    #[must_use]
    pub fn with(mut client: Client, seed: u64, settings: Settings) -> Self {
        client
            .batch_execute(session_settings())
            .expect("the settings of a session");
        let worker = Worker::new(settings, seed).expect("good settings");
        let (queries, calls) = (vec![], vec![]);
        Self {
            worker,
            client,
            now: Duration::ZERO,
            queries,
            calls,
            embedded: vec![],
            poison: None,
            refusal: None,
            is_silent: false,
            dimensions: 3,
            ages_leases: false,
        }
    }

    fn time(&self) -> Time {
        Time::new(self.now)
    }

    /// Tells the worker that notifications may have been missed.
    pub fn wake(&mut self) {
        self.worker.wake(None);
    }

    /// Asks the worker to stop.
    pub fn stop(&mut self) {
        self.worker.stop();
    }

    /// Runs something else in the worker's session.
    ///
    /// # Panics
    /// If it fails.
    pub fn sql(&mut self, sql: &str) {
        self.client
            .batch_execute(sql)
            .expect("a statement in the worker's session");
    }

    /// The id of the worker's session in the server.
    ///
    /// # Panics
    /// If the server does not say.
    pub fn pid(&mut self) -> i32 {
        self.client
            .query_one("select pg_backend_pid()", &[])
            .expect("a session has an id")
            .get(0)
    }

    /// Goes on until the worker wants a statement that `wanted` knows, and leaves that for
    /// [`Hand::run`].
    ///
    /// # Panics
    /// If it does not come within an hour of the worker's time.
    pub fn until(&mut self, wanted: impl Fn(&Query) -> bool) -> (QueryTicket, Query) {
        let end = self.now + Duration::from_secs(3600);
        while self.now < end {
            let next = self.poll();
            if let Some(at) = self.queries.iter().position(|(_, query)| wanted(query)) {
                return self.queries.remove(at);
            }
            self.go_on(next);
        }
        panic!("the statement does not come: {:?}", self.worker)
    }

    /// Runs a statement and hands the worker its answer.
    pub fn run(&mut self, (ticket, query): (QueryTicket, Query)) -> Result<Rows, DbError> {
        let answer = execute(&mut self.client, &query);
        self.worker.handle_rows(self.time(), ticket, answer.clone());
        answer
    }

    /// Goes on until the queue is empty.
    ///
    /// # Panics
    /// If it never is.
    pub fn finish(&mut self) {
        self.worker.wake(None);
        let end = self.now + Duration::from_secs(3600);
        while self.now < end {
            let next = self.poll();
            let idle = self.queries.is_empty() && self.calls.is_empty();
            if idle && self.waiting() == 0 {
                return;
            }
            self.go_on(next);
        }
        panic!("the queue does not become empty: {:?}", self.worker)
    }

    fn waiting(&mut self) -> i64 {
        let count = "select coalesce(sum(ai.vectorizer_queue_pending(id, true)), 0)::bigint from ai.vectorizer";
        self.client
            .query_one(count, &[])
            .expect("the queues can be counted")
            .get(0)
    }

    fn poll(&mut self) -> Option<Time> {
        loop {
            match self.worker.poll(self.time()) {
                Output::Event(_) => {}
                Output::Query(ticket, query) => self.queries.push((ticket, query)),
                Output::Call(ticket, call) => self.calls.push((ticket, call)),
                Output::Stopped(summary) => panic!("the worker stopped: {summary:?}"),
                Output::Wait(until) => return until,
            }
        }
    }

    /// Answers what is asked, or lets time pass if nothing is.
    fn go_on(&mut self, next: Option<Time>) {
        if let Some(asked) = self.queries.pop() {
            // What an error means is the worker's affair, unless it is ours.
            if let Err(error) = self.run(asked) {
                let code = error.sqlstate.as_deref().unwrap_or_default();
                assert!(!code.starts_with("42"), "{error}");
            }
        } else if let Some((ticket, call)) = self.calls.pop_if(|_| !self.is_silent) {
            let reply = match call {
                Call::Compute(work) => Reply::Compute(Box::new(work.run())),
                Call::Http(request) => self.embed(&request).into(),
                Call::Build(_) | Call::File(_) | Call::Model(_) | Call::Parse(_) => {
                    unreachable!("no vectorizer here has an index, a document or a local model")
                }
            };
            self.worker.handle_call(self.time(), ticket, reply);
        } else {
            let next = next.map_or(self.now, Time::since_start);
            self.pass(next.saturating_sub(self.now).max(Duration::from_millis(1)));
        }
    }

    fn pass(&mut self, pause: Duration) {
        self.now += pause;
        if self.ages_leases {
            let age =
                "update ai._vectorizer_lease_1 set _until = _until - $1 * interval '1 second'";
            self.client
                .execute(age, &[&pause.as_secs_f64()])
                .expect("leases grow old");
        }
    }

    fn embed(&mut self, request: &Request) -> Response {
        let body: Value = serde_json::from_slice(request.http.body()).expect("a request is JSON");
        let texts = body["input"]
            .as_array()
            .expect("a request has inputs")
            .clone();
        let texts: Vec<_> = texts.iter().filter_map(Value::as_str).collect();
        let is_poisoned = self
            .poison
            .as_deref()
            .is_some_and(|poison| texts.contains(&poison));
        if let Some(status) = self.refusal.or_else(|| is_poisoned.then_some(400)) {
            let mut refusal = Response::new(b"no such word".to_vec());
            *refusal.status_mut() = http::StatusCode::from_u16(status).expect("a status of HTTP");
            return refusal;
        }
        self.embedded
            .extend(texts.iter().map(|text| (*text).to_owned()));
        let vectors: Vec<_> = texts
            .iter()
            .map(|text| vector_of(text, self.dimensions))
            .collect();
        Response::new(json!({ "embeddings": vectors }).to_string().into_bytes())
    }
}

/// A value that the core has written as PostgreSQL reads it.
#[derive(Debug)]
struct Raw(Binary);

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0.bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Runs one of the core's statements as a shell does.
///
/// # Errors
/// PostgreSQL's.
pub fn execute(client: &mut Client, query: &Query) -> Result<Rows, DbError> {
    let params: Vec<Box<dyn ToSql + Sync>> = query
        .params()
        .into_iter()
        .map(|param| -> Box<dyn ToSql + Sync> {
            match param {
                Param::Binary(binary) => Box::new(Raw(binary)),
                Param::Int(int) => Box::new(int),
                Param::Ints(ints) => Box::new(ints),
                Param::Text(text) => Box::new(text),
                Param::Texts(texts) => Box::new(texts),
            }
        })
        .collect();
    let params: Vec<_> = params.iter().map(|param| &**param).collect();
    let rows = client
        .query(query.sql(), &params)
        .map_err(|error| DbError {
            sqlstate: error.code().map(|code| code.code().to_owned()),
            message: error
                .as_db_error()
                .map_or_else(|| error.to_string(), |error| error.message().to_owned()),
        })?;
    Ok(rows
        .iter()
        .map(|row| (0..row.len()).map(|column| row.get(column)).collect())
        .collect())
}
