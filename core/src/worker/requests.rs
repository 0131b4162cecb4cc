//! Requests: which may be sent now, and what their answers do.

use std::sync::Arc;

use super::batch::Span;
use super::throttle::{Allowance, Throttle, tokens_of};
use super::vectorizers::{Probe, Pull};
use super::{Worker, failure};
use crate::event::Event;
use crate::local::{LocalAnswer, LocalError};
use crate::provider::{
    Account, BadAnswer, Call, Purpose, Refusal, Remaining, Verdict, brief, said,
};
use crate::request::{RequestError, Response};
use crate::time::Time;
use crate::vectorizer::Profile;

/// What a request in flight was sent for.
#[derive(Debug)]
pub(super) enum Sent {
    Embed {
        batch: u64,
        span: Span,
        profile: Arc<Profile>,
        /// Estimated.
        tokens: u64,
        at: Time,
    },
    Probe(Arc<Profile>),
    Pull(Arc<Profile>),
}

impl Sent {
    const fn profile(&self) -> &Arc<Profile> {
        let (Self::Embed { profile, .. } | Self::Probe(profile) | Self::Pull(profile)) = self;
        profile
    }
}

/// A text that every model takes.
const PROBE: &str = "probe";
/// A useless answer is asked for again this often before the request is split.
const BAD_ANSWERS_MAX: u32 = 3;
/// After this many refusals in a row it is checked whether the provider takes anything at all.
const REFUSALS_UNPROVEN: u32 = 3;
/// With `--once`, a provider that failed this often in a row is given up.
const FAILURES_MAX: u32 = 5;
/// With `--once`, a provider is not waited for any longer than this.
const ONCE_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// Requests of a model in this process: one at work, and the next ones at hand.
const REQUESTS_HERE_MAX: usize = 4;
/// Fetching a model may take long.
const PULL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3600);

impl Worker {
    fn is_open(&self, account: &Account, tokens: u64) -> bool {
        let max = self.requests_max(account);
        self.throttles
            .get(account)
            .is_none_or(|throttle| throttle.is_open(self.now, max, tokens))
    }

    /// A model in this process has all processors at work with one request.
    fn requests_max(&self, account: &Account) -> usize {
        let max = self.settings.limits.requests;
        if account.is_here() {
            max.min(REQUESTS_HERE_MAX)
        } else {
            max
        }
    }

    /// How many requests may be in flight towards this account.
    pub(super) fn width(&self, account: &Account) -> usize {
        let max = self.requests_max(account);
        self.throttles
            .get(account)
            .map_or(1, |throttle| throttle.width(max))
    }

    fn throttle(&mut self, account: Account) -> &mut Throttle {
        // What runs in this process costs nobody anything.
        let allowance = if account.is_here() {
            Allowance::default()
        } else {
            Allowance {
                requests_per_minute: self.settings.requests_per_minute,
                tokens_per_minute: self.settings.tokens_per_minute,
            }
        };
        let now = self.now;
        self.throttles
            .entry(account)
            .or_insert_with(|| Throttle::new(allowance, now))
    }

    /// Whether requests with rows of this vectorizer may be sent.
    pub(super) fn is_trusted(&self, id: i64) -> bool {
        self.vectorizers.get(&id).is_none_or(|vectorizer| {
            vectorizer.proof.probe == Probe::None
                && matches!(vectorizer.proof.pull, Pull::None | Pull::Tried)
        })
    }

    /// The next request of a batch: of the vectorizer that has the fewest in flight.
    pub(super) fn embed_call(&mut self) -> Option<(Sent, Call)> {
        let timeout = self.settings.request_timeout();
        let out = |id: i64| -> usize {
            let same = self.batches.values().filter(|batch| batch.profile.id == id);
            same.map(|batch| batch.requests_out).sum()
        };
        let number = self
            .batches
            .iter()
            .filter(|(_, batch)| {
                !batch.spans.is_empty()
                    && !batch.draining
                    && !batch.leaving
                    // No request outlives its lease.
                    && self.now < batch.extend_at(timeout)
                    && self.is_trusted(batch.profile.id)
                    && self.is_open(&batch.profile.provider.account(), batch.next_tokens())
            })
            .min_by_key(|(number, batch)| (out(batch.profile.id), **number))
            .map(|(number, _)| *number)?;
        let batch = self.batches.get_mut(&number)?;
        let span = batch.spans.pop_front()?;
        batch.requests_out += 1;
        let profile = Arc::clone(&batch.profile);
        let texts = batch.texts(&span);
        let tokens = tokens_of(texts.iter().map(|text| text.len()).sum());
        let call = profile.provider.call(&texts, Purpose::Document, timeout);
        let now = self.now;
        self.throttle(profile.provider.account()).sent(now, tokens);
        Some((
            Sent::Embed {
                batch: number,
                span,
                profile,
                tokens,
                at: now,
            },
            call,
        ))
    }

    pub(super) fn probe_call(&mut self) -> Option<(Sent, Call)> {
        let profile = self.wanting(|vectorizer| vectorizer.proof.probe == Probe::Wanted)?;
        self.vectorizers.get_mut(&profile.id)?.proof.probe = Probe::Out;
        let now = self.now;
        self.throttle(profile.provider.account()).sent(now, 1);
        let timeout = self.settings.request_timeout();
        let call = profile
            .provider
            .call(&[PROBE.into()], Purpose::Document, timeout);
        Some((Sent::Probe(profile), call))
    }

    pub(super) fn pull_call(&mut self) -> Option<(Sent, Call)> {
        let profile =
            self.wanting(|vectorizer| matches!(vectorizer.proof.pull, Pull::Wanted(_)))?;
        let request = profile.provider.pull(PULL_TIMEOUT)?;
        let pull = &mut self.vectorizers.get_mut(&profile.id)?.proof.pull;
        if let Pull::Wanted(reason) = std::mem::take(pull) {
            *pull = Pull::Out(reason);
        }
        let now = self.now;
        self.throttle(profile.provider.account()).sent(now, 1);
        Some((Sent::Pull(profile), Call::http(request)))
    }

    fn wanting(&self, wants: impl Fn(&super::Vectorizer) -> bool) -> Option<Arc<Profile>> {
        if !self.life.is_running() {
            return None;
        }
        let profiles = self
            .vectorizers
            .values()
            .filter(|vectorizer| wants(vectorizer));
        profiles
            .filter_map(|vectorizer| vectorizer.profile.as_ref())
            .find(|profile| self.is_open(&profile.provider.account(), 1))
            .map(Arc::clone)
    }

    pub(super) fn responded(&mut self, sent: Sent, answer: Result<Response, RequestError>) {
        self.back(&sent);
        if let Ok(response) = &answer {
            let account = sent.profile().provider.account();
            let now = self.now;
            self.throttle(account).heard(now, &Remaining::of(response));
        }
        // A definition that was mended meanwhile is not paused for what the old one met.
        if !self.is_current(sent.profile()) {
            return;
        }
        let wall = self.settings.wall_start + self.now.since_start();
        match sent {
            Sent::Pull(profile) => self.pulled(&profile, answer),
            Sent::Probe(profile) => {
                let verdict = answer.map(|response| profile.provider.judge(&response, 1, wall));
                self.probed(&profile, verdict);
            }
            Sent::Embed {
                batch,
                span,
                profile,
                at,
                ..
            } => {
                let count = span.inputs.len();
                self.size_requests(profile.id, count, at, &answer);
                let verdict = answer.map(|response| profile.provider.judge(&response, count, wall));
                self.embedded(batch, span, &profile, verdict);
            }
        }
    }

    pub(super) fn computed(&mut self, sent: Sent, answer: Result<LocalAnswer, LocalError>) {
        self.back(&sent);
        if !self.is_current(sent.profile()) {
            return;
        }
        match sent {
            // Nothing is fetched for a local model.
            Sent::Pull(_) => {}
            Sent::Probe(profile) => {
                let verdict = profile.provider.judge_local(answer, 1);
                self.probed(&profile, Ok(verdict));
            }
            Sent::Embed {
                batch,
                span,
                profile,
                ..
            } => {
                if let Ok(LocalAnswer::Vectors { truncated, .. }) = answer {
                    self.tell_truncated(profile.id, truncated, None);
                }
                let verdict = profile.provider.judge_local(answer, span.inputs.len());
                self.embedded(batch, span, &profile, Ok(verdict));
            }
        }
    }

    /// A request is no longer in flight.
    fn back(&mut self, sent: &Sent) {
        let tokens = match sent {
            Sent::Embed { tokens, .. } => *tokens,
            Sent::Probe(_) | Sent::Pull(_) => 1,
        };
        self.throttle(sent.profile().provider.account())
            .back(tokens);
        if let Sent::Embed { batch, .. } = sent
            && let Some(batch) = self.batches.get_mut(batch)
        {
            batch.requests_out = batch.requests_out.saturating_sub(1);
        }
    }

    fn embedded(
        &mut self,
        number: u64,
        mut span: Span,
        profile: &Arc<Profile>,
        verdict: Result<Verdict, RequestError>,
    ) {
        match verdict {
            Ok(Verdict::Vectors(vectors)) => {
                self.provider_answered(profile, vectors.len());
                if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
                    vectorizer.succeeded();
                }
                if let Some(batch) = self.batches.get_mut(&number) {
                    batch.fill(&span, vectors);
                }
            }
            Ok(Verdict::Bad(bad @ BadAnswer::Dimensions { .. })) => {
                self.pause_vectorizer(profile.id, failure::EMBEDDING, &bad.to_string());
            }
            Ok(Verdict::Bad(bad)) => {
                // It did answer: this is no outage.
                self.provider_answered(profile, 0);
                span.bad_answers += 1;
                if span.bad_answers < BAD_ANSWERS_MAX {
                    self.put_back(number, span);
                } else {
                    self.inputs_refused(number, span, profile, &bad.to_string());
                }
            }
            Ok(Verdict::Refused(Refusal::Inputs(reason))) => {
                self.provider_answered(profile, 0);
                self.inputs_refused(number, span, profile, &reason);
            }
            Ok(Verdict::Refused(Refusal::ModelMissing(reason))) => {
                self.model_missing(profile, &reason)
            }
            Ok(Verdict::Refused(Refusal::Vectorizer(reason))) => {
                self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
            }
            Ok(Verdict::Refused(Refusal::Pause(reason))) => self.account_refused(profile, &reason),
            Ok(Verdict::Refused(Refusal::Retry { reason, after })) => {
                self.put_back(number, span);
                self.provider_failed(profile, after, &reason);
            }
            Err(RequestError::Secret(reason)) => self.account_refused(profile, &reason),
            Err(RequestError::Timeout) => {
                // Perhaps it was too much at once.
                if span.inputs.len() > 1 {
                    for half in span.halves() {
                        self.put_back(number, half);
                    }
                } else {
                    self.put_back(number, span);
                }
                self.provider_failed(profile, None, &RequestError::Timeout.to_string());
            }
            Err(error @ (RequestError::Broken(_) | RequestError::Connect(_))) => {
                self.put_back(number, span);
                self.provider_failed(profile, None, &silence(profile, &error));
            }
        }
    }

    /// Requests that a provider does not get done in time are smaller from now on, and larger again
    /// once it gets a full one done in a quarter of the time.
    fn size_requests(
        &mut self,
        id: i64,
        inputs: usize,
        sent: Time,
        answer: &Result<Response, RequestError>,
    ) {
        let (now, limits) = (self.now, self.settings.limits);
        let in_good_time = now.since(sent) < self.settings.request_timeout() / 4;
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return;
        };
        let max = &mut vectorizer.inputs_max;
        if matches!(answer, Err(RequestError::Timeout)) {
            *max = (inputs / 2).clamp(1, *max);
        } else if answer.is_ok() && inputs >= *max && in_good_time {
            *max = (*max * 2).min(limits.inputs);
        }
    }

    fn put_back(&mut self, number: u64, span: Span) {
        if let Some(batch) = self.batches.get_mut(&number)
            && !batch.draining
        {
            batch.spans.push_front(span);
        }
    }

    /// Something in this request is not taken. Whose fault is that? If the provider takes other
    /// things of this vectorizer, it is one input's, found by halving; if it takes nothing, it is
    /// the vectorizer's, and no row is blamed. A probe decides where that is not known.
    fn inputs_refused(
        &mut self,
        number: u64,
        mut span: Span,
        profile: &Arc<Profile>,
        reason: &str,
    ) {
        let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) else {
            return;
        };
        let proof = &mut vectorizer.proof;
        proof.refusals_since_success += 1;
        let alone = span.inputs.len() == 1;
        let doubted = *span.doubted.get_or_insert(proof.successes);
        let unproven = proof.successes == 0
            || proof.refusals_since_success >= REFUSALS_UNPROVEN
            || (alone && proof.successes == doubted);
        if unproven {
            proof.probe = Probe::Wanted;
            span.refused = Some(reason.to_owned());
            self.put_back(number, span);
        } else {
            self.split_or_blame(number, span, reason);
        }
    }

    fn split_or_blame(&mut self, number: u64, span: Span, reason: &str) {
        if span.inputs.len() > 1 {
            for half in span.halves() {
                self.put_back(number, half);
            }
        } else if let Some(batch) = self.batches.get_mut(&number) {
            batch.blame(&span, reason);
        }
    }

    fn probed(&mut self, profile: &Arc<Profile>, verdict: Result<Verdict, RequestError>) {
        let reason = match verdict {
            Ok(Verdict::Vectors(_)) => {
                self.provider_answered(profile, 1);
                if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
                    vectorizer.succeeded();
                }
                self.resolve_refused(profile.id);
                return;
            }
            Ok(Verdict::Bad(bad)) => bad.to_string(),
            Ok(Verdict::Refused(Refusal::Inputs(reason) | Refusal::Vectorizer(reason))) => reason,
            Ok(Verdict::Refused(Refusal::ModelMissing(reason))) => {
                self.unprobe(profile.id);
                return self.model_missing(profile, &reason);
            }
            Ok(Verdict::Refused(Refusal::Pause(reason))) | Err(RequestError::Secret(reason)) => {
                self.unprobe(profile.id);
                return self.account_refused(profile, &reason);
            }
            Ok(Verdict::Refused(Refusal::Retry { reason, after })) => {
                return self.probe_again(profile, after, &reason);
            }
            Err(
                error
                @ (RequestError::Broken(_) | RequestError::Connect(_) | RequestError::Timeout),
            ) => {
                return self.probe_again(profile, None, &silence(profile, &error));
            }
        };
        self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
    }

    fn unprobe(&mut self, id: i64) {
        if let Some(vectorizer) = self.vectorizers.get_mut(&id) {
            vectorizer.proof.probe = Probe::None;
        }
    }

    fn probe_again(
        &mut self,
        profile: &Arc<Profile>,
        after: Option<std::time::Duration>,
        reason: &str,
    ) {
        if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
            vectorizer.proof.probe = Probe::Wanted;
        }
        self.provider_failed(profile, after, reason);
    }

    /// The provider does take something of this vectorizer: what it refused is at fault itself.
    fn resolve_refused(&mut self, id: i64) {
        let mut refused = vec![];
        for (number, batch) in self
            .batches
            .iter_mut()
            .filter(|(_, batch)| batch.profile.id == id)
        {
            for mut span in std::mem::take(&mut batch.spans) {
                match span.refused.take() {
                    Some(reason) => refused.push((*number, span, reason)),
                    None => batch.spans.push_back(span),
                }
            }
        }
        for (number, span, reason) in refused {
            self.split_or_blame(number, span, &reason);
        }
    }

    /// The model is not there: Ollama is asked to fetch it, once; else somebody has to.
    fn model_missing(&mut self, profile: &Arc<Profile>, reason: &str) {
        let can_pull = profile.provider.pull(PULL_TIMEOUT).is_some();
        let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) else {
            return;
        };
        match &vectorizer.proof.pull {
            Pull::None if can_pull => {
                vectorizer.proof.pull = Pull::Wanted(reason.to_owned());
                // Meanwhile others may have the rows.
                for batch in self
                    .batches
                    .values_mut()
                    .filter(|batch| batch.profile.id == profile.id)
                {
                    batch.drain();
                }
            }
            Pull::Out(_) | Pull::Wanted(_) => {}
            Pull::None | Pull::Tried => {
                let reason = format!(
                    "{reason}: the model {:?} is missing; {}",
                    profile.provider.model(),
                    profile.provider.if_model_is_missing()
                );
                self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
            }
        }
    }

    fn pulled(&mut self, profile: &Arc<Profile>, answer: Result<Response, RequestError>) {
        let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) else {
            return;
        };
        let Pull::Out(missing) = std::mem::take(&mut vectorizer.proof.pull) else {
            return;
        };
        vectorizer.proof.pull = Pull::Tried;
        vectorizer.pace.again(self.now);
        let said = match answer {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => said(response.body()),
            Err(error) => brief(&error.to_string()),
        };
        let reason = format!(
            "{missing}; fetching it failed, too: {said}; {}",
            profile.provider.if_model_is_missing()
        );
        self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
    }

    fn provider_answered(&mut self, profile: &Arc<Profile>, vectors: usize) {
        let account = profile.provider.account();
        let max = self.requests_max(&account);
        let now = self.now;
        if self
            .throttles
            .get_mut(&account)
            .is_some_and(|throttle| throttle.succeeded(now, vectors, max))
        {
            self.events.push_back(Event::Resumed {
                provider: account.to_string(),
            });
        }
    }

    /// The provider as a whole is busy or down.
    fn provider_failed(
        &mut self,
        profile: &Arc<Profile>,
        after: Option<std::time::Duration>,
        reason: &str,
    ) {
        let account = profile.provider.account();
        let now = self.now;
        self.throttle(account.clone());
        let Some(throttle) = self.throttles.get_mut(&account) else {
            return;
        };
        let tell = throttle.failed(now, after, &mut self.random);
        let failures = throttle.failures;
        let is_closed = throttle.is_closed_for_long(now);
        let wait = throttle.opens(now).since(now);
        if let Some(retry_in) = tell {
            self.record(profile.id, failure::EMBEDDING, reason);
            let provider = account.to_string();
            self.events.push_back(Event::Paused {
                provider,
                reason: reason.to_owned(),
                retry_in,
            });
        }
        if is_closed {
            // Others may have more luck, and other vectorizers need the room.
            self.drain_account(&account);
        }
        if self.settings.once && (failures >= FAILURES_MAX || wait >= ONCE_WAIT_MAX) {
            self.give_up(&account, reason);
        } else if failures >= FAILURES_MAX {
            self.failed_as_a_whole(reason);
        }
    }

    /// Somebody has to do something about the account: nothing is sent for a while, and the rows
    /// go back to the queue as they were.
    fn account_refused(&mut self, profile: &Arc<Profile>, reason: &str) {
        let account = profile.provider.account();
        self.throttle(account.clone());
        let throttle = self.throttles.get_mut(&account);
        let tell = throttle.and_then(|throttle| throttle.paused(self.now, &mut self.random));
        if let Some(retry_in) = tell {
            self.record(profile.id, failure::EMBEDDING, reason);
            let provider = account.to_string();
            self.events.push_back(Event::Paused {
                provider,
                reason: reason.to_owned(),
                retry_in,
            });
        }
        self.drain_account(&account);
        self.failed_as_a_whole(reason);
        if self.settings.once {
            self.give_up(&account, reason);
        }
    }

    fn drain_account(&mut self, account: &Account) {
        for batch in self.batches.values_mut() {
            if batch.profile.provider.account() == *account {
                batch.drain();
            }
        }
    }

    /// With `--once`: the vectorizers of this account cannot be served in this run. Why was told
    /// when the account was paused.
    fn give_up(&mut self, account: &Account, reason: &str) {
        let ids: Vec<_> = self
            .vectorizers
            .iter()
            .filter(|(_, vectorizer)| {
                let profile = vectorizer.profile.as_ref();
                profile.is_some_and(|profile| profile.provider.account() == *account)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.rest_vectorizer(id);
        }
        self.failed_as_a_whole(reason);
    }
}

/// Why there is no answer, and what to do where nobody is there to give one.
fn silence(profile: &Profile, error: &RequestError) -> String {
    let reason = brief(&error.to_string());
    match error {
        RequestError::Connect(_) => format!("{reason}; {}", profile.provider.if_unreachable()),
        RequestError::Broken(_) | RequestError::Secret(_) | RequestError::Timeout => reason,
    }
}
