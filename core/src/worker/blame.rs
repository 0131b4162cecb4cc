//! Whose fault is a refusal: one input's, the vectorizer's, or a missing model's?

use std::sync::Arc;
use std::time::Duration;

use super::batch::Span;
use super::outage::silence;
use super::requests::PULL_TIMEOUT;
use super::vectorizers::{Probe, Pull};
use super::{Worker, failure};
use crate::provider::{BadAnswer, Refusal, Verdict, brief, said};
use crate::request::{Received, RequestError};
use crate::time::Time;
use crate::vectorizer::Profile;

/// After this many refusals in a row it is checked whether the provider takes anything at all.
const REFUSALS_UNPROVEN: u32 = 3;

impl Worker {
    /// Something in this request is not taken. Whose fault is that? If the provider takes other
    /// things of this vectorizer, it is one input's, found by halving; if it takes nothing, it is
    /// the vectorizer's, and no row is blamed. A probe decides where that is not known.
    pub(super) fn inputs_refused(
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

    pub(super) fn split_or_blame(&mut self, number: u64, span: Span, reason: &str) {
        if span.inputs.len() > 1 {
            for half in span.halves() {
                self.put_back(number, half);
            }
        } else if let Some(batch) = self.batches.get_mut(&number) {
            batch.blame(&span, reason);
        }
    }

    pub(super) fn probed(
        &mut self,
        profile: &Arc<Profile>,
        sent: Time,
        verdict: Result<Verdict, RequestError>,
    ) {
        let reason = match verdict {
            Ok(Verdict::Vectors(_)) => {
                self.provider_answered(profile, Duration::ZERO, 1);
                if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
                    vectorizer.succeeded(sent);
                }
                self.resolve_refused(profile.id);
                return;
            }
            Ok(Verdict::Bad(bad @ BadAnswer::Dimensions { .. })) => {
                self.wrong_dimensions(profile, &bad)
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
                return self.probe_failed(profile, after, &reason);
            }
            Ok(Verdict::Refused(Refusal::Failed { reason, after, .. })) => {
                return self.probe_failed(profile, after, &reason);
            }
            Err(
                error
                @ (RequestError::Broken(_) | RequestError::Connect(_) | RequestError::Timeout),
            ) => {
                return self.probe_failed(profile, None, &silence(profile, &error));
            }
        };
        self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
    }

    pub(super) fn probe_wanted(&mut self, id: i64) {
        if let Some(vectorizer) = self.vectorizers.get_mut(&id) {
            vectorizer.proof.probe = Probe::Wanted;
        }
    }

    pub(super) fn unprobe(&mut self, id: i64) {
        if let Some(vectorizer) = self.vectorizers.get_mut(&id) {
            vectorizer.proof.probe = Probe::None;
        }
    }

    /// The provider does take something of this vectorizer: what it refused is at fault itself.
    pub(super) fn resolve_refused(&mut self, id: i64) {
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
    pub(super) fn model_missing(&mut self, profile: &Arc<Profile>, reason: &str) {
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
                    profile.provider.model,
                    profile.provider.if_model_is_missing()
                );
                self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
            }
        }
    }

    pub(super) fn pulled(
        &mut self,
        profile: &Arc<Profile>,
        answer: Result<Received, RequestError>,
    ) {
        let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) else {
            return;
        };
        let Pull::Out(missing) = std::mem::take(&mut vectorizer.proof.pull) else {
            return;
        };
        vectorizer.proof.pull = Pull::Tried;
        vectorizer.pace.again(self.now);
        let said = match answer {
            Ok(answer) if answer.response.status().is_success() => return,
            Ok(answer) => said(answer.response.body()),
            Err(error) => brief(&error.to_string()),
        };
        let reason = format!(
            "{missing}; fetching it failed, too: {said}; {}",
            profile.provider.if_model_is_missing()
        );
        self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
    }
}
