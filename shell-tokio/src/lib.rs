//! The worker on tokio: sqlx towards PostgreSQL, reqwest towards the providers, many of both at a
//! time on one thread.
//!
//! One loop ([`run`]) and two adapters ([`database`], [`http`]). What is asked, when, and what the
//! answers mean is the core's business: see the contract in [`pgai_core`].

mod certificate_names;
pub mod console;
pub mod database;
pub mod http;
mod line;
pub mod local;
pub mod program;
mod target;
mod tls;

use std::future::pending;
use std::panic::resume_unwind;
use std::sync::Arc;

use pgai_core::{
    Ask, DbError, LocalAnswer, LocalError, LocalTicket, Output, QueryTicket, Report, RequestError,
    RequestTicket, Response, Rows, Settings, Summary, Task, Time, Worker,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

pub use target::Target;

use crate::console::Console;
use crate::database::Database;
use crate::http::{Http, Turn};
use crate::local::Models;
use crate::program::{Failure, exit_code, seed};

/// What a task brings back.
enum Answer {
    Local(LocalTicket, Result<LocalAnswer, LocalError>),
    Rows(QueryTicket, Result<Rows, DbError>),
    Response(RequestTicket, Result<(Response, Turn), RequestError>),
}

/// Runs a worker to its end: until SIGTERM or SIGINT, or until it has nothing left to do.
///
/// # Errors
/// If a setting is out of its bounds, or the system has no signals for us. Everything else is the
/// core's to judge.
pub async fn run(
    target: Target,
    settings: Settings,
    console: &Console,
) -> Result<Summary, Failure> {
    let mut worker = Worker::new(settings, seed())?;
    let began = Instant::now();
    let now = || Time::new(began.elapsed());
    let mut signals = Signals::new()?;
    let mut is_stopping = false;
    let target = Arc::new(target);
    let mut wakes = database::listen(Arc::clone(&target));
    let database = Arc::new(Database::new(target));
    let http = Arc::new(Http::default());
    let models = Arc::new(Models::default());
    let mut tasks = JoinSet::new();

    loop {
        let until = loop {
            match worker.poll(now()) {
                Output::Event(event) => console.tell(&event),
                Output::Local(ticket, request) => {
                    let models = Arc::clone(&models);
                    tasks.spawn_blocking(move || Answer::Local(ticket, models.answer(&request)));
                }
                Output::Query(ticket, query) => {
                    let database = Arc::clone(&database);
                    tasks.spawn(async move { Answer::Rows(ticket, database.answer(&query).await) });
                }
                Output::Request(ticket, request) => {
                    let http = Arc::clone(&http);
                    tasks
                        .spawn(async move { Answer::Response(ticket, http.answer(request).await) });
                }
                Output::Stopped(summary) => return Ok(summary),
                Output::Wait(until) => break until,
            }
        };
        tokio::select! {
            Some(answer) = tasks.join_next() => match unwrap(answer) {
                Answer::Local(ticket, answer) => worker.handle_local(now(), ticket, answer),
                Answer::Rows(ticket, rows) => worker.handle_rows(now(), ticket, rows),
                Answer::Response(ticket, answer) => {
                    let (answer, _turn) = apart(answer);
                    worker.handle_response(now(), ticket, answer);
                }
            },
            Some(wake) = wakes.recv() => worker.wake(wake.as_deref()),
            signal = signals.next() => {
                if is_stopping {
                    std::process::exit(exit_code(signal.as_raw_value()));
                }
                is_stopping = true;
                worker.stop();
            }
            () = sleep(began, until) => {}
        }
    }
}

/// Carries out a command: it asks one thing after the other.
pub async fn inquire(target: Target, mut task: Task) -> Report {
    let database = Database::new(Arc::new(target));
    let http = Http::default();
    let models = Arc::new(Models::default());
    let mut answer = pgai_core::Answer::Begin;
    loop {
        answer = match task.next(answer) {
            Ask::Done(report) => return report,
            Ask::Local(request) => {
                let models = Arc::clone(&models);
                let answer = spawn_blocking(move || models.answer(&request)).await;
                pgai_core::Answer::Local(
                    answer.unwrap_or_else(|error| resume_unwind(error.into_panic())),
                )
            }
            Ask::Query(query) => pgai_core::Answer::Rows(database.answer(&query).await),
            Ask::Request(request) => {
                pgai_core::Answer::Response(apart(http.answer(request).await).0)
            }
            Ask::Wait { say, pause } => {
                if let Some(line) = say {
                    console::print(&line);
                }
                tokio::time::sleep(pause).await;
                pgai_core::Answer::Waited
            }
        };
    }
}

/// The turn lasts until the answer has been taken in.
fn apart(answer: Result<(Response, Turn), RequestError>) -> (Result<Response, RequestError>, Turn) {
    match answer {
        Ok((response, turn)) => (Ok(response), turn),
        Err(error) => (Err(error), None),
    }
}

/// A task that panicked takes its ticket with it, and the worker would wait for ever: the panic
/// goes on here.
fn unwrap(answer: Result<Answer, JoinError>) -> Answer {
    answer.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Tokio's timers are never early.
async fn sleep(began: Instant, until: Option<Time>) {
    match until.and_then(|until| began.checked_add(until.since_start())) {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

/// The two ways to ask a process for its end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Failed(format!("listening for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
