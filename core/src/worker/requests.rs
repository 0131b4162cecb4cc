//! Requests: which may be sent now, and what their answers do.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Span;
use super::doubt::Failed;
use super::outage::silence;
use super::throttle::{Allowance, Throttle, tokens_of};
use super::vectorizers::{Probe, Pull};
use super::{Worker, failure};
use crate::local::{LocalAnswer, LocalError};
use crate::provider::{Account, BadAnswer, Call, Purpose, Refusal, Remaining, Verdict};
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
        /// The optional parameters that it has not.
        without: Vec<&'static str>,
    },
    Probe {
        profile: Arc<Profile>,
        at: Time,
        without: Vec<&'static str>,
    },
    Pull(Arc<Profile>),
}

impl Sent {
    const fn profile(&self) -> &Arc<Profile> {
        let (Self::Embed { profile, .. } | Self::Probe { profile, .. } | Self::Pull(profile)) =
            self;
        profile
    }
}

/// A text that every model takes.
const PROBE: &str = "probe";
/// A useless answer is asked for again this often before the request is split.
const BAD_ANSWERS_MAX: u32 = 3;
/// Requests of a model in this process: one at work, and the next ones at hand.
const REQUESTS_HERE_MAX: usize = 4;
/// Fetching a model may take long.
pub(super) const PULL_TIMEOUT: Duration = Duration::from_secs(3600);

impl Worker {
    fn is_open(&self, account: &Account, tokens: u64) -> bool {
        let max = self.requests_max(account);
        self.throttles
            .get(account)
            .is_none_or(|throttle| throttle.is_open(self.now, max, tokens))
    }

    /// A model in this process has all processors at work with one request.
    pub(super) fn requests_max(&self, account: &Account) -> usize {
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

    pub(super) fn throttle(&mut self, account: Account) -> &mut Throttle {
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
        let (number, at) = self
            .batches
            .iter()
            .filter(|(_, batch)| {
                !batch.spans.is_empty()
                    && !batch.draining
                    && !batch.leaving
                    // No request outlives its lease.
                    && self.now < batch.extend_at(timeout)
                    && self.is_trusted(batch.profile.id)
                    && self.may_send_rows(batch.profile.id)
            })
            .filter_map(|(number, batch)| {
                let at = batch.next_span(self.may_try(batch))?;
                let account = batch.profile.provider.account();
                let is_open = self.is_open(&account, batch.tokens(at));
                is_open.then_some((number, batch, at))
            })
            .min_by_key(|(number, batch, at)| {
                // Where only one request may be out, what is fresh goes before what may fail again.
                let span = &batch.spans[*at];
                let is_last = span.is_doubtful()
                    && span.inputs.len() == 1
                    && self.width(&batch.profile.provider.account()) == 1;
                (is_last, out(batch.profile.id), **number)
            })
            .map(|(number, _, at)| (*number, at))?;
        let batch = self.batches.get_mut(&number)?;
        let known = self.vectorizers.get(&batch.profile.id);
        let inputs_max = known.map_or(1, |known| known.inputs_max);
        let mut span = batch.take_span(at, inputs_max)?;
        let works = known.is_some_and(|known| known.doubt.is_resolved());
        span.is_trial = span.is_doubtful() && works;
        let profile = Arc::clone(&batch.profile);
        let texts = batch.texts(&span);
        let tokens = tokens_of(texts.iter().map(|text| text.len()).sum());
        let without = self.left_out(&profile);
        let call = profile
            .provider
            .call(&texts, Purpose::Document, timeout, &without);
        let now = self.now;
        self.throttle(profile.provider.account()).sent(now, tokens);
        Some((
            Sent::Embed {
                batch: number,
                span,
                profile,
                tokens,
                at: now,
                without,
            },
            call,
        ))
    }

    pub(super) fn probe_call(&mut self) -> Option<(Sent, Call)> {
        let profile = self.wanting(|id, vectorizer| match vectorizer.proof.probe {
            Probe::Wanted => true,
            Probe::Out => false,
            Probe::None => self.wants_evidence(id),
        })?;
        self.vectorizers.get_mut(&profile.id)?.proof.probe = Probe::Out;
        let now = self.now;
        self.throttle(profile.provider.account()).sent(now, 1);
        let timeout = self.settings.request_timeout();
        let without = self.left_out(&profile);
        let call = profile
            .provider
            .call(&[PROBE.into()], Purpose::Document, timeout, &without);
        let sent = Sent::Probe {
            profile,
            at: now,
            without,
        };
        Some((sent, call))
    }

    pub(super) fn pull_call(&mut self) -> Option<(Sent, Call)> {
        let profile =
            self.wanting(|_, vectorizer| matches!(vectorizer.proof.pull, Pull::Wanted(_)))?;
        let request = profile.provider.pull(PULL_TIMEOUT)?;
        let pull = &mut self.vectorizers.get_mut(&profile.id)?.proof.pull;
        if let Pull::Wanted(reason) = std::mem::take(pull) {
            *pull = Pull::Out(reason);
        }
        let now = self.now;
        self.throttle(profile.provider.account()).sent(now, 1);
        Some((Sent::Pull(profile), Call::http(request)))
    }

    fn wanting(&self, wants: impl Fn(i64, &super::Vectorizer) -> bool) -> Option<Arc<Profile>> {
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

    pub(super) fn responded(&mut self, sent: Sent, answer: Result<Response, RequestError>) {
        self.back(&sent);
        let wall = self.settings.wall_start + self.now.since_start();
        if let Ok(response) = &answer {
            let account = sent.profile().provider.account();
            let now = self.now;
            let said = Remaining::of(response, wall);
            self.throttle(account).heard(now, &said);
        }
        // A definition that was fixed meanwhile is not paused for what the old one met.
        if !self.is_current(sent.profile()) {
            return;
        }
        match sent {
            Sent::Pull(profile) => self.pulled(&profile, answer),
            Sent::Probe {
                profile,
                at,
                without,
            } => {
                if let Ok(response) = &answer
                    && self.parameters_refused(&profile, &without, response)
                {
                    return self.probe_wanted(profile.id);
                }
                let verdict = answer.map(|response| profile.provider.judge(&response, 1, wall));
                self.probed(&profile, at, verdict);
            }
            Sent::Embed {
                batch,
                span,
                profile,
                at,
                without,
                ..
            } => {
                if let Ok(response) = &answer
                    && self.parameters_refused(&profile, &without, response)
                {
                    return self.put_back(batch, span);
                }
                let count = span.inputs.len();
                self.size_requests(profile.id, count, at, &answer);
                let verdict = answer.map(|response| profile.provider.judge(&response, count, wall));
                self.embedded(batch, span, &profile, self.now.since(at), verdict);
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
            Sent::Probe { profile, at, .. } => {
                let verdict = profile.provider.judge_local(answer, 1);
                self.probed(&profile, at, Ok(verdict));
            }
            Sent::Embed {
                batch,
                span,
                profile,
                at,
                ..
            } => {
                if let Ok(LocalAnswer::Vectors { truncated, .. }) = answer {
                    self.tell_truncated(profile.id, truncated, None);
                }
                let verdict = profile.provider.judge_local(answer, span.inputs.len());
                self.embedded(batch, span, &profile, self.now.since(at), Ok(verdict));
            }
        }
    }

    /// A request is no longer in flight.
    fn back(&mut self, sent: &Sent) {
        let tokens = match sent {
            Sent::Embed { tokens, .. } => *tokens,
            Sent::Probe { .. } | Sent::Pull(_) => 1,
        };
        self.throttle(sent.profile().provider.account())
            .back(tokens);
        if let Sent::Embed { batch, span, .. } = sent
            && let Some(batch) = self.batches.get_mut(batch)
        {
            batch.back(span);
        }
    }

    fn embedded(
        &mut self,
        number: u64,
        mut span: Span,
        profile: &Arc<Profile>,
        took: Duration,
        verdict: Result<Verdict, RequestError>,
    ) {
        match verdict {
            Ok(Verdict::Vectors(vectors)) => {
                self.provider_answered(profile, took, vectors.len());
                if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
                    vectorizer.succeeded(self.now - took);
                }
                if let Some(batch) = self.batches.get_mut(&number) {
                    batch.fill(&span, vectors);
                }
            }
            Ok(Verdict::Bad(bad @ BadAnswer::Dimensions { .. })) => {
                let reason = self.wrong_dimensions(profile, &bad);
                self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
            }
            // The next answer would be the same.
            Ok(Verdict::Bad(bad @ BadAnswer::Zero)) => {
                self.provider_answered(profile, took, 0);
                self.inputs_refused(number, span, profile, &bad.to_string());
            }
            Ok(Verdict::Bad(bad)) => {
                // It did answer: this is no outage.
                self.provider_answered(profile, took, 0);
                span.bad_answers += 1;
                if span.bad_answers < BAD_ANSWERS_MAX {
                    self.put_back(number, span);
                } else {
                    self.inputs_refused(number, span, profile, &bad.to_string());
                }
            }
            Ok(Verdict::Refused(Refusal::Inputs(reason))) => {
                self.provider_answered(profile, took, 0);
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
            Ok(Verdict::Refused(Refusal::Failed {
                reason,
                is_busy,
                after,
            })) => {
                let failed = Failed {
                    reason,
                    is_timeout: false,
                    is_busy,
                    after,
                };
                self.request_failed(number, span, profile, &failed);
            }
            Err(error @ (RequestError::Broken(_) | RequestError::Timeout)) => {
                let failed = Failed {
                    reason: silence(profile, &error),
                    is_timeout: error == RequestError::Timeout,
                    is_busy: false,
                    after: None,
                };
                self.request_failed(number, span, profile, &failed);
            }
            Err(error @ RequestError::Connect(_)) => {
                self.put_back(number, span);
                self.provider_failed(profile, None, &silence(profile, &error));
            }
        }
    }

    pub(super) fn wrong_dimensions(&mut self, profile: &Profile, bad: &BadAnswer) -> String {
        match self.dimensions_are_needed(profile) {
            Some(refused) => format!("{bad} ({refused})"),
            None => bad.to_string(),
        }
    }

    /// Requests that a provider does not get done in time are smaller from now on, and larger again
    /// once it gets one of that size (requests of a batch are of about the same size) done in a quarter of the
    /// time.
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
        } else if answer.is_ok() && inputs * 2 > *max && in_good_time {
            *max = (*max * 2).min(limits.inputs);
        }
    }

    pub(super) fn put_back(&mut self, number: u64, span: Span) {
        if let Some(batch) = self.batches.get_mut(&number)
            && !batch.draining
        {
            batch.spans.push_front(span);
        }
    }
}
