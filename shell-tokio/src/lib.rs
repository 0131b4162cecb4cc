//! The worker on tokio: sqlx for PostgreSQL, reqwest for the providers, many concurrent
//! operations on one thread.
//!
//! One loop ([`run`]) and two adapters ([`database`], [`http`]). The core decides what to request,
//! when, and what the answers mean: see the contract in [`pgai_core`].

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

pub mod database;
pub mod http;
mod line;
pub mod serve;
mod worker;

use std::future::pending;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::SystemTime;

use pgai_core::{
    Ask, Call, CallTicket, DbError, Output, QueryTicket, Reply, Report, Rows, Span, Task, Time,
};
use shell_common::console::{self, Console};
use shell_common::documents::{Documents, read_file};
use shell_common::models::Models;
use shell_common::monitoring::Questions;
use shell_common::program::{exit_code, ignores_hangup, seed};
use shell_common::streams::Streams;
use shell_common::target::Target;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::database::Database;
use crate::http::{Http, Turn};

pub use pgai_core::{Event, Level, Settings, Snapshot, Summary};
pub use shell_common::monitoring::Asker;
pub use shell_common::program::{Failure, settings};
pub use worker::Worker;

/// The result of a task.
enum Answer {
    /// The turn is kept until the reply has been processed.
    Reply(CallTicket, Reply, Turn),
    Rows(QueryTicket, Result<Rows, DbError>),
}

/// Runs a worker until SIGTERM, SIGINT or SIGHUP, or until it has nothing left to do.
///
/// # Errors
/// If a setting is outside of its limits, or signal handlers cannot be installed. The core
/// handles all other errors.
pub async fn run(
    target: Target,
    settings: Settings,
    console: &Console,
    questions: Questions,
) -> Result<Summary, Failure> {
    let worker = pgai_core::Worker::new(settings, seed())?;
    let signals = Signals::new()?;
    let (stop, stops) = unbounded_channel();
    let listening = tokio::spawn(pass_on(signals, stop));
    let tell = |event: Event| console.tell(&event);
    let began = SystemTime::now();
    let trace = |spans: Vec<Span>| console.spans(began, spans);
    let summary = drive(worker, target, (tell, trace), questions, stops).await;
    listening.abort();
    Ok(summary)
}

/// Asks for the end at the first signal, and ends the process at the second.
async fn pass_on(mut signals: Signals, stop: UnboundedSender<()>) {
    signals.next().await;
    // If the loop has ended, there is nothing to stop.
    let _ = stop.send(());
    let signal = signals.next().await;
    std::process::exit(exit_code(signal.as_raw_value()));
}

/// The loop: does what the core says, until the core has ended.
async fn drive(
    mut worker: pgai_core::Worker,
    target: Target,
    (mut tell, mut trace): (impl FnMut(Event), impl FnMut(Vec<Span>)),
    mut questions: Questions,
    mut stops: UnboundedReceiver<()>,
) -> Summary {
    let began = Instant::now();
    let now = || Time::new(began.elapsed());
    let target = Arc::new(target);
    let listener = target.listener.as_ref().unwrap_or(&target);
    let mut wakes = database::listen(Arc::clone(listener));
    let others = Others::new(Arc::clone(&target));
    let database = Arc::new(Database::new(target));
    let mut tasks = JoinSet::new();

    loop {
        let until = loop {
            match worker.poll(now()) {
                Output::Event(event) => tell(event),
                Output::Call(ticket, call) => {
                    let others = others.clone();
                    tasks.spawn(async move {
                        let (reply, turn) = others.reply(call).await;
                        Answer::Reply(ticket, reply, turn)
                    });
                }
                Output::Query(ticket, query) => {
                    let database = Arc::clone(&database);
                    tasks.spawn(async move { Answer::Rows(ticket, database.answer(&query).await) });
                }
                Output::Stopped(summary) => {
                    trace(worker.take_spans());
                    return summary;
                }
                Output::Wait(until) => break until,
            }
        };
        tokio::select! {
            Some(answer) = tasks.join_next() => match unwrap(answer) {
                Answer::Reply(ticket, reply, _turn) => worker.handle_call(now(), ticket, reply),
                Answer::Rows(ticket, rows) => worker.handle_rows(now(), ticket, rows),
            },
            Some(wake) = wakes.recv() => worker.wake(wake.as_deref()),
            Some(()) = stops.recv() => worker.stop(),
            question = questions.next() => question.answer(worker.snapshot(now())),
            () = sleep(began, until) => {}
        }
        let spans = worker.take_spans();
        if !spans.is_empty() {
            trace(spans);
        }
    }
}

/// Runs a command, one action after the other.
pub async fn inquire(target: Target, mut task: Task) -> Report {
    let target = Arc::new(target);
    let others = Others::new(Arc::clone(&target));
    let database = Database::new(target);
    let mut streams = Streams::of(&task);
    let mut answer = pgai_core::Answer::Begin;
    loop {
        answer = match task.next(answer) {
            Ask::Done(report) => return report,
            Ask::Call(call) => pgai_core::Answer::Reply(others.reply(call).await.0),
            Ask::Query(query) => pgai_core::Answer::Rows(database.answer(&query).await),
            Ask::Read => pgai_core::Answer::Read(streams.read()),
            Ask::Write { text, is_last } => {
                pgai_core::Answer::Written(streams.write(&text, is_last))
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

/// The targets of calls: everything that a worker uses except PostgreSQL for its short statements.
#[derive(Clone, Debug)]
struct Others {
    target: Arc<Target>,
    documents: Arc<Documents>,
    http: Arc<Http>,
    models: Arc<Models>,
}

impl Others {
    fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            documents: Arc::new(Documents::new(
                available_parallelism().map_or(1, NonZero::get),
            )),
            http: Arc::default(),
            models: Arc::default(),
        }
    }

    /// Performs a call. Work that uses the CPU for long runs on a thread of its own.
    async fn reply(&self, call: Call) -> (Reply, Turn) {
        match call {
            Call::Build(build) => {
                let built = database::build(&self.target, build).await;
                (Reply::Build(built), None)
            }
            Call::Compute(work) => {
                let done = spawn_blocking(move || Box::new(work.run()));
                (Reply::Compute(unwrap(done.await)), None)
            }
            Call::File(request) => {
                let read = spawn_blocking(move || read_file(&request));
                (Reply::File(unwrap(read.await)), None)
            }
            Call::Http(request) => {
                let (answer, turn) = self.http.answer(*request).await;
                (Reply::Http(answer), turn)
            }
            Call::Model(request) => {
                let models = Arc::clone(&self.models);
                let answer = spawn_blocking(move || models.answer(&request));
                (Reply::Model(unwrap(answer.await)), None)
            }
            Call::Parse(document) => {
                let documents = Arc::clone(&self.documents);
                let text = spawn_blocking(move || documents.parse(&document));
                (Reply::Parse(unwrap(text.await)), None)
            }
        }
    }
}

/// Propagates the panic of a task: its ticket is lost, and the worker would wait forever.
fn unwrap<T>(answer: Result<T, JoinError>) -> T {
    answer.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Tokio's timers are never early.
async fn sleep(began: Instant, until: Option<Time>) {
    match until.and_then(|until| began.checked_add(until.since_start())) {
        Some(until) => sleep_until(until).await,
        None => pending().await,
    }
}

/// The signals that stop a process.
struct Signals {
    /// `None` if it is ignored.
    hangup: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::Failed(format!("listening for signals: {error}")))
        };
        Ok(Self {
            hangup: match ignores_hangup() {
                true => None,
                false => Some(listen(SignalKind::hangup())?),
            },
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        let hangup = async {
            match &mut self.hangup {
                Some(signal) => signal.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = hangup => SignalKind::hangup(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
