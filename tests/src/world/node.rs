//! One worker in the world: the real core, and what is on its way between it and the others.

use std::time::Duration;

use http::StatusCode;
use pgai_core::{
    DbError, Event, Output, Query, QueryTicket, Request, RequestError, RequestTicket, Response,
    Rows, Settings, Summary, Time, Worker,
};
use serde_json::{Value, json};

use super::Coverage;
use super::database::{DIMENSIONS, Database, Mutant, Tables};
use crate::stub::vector_of;

/// `poll` must say `Wait` within this many calls.
const OUTPUTS_MAX: usize = 1_000;

/// A worker and its messages.
pub(super) struct Node {
    /// The core.
    pub(super) worker: Worker,
    started: Duration,
    wait_until: Option<Time>,
    queries: Vec<(QueryTicket, Delivery)>,
    pub(super) requests: Vec<(RequestTicket, Request)>,
    /// The last word, when there is one.
    pub(super) summary: Option<Summary>,
    /// Which worker this is, over all that ever were.
    pub(super) serial: u64,
    pub(super) mutant: Option<Mutant>,
}

/// What goes wrong with one message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// It is lost, before or after it acted.
    pub(super) lose: bool,
    /// The statement is refused with this SQLSTATE.
    pub(super) refuse: Option<&'static str>,
    /// The provider fails.
    pub(super) fail: bool,
    /// The provider refuses [`POISON`].
    pub(super) poison: bool,
    /// The provider refuses every request.
    pub(super) refuse_all: bool,
}

/// The word that a provider may refuse.
const POISON: &str = "cow";

/// What it says then.
pub(super) const REFUSAL: &str = "no such word";

/// And what it says when it refuses whatever is sent.
pub(super) const REFUSAL_OF_ALL: &str = "no such parameter";

/// A statement on its way.
pub(super) struct Delivery {
    query: Query,
    stage: Stage,
}

enum Stage {
    Sent,
    /// It has its snapshot, and has not locked or written anything yet.
    Begun(Box<Tables>),
    Done(Rows),
}

impl Delivery {
    /// Whether it is a commit that has looked at the store, and not written yet.
    pub(super) const fn is_amid_commit(&self) -> bool {
        matches!(self.query, Query::Commit { .. }) && matches!(self.stage, Stage::Begun(_))
    }

    /// Runs the statement to its end, from wherever it is.
    pub(super) fn advance(
        &mut self,
        database: &mut Database,
        now: Duration,
        coverage: &mut Coverage,
    ) {
        if let Stage::Sent = self.stage {
            self.stage = Stage::Begun(Box::new(database.tables().clone()));
        }
        if let Stage::Begun(snapshot) = &self.stage {
            self.stage = Stage::Done(database.finish(&self.query, snapshot, now, coverage));
        }
    }
}

impl Node {
    pub(super) fn new(now: Duration, seed: u64, settings: Settings) -> Self {
        let worker = Worker::new(settings, seed).expect("the settings are in their bounds");
        Self {
            worker,
            started: now,
            wait_until: None,
            queries: vec![],
            requests: vec![],
            summary: None,
            serial: 0,
            mutant: None,
        }
    }

    /// Runs all statements on their way to their ends; says whether there were any.
    pub(super) fn answer_queries(&mut self, database: &mut Database, now: Duration) -> bool {
        let time = self.time(now);
        let queries = std::mem::take(&mut self.queries);
        let any = !queries.is_empty();
        for (ticket, mut delivery) in queries {
            delivery.advance(database, now, &mut Coverage::default());
            if let Stage::Done(rows) = delivery.stage {
                self.worker.handle_rows(time, ticket, Ok(rows));
            }
        }
        any
    }

    pub(super) fn time(&self, now: Duration) -> Time {
        Time::new(now.saturating_sub(self.started))
    }

    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.wait_until
            .map(|time| self.started + time.since_start())
    }

    pub(super) fn into_statements(self) -> Vec<Delivery> {
        self.queries
            .into_iter()
            .map(|(_, delivery)| delivery)
            .collect()
    }

    /// Whether a commit has looked at the store, and not written yet.
    pub(super) fn is_amid_commit(&self) -> bool {
        let mut deliveries = self.queries.iter().map(|(_, delivery)| delivery);
        deliveries.any(Delivery::is_amid_commit)
    }

    /// The names of the claims that are on their way.
    pub(super) fn claims_asked(&self) -> Vec<i64> {
        let mut names = vec![];
        for (_, delivery) in &self.queries {
            if let Query::Claim { claim, .. } = &delivery.query {
                names.push(claim.0);
            }
        }
        names
    }

    /// Polls until the worker waits.
    pub(super) fn poll(&mut self, now: Duration) -> Result<Vec<Event>, String> {
        let time = self.time(now);
        let mut events = vec![];
        for _ in 0..OUTPUTS_MAX {
            match self.worker.poll(time) {
                Output::Event(event) => events.push(event),
                Output::Query(ticket, query) => {
                    self.queries.push((
                        ticket,
                        Delivery {
                            query,
                            stage: Stage::Sent,
                        },
                    ));
                }
                Output::Request(ticket, request) => self.requests.push((ticket, request)),
                Output::Local(..) => unreachable!("no vectorizer here has a local model"),
                Output::Stopped(summary) => {
                    self.summary = Some(summary);
                    return Ok(events);
                }
                Output::Wait(until) => {
                    if until.is_some_and(|until| until <= time) {
                        return Err(format!("at {time} the worker waits until {until:?}"));
                    }
                    self.wait_until = until;
                    return Ok(events);
                }
            }
        }
        Err(format!(
            "the worker does not come to rest within {OUTPUTS_MAX} outputs"
        ))
    }

    /// Brings one message a stage further; `pick` says which. Returns what happened.
    pub(super) fn deliver(
        &mut self,
        pick: u64,
        faults: Faults,
        database: &mut Database,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Option<String> {
        let count = self.queries.len() + self.requests.len();
        let at = usize::try_from(pick.checked_rem(count as u64)?).ok()?;
        let time = self.time(now);
        if at >= self.queries.len() {
            let (ticket, request) = self.requests.swap_remove(at - self.queries.len());
            let (answer, line) = respond(&request, faults, self.mutant, coverage);
            if self.mutant == Some(Mutant::AnswersGetLost) && faults.fail {
                return Some("an answer is dropped".to_owned());
            }
            self.worker.handle_response(time, ticket, answer);
            return Some(line);
        }
        let (_, delivery) = &mut self.queries[at];
        let name = name(&delivery.query);
        if let (Stage::Sent, Some(sqlstate)) = (&delivery.stage, faults.refuse) {
            let (ticket, _) = self.queries.swap_remove(at);
            let sqlstate = Some(sqlstate.to_owned());
            let error = DbError {
                sqlstate,
                message: "refused".to_owned(),
            };
            let line = format!("{name} refused: {error}");
            self.worker.handle_rows(time, ticket, Err(error));
            return Some(line);
        }
        match (&delivery.stage, faults.lose) {
            (Stage::Sent | Stage::Done(_), true) => {
                // Lost before it acted, or after.
                coverage.lost_answers += 1;
                let (ticket, _) = self.queries.swap_remove(at);
                let error = DbError {
                    sqlstate: None,
                    message: "lost".to_owned(),
                };
                self.worker.handle_rows(time, ticket, Err(error));
                Some(format!("{name} lost"))
            }
            (Stage::Sent, false) => {
                delivery.stage = Stage::Begun(Box::new(database.tables().clone()));
                Some(format!("{name} has its snapshot"))
            }
            (Stage::Begun(_), _) => {
                delivery.advance(database, now, coverage);
                Some(format!("{name} acts"))
            }
            (Stage::Done(_), false) => {
                let (ticket, delivery) = self.queries.swap_remove(at);
                let Stage::Done(rows) = delivery.stage else {
                    return None;
                };
                let line = format!("{name} answered {rows:?}");
                self.worker.handle_rows(time, ticket, Ok(rows));
                Some(line)
            }
        }
    }
}

fn name(query: &Query) -> String {
    let debug = format!("{query:?}");
    debug
        .split([' ', '('])
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The texts of a request.
pub(super) fn inputs(request: &Request) -> Vec<String> {
    let body: Value = serde_json::from_slice(request.http.body()).expect("a request is JSON");
    let inputs = body["input"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    inputs
        .iter()
        .map(|text| text.as_str().expect("an input is a text").to_owned())
        .collect()
}

/// The model provider: the vector of a text is a hash of the text.
fn respond(
    request: &Request,
    faults: Faults,
    mutant: Option<Mutant>,
    coverage: &mut Coverage,
) -> (Result<Response, RequestError>, String) {
    if faults.lose {
        coverage.refused += 1;
        return (
            Err(RequestError::Broken("lost".to_owned())),
            "request lost".to_owned(),
        );
    }
    let body: Value = serde_json::from_slice(request.http.body()).expect("a request is JSON");
    let texts = body["input"].as_array().expect("a request has inputs");
    let mut vectors: Vec<_> = texts
        .iter()
        .map(|text| vector_of(text.as_str().expect("an input is a text"), DIMENSIONS))
        .collect();
    if mutant == Some(Mutant::ProviderMixesUpAnswers) && vectors.len() > 1 {
        vectors.rotate_left(1);
    }
    // A provider that takes the probe, and nothing else, makes its own refusal look like the rows'.
    let is_probe = texts.iter().any(|text| text == "probe") && mutant == Some(Mutant::ProbeIsTaken);
    let mut response = Response::default();
    if faults.refuse_all && !is_probe {
        coverage.refused += 1;
        *response.status_mut() = StatusCode::BAD_REQUEST;
        *response.body_mut() = REFUSAL_OF_ALL.as_bytes().to_vec();
    } else if faults.poison && texts.iter().any(|text| text == POISON) {
        coverage.poisoned += 1;
        *response.status_mut() = StatusCode::BAD_REQUEST;
        *response.body_mut() = REFUSAL.as_bytes().to_vec();
    } else if faults.fail {
        coverage.refused += 1;
        match texts.len() % 3 {
            0 => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
            1 => {
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                response
                    .headers_mut()
                    .insert("retry-after", http::HeaderValue::from_static("2"));
            }
            _ => {
                vectors.pop();
            }
        }
    }
    if response.status().is_success() {
        *response.body_mut() = json!({ "embeddings": vectors }).to_string().into_bytes();
    }
    let line = format!("request for {texts:?} answered {}", response.status());
    (Ok(response), line)
}
