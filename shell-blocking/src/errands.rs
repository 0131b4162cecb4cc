//! Calls that take longer than a statement, on threads of their own.

use std::process::abort;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pgai_core::{Call, CallTicket, Reply};
use shell_common::documents::{Documents, read_file};
use shell_common::models::Models;
use shell_common::program::Failure;
use shell_common::target::Target;

use crate::database;
use crate::http::Http;

type Errand = (CallTicket, Call);
type Answer = (CallTicket, Reply);

/// Performs calls while the caller does something else: several requests at a time, one CPU-bound call and
/// one build of an index.
#[derive(Debug)]
pub struct Errands {
    requests: Sender<Errand>,
    works: Sender<Errand>,
    builds: Sender<Errand>,
    answers: Receiver<Answer>,
    /// Without builds.
    in_flight: usize,
}

impl Errands {
    /// Starts the threads: `requests_max` for requests, one for work, and one for builds.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(requests_max: usize, target: &Target) -> Result<Self, Failure> {
        let (answered, answers) = mpsc::channel();
        let others = Others::new(target);
        let requests = threads("requests", requests_max, &others, &answered)?;
        let works = threads("works", 1, &others, &answered)?;
        let builds = threads("builds", 1, &others, &answered)?;
        Ok(Self {
            requests,
            works,
            builds,
            answers,
            in_flight: 0,
        })
    }

    /// Queues a call, which runs when a thread is free.
    ///
    /// # Panics
    /// If the threads have ended.
    pub fn send(&mut self, ticket: CallTicket, call: Call) {
        self.in_flight += usize::from(!matches!(call, Call::Build(_)));
        let threads = match &call {
            Call::Build(_) => &self.builds,
            Call::File(_) | Call::Http(_) => &self.requests,
            Call::Compute(_) | Call::Model(_) | Call::Parse(_) => &self.works,
        };
        let sent = threads.send((ticket, call));
        sent.expect("the threads for errands live");
    }

    /// Whether an answer is outstanding, except that of a build.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// Waits for an answer for at most this time.
    pub fn wait(&mut self, patience: Duration) -> Option<Answer> {
        let answer = self.answers.recv_timeout(patience).ok()?;
        self.in_flight -= usize::from(!matches!(answer.1, Reply::Build(_)));
        Some(answer)
    }
}

/// Starts threads that share one queue of calls.
fn threads(
    name: &str,
    count: usize,
    others: &Others,
    answered: &Sender<Answer>,
) -> Result<Sender<Errand>, Failure> {
    let (errands, sent) = mpsc::channel();
    let sent = Arc::new(Mutex::new(sent));
    for _ in 0..count {
        let (sent, others, answered) = (Arc::clone(&sent), others.clone(), answered.clone());
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _end = EndOfAll;
                while let Some((ticket, call)) = next(&sent) {
                    if answered.send((ticket, others.reply(call))).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Failure::Failed(format!("starting a thread: {error}")))?;
    }
    Ok(errands)
}

/// Returns the next call. One thread waits for it, and the others wait for the lock.
fn next(sent: &Mutex<Receiver<Errand>>) -> Option<Errand> {
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    sent.recv().ok()
}

/// Ends the process if a thread panics: its ticket is lost, and the worker would wait forever.
struct EndOfAll;

impl Drop for EndOfAll {
    fn drop(&mut self) {
        if thread::panicking() {
            abort();
        }
    }
}

/// The targets of calls: everything that a worker uses except PostgreSQL for its short statements.
#[derive(Clone, Debug)]
pub struct Others {
    target: Arc<Target>,
    documents: Arc<Documents>,
    http: Http,
    models: Arc<Models>,
}

impl Others {
    /// With the database on which indexes are built.
    #[must_use]
    pub fn new(target: &Target) -> Self {
        Self {
            target: Arc::new(target.clone()),
            // One thread does all work.
            documents: Arc::new(Documents::new(1)),
            http: Http::default(),
            models: Arc::default(),
        }
    }

    /// Performs a call, and blocks the caller.
    #[must_use]
    pub fn reply(&self, call: Call) -> Reply {
        match call {
            Call::Build(build) => Reply::Build(database::build(&self.target, &build)),
            Call::Compute(work) => Reply::Compute(Box::new(work.run())),
            Call::File(request) => Reply::File(read_file(&request)),
            Call::Http(request) => Reply::Http(self.http.answer(*request)),
            Call::Model(request) => Reply::Model(self.models.answer(&request)),
            Call::Parse(document) => Reply::Parse(self.documents.parse(&document)),
        }
    }
}
