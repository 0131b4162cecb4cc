//! Requests to compare the source with what is stored for it, and the statements that carry them out.

use std::collections::BTreeMap;
use std::time::Duration;

use pgai_core::{Depth, Key, ResyncQuery, ResyncStanding, ResyncState, Rows};

use super::protocol::{id, text};
use super::{Database, Destination, Item, Mutant, Tables};
use crate::world::Coverage;

/// The row of `ai.vectorizer_resync`.
#[derive(Clone, Debug, Default)]
pub(in crate::world) struct Request {
    requests: i64,
    taken: i64,
    is_running: bool,
    standing: ResyncStanding,
    claim: i64,
    until: Duration,
    /// When the last one came to its end.
    ended_at: Option<Duration>,
}

impl Request {
    pub(super) const fn is_open(&self) -> bool {
        self.is_running || self.requests > self.taken
    }

    /// When it came to its end, if nothing has been asked for since.
    pub(super) fn ended_at(&self) -> Option<Duration> {
        self.ended_at.filter(|_| !self.is_open())
    }

    /// It is asked for once more, and nobody goes on with what there is.
    pub(super) fn begin_again(&mut self) {
        self.requests += 1;
        self.is_running = false;
        self.standing = ResyncStanding::default();
        (self.claim, self.until) = (0, Duration::ZERO);
    }
}

impl Tables {
    /// Whether a resync was asked for that has not come to its end.
    pub(in crate::world) fn resyncs(&self) -> bool {
        let other = self.other.as_ref().and_then(|other| other.request.as_ref());
        let mut requests = self.request.iter().chain(other);
        requests.any(Request::is_open)
    }
}

impl Database {
    /// Somebody asks for a resync, with texts.
    pub(in crate::world) fn request_resync(&mut self) {
        if self.tables.vectorizer.is_some() {
            let request = self.write().request.get_or_insert_default();
            request.requests += 1;
        }
    }

    pub(super) fn resync(
        &mut self,
        query: &ResyncQuery,
        snapshot: &Tables,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        match query {
            ResyncQuery::Barrier { .. } => vec![vec![text("true")]],
            ResyncQuery::Bound {
                after,
                rows,
                chunks,
                ..
            } => bound(snapshot, after.as_ref(), *rows, *chunks),
            ResyncQuery::Compare {
                depth, after, to, ..
            } => self.compare(snapshot, *depth, after.as_ref(), to.as_ref()),
            ResyncQuery::Queue { keys, .. } => self.queue_found(keys, now, coverage),
            ResyncQuery::Queued { keys, .. } => {
                let numbers = keys.iter().map(id).zip(1_usize..);
                let waiting = numbers.filter(|(key, _)| snapshot.items.contains_key(key));
                waiting.map(|(_, at)| vec![text(&at.to_string())]).collect()
            }
            ResyncQuery::Renew { .. } => self.renew(snapshot),
            ResyncQuery::Save {
                claim,
                lease,
                standing,
                ..
            } => self.save(claim.0, (now, *lease), standing, coverage),
            ResyncQuery::Take { claim, lease, ids } => {
                let mut rows = self.take(claim.0, *lease, ids, now, coverage);
                if rows.is_empty() {
                    self.beside(|database| {
                        rows = database.take(claim.0, *lease, ids, now, coverage);
                    });
                }
                rows
            }
        }
    }

    fn take(
        &mut self,
        claim: i64,
        lease: Duration,
        ids: &[i64],
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        let skips = self.is(Mutant::ResyncEndsWithItsWorker);
        let keeps = self.is(Mutant::ResyncIsNotTakenOver);
        let Some(vectorizer) = self.tables.vectorizer.filter(|it| ids.contains(&it.id)) else {
            return vec![];
        };
        let Some(request) = &mut self.write().request else {
            return vec![];
        };
        let is_free = request.until <= now || request.claim == claim;
        if !request.is_open() || !is_free {
            return vec![];
        }
        if request.is_running {
            let is_anothers = request.claim != 0 && request.claim != claim;
            coverage.resyncs_taken_over += u64::from(is_anothers);
            if is_anothers && keeps {
                return vec![];
            }
            if is_anothers && skips {
                request.standing.after = Some(Key(vec![i64::MAX.to_string()]));
            }
        } else {
            request.taken = request.requests;
            request.is_running = true;
            request.standing = ResyncStanding::default();
        }
        (request.claim, request.until) = (claim, now + lease);
        let after = request.standing.after.as_ref();
        let counts = request.standing.counts;
        vec![vec![
            text(&vectorizer.id.to_string()),
            text("true"),
            after.map(|key| format!("[\"{}\"]", key.0[0])),
            text(&counts.rows.to_string()),
            text(&counts.missing.to_string()),
            text(&counts.orphans.to_string()),
            text(&counts.stale.to_string()),
            None,
            text("1"),
        ]]
    }

    fn save(
        &mut self,
        claim: i64,
        (now, lease): (Duration, Duration),
        standing: &ResyncStanding,
        coverage: &mut Coverage,
    ) -> Rows {
        let request = self.write().request.as_mut();
        let Some(request) = request.filter(|request| request.claim == claim) else {
            return vec![];
        };
        request.standing = standing.clone();
        request.until = now + lease;
        request.is_running = standing.state == ResyncState::Running;
        if standing.state == ResyncState::Done {
            request.ended_at = Some(now);
        }
        if lease.is_zero() || !request.is_running {
            request.claim = 0;
            request.until = Duration::ZERO;
        }
        coverage.resyncs += u64::from(standing.state == ResyncState::Done);
        vec![vec![text("1")]]
    }

    fn renew(&mut self, snapshot: &Tables) -> Rows {
        if self.is(Mutant::ResyncRenewsNothing) {
            return vec![vec![text("0")]];
        }
        let held = snapshot.leases.iter().filter(|(_, lease)| lease.claim != 0);
        let held: Vec<i64> = held.map(|(key, _)| *key).collect();
        for key in held
            .into_iter()
            .filter(|key| snapshot.items.contains_key(key))
        {
            self.generations += 1;
            let generation = self.generations;
            if let Some(item) = self.write().items.get_mut(&key) {
                item.generation = generation;
            }
        }
        vec![vec![text("1")]]
    }

    fn queue_found(&mut self, keys: &[Key], now: Duration, coverage: &mut Coverage) -> Rows {
        let mut queued = 0_u64;
        for key in keys.iter().map(id) {
            if self.tables.items.contains_key(&key) {
                continue;
            }
            queued += 1;
            self.generations += 1;
            let item = Item {
                generation: self.generations,
                queued_at: now,
                retries: 0,
                retry_after: None,
            };
            self.write().items.insert(key, item);
        }
        coverage.resynced += queued;
        vec![vec![text(&queued.to_string()), None]]
    }

    fn compare(
        &self,
        snapshot: &Tables,
        depth: Depth,
        after: Option<&Key>,
        to: Option<&Key>,
    ) -> Rows {
        let is_inside = |key: &i64| {
            after.is_none_or(|after| *key > id(after)) && to.is_none_or(|to| *key <= id(to))
        };
        let mut chunks = BTreeMap::<i64, (i32, i32)>::new();
        match self.destination {
            Destination::Column => {
                chunks.extend(snapshot.vectors.keys().map(|key| (*key, (1, 0))));
            }
            Destination::Table => {
                for (key, place) in snapshot.store.keys() {
                    let known = chunks.entry(*key).or_default();
                    *known = (known.0 + 1, *place);
                }
            }
        }
        let source = snapshot.source.keys().filter(|key| is_inside(key));
        let count = text(&source.clone().count().to_string());
        let mut keys: Vec<i64> = source
            .chain(chunks.keys().filter(|key| is_inside(key)))
            .copied()
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let checked = snapshot.checked();
        let mut rows = vec![];
        for key in keys {
            let row = snapshot.source.get(&key);
            let has_text = row.is_some_and(|text| !text.is_empty());
            let why = match (row, chunks.get(&key)) {
                (None, None) => None,
                (None, Some(_)) if self.is(Mutant::ResyncMissesOrphans) => None,
                (None, Some(_)) => Some("orphan"),
                (Some(_), _) if depth == Depth::Listed => Some("unread"),
                (Some(_), None) => has_text.then_some("missing"),
                (Some(_), Some(_)) if !has_text => Some("stale"),
                (Some(_), Some((count, last))) if *count != last + 1 => Some("missing"),
                (Some(_), Some(_)) if self.has_documents && !checked.contains(&key) => {
                    Some("missing")
                }
                (Some(_), Some(_)) => None,
            };
            let is_left_out = snapshot.items.contains_key(&key)
                || row.is_some() && snapshot.failed.contains_key(&key);
            if let Some(why) = why.filter(|_| !is_left_out) {
                rows.push(vec![text(why), text(&key.to_string()), count.clone()]);
            }
        }
        if rows.is_empty() {
            rows.push(vec![None, None, count]);
        }
        rows
    }
}

/// The last key of the next piece.
fn bound(snapshot: &Tables, after: Option<&Key>, rows: usize, chunks: usize) -> Rows {
    let is_after = |key: &&i64| after.is_none_or(|after| **key > id(after));
    let row = snapshot.source.keys().filter(is_after).nth(rows - 1);
    let stored = snapshot.store.keys().map(|(key, _)| key);
    let chunk = stored.filter(is_after).nth(chunks - 1);
    let bound = [row, chunk].into_iter().flatten().min();
    bound
        .map(|key| vec![text(&key.to_string())])
        .into_iter()
        .collect()
}
