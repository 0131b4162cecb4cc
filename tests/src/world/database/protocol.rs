//! The worker's statements, on the model's tables.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use pgai_core::{ChunkHash, CommitChunk, CommitRow, DbError, FailedRow, Key, Query, Rows};
use sha2::{Digest, Sha256};

use super::claim::Claim;
use super::{Chunk, Database, Destination, Lease, Mutant, Tables};
use crate::world::Coverage;
use crate::world::provider::is_stumbling;

impl Database {
    /// Runs a worker's statement that began with `snapshot`.
    pub(in crate::world) fn finish(
        &mut self,
        query: &Query,
        snapshot: &Tables,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Result<Rows, DbError> {
        let now = self.clock(now);
        if let Some(error) = self.undefined_table(query) {
            coverage.undefined_tables += 1;
            return Err(error);
        }
        if matches!(query, Query::Claim { .. }) && !self.is_planned_for(query, snapshot) {
            coverage.stale_claims += 1;
            return Ok(vec![]);
        }
        Ok(self.finish_where_it_belongs(query, snapshot, now, coverage))
    }

    /// What a statement does to the tables that it is about.
    pub(super) fn act(
        &mut self,
        query: &Query,
        snapshot: &Tables,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        match query {
            Query::AcceptTexts {
                vectorizer,
                digests,
            } => {
                let accepted = self.accept_texts(*vectorizer, digests, now);
                vec![vec![text(&accepted.to_string())]]
            }
            Query::AddUsage(_)
            | Query::Bell { .. }
            | Query::RecordErrors(_)
            | Query::Heartbeat(_) => vec![],
            Query::Change { generation } => self.advance(*generation, now, coverage),
            Query::CheckSchema => vec![vec![text("0.12.1"), text("1")]],
            Query::Claim {
                plan,
                claim,
                lease,
                since,
                suspects,
                ..
            } => {
                let wanted = Claim {
                    claim: claim.0,
                    rows: plan.rows,
                    lease: *lease,
                    since: since.as_deref(),
                    suspects: *suspects,
                };
                self.claim(&wanted, snapshot, now, coverage)
            }
            Query::Command { .. } => unreachable!("no operator asks here"),
            Query::Commit { claim, rows, .. } => {
                self.commit(claim.0, rows, (snapshot, now), coverage)
            }
            Query::Extend {
                claim, keys, lease, ..
            } => self.extend(claim.0, keys, *lease, now, coverage),
            Query::Fail {
                claim,
                rows,
                clears,
                ..
            } => self.fail(claim.0, rows, *clears, (snapshot, now), coverage),
            Query::Index(_) => unreachable!("no vectorizer here wants an index"),
            Query::LoadVectorizers { .. } => self.list(snapshot),
            Query::Read {
                keys, bytes_max, ..
            } => self.read(keys, *bytes_max, snapshot),
            Query::Refresh { .. } => self.refresh(now, coverage),
            Query::Release { claim, keys, .. } => self.release(claim.0, keys, now),
            Query::Resync(query) => self.resync(query, snapshot, now, coverage),
            Query::StartWorker { .. } => vec![vec![text("a worker")]],
            Query::TakeBudget { .. } => unreachable!("nobody sets a ceiling here"),
            Query::Waiting { .. } => vec![vec![text(&self.tables.items.len().to_string())]],
        }
    }

    fn read(&self, keys: &[Key], bytes_max: usize, snapshot: &Tables) -> Rows {
        let mut rows = vec![];
        let mut bytes = 0;
        for (key, number) in keys.iter().map(id).zip(1_usize..) {
            let seen = match self.claim_snapshots.get(&key) {
                Some(claimed) if self.is(Mutant::ReadWithClaimSnapshot) => claimed,
                _ => snapshot,
            };
            let source = match self.mutant {
                Some(Mutant::ReadLosesRows) if number == 2 => None,
                Some(Mutant::ReadMixesUpRows) if number == 2 => seen.source.get(&id(&keys[0])),
                _ => seen.source.get(&key),
            };
            // The first row always comes.
            if bytes >= bytes_max {
                break;
            }
            bytes += source.map_or(0, |source| source.len());
            let mut stored = String::new();
            for ((_, place), (chunk, _)) in self.stored(seen, key) {
                let comma = if stored.is_empty() { "" } else { "," };
                let _ = write!(stored, "{comma}{place}:{}", hash(chunk).0);
            }
            rows.push(vec![
                text(&number.to_string()),
                text(if source.is_some() { "true" } else { "false" }),
                source.map(|source| source.to_string()),
                (!stored.is_empty()).then_some(stored),
            ]);
            if let Some(row) = rows.last_mut().filter(|_| self.has_documents) {
                row.extend(seen.document(key));
            }
        }
        rows
    }

    /// The chunks of a row.
    fn stored<'a>(
        &self,
        seen: &'a Tables,
        key: i64,
    ) -> impl Iterator<Item = (&'a (i64, i32), &'a Chunk)> + use<'a> {
        let places = (key, 0)..=(key, i32::MAX);
        let other = seen
            .other
            .as_ref()
            .filter(|_| self.is(Mutant::OtherVectorsAreReused));
        let store = match other {
            Some(other) if seen.store.range(places.clone()).next().is_none() => &other.store,
            Some(_) | None => &seen.store,
        };
        store.range(places)
    }

    pub(super) fn holds(&self, claim: i64, key: i64) -> bool {
        let held = self
            .tables
            .leases
            .get(&key)
            .is_some_and(|held| held.claim == claim || self.is(Mutant::CommitIgnoresLease));
        held && self.tables.items.contains_key(&key)
    }

    /// Whether a row of this claim is one that an open transaction has locked.
    fn is_busy(&self, claim: i64, key: i64) -> bool {
        self.is_held(key) && self.holds(claim, key)
    }

    fn commit(
        &mut self,
        claim: i64,
        rows: &[CommitRow],
        (snapshot, now): (&Tables, Duration),
        coverage: &mut Coverage,
    ) -> Rows {
        let mut answer = vec![];
        for (row, number) in rows.iter().zip(1_usize..) {
            let key = id(&row.key);
            let outcome = match self.destination {
                _ if self.is_busy(claim, key) => "busy",
                Destination::Column => self.commit_column(claim, key, row, snapshot),
                Destination::Table => self.commit_row(claim, key, row, snapshot),
            };
            match outcome {
                "busy" => coverage.busy += 1,
                "changed" => coverage.changed += 1,
                "lost" => coverage.lost += 1,
                "done" => {
                    let (document, chunks) = (row.document.as_ref(), row.chunks.len());
                    self.check_done(key, document, chunks, now);
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
        self.write().leases.remove(&key);
        self.ledger.committed(key, claim);
        let item = &self.tables.items[&key];
        let same = item.generation == row.generation || self.is(Mutant::CommitIgnoresGeneration);
        let origin = |place: i32, wanted: &ChunkHash| {
            let mut stored = self.stored(snapshot, key);
            let stored = stored.find(|(at, _)| at.1 == place).map(|(_, chunk)| chunk);
            stored.filter(|(chunk, _)| {
                hash(chunk) == *wanted || self.is(Mutant::CommitMovesUnchecked)
            })
        };
        let mut written = vec![];
        for (chunk, place) in row.chunks.iter().zip(0_i32..) {
            match chunk {
                CommitChunk::Keep(wanted) => match origin(place, wanted) {
                    Some(chunk) if self.is(Mutant::OtherVectorsAreReused) => {
                        written.push((place, chunk.clone()));
                    }
                    None if !self.is(Mutant::CommitMovesUnchecked) => return "edited",
                    Some(_) | None => {}
                },
                CommitChunk::Move {
                    text, from, hash, ..
                } => match origin(*from, hash) {
                    Some((_, vector)) => {
                        written.push((place, (Arc::clone(text), Arc::clone(vector))))
                    }
                    None if self.is(Mutant::CommitMovesUnchecked) => {}
                    None => return "edited",
                },
                CommitChunk::Write { text, vector, .. } => {
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
            self.write()
                .store
                .retain(|(of, place), _| *of != key || *place < count);
        }
        for (place, chunk) in written {
            self.write().store.insert((key, place), chunk);
        }
        if same {
            if !self.is(Mutant::CommitKeepsItem) {
                self.write().items.remove(&key);
            }
            self.write().failed.remove(&key);
            "done"
        } else {
            "changed"
        }
    }

    fn fail(
        &mut self,
        claim: i64,
        rows: &[FailedRow],
        clears: bool,
        (snapshot, now): (&Tables, Duration),
        coverage: &mut Coverage,
    ) -> Rows {
        let mut answer = vec![];
        let clears = clears && self.destination == Destination::Column;
        for (row, number) in rows.iter().zip(1_usize..) {
            let key = id(&row.key);
            let was_there = snapshot.source.contains_key(&key);
            let clears = clears && row.retry_after.is_none() && was_there;
            // Neither is there a row to lock then, nor is it known to be gone.
            let is_going = clears && !self.tables.source.contains_key(&key);
            if self.is_busy(claim, key) || is_going && self.holds(claim, key) {
                answer.push(vec![text(&number.to_string()), text("busy")]);
                continue;
            }
            let outcome = match self.write().leases.remove(&key) {
                Some(lease) if lease.claim == claim || self.is(Mutant::FailIgnoresLease) => {
                    self.fail_row(claim, key, row, lease, now)
                }
                other => {
                    self.write().leases.extend(other.map(|lease| (key, lease)));
                    "lost"
                }
            };
            let is_last = outcome == "done" && row.retry_after.is_none();
            if is_last && clears && !self.is(Mutant::FailKeepsVector) {
                coverage.cleared += u64::from(self.clear_column(key));
            }
            coverage.dead_letters += u64::from(is_last);
            answer.push(vec![text(&number.to_string()), text(outcome)]);
        }
        answer
    }

    fn fail_row(
        &mut self,
        claim: i64,
        key: i64,
        row: &FailedRow,
        lease: Lease,
        now: Duration,
    ) -> &'static str {
        let Some(item) = self.tables.items.get(&key) else {
            return "lost";
        };
        let generation = item.generation;
        if generation != row.generation && !self.is(Mutant::FailIgnoresGeneration) {
            self.ledger.released(key, claim);
            return "changed";
        }
        let text = self.tables.source.get(&key);
        let stumbles = text.is_some_and(|text| is_stumbling(text));
        self.ledger.blamed(key, claim, &row.reason, stumbles);
        let until = row.retry_after.map(|wait| now + wait);
        self.ledger
            .failed(key, claim, generation, row.generation, until);
        if self.is(Mutant::FailForgetsItem) {
            self.write().items.remove(&key);
            return "done";
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
            self.write().leases.insert(key, put_off);
        } else {
            self.write().items.remove(&key);
            self.check_given_up(key, now);
            if !self.is(Mutant::GivenUpRowsAreForgotten) {
                self.write().failed.insert(key, row.reason.clone());
            }
        }
        "done"
    }

    fn release(&mut self, claim: i64, keys: &[Key], now: Duration) -> Rows {
        let keeps_attempts = self.is(Mutant::AttemptsAreNotGivenBack);
        let mut released = 0_usize;
        for key in keys.iter().map(id) {
            let held = self.tables.leases.get(&key);
            if held.is_none_or(|held| held.claim != claim) {
                continue;
            }
            released += 1;
            self.ledger.released(key, claim);
            if self.is(Mutant::ReleaseDoesNothing) {
                continue;
            }
            let leases = &mut self.write().leases;
            let Some(lease) = leases.get_mut(&key) else {
                continue;
            };
            if keeps_attempts {
                (lease.claim, lease.until) = (0, now);
            } else if lease.attempts > 1 || lease.failures > 0 {
                (lease.claim, lease.until) = (0, now);
                lease.attempts -= 1;
            } else {
                leases.remove(&key);
            }
        }
        vec![vec![text(&released.to_string())]]
    }

    fn extend(
        &mut self,
        claim: i64,
        keys: &[Key],
        lease: Duration,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        let mut rows = vec![];
        let any = self.is(Mutant::ExtendIgnoresLease);
        let nothing = self.is(Mutant::ExtendDoesNothing);
        for (key, number) in keys.iter().map(id).zip(1_usize..) {
            let held = self.write().leases.get_mut(&key);
            if let Some(held) = held.filter(|held| held.claim == claim || any) {
                if !nothing {
                    held.until = now + lease;
                }
                coverage.extended += 1;
                self.ledger.extended(key, claim, now + lease);
                rows.push(vec![text(&number.to_string())]);
            }
        }
        rows
    }
}

pub(super) fn id(key: &Key) -> i64 {
    key.0[0].parse().expect("keys of this world are numbers")
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn hash(chunk: &str) -> ChunkHash {
    let mut digits = String::new();
    for byte in Sha256::digest(chunk.as_bytes()) {
        let _ = write!(digits, "{byte:02x}");
    }
    ChunkHash(digits)
}
