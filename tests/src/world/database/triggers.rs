//! What the application writes, and what the triggers do then.

use std::sync::Arc;
use std::time::Duration;

use super::{Database, Destination, Item, Mutant, Tables};

/// What the application does in one statement.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Inserts a row, or updates it.
    Put {
        /// Its key.
        key: i64,
        /// Its text.
        text: String,
    },
    /// Deletes a row.
    Delete {
        /// Its key.
        key: i64,
    },
    /// Deletes a row and inserts it again.
    DeleteAndInsert {
        /// Its key.
        key: i64,
        /// Its new text.
        text: String,
    },
    /// Takes a chunk of a row in work out of the store, behind the worker's back.
    Damage {
        /// Which one, as often round as it takes.
        nth: usize,
    },
    /// Gives a row another key, if that is free.
    ChangeKey {
        /// Its key.
        from: i64,
        /// The new one.
        to: i64,
    },
}

impl Edit {
    /// The rows that it writes to.
    fn keys(&self) -> Vec<i64> {
        match self {
            Self::ChangeKey { from, to } => vec![*from, *to],
            Self::Damage { .. } => vec![],
            Self::Delete { key } | Self::DeleteAndInsert { key, .. } | Self::Put { key, .. } => {
                vec![*key]
            }
        }
    }
}

/// How the application's transaction sees the tables.
#[derive(Clone, Debug)]
pub(in crate::world) enum Isolation {
    /// Each statement sees what is committed.
    ReadCommitted,
    /// All statements see what was committed when the transaction began.
    RepeatableRead(Arc<Tables>),
}

impl Database {
    /// Runs a statement of the application with its triggers; says whether it did anything.
    pub(in crate::world) fn apply(
        &mut self,
        edit: &Edit,
        isolation: &Isolation,
        now: Duration,
    ) -> bool {
        // It would wait for the transaction that has written to the row: it comes some other time.
        if edit.keys().iter().any(|key| self.is_held(*key)) {
            return false;
        }
        let now = self.clock(now);
        if let Isolation::RepeatableRead(snapshot) = isolation
            && !self.may_write(edit, snapshot)
        {
            return false;
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
                    self.queue(*key, now);
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
                self.queue(*key, now);
                if existed {
                    // The trigger for DELETE comes second: it is the outer statement's.
                    self.deleted(*key, isolation, now);
                }
            }
            Edit::ChangeKey { from, to } => {
                return self.change_key(*from, *to, isolation, now);
            }
        }
        true
    }

    fn change_key(&mut self, from: i64, to: i64, isolation: &Isolation, now: Duration) -> bool {
        let taken = self.tables.source.contains_key(&to);
        let Some(text) = self.tables.source.get(&from).filter(|_| !taken).cloned() else {
            return false;
        };
        let tables = self.write();
        tables.source.remove(&from);
        tables.source.insert(to, text);
        if let Some(vector) = tables.vectors.remove(&from) {
            tables.vectors.insert(to, vector);
        }
        // The items of one statement have times of their own.
        let at = |key: i64| now + Duration::from_micros(key.unsigned_abs());
        if !self.is(Mutant::KeyChangeForgetsNewKey) {
            self.queue(to, at(to));
        }
        if !self.is(Mutant::KeyChangeForgetsOldKey) {
            self.deleted(from, isolation, at(from));
        }
        true
    }

    /// Whether a transaction with an older snapshot may do this. The first updater wins: PostgreSQL
    /// reports 40001, and the application tries again some other time.
    fn may_write(&self, edit: &Edit, snapshot: &Tables) -> bool {
        let keys = edit.keys();
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
        let is_free = keys.iter().all(|key| same(key) && queued(key));
        let others = snapshot.beside().zip(self.tables.beside());
        let is_free_beside = others.is_none_or(|(snapshot, current)| {
            let items = |key| (snapshot.items.get(key), current.items.get(key));
            keys.iter().map(items).all(|items| match items {
                (_, None) => true,
                (Some(seen), Some(current)) => seen.generation == current.generation,
                (None, Some(_)) => false,
            })
        });
        is_free && is_free_beside
    }

    /// The same past all triggers, as where they are disabled. In a column nothing tells whether a
    /// vector is that of its row's text: there only such statements run as leave none of another text.
    pub(in crate::world) fn apply_past_triggers(&mut self, edit: &Edit, now: Duration) -> bool {
        let tables = &self.tables;
        let is_in_work = |key: &i64| tables.items.contains_key(key);
        let is_visible = match edit {
            Edit::ChangeKey { from, to } => !is_in_work(from) && !is_in_work(to),
            Edit::Damage { .. } => false,
            Edit::Delete { key } | Edit::DeleteAndInsert { key, .. } => !is_in_work(key),
            Edit::Put { key, text } => {
                !is_in_work(key) && (text.is_empty() || !tables.vectors.contains_key(key))
            }
        };
        if self.destination == Destination::Column && !is_visible {
            return false;
        }
        self.is_past_triggers = true;
        let done = self.apply(edit, &Isolation::ReadCommitted, now);
        self.is_past_triggers = false;
        done
    }

    /// Queues all rows of the failed table again, as an operator would.
    pub(in crate::world) fn retry_failed(&mut self, now: Duration) {
        let now = self.clock(now);
        self.retry_failed_here(now);
        self.beside(|database| database.retry_failed_here(now));
    }

    fn retry_failed_here(&mut self, now: Duration) {
        for key in std::mem::take(&mut self.write().failed).into_keys() {
            self.enqueue(key, now);
        }
    }

    /// What the triggers of one generation do, if there are any.
    pub(super) fn enqueue(&mut self, key: i64, now: Duration) {
        let Some(vectorizer) = self.tables.vectorizer.filter(|_| !self.is_past_triggers) else {
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

    /// The triggers for a key that a row no longer has.
    fn deleted(&mut self, key: i64, isolation: &Isolation, now: Duration) {
        self.unfilled.remove(&key);
        self.deleted_here(key, isolation, now);
        if self.is_followed() {
            self.beside(|database| database.deleted_here(key, isolation, now));
        }
    }

    fn deleted_here(&mut self, key: i64, isolation: &Isolation, now: Duration) {
        if self.tables.vectorizer.is_none() || self.is_past_triggers {
            return;
        }
        if self.is(Mutant::DeleteRemovesItem) {
            let gone = !self.tables.source.contains_key(&key);
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
        // The trigger does not look whether the row is there again.
        if matches!(isolation, Isolation::ReadCommitted) {
            self.write().store.retain(|place, _| place.0 != key);
        }
    }
}
