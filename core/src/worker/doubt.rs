//! Requests that fail without a word about their inputs: a 500, a broken connection, no answer in
//! time. Either the provider is down, or one text makes it fail.
//!
//! What fails is put aside as doubtful. It is tried again once the provider has answered other
//! requests of the same vectorizer, or a probe, twice running since: if it was down, that is over.
//! What fails in such a trial as well is split, and a text that fails alone in two is to blame. A
//! provider that is down gives no such answers, so an outage costs no row an attempt; one that fails
//! at random seldom answers twice running whenever a certain text has failed before.
//!
//! While nothing is answered, rows and probes are sent in turn, one at a time and ever more rarely:
//! these failures count against nobody.

use std::sync::Arc;
use std::time::Duration;

use super::accounts::Throttle;
use super::batch::{Batch, Span};
use super::vectorizers::Probe;
use super::{Worker, failure};
use crate::random::Random;
use crate::retry;
use crate::time::Time;
use crate::vectorizer::Profile;

/// So many answers running say that the provider works.
const ANSWERS_ENOUGH: u32 = 2;
/// An input that has failed this often, the last times alone, is to blame.
pub(super) const FAILURES_MAX: u32 = 3;
/// After this many failures running one request at a time is sent for a vectorizer.
const FAILURES_UNPROVEN: u32 = 3;
/// A vectorizer whose requests failed so often while others of the same account were answered in
/// between is at fault itself, or its model is.
const ALONE_MAX: u32 = 5;

/// What a vectorizer's failures and answers say of its provider.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Answers running since the last failure, to requests that were sent after it.
    answers: u32,
    /// Failures running, without an answer in between.
    failures: u32,
    failed_at: Time,
    /// How many of them came while others of the account were answered.
    alone: u32,
    /// The account's answers at the last failure.
    account_answers: u64,
    /// No probe before this moment.
    pub(super) probe_at: Time,
}

/// How a request failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: String,
    /// It may have been too much at once.
    pub(super) is_timeout: bool,
    /// The provider says that it has too much to do, or wants to be left alone for so long.
    pub(super) is_busy: bool,
    pub(super) after: Option<Duration>,
}

impl Doubt {
    /// Whether the provider works, as far as this vectorizer has seen since its last failure.
    pub(super) const fn is_resolved(&self) -> bool {
        self.failures == 0 || self.answers >= ANSWERS_ENOUGH
    }

    /// Whether nothing shows any more that the provider works.
    pub(super) const fn is_deep(&self) -> bool {
        self.failures >= FAILURES_UNPROVEN
    }

    /// In deep doubt, whether it is the turn of rows, not of a probe.
    const fn is_turn_of_rows(&self) -> bool {
        !self.failures.is_multiple_of(2)
    }

    /// A request of this vectorizer that was sent at that moment was answered.
    pub(super) fn answered(&mut self, sent: Time) {
        if sent >= self.failed_at {
            self.answers = self.answers.saturating_add(1);
            self.alone = 0;
        }
        if self.answers >= ANSWERS_ENOUGH {
            self.failures = 0;
        }
    }

    /// Whether the answers since the last failure were on the way to be enough.
    const fn was_hopeful(&self) -> bool {
        self.answers > 0 && self.answers < ANSWERS_ENOUGH
    }

    fn failed(&mut self, now: Time, account_answers: u64) {
        self.answers = 0;
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        self.account_answers = account_answers;
    }

    /// A probe failed. Says whether others of the account were answered meanwhile.
    fn probe_failed(&mut self, now: Time, account_answers: u64, random: &mut Random) -> bool {
        let is_alone = self.answers == 0 && account_answers > self.account_answers;
        self.failed(now, account_answers);
        if is_alone {
            self.alone += 1;
            self.probe_at = now + retry::PROVIDER.wait(self.alone, random);
        } else {
            self.alone = 0;
        }
        is_alone
    }
}

impl Worker {
    /// A request with rows failed, and it is not clear whose fault that is.
    pub(super) fn request_failed(
        &mut self,
        number: u64,
        mut span: Span,
        profile: &Arc<Profile>,
        failed: &Failed,
    ) {
        let account = profile.provider.account();
        let answers = self.accounts.known(&account).map_or(0, Throttle::answers);
        let now = self.now;
        if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
            vectorizer.doubt.failed(now, answers);
        }
        let was_trial = span.fail(&failed.reason);
        if span.inputs.len() > 1 && (was_trial || failed.is_timeout) {
            for half in span.halves() {
                self.put_aside(number, half);
            }
        } else {
            self.put_aside(number, span);
        }
        let throttle = self.accounts.throttle(now, &account);
        if failed.is_timeout {
            throttle.narrow();
        }
        if failed.is_busy || throttle.stumbled() {
            self.provider_failed(profile, failed.after, &failed.reason);
        }
    }

    fn put_aside(&mut self, number: u64, span: Span) {
        if let Some(batch) = self.batches.get_mut(&number)
            && !batch.draining
        {
            batch.spans.push_back(span);
        }
    }

    /// A probe failed as a request with rows does: the account is down, unless others of it are
    /// answered.
    pub(super) fn probe_failed(
        &mut self,
        profile: &Arc<Profile>,
        after: Option<Duration>,
        reason: &str,
    ) {
        let account = profile.provider.account();
        let answers = self.accounts.known(&account).map_or(0, Throttle::answers);
        let now = self.now;
        let is_refused = self.batches.values().any(|batch| {
            batch.profile.id == profile.id && batch.spans.iter().any(|span| span.refused.is_some())
        });
        let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) else {
            return;
        };
        vectorizer.proof.probe = if is_refused {
            Probe::Wanted
        } else {
            Probe::None
        };
        let was_hopeful = vectorizer.doubt.was_hopeful();
        let is_alone = vectorizer
            .doubt
            .probe_failed(now, answers, &mut self.random);
        let alone = vectorizer.doubt.alone;
        if was_hopeful {
            // It fails at random: what has failed so far says nothing of its texts.
            for batch in self
                .batches
                .values_mut()
                .filter(|batch| batch.profile.id == profile.id)
            {
                batch.spans.iter_mut().for_each(Span::forgive);
            }
        }
        if alone >= ALONE_MAX {
            let reason = format!(
                "{reason}: whatever is sent for the model {:?} fails, while other requests to the \
                 same server are answered",
                profile.provider.model
            );
            self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
        } else if !is_alone {
            self.provider_failed(profile, after, reason);
        }
    }

    /// Whether a probe is needed to learn about doubtful requests: nothing else is there to tell.
    pub(super) fn wants_evidence(&self, id: i64) -> bool {
        let Some(vectorizer) = self.vectorizers.get(&id) else {
            return false;
        };
        let doubt = &vectorizer.doubt;
        // A busy provider, too, must have answered something before a doubtful request is sent.
        let is_known = doubt.is_resolved() && self.is_well(id);
        if is_known || self.now < doubt.probe_at {
            return false;
        }
        let (is_quiet, has_fresh, has_doubtful) = self.waiting(id);
        let is_its_turn = if doubt.is_deep() {
            !doubt.is_turn_of_rows()
        } else {
            !has_fresh
        };
        is_quiet && has_doubtful && is_its_turn
    }

    /// Whether a vectorizer has nothing in flight, whether fresh requests of it wait, and doubtful ones.
    fn waiting(&self, id: i64) -> (bool, bool, bool) {
        let (mut is_quiet, mut has_fresh, mut has_doubtful) = (true, false, false);
        for batch in self.batches.values().filter(|batch| batch.profile.id == id) {
            is_quiet &= batch.requests_out == 0;
            if !batch.draining && !batch.leaving {
                let doubtful = batch.spans.iter().filter(|span| span.is_doubtful()).count();
                has_doubtful |= doubtful > 0;
                has_fresh |= doubtful < batch.spans.len();
            }
        }
        (is_quiet, has_fresh, has_doubtful)
    }

    /// Whether requests with rows of this vectorizer may be sent, as far as failures go.
    pub(super) fn may_send_rows(&self, id: i64) -> bool {
        let Some(vectorizer) = self.vectorizers.get(&id) else {
            return true;
        };
        let doubt = &vectorizer.doubt;
        if !doubt.is_deep() {
            return true;
        }
        let (is_quiet, _, has_doubtful) = self.waiting(id);
        let is_its_turn = doubt.is_turn_of_rows() || !has_doubtful;
        is_quiet && is_its_turn && self.now >= doubt.probe_at
    }

    /// Whether a doubtful request of this batch may be sent: the provider works, and no other doubtful
    /// one is out that might make this one fail, too. Or nothing is answered, and it is one more
    /// request that finds out whether that is over.
    pub(super) fn may_try(&self, batch: &Batch) -> bool {
        if !batch.spans.iter().any(Span::is_doubtful) {
            return false;
        }
        let Some(vectorizer) = self.vectorizers.get(&batch.profile.id) else {
            return false;
        };
        if vectorizer.doubt.is_deep() {
            return true;
        }
        let account = batch.profile.provider.account();
        let is_well = self.is_well(batch.profile.id);
        let is_tried =
            |other: &Batch| other.is_trying() && other.profile.provider.account() == account;
        vectorizer.doubt.is_resolved() && is_well && !self.batches.values().any(is_tried)
    }

    /// Whether the last requests to the account of this vectorizer were answered.
    fn is_well(&self, id: i64) -> bool {
        let known = self.vectorizers.get(&id);
        let profile = known.and_then(|known| known.profile.as_ref());
        profile.is_none_or(|profile| {
            let account = profile.provider.account();
            let throttle = self.accounts.known(&account);
            throttle.is_none_or(Throttle::is_well)
        })
    }

    /// Blames what has failed alone often enough while the provider worked.
    pub(super) fn blame_doubtful(&mut self) {
        for batch in self.batches.values_mut() {
            let known = self.vectorizers.get(&batch.profile.id);
            if !known.is_some_and(|vectorizer| vectorizer.doubt.is_resolved()) {
                continue;
            }
            while let Some(at) = batch.spans.iter().position(Span::is_guilty) {
                if let Some(span) = batch.spans.remove(at) {
                    batch.blame(&span, &span.reason());
                }
            }
        }
    }
}
