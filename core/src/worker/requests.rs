//! Requests of providers: which may be sent now.

use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::accounts::tokens_of;
use super::calls::{Called, Purpose};
use super::usage::PROBE_TOKENS;
use super::vectorizers::{Probe, Pull};
use crate::call::Call;
use crate::provider::{Account, Purpose as TextsAre};
use crate::vectorizer::Profile;

/// A text that every model takes.
const PROBE: &str = "probe";
/// Fetching a model may take long.
pub(super) const PULL_TIMEOUT: Duration = Duration::from_secs(3600);

impl Worker {
    fn is_open(&self, account: &Account, tokens: u64) -> bool {
        self.accounts.is_open(self.now, account, tokens)
    }

    /// A request of so many tokens is on its way.
    pub(super) fn sent(&mut self, profile: &Profile, tokens: u64) {
        let (now, account) = (self.now, profile.provider.account());
        self.accounts.throttle(now, &account).sent(now, tokens);
    }

    /// Whether requests with rows of this vectorizer may be sent.
    pub(super) fn is_trusted(&self, id: i64) -> bool {
        self.vectorizers.get(&id).is_none_or(|vectorizer| {
            vectorizer.proof.probe == Probe::None
                && matches!(vectorizer.proof.pull, Pull::None | Pull::Tried)
        })
    }

    /// The next request of a batch: of the vectorizer that has the fewest in flight.
    pub(super) fn embed_call(&mut self) -> Option<(Called, Call)> {
        let timeout = self.settings.request_timeout();
        let out = |id: i64| -> usize {
            let same = self.batches.values().filter(|batch| batch.profile.id == id);
            same.map(|batch| batch.requests_out).sum()
        };
        let (number, at, affordable) = self
            .batches
            .iter()
            .filter(|(_, batch)| {
                !batch.spans.is_empty()
                    && !batch.draining
                    && !batch.leaving
                    // No request outlives its lease.
                    && self.now < batch.extend_at(timeout)
                    && !self.accounts.waits_for_token(self.now, &batch.profile.provider)
                    && !self.accounts.waits_for_limits(&batch.profile.provider)
                    && self.is_trusted(batch.profile.id)
                    && self.may_send_rows(batch.profile.id)
            })
            .filter_map(|(number, batch)| {
                let at = batch.next_span(self.may_try(batch))?;
                let account = batch.profile.provider.account();
                let is_open = self.is_open(&account, batch.tokens(at));
                let inputs = self.affordable(batch, at);
                (is_open && inputs > 0).then_some((number, batch, at, inputs))
            })
            .min_by_key(|(number, batch, at, _)| {
                // Where only one request may be out, what is fresh goes before what may fail again.
                let span = &batch.spans[*at];
                let is_last = span.is_doubtful()
                    && span.inputs.len() == 1
                    && self.accounts.width(&batch.profile.provider.account()) == 1;
                (is_last, out(batch.profile.id), **number)
            })
            .map(|(number, _, at, inputs)| (*number, at, inputs))?;
        let batch = self.batches.get_mut(&number)?;
        let known = self.vectorizers.get(&batch.profile.id);
        let inputs_max = known.map_or(1, |known| known.inputs_max);
        let sizes = self.accounts.sizes(&batch.profile.provider);
        let sizes = sizes.within(inputs_max.min(affordable));
        let mut span = batch.take_span(at, sizes)?;
        let works = known.is_some_and(|known| known.doubt.is_resolved());
        span.is_trial = span.is_doubtful() && works;
        let profile = Arc::clone(&batch.profile);
        let texts = batch.texts(&span);
        let tokens = tokens_of(texts.iter().map(|text| text.len()).sum());
        let without = self.accounts.left_out(&profile.provider);
        let call = profile
            .provider
            .call(&texts, TextsAre::Document, timeout, &without);
        self.sent(&profile, tokens);
        self.spend(&profile, tokens);
        let purpose = Purpose::Embed {
            batch: number,
            span,
            tokens,
            without,
        };
        Some(self.equipped(profile, purpose, call))
    }

    /// A request that carries what the account's server wants to see.
    fn equipped(
        &mut self,
        profile: Arc<Profile>,
        purpose: Purpose,
        mut call: Call,
    ) -> (Called, Call) {
        let key = self.accounts.equip(self.now, &profile.provider, &mut call);
        let called = self.calling(profile, purpose);
        (Called { key, ..called }, call)
    }

    /// A token, for whoever has something to send.
    pub(super) fn token_call(&mut self) -> Option<(Called, Call)> {
        let profile = self.wanting(|id, vectorizer| {
            let profile = vectorizer.profile.as_ref();
            let lacks =
                |profile: &Arc<Profile>| self.accounts.wants_token(self.now, &profile.provider);
            let mut batches = self.batches.values();
            let has_texts = batches.any(|batch| batch.profile.id == id && !batch.spans.is_empty());
            profile.is_some_and(lacks) && (has_texts || vectorizer.proof.probe == Probe::Wanted)
        })?;
        let request = profile
            .provider
            .token_request(self.settings.request_timeout())?;
        self.accounts.token_asked(&profile.provider);
        self.sent(&profile, 1);
        Some((self.calling(profile, Purpose::Token), request.into()))
    }

    /// The limits of a server, for whoever has something to send.
    pub(super) fn limits_call(&mut self) -> Option<(Called, Call)> {
        let profile = self.wanting(|id, vectorizer| {
            let profile = vectorizer.profile.as_ref();
            let mut batches = self.batches.values();
            let has_texts = batches.any(|batch| batch.profile.id == id && !batch.spans.is_empty());
            has_texts
                && profile.is_some_and(|profile| self.accounts.wants_limits(&profile.provider))
        })?;
        let request = profile.provider.info_request()?;
        self.accounts.limits_asked(&profile.provider);
        self.sent(&profile, 1);
        Some(self.equipped(profile, Purpose::Limits, request.into()))
    }

    pub(super) fn probe_call(&mut self) -> Option<(Called, Call)> {
        let profile = self.wanting(|id, vectorizer| {
            let is_wanted = match vectorizer.proof.probe {
                Probe::Wanted => true,
                Probe::Out => false,
                Probe::None => self.wants_evidence(id),
            };
            let waits =
                |profile: &Arc<Profile>| self.accounts.waits_for_token(self.now, &profile.provider);
            let affords = |profile: &Arc<Profile>| self.affords_probe(profile);
            let profile = vectorizer.profile.as_ref();
            is_wanted && !profile.is_some_and(waits) && profile.is_some_and(affords)
        })?;
        self.vectorizers.get_mut(&profile.id)?.proof.probe = Probe::Out;
        self.sent(&profile, 1);
        self.spend(&profile, PROBE_TOKENS);
        let timeout = self.settings.request_timeout();
        let without = self.accounts.left_out(&profile.provider);
        let call = profile
            .provider
            .call(&[PROBE.into()], TextsAre::Document, timeout, &without);
        Some(self.equipped(profile, Purpose::Probe { without }, call))
    }

    pub(super) fn pull_call(&mut self) -> Option<(Called, Call)> {
        let profile =
            self.wanting(|_, vectorizer| matches!(vectorizer.proof.pull, Pull::Wanted(_)))?;
        let request = profile.provider.pull(PULL_TIMEOUT)?;
        let pull = &mut self.vectorizers.get_mut(&profile.id)?.proof.pull;
        if let Pull::Wanted(reason) = std::mem::take(pull) {
            *pull = Pull::Out(reason);
        }
        self.sent(&profile, 1);
        Some((self.calling(profile, Purpose::Pull), request.into()))
    }

    /// A vectorizer that wants something, and whose account may be asked.
    pub(super) fn wanting(
        &self,
        wants: impl Fn(i64, &super::Vectorizer) -> bool,
    ) -> Option<Arc<Profile>> {
        if !self.life.is_running() {
            return None;
        }
        let profiles = self
            .vectorizers
            .iter()
            .filter(|(id, vectorizer)| wants(**id, vectorizer));
        profiles
            .filter_map(|(_, vectorizer)| vectorizer.profile.as_ref())
            .find(|profile| self.is_open(&profile.provider.account(), 1))
            .map(Arc::clone)
    }
}
