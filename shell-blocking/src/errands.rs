//! What takes longer than a statement, on threads of its own.

use std::process::abort;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use pgai_core::{Call, CallTicket, Reply};
use shell_common::models::Models;
use shell_common::program::Failure;

use crate::http::Http;

type Errand = (CallTicket, Call);
type Answer = (CallTicket, Reply);

/// Does errands while the caller does something else: several requests at a time, and one thing at a
/// time that keeps the processor busy.
#[derive(Debug)]
pub struct Errands {
    requests: Sender<Errand>,
    works: Sender<Errand>,
    answers: Receiver<Answer>,
    in_flight: usize,
}

impl Errands {
    /// Starts the threads: so many for requests, and one for work.
    ///
    /// # Errors
    /// If the system has none.
    pub fn start(requests_max: usize) -> Result<Self, Failure> {
        let (answered, answers) = mpsc::channel();
        let others = Others::default();
        let requests = threads("requests", requests_max, &others, &answered)?;
        let works = threads("works", 1, &others, &answered)?;
        Ok(Self {
            requests,
            works,
            answers,
            in_flight: 0,
        })
    }

    /// Hands over an errand, to be done when a thread is free.
    ///
    /// # Panics
    /// If the threads have died.
    pub fn send(&mut self, ticket: CallTicket, call: Call) {
        self.in_flight += 1;
        let threads = match &call {
            Call::Http(_) => &self.requests,
            Call::Compute(_) | Call::Model(_) => &self.works,
        };
        let sent = threads.send((ticket, call));
        sent.expect("the threads for errands live");
    }

    /// Whether an answer is outstanding.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.in_flight > 0
    }

    /// Waits for an answer, at most this long.
    pub fn wait(&mut self, patience: Duration) -> Option<Answer> {
        let answer = self.answers.recv_timeout(patience).ok()?;
        self.in_flight -= 1;
        Some(answer)
    }
}

/// Starts threads that share one queue of errands.
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

/// One of the threads waits for the next errand, and the others for their turn to wait.
fn next(sent: &Mutex<Receiver<Errand>>) -> Option<Errand> {
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    sent.recv().ok()
}

/// A thread that panics takes a ticket with it, for which the worker would wait for ever.
struct EndOfAll;

impl Drop for EndOfAll {
    fn drop(&mut self) {
        if thread::panicking() {
            abort();
        }
    }
}

/// All that a worker asks but PostgreSQL.
#[derive(Clone, Debug, Default)]
pub struct Others {
    http: Http,
    models: Arc<Models>,
}

impl Others {
    /// Does what a call says; the caller waits.
    #[must_use]
    pub fn reply(&self, call: Call) -> Reply {
        match call {
            Call::Compute(work) => Reply::Compute(Box::new(work.run())),
            Call::Http(request) => Reply::Http(self.http.answer(*request)),
            Call::Model(request) => Reply::Model(self.models.answer(&request)),
        }
    }
}
