//! What the answers of a resync's statements do, and their failures.

use std::sync::Arc;

use super::super::compare::{CompareRows, ComparedRows};
use super::{
    BARRIER, Pass, Progress, QUEUED_AT_ONCE, STILL_WRITING, Stage, Step, WAITING_MAX, add_note,
};
use crate::query::{Key, ReadRow, Rows, Unreadable, first_key, is_so, numbers};
use crate::random::Random;
use crate::resync::{ComparedPiece, Different, ResyncCounts, ResyncState};
use crate::retry;
use crate::sql::Depth;
use crate::time::Time;

impl Pass {
    /// Takes the answer to a statement. A save is not mine any more if the answer is empty.
    pub(in crate::worker) fn answered(
        &mut self,
        step: Step,
        rows: Rows,
        now: Time,
        random: &mut Random,
    ) -> Result<Progress, Unreadable> {
        self.query_out = false;
        self.not_before = Time::ZERO;
        self.troubles = 0;
        match step {
            Step::Barrier => self.passed(is_so(rows)?, now, random),
            Step::Bound => {
                self.bound = first_key(rows, self.profile.plan.key_columns);
                self.stage = Stage::Compare;
            }
            Step::Compare { asked } => {
                self.size.took(now.since(asked));
                let columns = self.profile.plan.key_columns;
                self.compared(ComparedPiece::new(rows, columns)?);
            }
            Step::Queue(keys) => {
                self.found.drain(..keys.len());
                self.waiting.extend(keys);
                return Ok(Progress::Queued);
            }
            Step::Queued => self.looked_at(numbers(rows)?, now, random),
            Step::Read(keys) => {
                let columns = self.profile.format.columns().len();
                self.read(keys, ReadRow::all(rows, columns)?);
            }
            Step::Renew => self.stage = Stage::Bound,
            Step::Save {
                asked,
                is_step,
                gives_back,
            } => {
                let is_mine = !rows.is_empty();
                let is_over = is_step && self.standing.state != ResyncState::Running;
                if !is_mine || gives_back || is_over {
                    self.stage = Stage::Over;
                    return Ok(Progress::Over);
                }
                self.held_until = asked + self.lease;
                if is_step {
                    self.stage = Stage::Bound;
                }
            }
        }
        Ok(Progress::Same)
    }

    fn passed(&mut self, is_over: bool, now: Time, random: &mut Random) {
        let Stage::Barrier { since, asked, .. } = &mut self.stage else {
            return;
        };
        if is_over {
            self.stage = Stage::Renew;
        } else if now.since(*since) >= BARRIER {
            add_note(&mut self.standing, STILL_WRITING);
            self.stage = Stage::Renew;
        } else {
            *asked += 1;
            self.not_before = now + retry::LOCKED.wait(*asked, random);
        }
    }

    fn compared(&mut self, piece: ComparedPiece) {
        self.counts = ResyncCounts {
            rows: piece.rows,
            ..ResyncCounts::default()
        };
        self.found.clear();
        self.unread.clear();
        for (why, key) in piece.different {
            let count = match why {
                Different::Missing => &mut self.counts.missing,
                Different::Orphan => &mut self.counts.orphans,
                Different::Stale => &mut self.counts.stale,
                // What its document says is known only after it was loaded.
                Different::Unread if self.profile.documents.is_some() => &mut self.counts.stale,
                Different::Unread => {
                    self.unread.push_back(key);
                    continue;
                }
            };
            *count += 1;
            self.found.push_back(key);
        }
        self.stage = Stage::Settle;
    }

    fn read(&mut self, keys: Vec<Key>, rows: Vec<ReadRow>) {
        let rows = CompareRows {
            profile: Arc::clone(&self.profile),
            rows,
            limits: self.limits,
        };
        self.comparing = keys;
        self.work = Some(Box::new(rows.into()));
    }

    /// Rows whose chunks are not those of their texts are queued. So is one that cannot be compared: the
    /// worker that claims it will say why.
    pub(in crate::worker) fn rows_compared(&mut self, compared: &ComparedRows) {
        let keys = std::mem::take(&mut self.comparing);
        for (number, is_stored) in &compared.different {
            let Some(key) = number.checked_sub(1).and_then(|at| keys.get(at)) else {
                continue;
            };
            if *is_stored {
                self.counts.stale += 1;
            } else {
                self.counts.missing += 1;
            }
            self.found.push_back(key.clone());
        }
        self.unread.drain(..compared.count.min(self.unread.len()));
        if compared.count == 0 {
            self.found.extend(self.unread.pop_front());
        }
    }

    fn looked_at(&mut self, mut numbers: Vec<usize>, now: Time, random: &mut Random) {
        let before = self.waiting.len();
        numbers.sort_unstable();
        let keys = std::mem::take(&mut self.waiting);
        let still = |number: &usize| numbers.binary_search(number).is_ok();
        let keys = keys.into_iter().zip(1_usize..);
        self.waiting = keys
            .filter(|(_, at)| still(at))
            .map(|(key, _)| key)
            .collect();
        let next = self.found.len().min(QUEUED_AT_ONCE);
        if self.waiting.len() + next <= WAITING_MAX {
            self.full = 0;
            return;
        }
        self.full = if self.waiting.len() < before {
            1
        } else {
            self.full + 1
        };
        self.not_before = now + retry::LOCKED.wait(self.full, random);
    }

    /// A statement met something of the moment, or nobody knows whether it ran: it is asked again.
    pub(in crate::worker) fn again(&mut self, now: Time, was_cancelled: bool, random: &mut Random) {
        self.query_out = false;
        self.troubles += 1;
        self.not_before = now + retry::LOCKED.wait(self.troubles, random);
        if was_cancelled {
            // It was too much for the server.
            self.read_at_once = (self.read_at_once / 2).max(1);
            if matches!(self.stage, Stage::Bound | Stage::Compare) {
                self.size.shrink();
                self.stage = Stage::Bound;
            }
        }
    }

    /// A statement was refused for what it read. Says whether there is another way.
    pub(in crate::worker) fn has_another_way(&mut self, step: &Step) -> bool {
        self.query_out = false;
        match (step, self.depth) {
            (Step::Compare { .. }, Depth::Hashes | Depth::Keys)
                if self.profile.plan.resync.stores_texts() =>
            {
                // A text that the server cannot make is one row's affair: each is read.
                self.set_depth(Depth::Listed);
                self.stage = Stage::Bound;
                true
            }
            (Step::Read(keys), _) if keys.len() > 1 => {
                self.read_at_once = (keys.len() / 2).max(1);
                true
            }
            (Step::Read(_), _) => {
                self.counts.stale += 1;
                self.found.extend(self.unread.pop_front());
                true
            }
            _ => false,
        }
    }

    pub(in crate::worker) const fn unanswered(&mut self) {
        self.query_out = false;
    }
}
