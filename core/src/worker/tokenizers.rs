//! Tokenizers of models in this process, for vectorizers whose chunks have sizes in tokens. Nothing is claimed
//! for such a vectorizer before its model's tokenizer is there.

use std::sync::Arc;

use super::calls::{Called, Purpose};
use super::vectorizers::Vectorizer;
use super::{Worker, failure};
use crate::call::{Call, Reply};
use crate::model::ModelAnswer;
use crate::vectorizer::Profile;

impl Vectorizer {
    /// Whether its rows cannot be chunked yet.
    pub(super) fn waits_for_tokenizer(&self) -> bool {
        let profile = self.profile.as_ref();
        profile.is_some_and(|profile| profile.chunker.needs_tokenizer())
    }
}

impl Worker {
    /// A request for a tokenizer, for whoever waits for one.
    pub(super) fn tokenizer_call(&mut self) -> Option<(Called, Call)> {
        let profile = self.wanting(|_, vectorizer| {
            vectorizer.waits_for_tokenizer()
                && !vectorizer.asked_tokenizer
                && !vectorizer.is_paused()
        })?;
        let request = profile.provider.tokenizer_request()?;
        self.vectorizers.get_mut(&profile.id)?.asked_tokenizer = true;
        self.sent(&profile, 1);
        Some((
            self.calling(profile, Purpose::Tokenizer),
            Call::Model(request),
        ))
    }

    /// A tokenizer has come, or the reason why there is none.
    pub(super) fn tokenizer_came(&mut self, profile: &Arc<Profile>, reply: Reply) {
        if let Some(vectorizer) = self.vectorizers.get_mut(&profile.id) {
            vectorizer.asked_tokenizer = false;
        }
        let reason = match reply {
            Reply::Model(Ok(ModelAnswer::Tokenizer(tokenizer))) => {
                profile.chunker.set_tokenizer(&tokenizer);
                None
            }
            Reply::Model(Err(error)) => Some(error.to_string()),
            // A shell that did something else has brought none.
            Reply::Build(_)
            | Reply::Compute(_)
            | Reply::File(_)
            | Reply::Http(_)
            | Reply::Model(Ok(ModelAnswer::Scores(_) | ModelAnswer::Vectors { .. }))
            | Reply::Parse(_) => Some("the model did not give its tokenizer".to_owned()),
        };
        if let Some(reason) = reason {
            self.pause_vectorizer(profile.id, failure::EMBEDDING, &reason);
        }
        // Requests for a resync wait no longer.
        self.resync.look(self.now);
    }
}
