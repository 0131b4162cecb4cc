//! What the answers of providers do.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Span;
use super::doubt::Failed;
use super::outage::silence;
use super::{Worker, failure};
use crate::provider::{BadAnswer, Refusal, Vectors, Verdict};
use crate::request::RequestError;
use crate::vectorizer::Profile;

/// A useless answer is asked for again this often before the request is split.
const BAD_ANSWERS_MAX: u32 = 3;

impl Worker {
    pub(super) fn embedded(
        &mut self,
        number: u64,
        span: Span,
        profile: &Arc<Profile>,
        took: Duration,
        verdict: Result<Verdict, RequestError>,
    ) {
        match verdict {
            Ok(Verdict::Vectors(Vectors { vectors, .. })) => {
                self.provider_answered(profile, took, vectors.len());
                if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
                    vectorizer.succeeded(self.now - took);
                }
                if let Some(batch) = self.batches.get_mut(&number) {
                    batch.fill(&span, vectors);
                }
                self.plan_decided(number);
            }
            Ok(Verdict::Bad(bad)) => self.bad_answer(number, span, profile, took, &bad),
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

    /// The provider has answered with vectors that cannot be used.
    fn bad_answer(
        &mut self,
        number: u64,
        mut span: Span,
        profile: &Arc<Profile>,
        took: Duration,
        bad: &BadAnswer,
    ) {
        if let BadAnswer::Dimensions { .. } = bad {
            let reason = self.wrong_dimensions(profile, bad);
            self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
            return;
        }
        // It did answer: this is no outage.
        self.provider_answered(profile, took, 0);
        span.bad_answers += 1;
        // After a vector of zeros, the next answer would be the same.
        let is_final = matches!(bad, BadAnswer::Zero) || span.bad_answers >= BAD_ANSWERS_MAX;
        if is_final {
            self.inputs_refused(number, span, profile, &bad.to_string());
        } else {
            self.put_back(number, span);
        }
    }

    pub(super) fn wrong_dimensions(&mut self, profile: &Profile, bad: &BadAnswer) -> String {
        match self.accounts.dimensions_are_needed(&profile.provider) {
            Some(refused) => format!("{bad} ({refused})"),
            None => bad.to_string(),
        }
    }

    /// Requests that a provider does not get done in time are smaller from now on, and larger again
    /// once it gets one of that size (requests of a batch are of about the same size) done in a quarter of the
    /// time.
    pub(super) fn size_requests(
        &mut self,
        id: i64,
        inputs: usize,
        took: Duration,
        verdict: &Result<Verdict, RequestError>,
    ) {
        let limits = self.settings.limits;
        let in_good_time = took < self.settings.request_timeout() / 4;
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return;
        };
        let max = &mut vectorizer.inputs_max;
        if matches!(verdict, Err(RequestError::Timeout)) {
            *max = (inputs / 2).clamp(1, *max);
        } else if verdict.is_ok() && inputs * 2 > *max && in_good_time {
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
