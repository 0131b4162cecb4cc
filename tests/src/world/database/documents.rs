//! `ai.vectorizer_document`: when each document was checked last, and which version that was.

use std::collections::BTreeSet;
use std::time::Duration;

use pgai_core::{CheckedDocument, Rows};

use super::protocol::text;
use super::{Database, Item, Mutant, Tables};
use crate::world::Coverage;
use crate::world::library::{DocumentFault, REFRESH};

/// A row of it.
#[derive(Clone, Debug)]
pub(in crate::world) struct Document {
    source: String,
    validator: Option<String>,
    chunks: usize,
    counted_from: Duration,
    /// The item of its last check.
    generation: Option<i64>,
}

impl Tables {
    /// What a read says of the document of a row.
    pub(super) fn document(&self, key: i64) -> Vec<Option<String>> {
        let known = self.documents.get(&key);
        vec![
            known.map(|known| known.source.clone()),
            known.and_then(|known| known.validator.clone()),
            known.map(|known| known.chunks.to_string()),
            known.and_then(|known| known.generation.map(|generation| generation.to_string())),
        ]
    }

    /// The keys whose documents have been checked.
    pub(super) fn checked(&self) -> BTreeSet<i64> {
        self.documents.keys().copied().collect()
    }
}

impl Database {
    /// A row is finished.
    pub(super) fn check_done(
        &mut self,
        key: i64,
        checked: Option<&CheckedDocument>,
        chunks: usize,
        now: Duration,
    ) {
        if !self.has_documents || self.is(Mutant::CommitForgetsDocuments) {
            return;
        }
        match checked {
            Some(CheckedDocument { source, validator }) => {
                let document = Document {
                    source: source.clone(),
                    validator: validator.clone(),
                    chunks,
                    counted_from: now,
                    generation: None,
                };
                self.write().documents.insert(key, document);
            }
            None => {
                self.write().documents.remove(&key);
            }
        }
    }

    /// A row is given up: its document may come.
    pub(super) fn check_given_up(&mut self, key: i64, now: Duration) {
        if !self.has_documents {
            return;
        }
        let document = Document {
            source: String::new(),
            validator: None,
            chunks: 0,
            counted_from: now,
            generation: None,
        };
        let known = self.write().documents.entry(key).or_insert(document);
        known.counted_from = now;
    }

    /// Queues what is due.
    pub(super) fn refresh(&mut self, now: Duration, coverage: &mut Coverage) -> Rows {
        let documents = self.tables.documents.iter();
        let due = documents.filter(|(_, known)| known.counted_from + REFRESH <= now);
        let due: Vec<i64> = due.map(|(key, _)| *key).collect();
        let mut queued = 0_u64;
        for key in due {
            // An item that is there stands for a change of the row, and a row that was given up for its text waits for
            // somebody.
            let given_up = self.tables.failed.get(&key);
            let is_left_out = self.tables.items.contains_key(&key)
                || given_up.is_some_and(|reason| !DocumentFault::is_reason(reason))
                || self.is(Mutant::RefreshQueuesNothing);
            let generation = (!is_left_out).then(|| {
                self.generations += 1;
                queued += 1;
                let item = Item {
                    generation: self.generations,
                    queued_at: now,
                    retries: 0,
                    retry_after: None,
                };
                self.write().items.insert(key, item);
                self.generations
            });
            if let Some(known) = self.write().documents.get_mut(&key) {
                known.counted_from = now;
                known.generation = generation.or(known.generation);
            }
        }
        coverage.checks += queued;
        vec![vec![text(&queued.to_string()), text("false"), None]]
    }
}
