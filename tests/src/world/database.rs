//! A model of PostgreSQL as far as the queue protocol needs it.
//!
//! A statement has a snapshot, taken when it begins. Plain scans see the snapshot; `for update` and
//! `on conflict` find the newest version of a row. That difference is what the protocol must live
//! with, so it is kept: [`Database::finish`] gets both. Statements act as a whole (real ones hold
//! their row locks from the first to the end, which comes to the same).

mod column;
mod protocol;
mod vectorizer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
pub(super) use vectorizer::{Vectorizer, plan};

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
    pub(super) store: BTreeMap<(i64, i32), Chunk>,
    /// The column of the source that holds its vectors, where there is no store.
    pub(super) vectors: BTreeMap<i64, Arc<[f32]>>,
    /// A row whose column was given another text's vector.
    pub(super) misled: Option<i64>,
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

/// What the application does in one statement.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// Inserts a row, or updates it.
    Put { key: i64, text: String },
    /// Deletes a row.
    Delete { key: i64 },
    /// Deletes a row and inserts it again.
    DeleteAndInsert { key: i64, text: String },
    /// Takes a chunk of a row in work out of the store, behind the worker's back.
    Damage { nth: usize },
    /// Gives a row another key, if that is free.
    ChangeKey { from: i64, to: i64 },
}

/// How the application's transaction sees the tables.
#[derive(Clone, Debug)]
pub(super) enum Isolation {
    /// Each statement sees what is committed.
    ReadCommitted,
    /// All statements see what was committed when the transaction began.
    RepeatableRead(Arc<Tables>),
}

/// A fault built into the protocol, which the rules must find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mutant {
    /// A commit takes the item off the queue although the row has changed.
    CommitIgnoresGeneration,
    /// A commit does not check that chunks meant to stay are still what they were.
    CommitMovesUnchecked,
    /// A commit leaves chunks beyond the last one.
    CommitKeepsTail,
    /// A commit leaves the vector in the column of a row that has no text any more.
    CommitKeepsVector,
    /// A commit writes to the column of a row that has changed.
    CommitWritesChanged,
    /// DELETE takes the item off the queue instead of leaving a tombstone.
    DeleteRemovesItem,
    /// An update of a queued row does not count up its generation.
    EnqueueKeepsGeneration,
    /// A change of key forgets the old key.
    KeyChangeForgetsOldKey,
    /// The source is read with the snapshot of the claim.
    ReadWithClaimSnapshot,
    /// An answer of the provider never reaches the worker.
    AnswersGetLost,
    /// A release counts the attempt.
    AttemptsAreNotGivenBack,
    /// A claim takes what another worker holds.
    ClaimIgnoresLeases,
    /// A claim takes a failed row before its time.
    ClaimIgnoresRetryTime,
    /// All workers begin with the same seed, as a sequence repeats after a crash.
    ClaimNamesRepeat,
    /// A commit does not check whose lease it is.
    CommitIgnoresLease,
    /// A commit leaves the item on the queue.
    CommitKeepsItem,
    /// A new vectorizer does not queue the rows that are there.
    CreateQueuesNothing,
    /// DELETE queues nothing: the worker's chunks stay.
    DeleteKeepsChunks,
    /// The list of vectorizers leaves out that one is disabled.
    DisabledIsNotSaid,
    /// Changes are not queued while the vectorizer is disabled.
    DisabledQueuesNothing,
    /// A change of a row that a worker holds is not queued.
    EnqueueSkipsHeldRows,
    /// An extension extends the lease of another.
    ExtendIgnoresLease,
    /// A failed row is taken off the queue.
    FailForgetsItem,
    /// A failure counts against a row that has changed since.
    FailIgnoresGeneration,
    /// A failure does not check whose lease it is.
    FailIgnoresLease,
    /// An inserted row is not queued.
    InsertIsNotQueued,
    /// A change of key forgets the new key.
    KeyChangeForgetsNewKey,
    /// A provider that refuses everything takes the probe, so rows are blamed.
    ProbeIsTaken,
    /// A provider gives its vectors in another order.
    ProviderMixesUpAnswers,
    /// A read does not find a row that is there.
    ReadLosesRows,
    /// A read brings the text of another row.
    ReadMixesUpRows,
    /// Requests are larger than they may be.
    RequestsIgnoreTheirCap,
    /// Vectors of one answer are handed out in the wrong order.
    SwappedVectors,
    /// Statements for a vectorizer that was dropped find the tables of the next.
    TablesOutliveTheirVectorizer,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 34] = [
        Self::CommitIgnoresGeneration,
        Self::CommitMovesUnchecked,
        Self::CommitKeepsTail,
        Self::CommitKeepsVector,
        Self::CommitWritesChanged,
        Self::DeleteRemovesItem,
        Self::EnqueueKeepsGeneration,
        Self::KeyChangeForgetsOldKey,
        Self::ReadWithClaimSnapshot,
        Self::AnswersGetLost,
        Self::AttemptsAreNotGivenBack,
        Self::ClaimIgnoresLeases,
        Self::ClaimIgnoresRetryTime,
        Self::ClaimNamesRepeat,
        Self::CommitIgnoresLease,
        Self::CommitKeepsItem,
        Self::CreateQueuesNothing,
        Self::DeleteKeepsChunks,
        Self::DisabledIsNotSaid,
        Self::DisabledQueuesNothing,
        Self::EnqueueSkipsHeldRows,
        Self::ExtendIgnoresLease,
        Self::FailForgetsItem,
        Self::FailIgnoresGeneration,
        Self::FailIgnoresLease,
        Self::InsertIsNotQueued,
        Self::KeyChangeForgetsNewKey,
        Self::ProbeIsTaken,
        Self::ProviderMixesUpAnswers,
        Self::ReadLosesRows,
        Self::ReadMixesUpRows,
        Self::RequestsIgnoreTheirCap,
        Self::SwappedVectors,
        Self::TablesOutliveTheirVectorizer,
    ];
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
    mutant: Option<Mutant>,
    /// By how many seconds the clock is ahead.
    clock_ahead: i64,
    /// For [`Mutant::ReadWithClaimSnapshot`]: the snapshot in which each key was claimed.
    claim_snapshots: BTreeMap<i64, Arc<Tables>>,
    ledger: Ledger,
}

impl Tables {
    /// Whether nothing waits and nothing is leased.
    pub(super) fn is_at_rest(&self) -> bool {
        self.items.is_empty()
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

    /// Whether a lease keeps this claim from the item.
    fn is_barred(&self, key: i64, generation: i64, claim: i64, now: Duration) -> bool {
        self.leases.get(&key).is_some_and(|lease| {
            let put_off = lease.generation == generation && lease.until <= now + BACKOFF_MAX;
            lease.until > now && lease.claim != claim && (lease.claim != 0 || put_off)
        })
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
            mutant,
            clock_ahead: 0,
            claim_snapshots: BTreeMap::new(),
            ledger: Ledger::default(),
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

    pub(super) const fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Runs a statement of the application with its triggers; says whether it did anything.
    pub(super) fn apply(&mut self, edit: &Edit, isolation: &Isolation, now: Duration) -> bool {
        let now = self.clock(now);
        let keys = match edit {
            Edit::ChangeKey { from, to } => vec![*from, *to],
            Edit::Damage { .. } => vec![],
            Edit::Delete { key } | Edit::DeleteAndInsert { key, .. } | Edit::Put { key, .. } => {
                vec![*key]
            }
        };
        if let Isolation::RepeatableRead(snapshot) = isolation {
            // The first updater wins: PostgreSQL reports 40001, and the application tries again
            // some other time.
            let same = |key: &i64| match (snapshot.source.get(key), self.tables.source.get(key)) {
                (Some(seen), Some(current)) => Arc::ptr_eq(seen, current),
                (None, None) => true,
                (None, Some(_)) | (Some(_), None) => false,
            };
            // So do the triggers, where somebody else has queued the key since.
            let queued = |key: &i64| match (snapshot.items.get(key), self.tables.items.get(key)) {
                (_, None) => true,
                (Some(seen), Some(current)) => seen.generation == current.generation,
                (None, Some(_)) => false,
            };
            if !keys.iter().all(|key| same(key) && queued(key)) {
                return false;
            }
        }
        match edit {
            Edit::Damage { nth } => {
                let tables = self.write();
                let in_work = |(key, _): &(i64, i32)| {
                    tables.items.contains_key(key) && tables.leases.contains_key(key)
                };
                let places: Vec<_> = tables.store.keys().copied().filter(in_work).collect();
                let place = places.get(nth.checked_rem(places.len()).unwrap_or(0));
                return place.is_some_and(|place| tables.store.remove(place).is_some());
            }
            Edit::Put { key, text } => {
                if self
                    .tables
                    .source
                    .get(key)
                    .is_some_and(|old| **old == **text)
                {
                    return false;
                }
                let old = self.write().source.insert(*key, text.as_str().into());
                if old.is_some() || !self.is(Mutant::InsertIsNotQueued) {
                    self.enqueue(*key, now);
                }
            }
            Edit::Delete { key } => {
                if self.write().source.remove(key).is_none() {
                    return false;
                }
                self.write().vectors.remove(key);
                self.deleted(*key, isolation, now);
            }
            Edit::DeleteAndInsert { key, text } => {
                let existed = self
                    .write()
                    .source
                    .insert(*key, text.as_str().into())
                    .is_some();
                self.write().vectors.remove(key);
                self.enqueue(*key, now);
                if existed {
                    // The trigger for DELETE comes second: it is the outer statement's.
                    self.deleted(*key, isolation, now);
                }
            }
            Edit::ChangeKey { from, to } => {
                let taken = self.tables.source.contains_key(to);
                let Some(text) = self.tables.source.get(from).filter(|_| !taken).cloned() else {
                    return false;
                };
                self.write().source.remove(from);
                self.write().source.insert(*to, text);
                if let Some(vector) = self.write().vectors.remove(from) {
                    self.write().vectors.insert(*to, vector);
                }
                if !self.is(Mutant::KeyChangeForgetsNewKey) {
                    self.enqueue(*to, now);
                }
                if !self.is(Mutant::KeyChangeForgetsOldKey) {
                    self.deleted(*from, isolation, now);
                }
            }
        }
        true
    }

    /// Queues all rows of the failed table again, as an operator would.
    pub(super) fn retry_failed(&mut self, now: Duration) {
        let now = self.clock(now);
        for key in std::mem::take(&mut self.write().failed).into_keys() {
            self.enqueue(key, now);
        }
    }

    /// What the triggers do, if there are any.
    fn enqueue(&mut self, key: i64, now: Duration) {
        let Some(vectorizer) = self.tables.vectorizer else {
            return;
        };
        if vectorizer.is_disabled && self.is(Mutant::DisabledQueuesNothing) {
            return;
        }
        if self.is(Mutant::EnqueueSkipsHeldRows) && self.tables.leased(key, now).is_some() {
            return;
        }
        let keep = self.is(Mutant::EnqueueKeepsGeneration);
        self.generations += 1;
        let generation = self.generations;
        let fresh = Item {
            generation,
            queued_at: now,
            retries: 0,
            retry_after: None,
        };
        let item = self.write().items.entry(key).or_insert(fresh);
        if !keep {
            item.generation = generation;
        }
        item.retries = 0;
        item.retry_after = None;
    }

    /// The trigger for a key that a row no longer has.
    fn deleted(&mut self, key: i64, isolation: &Isolation, now: Duration) {
        if self.tables.vectorizer.is_none() {
            return;
        }
        let gone = !self.tables.source.contains_key(&key);
        if self.is(Mutant::DeleteRemovesItem) {
            self.write().items.remove(&key);
            if gone {
                // A transaction deletes what it sees.
                let visible = |place: &(i64, i32)| match isolation {
                    Isolation::ReadCommitted => true,
                    Isolation::RepeatableRead(snapshot) => snapshot.store.contains_key(place),
                };
                self.write()
                    .store
                    .retain(|place, _| place.0 != key || !visible(place));
            }
            return;
        }
        if self.is(Mutant::DeleteKeepsChunks) {
            return;
        }
        self.enqueue(key, now);
        if gone && matches!(isolation, Isolation::ReadCommitted) {
            self.write().store.retain(|place, _| place.0 != key);
        }
    }
}
