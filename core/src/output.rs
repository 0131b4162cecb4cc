//! The next action for the shell.

use crate::call::{Call, CallTicket};
use crate::event::Event;
use crate::query::{Query, QueryTicket};
use crate::time::Time;

/// The next action, from [`Worker::poll`](crate::Worker::poll).
#[derive(Debug)]
#[must_use = "a dropped query or call is never answered, and the worker waits for it for ever"]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time is on its way, and the shells take it apart"
)]
pub enum Output {
    /// Do this outside of the polling thread, and pass the result to
    /// [`Worker::handle_call`](crate::Worker::handle_call).
    Call(CallTicket, Call),
    /// Tell the operator.
    Event(Event),
    /// Run this statement in a transaction of its own, and pass its rows or its error to
    /// [`Worker::handle_rows`](crate::Worker::handle_rows).
    Query(QueryTicket, Query),
    /// The worker has ended: no action is pending and no claim is held.
    Stopped(Summary),
    /// Nothing to do until this time (`None`: no time limit), or until an answer or a
    /// notification arrives. A shell rounds the time up, never down.
    Wait(Option<Time>),
}

/// How the worker ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Rows that were brought in sync.
    pub rows: u64,
    /// Rows that failed.
    pub failed: u64,
    /// The failure that did not concern one row only, if any: with `--exit-on-error` the
    /// process ends with exit code 1.
    pub failure: Option<String>,
}
