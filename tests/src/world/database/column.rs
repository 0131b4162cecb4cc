//! The worker's commit where a column of the source holds the vectors: it writes the source row, so
//! that a transaction with an older snapshot of it fails.

use std::sync::Arc;

use pgai_core::{CommitChunk, CommitRow};

use super::{Database, Mutant, Tables};
use crate::world::provider::vector_for;

impl Database {
    pub(super) fn commit_column(
        &mut self,
        claim: i64,
        key: i64,
        row: &CommitRow,
        snapshot: &Tables,
    ) -> &'static str {
        if !self.holds(claim, key) {
            return "lost";
        }
        let found = self.tables.source.contains_key(&key);
        if snapshot.source.contains_key(&key) && !found {
            // Deleted since the snapshot: neither is there a row to lock, nor is it known to be gone.
            return "busy";
        }
        self.write().leases.remove(&key);
        self.ledger.committed(key, claim);
        let generation = self.tables.items[&key].generation;
        let same = generation == row.generation || self.is(Mutant::CommitIgnoresGeneration);
        // A row that came after the snapshot is not there for this statement.
        let is_live = found && snapshot.source.contains_key(&key);
        if is_live && (same || self.is(Mutant::CommitWritesChanged)) {
            self.write_column(key, row);
        }
        if !same {
            return "changed";
        }
        if !self.is(Mutant::CommitKeepsItem) {
            self.write().items.remove(&key);
        }
        self.write().failed.remove(&key);
        "done"
    }

    /// Takes the vector out of a row; says whether there was one.
    pub(super) fn clear_column(&mut self, key: i64) -> bool {
        let tables = self.write();
        let had_one = tables.vectors.remove(&key).is_some();
        if let Some(text) = tables.source.get_mut(&key).filter(|_| had_one) {
            // Another version of the row.
            *text = Arc::from(&**text);
        }
        had_one
    }

    fn write_column(&mut self, key: i64, row: &CommitRow) {
        let keeps = self.is(Mutant::CommitKeepsVector);
        let model = self.tables.model();
        let current = self.tables.source.get(&key);
        let wanted = current.map(|text| self.tables.text(text));
        let tables = self.write();
        let vector = row.chunks.iter().find_map(|chunk| match chunk {
            CommitChunk::Write { vector, .. } => Some(Arc::clone(vector)),
            CommitChunk::Keep(_) | CommitChunk::Move { .. } => None,
        });
        let Some(text) = tables.source.get_mut(&key) else {
            return;
        };
        match vector {
            Some(vector) => {
                let wanted = wanted.unwrap_or_default();
                if Some(&vector) != model.map(|model| vector_for(&model, &wanted)).as_ref() {
                    tables.misled = Some((key, (wanted.into(), Arc::clone(&vector))));
                }
                tables.vectors.insert(key, vector);
            }
            None if !tables.vectors.contains_key(&key) || keeps => {
                return;
            }
            None => {
                tables.vectors.remove(&key);
            }
        }
        // Another version of the row.
        *text = Arc::from(&**text);
    }
}
