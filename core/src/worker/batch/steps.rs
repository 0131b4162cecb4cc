//! The next statement of a batch: which rows are ready for what.

use std::sync::Arc;
use std::time::Duration;

use super::{Batch, Planned, RowState, RowWork, Step};
use crate::query::{CommitChunk, CommitRow, FailedRow, Key, Query};
use crate::random::Random;
use crate::retry;
use crate::reuse::Piece;
use crate::time::Time;

impl Batch {
    /// The next statement, if one is due.
    pub(in crate::worker) fn next_query(
        &mut self,
        now: Time,
        lease: Duration,
        timeout: Duration,
        commit_max: usize,
        random: &mut Random,
    ) -> Option<(Step, Query)> {
        if self.query_out || now < self.not_before {
            return None;
        }
        // A row that somebody holds must not keep the others from being read or given back.
        let is_stuck = self.troubles > 0;
        let extend = (!self.leaving).then(|| self.extend(now, lease, timeout));
        let next = extend
            .flatten()
            .or_else(|| is_stuck.then(|| self.release().or_else(|| self.read()))?)
            .or_else(|| self.commit(commit_max))
            .or_else(|| self.fail(random))
            .or_else(|| self.release())
            .or_else(|| self.read());
        self.query_out = next.is_some();
        next
    }

    fn numbers(&self, of: impl Fn(&RowState) -> bool) -> Vec<usize> {
        let rows = self.rows.iter().enumerate();
        rows.filter(|(_, row)| of(&row.state))
            .map(|(at, _)| at)
            .collect()
    }

    /// As many of these rows as one statement may hold.
    fn some_of(&self, mut rows: Vec<usize>) -> Vec<usize> {
        if self.one_by_one {
            rows.truncate(1);
        }
        rows
    }

    fn keys(&self, rows: &[usize]) -> Vec<Key> {
        rows.iter().map(|at| self.rows[*at].key.clone()).collect()
    }

    /// Whether vectors are still to come.
    fn expects_vectors(&self) -> bool {
        let spans_count = !self.draining && self.spans.iter().any(|span| !span.is_doubtful());
        // What is doubtful may take long: what is finished is not kept waiting for it.
        self.requests_out > usize::from(self.is_trying()) || spans_count
    }

    fn is_ready(&self, state: &RowState) -> bool {
        let RowState::Planned(pieces) = state else {
            return false;
        };
        pieces.iter().all(|piece| match piece {
            Planned::Input(at, _) => self.inputs[*at].vector.is_some(),
            Planned::Stored(_) => true,
        })
    }

    /// The chunks that these rows shall have; a row without any counts, too.
    pub(in crate::worker) fn chunks(&self, rows: &[usize]) -> usize {
        let size = |at: &usize| match &self.rows[*at].state {
            RowState::Planned(pieces) => pieces.len().max(1),
            RowState::Failed(_)
            | RowState::Over
            | RowState::Read
            | RowState::Undecided(..)
            | RowState::Unread => 0,
        };
        rows.iter().map(size).sum()
    }

    /// Finished rows, at most `chunks_max` chunks unless one row alone has more. Few are worth a
    /// commit only when nothing more is on its way.
    fn commit(&self, chunks_max: usize) -> Option<(Step, Query)> {
        let ready = self.some_of(self.numbers(|state| self.is_ready(state)));
        let are_few = self.chunks(&ready) < self.limits.chunks.min(chunks_max);
        if ready.is_empty() || (are_few && self.expects_vectors() && !self.leaving) {
            return None;
        }
        let mut room = chunks_max;
        let mut rows = vec![];
        for at in ready {
            let size = self.chunks(&[at]);
            if !rows.is_empty() && size > room {
                break;
            }
            room = room.saturating_sub(size);
            rows.push(at);
        }
        let query = Query::Commit {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            rows: rows
                .iter()
                .map(|at| self.commit_row(&self.rows[*at]))
                .collect(),
        };
        Some((Step::Commit(rows), query))
    }

    fn commit_row(&self, row: &RowWork) -> CommitRow {
        let pieces = match &row.state {
            RowState::Planned(pieces) => pieces.as_slice(),
            RowState::Failed(_)
            | RowState::Over
            | RowState::Read
            | RowState::Undecided(..)
            | RowState::Unread => &[],
        };
        let chunks = pieces.iter().filter_map(|piece| match piece {
            Planned::Input(at, location) => {
                let input = &self.inputs[*at];
                let vector = Arc::clone(input.vector.as_ref()?);
                Some(CommitChunk::Write {
                    text: Arc::clone(&input.text),
                    location: location.clone(),
                    vector,
                })
            }
            Planned::Stored(Piece::Keep(hash)) => Some(CommitChunk::Keep(hash.clone())),
            Planned::Stored(Piece::Move { chunk, from, hash }) => Some(CommitChunk::Move {
                text: Arc::clone(&chunk.text),
                location: chunk.location.clone(),
                from: *from,
                hash: hash.clone(),
            }),
            Planned::Stored(Piece::New(_)) => None,
        });
        CommitRow {
            key: row.key.clone(),
            generation: row.generation,
            chunks: chunks.collect(),
            document: row.document.clone(),
        }
    }

    fn fail(&self, random: &mut Random) -> Option<(Step, Query)> {
        let keeping = |keeps| {
            self.numbers(
                |state| matches!(state, RowState::Failed(failure) if failure.keeps_vector == keeps),
            )
        };
        // Those whose vectors cannot be cleared take no others with them.
        let (rows, clears) = match keeping(true) {
            rows if rows.is_empty() => (keeping(false), true),
            rows => (rows, false),
        };
        let rows = self.some_of(rows);
        if rows.is_empty() {
            return None;
        }
        let mut waits = vec![];
        let mut failed = vec![];
        for at in rows {
            let row = &self.rows[at];
            let RowState::Failed(failure) = &row.state else {
                continue;
            };
            let again = row.attempts < self.profile.attempts_max && !failure.is_final;
            let retry_after = again.then(|| retry::ITEM.wait(row.attempts, random));
            waits.push((at, retry_after));
            failed.push(FailedRow {
                key: row.key.clone(),
                generation: row.generation,
                retry_after,
                step: failure.step,
                reason: failure.reason.clone(),
                message: failure.message,
                details: failure.details(&self.profile, &row.key, again),
            });
        }
        let any_given_up = failed.iter().any(|row| row.retry_after.is_none());
        let query = Query::Fail {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            rows: failed,
            clears: clears && any_given_up,
        };
        Some((Step::Fail(waits), query))
    }

    fn release(&self) -> Option<(Step, Query)> {
        let done_waiting = self.leaving || (self.draining && self.requests_out == 0);
        let rows = self.numbers(|state| match state {
            // These are still being written, unless there is no time for that.
            RowState::Failed(_) => self.leaving,
            RowState::Planned(_) => self.leaving || !self.is_ready(state),
            RowState::Read | RowState::Undecided(..) | RowState::Unread => true,
            RowState::Over => false,
        });
        if !done_waiting || rows.is_empty() {
            return None;
        }
        let query = Query::Release {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            keys: self.keys(&rows),
        };
        Some((Step::Release, query))
    }

    fn extend(&self, now: Time, lease: Duration, timeout: Duration) -> Option<(Step, Query)> {
        if now < self.extend_at(timeout) {
            return None;
        }
        let rows = self.numbers(|state| !matches!(state, RowState::Over));
        let query = Query::Extend {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            keys: self.keys(&rows),
            lease,
        };
        (!rows.is_empty()).then_some((Step::Extend { rows, asked: now }, query))
    }

    /// Unread rows, once the rows of the last read are out of the way, or wait for a lock only: that
    /// bounds the memory.
    fn read(&self) -> Option<(Step, Query)> {
        let rows = self.some_of(self.numbers(|state| matches!(state, RowState::Unread)));
        let is_waiting = |row: &RowWork| match &row.state {
            RowState::Planned(_) => !self.is_ready(&row.state),
            RowState::Undecided(..) => true,
            RowState::Failed(_) | RowState::Over | RowState::Read | RowState::Unread => false,
        };
        let is_asking = self.requests_out > 0 || !self.spans.is_empty();
        if rows.is_empty()
            || is_asking
            || self.is_planning()
            || self.draining
            || self.rows.iter().any(is_waiting)
        {
            return None;
        }
        let query = Query::Read {
            plan: Arc::clone(&self.profile.plan),
            keys: self.keys(&rows),
            bytes_max: self.limits.bytes,
        };
        Some((Step::Read(rows), query))
    }
}
