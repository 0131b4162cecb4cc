//! A model of PostgreSQL as far as the queue protocol needs it.
//!
//! A statement has a snapshot, taken when it begins. Plain scans see the snapshot; `for update` and
//! `on conflict` find the newest version of a row. That difference is what the protocol must live
//! with, so it is kept: [`Database::finish`] gets both. Statements act as a whole (real ones hold
//! their row locks from the first to the end, which comes to the same).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{ChunkHash, CommitChunk, CommitRow, FailedRow, Key, Plan, Query, Rows};
use sha2::{Digest, Sha256};

use super::Coverage;

/// No retry is further away than this.
const BACKOFF_MAX: Duration = Duration::from_secs(600);

/// Components of the model provider's vectors.
pub(super) const DIMENSIONS: usize = 2;

/// A stored text and its vector.
pub(super) type Chunk = (Arc<str>, Arc<[f32]>);

/// All tables, as one transaction could see them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) source: BTreeMap<i64, Arc<str>>,
    items: BTreeMap<i64, Item>,
    leases: BTreeMap<i64, Lease>,
    pub(super) failed: BTreeMap<i64, String>,
    pub(super) store: BTreeMap<(i64, i32), Chunk>,
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
    RepeatableRead(Box<Tables>),
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
    /// DELETE takes the item off the queue instead of leaving a tombstone.
    DeleteRemovesItem,
    /// An update of a queued row does not count up its generation.
    EnqueueKeepsGeneration,
    /// A change of key forgets the old key.
    KeyChangeForgetsOldKey,
    /// The source is read with the snapshot of the claim.
    ReadWithClaimSnapshot,
    /// Vectors of one answer are handed out in the wrong order.
    SwappedVectors,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::CommitIgnoresGeneration,
        Self::CommitMovesUnchecked,
        Self::CommitKeepsTail,
        Self::DeleteRemovesItem,
        Self::EnqueueKeepsGeneration,
        Self::KeyChangeForgetsOldKey,
        Self::ReadWithClaimSnapshot,
        Self::SwappedVectors,
    ];
}

/// The database.
#[derive(Debug)]
pub(super) struct Database {
    tables: Tables,
    generations: i64,
    mutant: Option<Mutant>,
    /// For [`Mutant::ReadWithClaimSnapshot`]: the snapshot in which each key was claimed.
    claim_snapshots: BTreeMap<i64, Tables>,
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

    /// Keys with a lease that has not run out.
    pub(super) fn leased_keys(&self, now: Duration) -> Vec<i64> {
        self.leases
            .keys()
            .copied()
            .filter(|key| self.leased(*key, now).is_some())
            .collect()
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
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        Self {
            tables: Tables::default(),
            generations: 0,
            mutant,
            claim_snapshots: BTreeMap::new(),
        }
    }

    /// What is committed now.
    #[must_use]
    pub(super) const fn tables(&self) -> &Tables {
        &self.tables
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Runs a statement of the application with its triggers; says whether it did anything.
    pub(super) fn apply(&mut self, edit: &Edit, isolation: &Isolation, now: Duration) -> bool {
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
                let tables = &mut self.tables;
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
                self.tables.source.insert(*key, text.as_str().into());
                self.enqueue(*key, now);
            }
            Edit::Delete { key } => {
                if self.tables.source.remove(key).is_none() {
                    return false;
                }
                self.deleted(*key, isolation, now);
            }
            Edit::DeleteAndInsert { key, text } => {
                let existed = self
                    .tables
                    .source
                    .insert(*key, text.as_str().into())
                    .is_some();
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
                self.tables.source.remove(from);
                self.tables.source.insert(*to, text);
                self.enqueue(*to, now);
                if !self.is(Mutant::KeyChangeForgetsOldKey) {
                    self.deleted(*from, isolation, now);
                }
            }
        }
        true
    }

    /// Queues all rows of the failed table again, as an operator would.
    pub(super) fn retry_failed(&mut self, now: Duration) {
        for key in std::mem::take(&mut self.tables.failed).into_keys() {
            self.enqueue(key, now);
        }
    }

    fn enqueue(&mut self, key: i64, now: Duration) {
        let keep = self.is(Mutant::EnqueueKeepsGeneration);
        self.generations += 1;
        let generation = self.generations;
        let fresh = Item {
            generation,
            queued_at: now,
            retries: 0,
            retry_after: None,
        };
        let item = self.tables.items.entry(key).or_insert(fresh);
        if !keep {
            item.generation = generation;
        }
        item.retries = 0;
        item.retry_after = None;
    }

    /// The trigger for a key that a row no longer has.
    fn deleted(&mut self, key: i64, isolation: &Isolation, now: Duration) {
        let gone = !self.tables.source.contains_key(&key);
        if self.is(Mutant::DeleteRemovesItem) {
            self.tables.items.remove(&key);
            if gone {
                // A transaction deletes what it sees.
                let visible = |place: &(i64, i32)| match isolation {
                    Isolation::ReadCommitted => true,
                    Isolation::RepeatableRead(snapshot) => snapshot.store.contains_key(place),
                };
                self.tables
                    .store
                    .retain(|place, _| place.0 != key || !visible(place));
            }
            return;
        }
        self.enqueue(key, now);
        if gone && matches!(isolation, Isolation::ReadCommitted) {
            self.tables.store.retain(|place, _| place.0 != key);
        }
    }

    /// Runs a worker's statement that began with `snapshot`.
    pub(super) fn finish(
        &mut self,
        query: &Query,
        snapshot: &Tables,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        match query {
            Query::Bell { .. } | Query::RecordErrors(_) | Query::Heartbeat(_) => vec![],
            Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
            Query::Claim {
                plan,
                claim,
                lease,
                since,
                ..
            } => self.claim(
                plan,
                claim.0,
                *lease,
                since.as_deref(),
                snapshot,
                now,
                coverage,
            ),
            Query::Commit { claim, rows, .. } => self.commit(claim.0, rows, snapshot, coverage),
            Query::Extend {
                claim, keys, lease, ..
            } => self.extend(claim.0, keys, *lease, now),
            Query::Fail { claim, rows, .. } => self.fail(claim.0, rows, now),
            Query::LoadVectorizers { .. } => vec![vec![text("1"), text(DEFINITION)]],
            Query::Read {
                keys, bytes_max, ..
            } => self.read(keys, *bytes_max, snapshot),
            Query::Release { claim, keys, .. } => self.release(claim.0, keys, now),
            Query::StartWorker { .. } => vec![vec![text("a worker")]],
            Query::Waiting { .. } => vec![vec![text(&self.tables.items.len().to_string())]],
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a statement's parameters and its surroundings"
    )]
    fn claim(
        &mut self,
        plan: &Plan,
        claim: i64,
        lease: Duration,
        since: Option<&str>,
        snapshot: &Tables,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        let is_due = |item: &Item| item.retry_after.is_none_or(|at| at <= now);
        let mut due: Vec<_> = snapshot
            .items
            .iter()
            .filter(|(key, item)| {
                is_due(item)
                    && since.is_none_or(|since| stamp(item.queued_at).as_str() >= since)
                    && !snapshot.is_barred(**key, item.generation, claim, now)
            })
            .map(|(key, item)| (item.queued_at, *key))
            .collect();
        due.sort_unstable();
        // The row lock finds the newest version, and checks the condition on it again.
        due.retain(|(_, key)| self.tables.items.get(key).is_some_and(is_due));
        due.truncate(plan.rows);
        let suspect = |key: i64| {
            let expired = snapshot.leases.get(&key).filter(|held| held.claim != claim);
            expired.is_some_and(|held| held.attempts >= 2)
        };
        if let Some((_, first)) = due.first().copied() {
            let alone = suspect(first);
            due.retain(|(_, key)| *key == first || !(alone || suspect(*key)));
        }
        let mut rows = vec![];
        for (_, key) in due {
            let generation = self.tables.items[&key].generation;
            if self.tables.is_barred(key, generation, claim, now) {
                continue;
            }
            let held = self.tables.leases.get(&key);
            coverage.expired +=
                u64::from(held.is_some_and(|held| ![0, claim].contains(&held.claim)));
            let same = held.filter(|held| held.generation == generation);
            let attempts = same.map_or(1, |held| held.attempts + i64::from(held.claim != claim));
            let failures = same.map_or(0, |held| held.failures);
            let until = now + lease;
            let lease = Lease {
                claim,
                until,
                attempts,
                failures,
                generation,
            };
            self.tables.leases.insert(key, lease);
            self.claim_snapshots.insert(key, snapshot.clone());
            let item = &self.tables.items[&key];
            rows.push(vec![
                text(&key.to_string()),
                text(&item.generation.to_string()),
                text(&(item.retries + failures + attempts).to_string()),
                text(&attempts.to_string()),
                text(&stamp(item.queued_at)),
            ]);
        }
        rows
    }

    fn read(&self, keys: &[Key], bytes_max: usize, snapshot: &Tables) -> Rows {
        let mut rows = vec![];
        let mut bytes = 0;
        for (key, number) in keys.iter().map(id).zip(1_usize..) {
            let seen = match self.claim_snapshots.get(&key) {
                Some(claimed) if self.is(Mutant::ReadWithClaimSnapshot) => claimed,
                _ => snapshot,
            };
            let source = seen.source.get(&key);
            // The first row always comes.
            if bytes >= bytes_max {
                break;
            }
            bytes += source.map_or(0, |source| source.len());
            let mut stored = String::new();
            for ((_, place), (chunk, _)) in seen.store.range((key, 0)..=(key, i32::MAX)) {
                let comma = if stored.is_empty() { "" } else { "," };
                let _ = write!(stored, "{comma}{place}:{}", hash(chunk).0);
            }
            rows.push(vec![
                text(&number.to_string()),
                text(if source.is_some() { "true" } else { "false" }),
                source.map(|source| source.to_string()),
                (!stored.is_empty()).then_some(stored),
            ]);
        }
        rows
    }

    fn holds(&self, claim: i64, key: i64) -> bool {
        let held = self
            .tables
            .leases
            .get(&key)
            .is_some_and(|held| held.claim == claim);
        held && self.tables.items.contains_key(&key)
    }

    fn commit(
        &mut self,
        claim: i64,
        rows: &[CommitRow],
        snapshot: &Tables,
        coverage: &mut Coverage,
    ) -> Rows {
        let mut answer = vec![];
        for (row, number) in rows.iter().zip(1_usize..) {
            let key = id(&row.key);
            let outcome = self.commit_row(claim, key, row, snapshot);
            match outcome {
                "changed" => coverage.changed += 1,
                "lost" => coverage.lost += 1,
                "done" => {
                    coverage.tombstones += u64::from(!self.tables.source.contains_key(&key));
                    let new = |chunk: &&CommitChunk| !matches!(chunk, CommitChunk::Write { .. });
                    coverage.reused += row.chunks.iter().filter(new).count() as u64;
                }
                _ => {}
            }
            answer.push(vec![text(&number.to_string()), text(outcome)]);
        }
        answer
    }

    fn commit_row(
        &mut self,
        claim: i64,
        key: i64,
        row: &CommitRow,
        snapshot: &Tables,
    ) -> &'static str {
        if !self.holds(claim, key) {
            return "lost";
        }
        self.tables.leases.remove(&key);
        let item = &self.tables.items[&key];
        let same = item.generation == row.generation || self.is(Mutant::CommitIgnoresGeneration);
        let origin = |place: i32, wanted: &ChunkHash| {
            let stored = snapshot.store.get(&(key, place));
            stored.filter(|(chunk, _)| {
                hash(chunk) == *wanted || self.is(Mutant::CommitMovesUnchecked)
            })
        };
        let mut written = vec![];
        for (chunk, place) in row.chunks.iter().zip(0_i32..) {
            match chunk {
                CommitChunk::Keep(wanted) => {
                    if origin(place, wanted).is_none() && !self.is(Mutant::CommitMovesUnchecked) {
                        return "edited";
                    }
                }
                CommitChunk::Move { text, from, hash } => match origin(*from, hash) {
                    Some((_, vector)) => {
                        written.push((place, (Arc::clone(text), Arc::clone(vector))))
                    }
                    None if self.is(Mutant::CommitMovesUnchecked) => {}
                    None => return "edited",
                },
                CommitChunk::Write { text, vector } => {
                    written.push((place, (Arc::clone(text), Arc::clone(vector))));
                }
            }
        }
        if !same && !snapshot.source.contains_key(&key) {
            return "changed";
        }
        if self.is(Mutant::SwappedVectors) && written.len() > 1 {
            let first = Arc::clone(&written[0].1.1);
            written[0].1.1 = Arc::clone(&written[1].1.1);
            written[1].1.1 = first;
        }
        let count = i32::try_from(row.chunks.len()).unwrap_or(i32::MAX);
        if !self.is(Mutant::CommitKeepsTail) {
            self.tables
                .store
                .retain(|(of, place), _| *of != key || *place < count);
        }
        for (place, chunk) in written {
            self.tables.store.insert((key, place), chunk);
        }
        if same {
            self.tables.items.remove(&key);
            self.tables.failed.remove(&key);
            "done"
        } else {
            "changed"
        }
    }

    fn fail(&mut self, claim: i64, rows: &[FailedRow], now: Duration) -> Rows {
        let mut answer = vec![];
        for (row, number) in rows.iter().zip(1_usize..) {
            let key = id(&row.key);
            let outcome = match self.tables.leases.remove(&key) {
                Some(lease) if lease.claim == claim => self.fail_row(key, row, lease, now),
                other => {
                    self.tables.leases.extend(other.map(|lease| (key, lease)));
                    "lost"
                }
            };
            answer.push(vec![text(&number.to_string()), text(outcome)]);
        }
        answer
    }

    fn fail_row(&mut self, key: i64, row: &FailedRow, lease: Lease, now: Duration) -> &'static str {
        let Some(item) = self.tables.items.get(&key) else {
            return "lost";
        };
        if item.generation != row.generation {
            return "changed";
        }
        if let Some(wait) = row.retry_after {
            let failures = lease.failures + lease.attempts;
            let put_off = Lease {
                claim: 0,
                until: now + wait,
                attempts: 0,
                failures,
                ..lease
            };
            self.tables.leases.insert(key, put_off);
        } else {
            self.tables.items.remove(&key);
            self.tables.failed.insert(key, row.reason.clone());
        }
        "done"
    }

    fn release(&mut self, claim: i64, keys: &[Key], now: Duration) -> Rows {
        for key in keys.iter().map(id) {
            let Some(lease) = self
                .tables
                .leases
                .get_mut(&key)
                .filter(|held| held.claim == claim)
            else {
                continue;
            };
            if lease.attempts > 1 || lease.failures > 0 {
                (lease.claim, lease.until) = (0, now);
                lease.attempts -= 1;
            } else {
                self.tables.leases.remove(&key);
            }
        }
        vec![]
    }

    fn extend(&mut self, claim: i64, keys: &[Key], lease: Duration, now: Duration) -> Rows {
        let mut rows = vec![];
        for (key, number) in keys.iter().map(id).zip(1_usize..) {
            if let Some(held) = self
                .tables
                .leases
                .get_mut(&key)
                .filter(|held| held.claim == claim)
            {
                held.until = now + lease;
                rows.push(vec![text(&number.to_string())]);
            }
        }
        rows
    }
}

fn id(key: &Key) -> i64 {
    key.0[0].parse().expect("keys of this world are numbers")
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A time as text that sorts like the time.
fn stamp(at: Duration) -> String {
    format!("{:020}", at.as_micros())
}

fn hash(chunk: &str) -> ChunkHash {
    let mut digits = String::new();
    for byte in Sha256::digest(chunk.as_bytes()) {
        let _ = write!(digits, "{byte:02x}");
    }
    ChunkHash(digits)
}

/// One vectorizer that makes a chunk of every word.
const DEFINITION: &str = r#"{
  "id": 1, "name": "words", "disabled": false, "source_schema": "public", "source_table": "t",
  "source_pk": [{"attname": "id"}], "queue_schema": "ai", "queue_table": "_vectorizer_q_1",
  "queue_failed_table": "_vectorizer_q_failed_1", "vector_schema": "public",
  "lease_found": true, "queue_found": true,
  "columns": [
    {"name": "id", "type": "bigint", "base": "bigint", "equals": "operator(pg_catalog.=)"},
    {"name": "body", "type": "text", "base": "text", "equals": null}],
  "config": {
    "loading": {"implementation": "column", "column_name": "body"},
    "embedding": {"implementation": "ollama", "model": "m", "dimensions": 2},
    "chunking": {"implementation": "character_text_splitter", "chunk_size": 3, "chunk_overlap": 0,
      "separator": " ", "is_separator_regex": false},
    "formatting": {"implementation": "python_template", "template": "$chunk"},
    "destination": {"implementation": "table", "target_schema": "public", "target_table": "s"}
  }}"#;
