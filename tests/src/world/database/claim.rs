//! The worker's claim: which items it gets, and which it does not.

use std::sync::Arc;
use std::time::Duration;

use pgai_core::{Plan, Rows};

use super::protocol::text;
use super::{BACKOFF_MAX, Database, Item, Lease, Mutant, Tables};
use crate::world::Coverage;
use crate::world::ledger::Granted;

impl Database {
    #[expect(
        clippy::too_many_arguments,
        reason = "a statement's parameters and its surroundings"
    )]
    pub(super) fn claim(
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
                    && !self.bars(snapshot, **key, item.generation, claim, now)
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
            if self.bars(&self.tables, key, generation, claim, now) {
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
            self.write().leases.insert(key, lease);
            let granted = Granted {
                key,
                claim,
                generation,
                attempts,
                until,
            };
            self.ledger.granted(now, granted);
            if self.is(Mutant::ReadWithClaimSnapshot) {
                let snapshot = Arc::new(snapshot.clone());
                self.claim_snapshots.insert(key, snapshot);
            }
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
