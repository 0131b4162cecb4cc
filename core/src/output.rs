//! What the core wants done next.

use crate::call::{Call, CallTicket};
use crate::event::Event;
use crate::query::{Query, QueryTicket};
use crate::time::Time;

/// The next thing to do, from [`Worker::poll`](crate::Worker::poll).
#[derive(Debug)]
#[must_use = "a dropped query or call is never answered, and the worker waits for it for ever"]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time is on its way, and the shells take it apart"
)]
pub enum Output {
    /// Do this off the thread that polls, and hand what came of it to
    /// [`Worker::handle_call`](crate::Worker::handle_call).
    Call(CallTicket, Call),
    /// Tell the operator.
    Event(Event),
    /// Run this statement, in a transaction of its own, and hand its rows or its error to
    /// [`Worker::handle_rows`](crate::Worker::handle_rows).
    Query(QueryTicket, Query),
    /// It is over: nothing is asked any more and no claim is held.
    Stopped(Summary),
    /// Nothing to do until this moment (`None`: for ever), or until an answer or a notification
    /// comes. A shell rounds it up, never down.
    Wait(Option<Time>),
}

/// How the worker ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Rows that now stand true.
    pub rows: u64,
    /// Rows that failed.
    pub failed: u64,
    /// What failed as a whole: with `--exit-on-error` the process ends with 1.
    pub failure: Option<String>,
}
