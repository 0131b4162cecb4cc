//! The worker's claim: which items it gets, and which it does not.

use std::sync::Arc;
use std::time::Duration;

use pgai_core::Rows;

use super::protocol::text;
use super::{BACKOFF_MAX, Database, Item, Lease, Mutant, Tables};
use crate::world::Coverage;
use crate::world::ledger::Granted;

/// What a claim asks for.
pub(super) struct Claim<'a> {
    pub(super) claim: i64,
    pub(super) rows: usize,
    pub(super) lease: Duration,
    pub(super) since: Option<&'a str>,
    pub(super) suspects: bool,
}

impl Database {
    pub(super) fn claim(
        &mut self,
        wanted: &Claim<'_>,
        snapshot: &Tables,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        let mut rows = vec![];
        for key in self.due(wanted, snapshot, now) {
            let generation = self.tables.items[&key].generation;
            if self.bars(&self.tables, key, generation, wanted.claim, now) {
                continue;
            }
            let held = self.tables.leases.get(&key);
            let is_expired = held.is_some_and(|held| ![0, wanted.claim].contains(&held.claim));
            coverage.expired += u64::from(is_expired);
            if self.is(Mutant::ReadWithClaimSnapshot) {
                let snapshot = Arc::new(snapshot.clone());
                self.claim_snapshots.insert(key, snapshot);
            }
            rows.push(self.grant(wanted, key, now));
        }
        rows
    }

    /// The items that this claim may have, as far as its snapshot says.
    fn due(&self, wanted: &Claim<'_>, snapshot: &Tables, now: Duration) -> Vec<i64> {
        let Claim { claim, since, .. } = *wanted;
        let is_due = |item: &Item| item.retry_after.is_none_or(|at| at <= now);
        // Twice its workers ended without a word.
        let is_suspect = |key: i64, item: &Item| {
            let expired = snapshot.leases.get(&key).filter(|held| held.claim != claim);
            expired.is_some_and(|held| held.attempts >= 2 && held.generation == item.generation)
        };
        let mut free: Vec<_> = snapshot
            .items
            .iter()
            .filter(|(key, item)| {
                is_due(item)
                    && !self.is_held(**key)
                    && !self.bars(snapshot, **key, item.generation, claim, now)
            })
            .collect();
        free.sort_unstable_by_key(|(key, item)| (item.queued_at, **key));
        let (suspects, mut due): (Vec<_>, Vec<_>) = free
            .into_iter()
            .partition(|(key, item)| is_suspect(**key, item));
        due.retain(|(_, item)| since.is_none_or(|since| stamp(item.queued_at).as_str() >= since));
        // The row lock finds the newest version, and checks the condition on it again.
        let newest = |key: &i64| self.tables.items.get(key);
        due.retain(|(key, _)| newest(key).is_some_and(is_due));
        due.truncate(wanted.rows);
        let mut keys: Vec<_> = due.into_iter().map(|(key, _)| *key).collect();
        if keys.is_empty() && wanted.suspects {
            let mut same = suspects.into_iter().filter(|(key, _)| {
                newest(key).is_some_and(|it| is_due(it) && is_suspect(**key, it))
            });
            keys.extend(same.next().map(|(key, _)| *key));
        }
        keys
    }

    /// Leases an item, and returns its line of the answer.
    fn grant(&mut self, wanted: &Claim<'_>, key: i64, now: Duration) -> Vec<Option<String>> {
        let claim = wanted.claim;
        let item = &self.tables.items[&key];
        let (generation, retries, queued_at) = (item.generation, item.retries, item.queued_at);
        let held = self.tables.leases.get(&key);
        let same = held.filter(|held| held.generation == generation);
        let attempts = same.map_or(1, |held| held.attempts + i64::from(held.claim != claim));
        let failures = same.map_or(0, |held| held.failures);
        let until = now + wanted.lease;
        let lease = Lease {
            claim,
            until,
            attempts,
            failures,
            generation,
        };
        self.write().leases.insert(key, lease);
        let granted = Granted {
            key,
            claim,
            generation,
            attempts,
            until,
        };
        self.ledger.granted(now, granted);
        vec![
            text(&key.to_string()),
            text(&generation.to_string()),
            text(&(retries + failures + attempts).to_string()),
            text(&attempts.to_string()),
            text(&stamp(queued_at)),
        ]
    }

    /// Whether a lease keeps this claim from the item.
    fn bars(&self, tables: &Tables, key: i64, generation: i64, claim: i64, now: Duration) -> bool {
        let others = |lease: &&Lease| lease.until > now && lease.claim != claim;
        let Some(lease) = tables.leases.get(&key).filter(others) else {
            return false;
        };
        if lease.claim != 0 {
            return !self.is(Mutant::ClaimIgnoresLeases);
        }
        // A time that is further away than any backoff says that the clock was set back.
        let can_be = lease.until <= now + BACKOFF_MAX || self.is(Mutant::ClaimTrustsTheClock);
        lease.generation == generation && can_be && !self.is(Mutant::ClaimIgnoresRetryTime)
    }
}

/// A time as text that sorts like the time.
fn stamp(at: Duration) -> String {
    format!("{:020}", at.as_micros())
}
