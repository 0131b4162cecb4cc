//! One worker in the world: the real core, and what is on its way between it and the others.

mod documents;

use std::sync::Arc;
use std::time::Duration;

use pgai_core::{
    Call, CallTicket, DbError, Event, Output, Query, QueryTicket, Received, Reply, Response, Rows,
    Settings, Summary, Time, Work, Worker,
};

use documents::DocumentCall;

use super::database::{Database, Tables, Vectorizer, plan};
use super::library::{DocumentFault, Library};
use super::mutant::Mutant;
use super::provider::{Asked, Mood};
use super::trace::Trace;
use super::{Coverage, LEASE};

/// `poll` must say `Wait` within this many calls.
const OUTPUTS_MAX: usize = 1_000;

/// A worker and its messages.
pub(super) struct Node {
    /// The core.
    pub(super) worker: Worker,
    started: Duration,
    wait_until: Option<Time>,
    queries: Vec<(QueryTicket, Delivery)>,
    pub(super) requests: Vec<Asked>,
    works: Vec<(CallTicket, Box<Work>)>,
    documents: Vec<(CallTicket, DocumentCall)>,
    /// The enabled vectorizer and its other generation, as the list that came last has them in truth.
    enabled: Vec<Vectorizer>,
    /// Requests that may come back as halves.
    splittable: Vec<Splittable>,
    /// The last word, when there is one.
    pub(super) summary: Option<Summary>,
    /// Which worker this is, over all that ever were.
    pub(super) serial: u64,
    pub(super) mutant: Option<Mutant>,
}

/// A request that failed, and which of its halves have been asked since.
struct Splittable {
    texts: Vec<String>,
    came: (bool, bool),
}

/// What a worker did when it was polled, as far as the world looks at it.
#[derive(Default)]
pub(super) struct Polled {
    pub(super) events: Vec<Event>,
    /// The names of the claims that it asked for.
    pub(super) claims: Vec<i64>,
    /// Inputs of its largest request.
    pub(super) inputs_max: usize,
    /// Whether it claimed or embedded for another vectorizer than the enabled one that it was told
    /// of last.
    pub(super) is_stray: bool,
    /// Requests that are halves of one that failed.
    pub(super) splits: u64,
}

/// What a message meets on its way.
pub(super) struct Around<'a> {
    pub(super) now: Duration,
    pub(super) database: &'a mut Database,
    pub(super) library: &'a Library,
    pub(super) coverage: &'a mut Coverage,
    pub(super) trace: &'a mut Trace,
}

impl Around<'_> {
    fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now, line);
    }
}

/// What goes wrong with one message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// It is lost, before or after it acted.
    pub(super) lose: bool,
    /// The statement is refused with this SQLSTATE.
    pub(super) refuse: Option<&'static str>,
    /// How the provider is.
    pub(super) mood: Mood,
    /// What is wrong with a document.
    pub(super) document: Option<DocumentFault>,
}

/// A statement on its way.
pub(super) struct Delivery {
    query: Query,
    stage: Stage,
    /// What was enabled when it acted.
    enabled: Vec<Vectorizer>,
}

enum Stage {
    Sent,
    /// It has its snapshot, and has not locked or written anything yet.
    Begun(Arc<Tables>),
    Done(Result<Rows, DbError>),
}

impl Delivery {
    /// Whether it is a commit that has looked at the store, and not written yet.
    pub(super) const fn is_amid_commit(&self) -> bool {
        matches!(self.query, Query::Commit { .. }) && matches!(self.stage, Stage::Begun(_))
    }

    /// The kind of statement, for the trace.
    fn name(&self) -> String {
        let debug = format!("{:?}", self.query);
        debug.split([' ', '(']).take(1).collect()
    }

    /// Whether it holds locks of a vectorizer's tables: whoever drops these waits for it.
    pub(super) fn holds_tables(&self) -> bool {
        plan(&self.query).is_some() && matches!(self.stage, Stage::Begun(_))
    }

    /// Runs the statement to its end, from wherever it is.
    pub(super) fn advance(&mut self, around: &mut Around<'_>) {
        let Around {
            now,
            database,
            coverage,
            ..
        } = around;
        if let Stage::Sent = self.stage {
            self.stage = Stage::Begun(database.snapshot());
        }
        if database.waits(&self.query) {
            return;
        }
        if let Stage::Begun(snapshot) = &self.stage {
            self.enabled = snapshot.enabled();
            self.stage = Stage::Done(database.finish(&self.query, snapshot, *now, coverage));
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
            works: vec![],
            documents: vec![],
            enabled: vec![],
            splittable: vec![],
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
            delivery.advance(&mut Around {
                now,
                database,
                library: &Library::default(),
                coverage: &mut Coverage::default(),
                trace: &mut Trace::default(),
            });
            if let Stage::Done(rows) = delivery.stage {
                self.worker.handle_rows(time, ticket, rows);
            }
        }
        any
    }

    pub(super) fn time(&self, now: Duration) -> Time {
        Time::new(now.saturating_sub(self.started))
    }

    pub(super) fn wakes_at(&self) -> Option<Duration> {
        if self.mutant == Some(Mutant::WorkersOnlyListen) {
            return None;
        }
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

    /// Whether a statement holds locks of a vectorizer's tables.
    pub(super) fn holds_tables(&self) -> bool {
        let mut deliveries = self.queries.iter().map(|(_, delivery)| delivery);
        deliveries.any(Delivery::holds_tables)
    }

    /// Polls until the worker waits.
    pub(super) fn poll(&mut self, now: Duration, library: &Library) -> Result<Polled, String> {
        let time = self.time(now);
        let mut polled = Polled::default();
        for _ in 0..OUTPUTS_MAX {
            match self.worker.poll(time) {
                Output::Event(event) => polled.events.push(event),
                Output::Query(ticket, query) => {
                    if let Query::Claim { claim, plan, .. } = &query {
                        polled.claims.push(claim.0);
                        let mut served = self.enabled.iter();
                        polled.is_stray |= !served.any(|served| served.id == plan.vectorizer);
                    }
                    let delivery = Delivery {
                        query,
                        stage: Stage::Sent,
                        enabled: vec![],
                    };
                    self.queries.push((ticket, delivery));
                }
                Output::Call(ticket, Call::Compute(work)) => self.works.push((ticket, work)),
                Output::Call(ticket, Call::Http(request)) => {
                    let asked = Asked::new(ticket, *request, now);
                    polled.inputs_max = polled.inputs_max.max(asked.texts.len());
                    let mut served = self.enabled.iter();
                    polled.is_stray |= !served.any(|served| served.model() == asked.model);
                    polled.splits += u64::from(self.is_last_half(&asked.texts));
                    self.requests.push(asked);
                }
                Output::Call(ticket, Call::File(request)) => {
                    let content = library.content(&request.path);
                    let call = DocumentCall::Load { request, content };
                    self.documents.push((ticket, call));
                }
                Output::Call(ticket, Call::Parse(file)) => {
                    self.documents.push((ticket, DocumentCall::Parse(file)));
                }
                Output::Call(_, Call::Build(_) | Call::Model(_)) => {
                    unreachable!("no vectorizer here has an index or a local model")
                }
                Output::Stopped(summary) => {
                    self.summary = Some(summary);
                    return Ok(polled);
                }
                Output::Wait(until) => {
                    if until.is_some_and(|until| until <= time) {
                        return Err(format!("at {time} the worker waits until {until:?}"));
                    }
                    self.wait_until = until;
                    return Ok(polled);
                }
            }
        }
        Err(format!(
            "the worker does not come to rest within {OUTPUTS_MAX} outputs"
        ))
    }

    /// Whether a refused request has come back as two halves, of which this is the last.
    fn is_last_half(&mut self, texts: &[String]) -> bool {
        self.splittable.retain(|whole| whole.texts != texts);
        for (at, whole) in self.splittable.iter_mut().enumerate() {
            let halves = whole.texts.split_at(whole.texts.len() / 2);
            whole.came.0 |= halves.0 == texts;
            whole.came.1 |= halves.1 == texts;
            if whole.came == (true, true) {
                self.splittable.swap_remove(at);
                return true;
            }
        }
        false
    }

    /// Brings one message a stage further; `pick` says which. Says whether it moved.
    pub(super) fn deliver(&mut self, pick: u64, faults: Faults, around: &mut Around<'_>) -> bool {
        let calls = self.works.len() + self.documents.len();
        let count = (self.queries.len() + self.requests.len() + calls) as u64;
        let Some(at) = pick
            .checked_rem(count)
            .and_then(|at| usize::try_from(at).ok())
        else {
            return false;
        };
        match at.checked_sub(self.queries.len()) {
            Some(at) => match at.checked_sub(self.requests.len()) {
                Some(at) if at < self.works.len() => self.do_work(at, around),
                Some(at) => self.deliver_document(at - self.works.len(), faults, around),
                None => self.deliver_request(at, faults, around),
            },
            None if self.waits(at, around) => return false,
            None => self.deliver_query(at, faults, around),
        }
        true
    }

    /// Whether a statement waits for a row.
    fn waits(&self, at: usize, around: &Around<'_>) -> bool {
        let (_, delivery) = &self.queries[at];
        matches!(delivery.stage, Stage::Begun(_)) && around.database.waits(&delivery.query)
    }

    fn deliver_request(&mut self, at: usize, faults: Faults, around: &mut Around<'_>) {
        let serial = self.serial;
        let asked = self.requests.swap_remove(at);
        if self.mutant == Some(Mutant::AnswersGetLost) && faults.mood.fault.is_some() {
            return around.note(|| format!("worker {serial}: an answer is dropped"));
        }
        let mood = Mood {
            mutant: self.mutant,
            ..faults.mood
        };
        let answer = asked.answer(mood, around.coverage);
        let waited = around.now.saturating_sub(asked.at);
        around.coverage.late_answers += u64::from(waited >= LEASE);
        let is_good = answer.as_ref().is_ok_and(|it| it.status().is_success());
        if asked.texts.len() > 1 && (!is_good || mood.fault.is_some()) {
            self.splittable.push(Splittable {
                texts: asked.texts.clone(),
                came: (false, false),
            });
        }
        around.note(|| {
            let status = answer.as_ref().map(Response::status);
            format!(
                "worker {serial}: request for {:?} answered {status:?}",
                asked.texts
            )
        });
        let time = self.time(around.now);
        let reply = Reply::Http(answer.map(Received::from));
        self.worker.handle_call(time, asked.ticket, reply);
    }

    /// Work is never lost but with its worker, and it may be done late.
    fn do_work(&mut self, at: usize, around: &mut Around<'_>) {
        let (ticket, work) = self.works.swap_remove(at);
        let serial = self.serial;
        around.note(|| format!("worker {serial}: work is done"));
        around.coverage.works += 1;
        let reply = Reply::Compute(Box::new(work.run()));
        self.worker
            .handle_call(self.time(around.now), ticket, reply);
    }

    /// A document is loaded or parsed, or not. Its call is never lost but with its worker, and may be answered late.
    fn deliver_document(&mut self, at: usize, faults: Faults, around: &mut Around<'_>) {
        let serial = self.serial;
        let (ticket, call) = self.documents.swap_remove(at);
        let fault = faults.document.filter(|fault| call.can_fail(*fault));
        around.coverage.document_faults += u64::from(fault.is_some());
        let reply = call.reply(fault, self.mutant, around);
        around.note(|| format!("worker {serial}: {reply:?}"));
        self.worker
            .handle_call(self.time(around.now), ticket, reply);
    }

    fn deliver_query(&mut self, at: usize, faults: Faults, around: &mut Around<'_>) {
        let serial = self.serial;
        let (_, delivery) = &mut self.queries[at];
        let error = match (&delivery.stage, faults.refuse, faults.lose) {
            (Stage::Sent, Some(sqlstate), _) => Some(DbError {
                sqlstate: Some(sqlstate.to_owned()),
                message: "refused".to_owned(),
            }),
            // Lost before it acted, or after.
            (Stage::Sent | Stage::Done(_), _, true) => {
                around.coverage.lost_answers += 1;
                Some(DbError {
                    sqlstate: None,
                    message: "lost".to_owned(),
                })
            }
            (Stage::Sent, None, false) => {
                around.note(|| format!("worker {serial}: {} has its snapshot", delivery.name()));
                delivery.stage = Stage::Begun(around.database.snapshot());
                return;
            }
            (Stage::Begun(_), ..) => {
                around.note(|| format!("worker {serial}: {} acts", delivery.name()));
                delivery.advance(around);
                return;
            }
            (Stage::Done(_), _, false) => None,
        };
        let (ticket, delivery) = self.queries.swap_remove(at);
        around.note(|| format!("worker {serial}: {} is answered", delivery.name()));
        let answer = match (error, delivery.stage) {
            (Some(error), _) => Err(error),
            (None, Stage::Done(answer)) => answer,
            (None, Stage::Begun(_) | Stage::Sent) => return,
        };
        if let (Query::LoadVectorizers { .. }, Ok(_)) = (&delivery.query, &answer) {
            // One whose vectors are of another model is to be left alone, too.
            let enabled = delivery.enabled.into_iter();
            self.enabled = enabled.filter(|it| it.is_sound()).collect();
        }
        around.note(|| format!("worker {serial}: {answer:?}"));
        self.worker
            .handle_rows(self.time(around.now), ticket, answer);
    }
}
