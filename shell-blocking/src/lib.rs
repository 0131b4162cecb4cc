//! The worker for small hosts: postgres and ureq, one statement and a few requests at a time.
//!
//! One loop ([`run`]) and two adapters ([`database`], [`http`]). The core decides what to request,
//! when, and what the answers mean: see the contract in [`pgai_core`].
//!
//! Statements run in the loop itself. Requests, local models and work run on threads of their own
//! ([`errands`]), because they may take minutes. Meanwhile the worker must handle signals, send
//! heartbeats, and extend its leases. Building an index has a thread and a connection of its own, too.

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod agents;
mod connect;
pub mod database;
pub mod errands;
mod forward;
pub mod http;
mod signals;
mod turns;
mod worker;

use std::time::{Duration, Instant};

use pgai_core::{Ask, Output, Report, Task, Time};
use shell_common::console::{self, Console};
use shell_common::monitoring::Questions;
use shell_common::program::seed;
use shell_common::streams::Streams;
use shell_common::target::Target;

use crate::database::Database;
use crate::errands::{Errands, Others};
use crate::signals::Signals;

pub use pgai_core::{Event, Level, Settings, Snapshot, Summary};
pub use shell_common::monitoring::Asker;
pub use shell_common::program::{Failure, settings};
pub use worker::Worker;

/// The maximum delay before a waiting worker handles a signal: a signal interrupts neither a read
/// from PostgreSQL nor a wait for another thread.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(250);

/// Runs a worker until SIGTERM, SIGINT or SIGHUP, or until it has nothing left to do.
///
/// # Errors
/// If a setting is outside of its limits, or signal handlers or threads cannot be created. The
/// core handles all other errors.
pub fn run(
    target: Target,
    settings: Settings,
    console: &Console,
    questions: Questions,
) -> Result<Summary, Failure> {
    let errands = Errands::start(settings.limits.requests, &target)?;
    let worker = pgai_core::Worker::new(settings, seed())?;
    let signals = Signals::new()?;
    let tell = |event: Event| console.tell(&event);
    let is_stopped = || signals.ask_to_stop();
    Ok(drive(worker, target, errands, tell, questions, is_stopped))
}

/// The loop: does what the core says, until the core has ended.
fn drive(
    mut worker: pgai_core::Worker,
    target: Target,
    mut errands: Errands,
    mut tell: impl FnMut(Event),
    mut questions: Questions,
    is_stopped: impl Fn() -> bool,
) -> Summary {
    let began = Instant::now();
    let now = || Time::new(began.elapsed());
    let mut database = Database::new(target);

    loop {
        if is_stopped() {
            worker.stop();
        }
        if let Some(question) = questions.try_next() {
            question.answer(worker.snapshot(now()));
        }
        match worker.poll(now()) {
            Output::Event(event) => tell(event),
            Output::Query(ticket, query) => {
                let rows = database.answer(&query);
                worker.handle_rows(now(), ticket, rows);
            }
            Output::Call(ticket, call) => errands.send(ticket, call),
            Output::Stopped(summary) => return summary,
            Output::Wait(until) => {
                let patience = patience(until, now());
                // A build alone is not waited for: notifications are.
                let is_busy = errands.is_busy();
                let patience_with_calls = if is_busy { patience } else { Duration::ZERO };
                if let Some((ticket, reply)) = errands.wait(patience_with_calls) {
                    worker.handle_call(now(), ticket, reply);
                } else if !is_busy {
                    database.wait(patience);
                }
            }
        }
        for wake in database.wakes() {
            worker.wake(wake.as_deref());
        }
    }
}

/// Runs a command, one action after the other.
#[must_use]
pub fn inquire(target: Target, mut task: Task) -> Report {
    let others = Others::new(&target);
    let mut database = Database::new(target);
    let mut streams = Streams::of(&task);
    let mut answer = pgai_core::Answer::Begin;
    loop {
        answer = match task.next(answer) {
            Ask::Done(report) => return report,
            Ask::Call(call) => pgai_core::Answer::Reply(others.reply(call)),
            Ask::Query(query) => pgai_core::Answer::Rows(database.answer(&query)),
            Ask::Read => pgai_core::Answer::Read(streams.read()),
            Ask::Write { text, is_last } => {
                pgai_core::Answer::Written(streams.write(&text, is_last))
            }
            Ask::Wait { say, pause } => {
                if let Some(line) = say {
                    console::print(&line);
                }
                std::thread::sleep(pause);
                pgai_core::Answer::Waited
            }
        };
    }
}

/// The time to wait before the core and the signals are checked again. The core may be polled too
/// early.
fn patience(until: Option<Time>, now: Time) -> Duration {
    until.map_or(SIGNAL_INTERVAL, |until| {
        until.since(now).min(SIGNAL_INTERVAL)
    })
}
