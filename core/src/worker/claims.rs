//! Claims: which vectorizer may take work now, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use super::vectorizers::Vectorizer;
use super::{Worker, failure};
use crate::event::Event;
use crate::provider::Account;
use crate::query::{ClaimId, ClaimedRows, DbError, Query};
use crate::retry;
use crate::sql::UNREADABLE_REASON;
use crate::time::Time;
use crate::vectorizer::Profile;

/// Claims in flight at a time: the other connections are for commits.
const CLAIMS_OUT_MAX: usize = 2;
/// Batches in flight for one vectorizer, however many requests its provider takes.
const BATCHES_MAX: usize = 16;
/// Batches that wait for rows that applications hold: of one vectorizer, or of a worker that runs one
/// batch at a time.
const WAITING_MAX: usize = 4;
/// Batches that wait for doubtful requests only and are not counted.
const IN_DOUBT_MAX: usize = 3;
/// With this much held, in numbers of vectors (8 MiB), nothing is claimed ahead.
const NUMBERS_AHEAD_MAX: usize = 2 * 1024 * 1024;
/// Claims start at the head of the queue at least this often: older items may have come free.
const HEAD_EVERY: Duration = Duration::from_secs(60);

impl Worker {
    /// A claim for the next vectorizer that may have one, in turn.
    pub(super) fn claim_query(&mut self) -> Option<(Asked, Query)> {
        let out = self
            .vectorizers
            .values()
            .filter(|vectorizer| vectorizer.claim_out)
            .count();
        if !self.life.is_running() || out >= CLAIMS_OUT_MAX.min(self.settings.limits.batches) {
            return None;
        }
        let after = self
            .vectorizers
            .range(self.last_claimed.saturating_add(1)..);
        let turns = after.chain(self.vectorizers.range(..=self.last_claimed));
        let in_flight = self.in_flight();
        let id = turns
            .filter(|(id, vectorizer)| {
                self.claim_due(**id, vectorizer) <= self.now
                    && in_flight.has_room(**id, vectorizer.is_slow)
                    && self.may_claim(**id, vectorizer)
            })
            .map(|(id, _)| *id)
            .next();
        match id {
            Some(id) => self.claim(id),
            None => self.ring_bells(),
        }
    }

    /// From when on a vectorizer may claim, if it [may](Self::may_claim) at all.
    fn claim_due(&self, id: i64, vectorizer: &Vectorizer) -> Time {
        if vectorizer.has_suspects_left() && self.may_try_suspects(id) {
            return self.now;
        }
        vectorizer.pace.next()
    }

    /// Rows that may have killed workers are tried when nothing else is in work or due: should it
    /// happen again, no other row is held, and all others have had their turn.
    fn may_try_suspects(&self, id: i64) -> bool {
        let others = self.vectorizers.iter().filter(|(other, _)| **other != id);
        let mut busy = others.filter(|(other, vectorizer)| {
            vectorizer.claim_out || !vectorizer.quiet && self.may_claim(**other, vectorizer)
        });
        // What applications hold may stay so for hours.
        let waits = |batch: &Batch| batch.waits_for_rows() || batch.waits_for_a_table();
        self.batches.values().all(waits) && busy.next().is_none()
    }

    /// Whether a vectorizer could do with more work.
    fn may_claim(&self, id: i64, vectorizer: &Vectorizer) -> bool {
        let Some(profile) = &vectorizer.profile else {
            return false;
        };
        let limits = self.settings.limits;
        // With a limit of one it is one in the whole worker. A batch that waits for rows that
        // applications hold takes nobody's place; one that waits for a table takes the place of its
        // own vectorizer only, whose next batch would wait for the same table.
        let takes_a_place = |batch: &&Batch| {
            let is_own = batch.profile.id == id;
            !batch.waits_for_rows()
                && (is_own || (limits.batches == 1 && !batch.waits_for_a_table()))
        };
        let batches = self.batches.values().filter(takes_a_place);
        // Nobody waits for what may fail anyway, either.
        let in_doubt = batches.clone().filter(|batch| batch.is_in_doubt()).count();
        let batches = batches.count() - in_doubt.min(IN_DOUBT_MAX);
        let account = profile.provider.account();
        let wanted = self.settings.concurrency.or(profile.concurrency);
        let batches_max = match wanted {
            _ if limits.batches == 1 => 1,
            Some(wanted) => wanted,
            None if self.is_hungry(&account) => BATCHES_MAX,
            None => limits.batches,
        };
        let open = self.accounts.is_asked(self.now, &account);
        !vectorizer.claim_out
            && !vectorizer.is_paused()
            && !vectorizer.waits_for_tokenizer()
            && !self.rests(profile)
            && vectorizer.record.wanted.is_none()
            && self.is_trusted(id)
            // In deep doubt one batch is enough to find out.
            && (batches == 0 || !vectorizer.doubt.is_deep())
            && batches < batches_max
            && open
    }

    /// Whether all that is held does not fill the requests that may be in flight.
    fn is_hungry(&self, account: &Account) -> bool {
        let mut batches = self.batches.values();
        let same = batches
            .clone()
            .filter(|batch| batch.profile.provider.account() == *account);
        let requests: usize = same
            .map(|batch| batch.requests_out + batch.spans.len())
            .sum();
        let numbers: usize = batches.clone().map(Batch::numbers_of_vectors).sum();
        // What an unread batch brings is not known, and no more are planned than can be at a time.
        let planning = batches.clone().filter(|batch| batch.is_planning()).count();
        !batches.any(Batch::is_unread)
            && planning < self.settings.limits.works
            && requests < self.accounts.width(account)
            && numbers < NUMBERS_AHEAD_MAX
    }

    fn claim(&mut self, id: i64) -> Option<(Asked, Query)> {
        let may_try_suspects = self.may_try_suspects(id);
        let vectorizer = self.vectorizers.get_mut(&id)?;
        let profile = Arc::clone(vectorizer.profile.as_ref()?);
        let plan = Arc::clone(&profile.plan);
        if self.now >= vectorizer.head_at || vectorizer.has_suspects_left() {
            vectorizer.since = None;
            vectorizer.head_at = self.now + HEAD_EVERY;
        }
        let claim = vectorizer.claim_again.take();
        let claim = claim.unwrap_or_else(|| ClaimId(self.random.positive()));
        vectorizer.claim_out = true;
        vectorizer.claim_overtaken = false;
        self.last_claimed = id;
        let since = vectorizer.since.clone();
        let from_head = since.is_none();
        let suspects = from_head && may_try_suspects;
        let promise = vectorizer.pace.promise(self.now);
        if let Some(promise) = promise {
            vectorizer.bell_at = self.now + promise;
        }
        let asked = Asked::Claim {
            profile,
            claim,
            asked: self.now,
            from_head,
            suspects,
        };
        let lease = self.settings.lease;
        self.announce_first(id);
        Some((
            asked,
            Query::Claim {
                plan,
                claim,
                lease,
                since,
                promise,
                suspects,
            },
        ))
    }

    /// While a vectorizer has as many batches as it may, it will claim again by itself: its writers
    /// need not notify anybody.
    fn ring_bells(&mut self) -> Option<(Asked, Query)> {
        let now = self.now;
        let batches = &self.batches;
        let busy = |id: i64| {
            batches
                .values()
                .any(|batch| batch.profile.id == id && !batch.draining)
        };
        let (id, vectorizer) = self.vectorizers.iter_mut().find(|(id, vectorizer)| {
            let runs = vectorizer.profile.is_some() && !vectorizer.is_paused();
            runs && !vectorizer.claim_out && vectorizer.bell_at <= now && busy(**id)
        })?;
        vectorizer.bell_at = now + HOUSEKEEPING;
        let plan = Arc::clone(&vectorizer.profile.as_ref()?.plan);
        Some((
            Asked::Bell(*id),
            Query::Bell {
                plan,
                promise: HOUSEKEEPING,
            },
        ))
    }

    pub(super) fn claim_wakes(&self) -> impl Iterator<Item = Time> {
        let pauses = self.vectorizers.values().filter_map(Vectorizer::pause_ends);
        let claims = self
            .vectorizers
            .iter()
            .filter(|(id, vectorizer)| self.life.is_running() && self.may_claim(**id, vectorizer))
            .map(|(id, vectorizer)| self.claim_due(*id, vectorizer));
        let bells = self
            .batches
            .values()
            .filter(|batch| !batch.draining)
            .filter_map(|batch| Some(self.vectorizers.get(&batch.profile.id)?.bell_at));
        let probes = self.vectorizers.values();
        let probes = probes.map(|vectorizer| vectorizer.doubt.probe_at);
        pauses.chain(claims).chain(bells).chain(probes)
    }

    pub(super) fn claimed(
        &mut self,
        profile: Arc<Profile>,
        claim: ClaimId,
        asked: Time,
        (from_head, suspects): (bool, bool),
        claimed: ClaimedRows,
    ) {
        let now = self.now;
        let ClaimedRows {
            rows: items,
            queued_at: last,
            unreadable,
        } = claimed;
        let is_full = items.len() >= profile.rows;
        let is_empty = items.is_empty() && unreadable == 0;
        let id = profile.id;
        self.given_up_unread(id, unreadable);
        let known = self.vectorizers.get_mut(&id).filter(|vectorizer| {
            vectorizer
                .profile
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, &profile))
        });
        let is_wanted = known
            .as_ref()
            .is_some_and(|vectorizer| !vectorizer.is_paused());
        if let Some(vectorizer) = known {
            vectorizer.claim_out = false;
            // Fewer than asked for: the next claim looks at the head again.
            vectorizer.since = if is_full { last } else { None };
            vectorizer.quiet = is_empty && from_head && !vectorizer.claim_overtaken;
            vectorizer.exhausted = vectorizer.quiet && suspects;
            match (is_empty, from_head) {
                (false, _) => vectorizer.pace.found(now),
                (true, true) => vectorizer.pace.empty(now, now.since(asked)),
                (true, false) => vectorizer.pace.again(now),
            }
        }
        if items.is_empty() {
            return;
        }
        self.trace_claim(&profile, claim, asked, items.len());
        let mut batch = Batch::new(
            profile,
            claim,
            self.settings.limits,
            asked,
            self.settings.lease,
            items,
        );
        if is_wanted && self.life.is_running() {
            self.announce(id);
        } else {
            // The vectorizer was changed, paused or dropped meanwhile, or the worker stops.
            batch.give_back();
        }
        let number = self.number();
        self.batches.insert(number, batch);
    }

    /// So many rows were given up when they were claimed, because their keys cannot be read.
    fn given_up_unread(&mut self, vectorizer: i64, rows: u64) {
        self.summary.failed += rows;
        for _ in 0..rows {
            self.session.count_error(vectorizer, UNREADABLE_REASON);
            self.events.push_back(Event::RowFailed {
                vectorizer,
                key: "?".to_owned(),
                step: "loading",
                reason: UNREADABLE_REASON.to_owned(),
                retry_in: None,
            });
        }
    }

    pub(super) fn claim_refused(
        &mut self,
        id: i64,
        claim: ClaimId,
        trouble: Trouble,
        error: &DbError,
    ) {
        let wait = retry::LOCKED.wait(1, &mut self.random);
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return;
        };
        vectorizer.claim_out = false;
        vectorizer.stir();
        match trouble {
            // It may have been granted: ask again under the same name.
            Trouble::Outage => vectorizer.claim_again = Some(claim),
            Trouble::Again => {
                let at = self.now + wait;
                vectorizer.pace.again(at);
            }
            // Most likely it has just been dropped or changed, which the list will show.
            Trouble::Schema
                if vectorizer.may_be_outdated(error, self.now, self.session.listed_at) =>
            {
                vectorizer.pace.again(self.now + 2 * HOUSEKEEPING);
                self.session.reload_soon(self.now);
            }
            Trouble::Data | Trouble::Schema => {
                self.pause_vectorizer(id, failure::UNEXPECTED, &remedy(error));
                self.session.reload_at(self.now + HOUSEKEEPING);
            }
        }
    }

    /// Notifications: look at these queues at once. One that names no vectorizer says that their
    /// list has changed, or that some may have been missed.
    pub(super) fn take_wakes(&mut self) {
        let wakes = std::mem::take(&mut self.wakes);
        if wakes.everything {
            self.session.reload_soon(self.now);
        }
        for (id, vectorizer) in &mut self.vectorizers {
            if wakes.everything || wakes.vectorizers.contains(&vectorizer.number(*id)) {
                vectorizer.pace.woken(self.now);
                vectorizer.stir();
            }
        }
        // Others may run the vectorizers that this worker was not given.
        let wanted = &self.settings.vectorizer_ids;
        let is_new = |id: &i64| {
            let mut known = self.vectorizers.iter();
            !known.any(|(known, vectorizer)| known == id || vectorizer.number(*known) == *id)
                && (wanted.is_empty() || wanted.contains(id))
        };
        if wakes.vectorizers.iter().any(is_new) {
            self.session.reload_soon(self.now);
        }
    }

    /// Applications may hold rows for hours. Of the batches that wait for such rows, only the newest
    /// few go on waiting; the others give their rows back, so that what they hold stays bounded.
    pub(super) fn bound_waiting(&mut self, id: i64) {
        let is_alone = self.settings.limits.batches == 1;
        let waiting = self.batches.values_mut().rev().filter(|batch| {
            batch.waits_for_rows() && !batch.leaving && (is_alone || batch.profile.id == id)
        });
        for batch in waiting.skip(WAITING_MAX) {
            batch.give_back();
        }
    }

    /// Forgets batches that are over; their vectorizers look at the queue again.
    pub(super) fn drop_batches(&mut self) {
        self.trace_batches();
        let now = self.now;
        let vectorizers = &mut self.vectorizers;
        self.batches.retain(|_, batch| {
            let keep = !batch.is_over();
            if !keep && let Some(vectorizer) = vectorizers.get_mut(&batch.profile.id) {
                vectorizer.pace.found(now);
                vectorizer.stir();
                vectorizer.claim_overtaken = true;
            }
            keep
        });
    }
}
