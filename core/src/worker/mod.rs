//! The worker: all vectorizers, batches and accounts; the one mutable state.
//!
//! Inputs are recorded by the `handle_…` functions; [`Worker::poll`] decides what to do next.

mod accounts;
mod batch;
mod blame;
mod budgets;
mod calls;
mod change;
mod claims;
mod commit_size;
mod connections;
mod database;
mod doubt;
mod failure;
mod indexes;
mod life;
mod made_by;
mod meters;
mod outage;
mod pace;
mod refresh;
mod requests;
mod resync;
mod schema;
mod session;
mod spans;
mod statements;
mod tokenizers;
mod told;
mod trouble;
mod usage;
mod vectorizers;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::call::{CallTicket, Reply};
use crate::event::Event;
use crate::output::{Output, Summary};
use crate::query::{DbError, ErrorRecord, Query, QueryTicket, Rows};
use crate::random::Random;
use crate::settings::{Settings, SettingsError};
use crate::span::Span;
use crate::store::Stores;
use crate::time::Time;

use accounts::Accounts;
use batch::Batch;
pub(crate) use batch::{PlanRows, PlannedRows};
use budgets::Budgets;
use calls::Called;
use database::Database;
use indexes::Indexes;
use life::Life;
use meters::Meters;
use resync::Resync;
pub(crate) use resync::{CompareRows, ComparedRows, is_current};
pub(crate) use schema::SCHEMAS;
use session::Session;
use statements::Asked;
pub(crate) use trouble::is_passing;
use usage::Usage;
use vectorizers::Vectorizer;

/// Keeps the vectorizers of one database true, if a shell does what it says. See the crate's
/// documentation for the contract between the two.
pub struct Worker {
    settings: Settings,
    random: Random,
    /// The latest moment that a shell named: time never goes back.
    now: Time,
    life: Life,
    session: Session,
    database: Database,
    vectorizers: BTreeMap<i64, Vectorizer>,
    /// The vectorizer that claimed last: the next one has its turn.
    last_claimed: i64,
    batches: BTreeMap<u64, Batch>,
    accounts: Accounts,
    budgets: Budgets,
    usage: Usage,
    resync: Resync,
    indexes: Indexes,
    stores: Stores,
    asked: BTreeMap<u64, Asked>,
    called: BTreeMap<u64, Called>,
    numbers: u64,
    meters: Meters,
    events: VecDeque<Event>,
    spans: Vec<Span>,
    /// For the errors table.
    records: Vec<ErrorRecord>,
    wakes: Wakes,
    summary: Summary,
}

/// Notifications that came since the last poll.
#[derive(Debug, Default)]
struct Wakes {
    everything: bool,
    vectorizers: BTreeSet<i64>,
}

impl Worker {
    /// Makes a worker that has done nothing yet. `seed` is its only randomness: workers on one
    /// database need different ones, because names of claims come from it.
    ///
    /// # Errors
    /// If a setting is out of its bounds.
    pub fn new(settings: Settings, seed: u64) -> Result<Self, SettingsError> {
        settings.check()?;
        let started = Event::Started {
            version: settings.version.clone(),
        };
        Ok(Self {
            accounts: Accounts::new(&settings),
            settings,
            random: Random::new(seed),
            now: Time::ZERO,
            life: Life::Running,
            session: Session::default(),
            database: Database::default(),
            vectorizers: BTreeMap::new(),
            last_claimed: i64::MIN,
            batches: BTreeMap::new(),
            budgets: Budgets::default(),
            usage: Usage::default(),
            resync: Resync::default(),
            indexes: Indexes::default(),
            stores: Stores::default(),
            asked: BTreeMap::new(),
            called: BTreeMap::new(),
            numbers: 0,
            meters: Meters::default(),
            events: VecDeque::from([started]),
            spans: vec![],
            records: vec![],
            wakes: Wakes::default(),
            summary: Summary::default(),
        })
    }

    /// Returns the next thing to do. Call it until it returns [`Output::Wait`] or
    /// [`Output::Stopped`]; extra calls do no harm.
    pub fn poll(&mut self, now: Time) -> Output {
        self.now = self.now.max(now);
        self.settle();
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        if matches!(self.life, Life::Stopped) {
            return Output::Stopped(self.summary.clone());
        }
        // Before statements: a shell that waits for each of those has its calls under way meanwhile.
        if let Some((called, call)) = self.next_call() {
            let number = self.number();
            self.called.insert(number, called);
            return Output::Call(CallTicket(number), call);
        }
        if let Some((asked, query)) = self.next_query() {
            let number = self.number();
            self.asked.insert(number, asked);
            return Output::Query(QueryTicket(number), query);
        }
        if self.has_said_goodbye() {
            // There was nobody to say it to.
            return self.poll(now);
        }
        Output::Wait(self.next_wake())
    }

    /// Takes the answer to a query.
    // The ticket is taken by value so that it cannot be used twice.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is consumed by its answer"
    )]
    pub fn handle_rows(&mut self, now: Time, ticket: QueryTicket, rows: Result<Rows, DbError>) {
        self.now = self.now.max(now);
        if let Some(asked) = self.asked.remove(&ticket.0) {
            self.answered(asked, rows);
        }
    }

    /// Takes what came of a call.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a ticket is consumed by its reply"
    )]
    pub fn handle_call(&mut self, now: Time, ticket: CallTicket, reply: Reply) {
        self.now = self.now.max(now);
        if let Some(called) = self.called.remove(&ticket.0) {
            self.replied(called, reply);
        }
    }

    /// A notification arrived on the channel [`CHANNEL`], with this payload. `None` says that some
    /// may have been missed, as after a new connection.
    pub fn wake(&mut self, payload: Option<&str>) {
        match payload.and_then(|payload| payload.parse().ok()) {
            Some(vectorizer) => {
                self.wakes.vectorizers.insert(vectorizer);
            }
            None => self.wakes.everything = true,
        }
    }

    /// Claims nothing more; what is in flight gets the grace period, the rest is given back.
    pub fn stop(&mut self) {
        self.life.ask_to_stop();
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// What the next statement is: first what is held already, then what is new.
    fn next_query(&mut self) -> Option<(Asked, Query)> {
        if !self.database.is_open(self.now) {
            return None;
        }
        self.session_query()
            .or_else(|| self.budget_query())
            .or_else(|| self.batch_query())
            .or_else(|| self.accept_query())
            .or_else(|| self.claim_query())
            .or_else(|| self.refresh_query())
            .or_else(|| self.resync_query())
            .or_else(|| self.index_query())
            .or_else(|| self.change_query())
            .or_else(|| self.housekeeping_query())
            .or_else(|| self.goodbye_query())
    }

    /// The earliest moment at which something becomes due that is not due now.
    fn next_wake(&self) -> Option<Time> {
        let session = self.session_wakes();
        let batches = self.batch_wakes();
        let claims = self.claim_wakes();
        let others = [self.life.wakes(self.now), self.database.wakes()]
            .into_iter()
            .flatten()
            .chain(self.accept_wakes());
        session
            .chain(batches)
            .chain(claims)
            .chain(self.resync_wakes())
            .chain(self.index_wakes())
            .chain(self.change_wakes())
            .chain(self.refresh_wakes())
            .chain(self.accounts.wakes(self.now))
            .chain(self.budget_wakes())
            .chain(self.news_wakes())
            .chain(others)
            .filter(|at| *at > self.now)
            .min()
    }
}

/// The channel on which triggers notify workers.
pub const CHANNEL: &str = "ai_vectorizer";

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("now", &self.now)
            .field("life", &self.life)
            .field("vectorizers", &self.vectorizers.keys())
            .field("batches", &self.batches.keys())
            .field("asked", &self.asked)
            .field("called", &self.called)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
