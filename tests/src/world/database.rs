//! A model of PostgreSQL as far as the queue protocol needs it.
//!
//! A statement has a snapshot, taken when it begins. Plain scans see the snapshot; `for update` and
//! `on conflict` find the newest version of a row. That difference is what the protocol must live
//! with, so it is kept: [`Database::finish`] gets both. Statements act as a whole (real ones hold
//! their row locks from the first to the end, which comes to the same).

mod change;
mod claim;
mod column;
mod contents;
mod documents;
mod protocol;
mod resync;
mod triggers;
mod vectorizer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pgai_core::Query;

use super::ledger::Ledger;
use super::mutant::Mutant;
pub(super) use change::{Generation, State};
pub use triggers::Edit;
pub(super) use triggers::Isolation;
pub(super) use vectorizer::{Config, MODELS, Vectorizer, plan};

/// No retry is further away than this.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// The clock is never off by more seconds. Whoever holds a row while it is set back may seem to hold
/// it for twice as long.
const CLOCK_OFF_MAX: i64 = 3600;

/// Components of the model provider's vectors.
pub(super) const DIMENSIONS: usize = 2;

/// A stored text and its vector.
pub(super) type Chunk = (Arc<str>, Arc<[f32]>);

/// All tables, as one transaction could see them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) vectorizer: Option<Vectorizer>,
    pub(super) source: BTreeMap<i64, Arc<str>>,
    items: BTreeMap<i64, Item>,
    leases: BTreeMap<i64, Lease>,
    pub(super) failed: BTreeMap<i64, String>,
    /// The last request for a resync.
    request: Option<resync::Request>,
    pub(super) store: BTreeMap<(i64, i32), Chunk>,
    /// The column of the source that holds its vectors, where there is no store.
    pub(super) vectors: BTreeMap<i64, Arc<[f32]>>,
    /// The documents that have been checked, where rows have addresses.
    documents: BTreeMap<i64, documents::Document>,
    /// A row whose column was given a vector that is not its text's, both of them.
    pub(super) misled: Option<(i64, Chunk)>,
    /// The generation that does not serve, while the vectorizer changes to another model.
    other: Option<Generation>,
}

/// Where the vectors go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Destination {
    /// A column of the source: one vector for each row.
    Column,
    /// A store: one for each word.
    Table,
}

#[derive(Clone, Debug)]
struct Item {
    generation: i64,
    queued_at: Duration,
    retries: i64,
    retry_after: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Lease {
    /// 0 belongs to nobody: the item is put off.
    claim: i64,
    until: Duration,
    attempts: i64,
    failures: i64,
    generation: i64,
}

/// The database.
#[derive(Debug)]
pub(super) struct Database {
    /// Statements and transactions hold snapshots of them.
    tables: Arc<Tables>,
    /// Whether they may have changed since somebody asked.
    is_written: bool,
    generations: i64,
    /// How many there were.
    vectorizers: i64,
    destination: Destination,
    /// Whether rows have the addresses of documents, which are checked again.
    pub(super) has_documents: bool,
    /// How often a row is tried again.
    pub(super) retries: u32,
    mutant: Option<Mutant>,
    /// By how many seconds the clock is ahead.
    clock_ahead: i64,
    /// For [`Mutant::ReadWithClaimSnapshot`]: the snapshot in which each key was claimed.
    claim_snapshots: BTreeMap<i64, Arc<Tables>>,
    /// Rows that open transactions of the application have written, with the texts that they bring
    /// when they commit. Row and item are locked until then.
    held: BTreeMap<i64, String>,
    ledger: Ledger,
    /// That of the generation that does not serve.
    other_ledger: Ledger,
    /// Rows that were there when a change began, and have not been embedded for the new generation.
    unfilled: BTreeSet<i64>,
    /// Triggers do nothing just now.
    is_past_triggers: bool,
    /// Claims are taken to be planned for what is recorded.
    trusts_plans: bool,
}

impl Tables {
    /// Whether nothing waits and nothing is leased.
    pub(super) fn is_at_rest(&self) -> bool {
        let is_quiet = self.items.is_empty() && self.is_recorded() && !self.resyncs();
        is_quiet && self.has_settled()
    }

    /// A row that was given up, is not queued again, and still has a vector in its column.
    pub(super) fn left_behind(&self) -> Option<i64> {
        let mut given_up = self.failed.keys().copied();
        given_up.find(|key| !self.items.contains_key(key) && self.vectors.contains_key(key))
    }

    /// Whether a key waits.
    pub(super) fn is_queued(&self, key: i64) -> bool {
        self.items.contains_key(&key)
    }

    /// Queued keys with their failed attempts.
    pub(super) fn queue(&self) -> Vec<(i64, i64)> {
        let failures = |key| self.leases.get(key).map_or(0, |lease| lease.failures);
        self.items.keys().map(|key| (*key, failures(key))).collect()
    }

    fn leased(&self, key: i64, now: Duration) -> Option<&Lease> {
        self.leases
            .get(&key)
            .filter(|lease| lease.until > now && lease.claim != 0)
    }
}

impl Database {
    pub(super) fn new(destination: Destination, mutant: Option<Mutant>) -> Self {
        let mut database = Self {
            tables: Arc::default(),
            is_written: false,
            generations: 0,
            vectorizers: 0,
            destination,
            has_documents: false,
            retries: 6,
            mutant,
            clock_ahead: 0,
            claim_snapshots: BTreeMap::new(),
            held: BTreeMap::new(),
            ledger: Ledger::default(),
            other_ledger: Ledger::default(),
            unfilled: BTreeSet::new(),
            is_past_triggers: false,
            trusts_plans: false,
        };
        database.create_vectorizer(Duration::ZERO);
        database
    }

    /// What is committed now.
    #[must_use]
    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What is committed now, for later.
    #[must_use]
    pub(super) fn snapshot(&self) -> Arc<Tables> {
        Arc::clone(&self.tables)
    }

    fn write(&mut self) -> &mut Tables {
        self.is_written = true;
        Arc::make_mut(&mut self.tables)
    }

    /// Whether anything may have been written since this was asked last.
    pub(super) const fn take_written(&mut self) -> bool {
        std::mem::replace(&mut self.is_written, false)
    }

    /// Keys with a lease that has not run out.
    pub(super) fn leased_keys(&self, now: Duration) -> Vec<i64> {
        let now = self.clock(now);
        let keys = self.tables.leases.keys().copied();
        keys.filter(|key| self.tables.leased(*key, now).is_some())
            .collect()
    }

    /// Keys of failed rows whose time has not come.
    pub(super) fn put_off_keys(&self, now: Duration) -> Vec<i64> {
        let now = self.clock(now);
        let beside = self.tables.beside().map(|beside| beside.leases);
        let leases = self.tables.leases.iter().chain(beside.iter().flatten());
        leases
            .filter(|(_, lease)| lease.claim == 0 && lease.until > now)
            .map(|(key, _)| *key)
            .collect()
    }

    /// A transaction of the application writes to a row, and stays open.
    pub(super) fn hold(&mut self, key: i64, text: String) {
        self.held.entry(key).or_insert(text);
    }

    /// Whether an open transaction of the application has written to a row.
    pub(super) fn is_held(&self, key: i64) -> bool {
        self.held.contains_key(&key)
    }

    /// The row that an open transaction has written to, if there is one.
    pub(super) fn held_key(&self) -> Option<i64> {
        self.held.keys().next().copied()
    }

    /// The transaction that has written to a row commits.
    pub(super) fn release_held(&mut self, key: i64, now: Duration) {
        if let Some(text) = self.held.remove(&key) {
            self.apply(&Edit::Put { key, text }, &Isolation::ReadCommitted, now);
        }
    }

    /// Whether a statement of a worker waits for a row, which none of them must.
    pub(super) fn waits(&self, query: &Query) -> bool {
        let Query::Commit { rows, .. } = query else {
            return false;
        };
        self.is(Mutant::CommitWaitsForItems)
            && rows.iter().any(|row| self.is_held(protocol::id(&row.key)))
    }

    /// Sets the clock by this many seconds, but never further off than [`CLOCK_OFF_MAX`].
    pub(super) fn set_clock(&mut self, seconds: i64) {
        let ahead = self.clock_ahead + seconds;
        self.clock_ahead = ahead.clamp(-CLOCK_OFF_MAX, CLOCK_OFF_MAX);
    }

    /// The database's time.
    const fn clock(&self, now: Duration) -> Duration {
        let ahead = (CLOCK_OFF_MAX + self.clock_ahead).unsigned_abs();
        now.saturating_add(Duration::from_secs(ahead))
    }

    /// Those of both generations.
    pub(super) const fn ledgers(&mut self) -> [&mut Ledger; 2] {
        [&mut self.ledger, &mut self.other_ledger]
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}
