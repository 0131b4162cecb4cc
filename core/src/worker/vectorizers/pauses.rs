//! Vectorizers that are left alone for a while, because something is wrong with them as a whole.

use crate::event::Event;
use crate::query::DbError;
use crate::retry;
use crate::worker::doubt::Doubt;
use crate::worker::statements::HOUSEKEEPING;
use crate::worker::trouble::remedy;
use crate::worker::{Worker, failure};

use super::Proof;

/// After so many rows that ran out of steps a vectorizer is left alone for a while: each keeps a thread
/// busy for a second or so, and others will meet that, too.
const OUT_OF_STEPS_MAX: u32 = 3;

impl Worker {
    /// Leaves a vectorizer alone for a while: it is its config or its tables that must be fixed,
    /// not its rows. They go back to the queue as they were.
    pub(in crate::worker) fn pause_vectorizer(
        &mut self,
        id: i64,
        message: &'static str,
        reason: &str,
    ) {
        if self.rest_vectorizer(id) {
            if let Some(vectorizer) = self.vectorizers.get_mut(&id) {
                vectorizer.pause.reason = Some(reason.to_owned());
            }
            self.record(id, message, reason);
            self.events.push_back(Event::VectorizerBroken {
                vectorizer: id,
                reason: reason.to_owned(),
            });
            self.failed_as_a_whole(reason);
        }
    }

    /// Leaves a vectorizer alone without a word, and says whether it was not already.
    pub(in crate::worker) fn rest_vectorizer(&mut self, id: i64) -> bool {
        for batch in self
            .batches
            .values_mut()
            .filter(|batch| batch.profile.id == id)
        {
            batch.drain();
        }
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return false;
        };
        // Late answers to what was sent before the pause prove nothing of what comes after it.
        vectorizer.proof = Proof::default();
        vectorizer.doubt = Doubt::default();
        if vectorizer.is_paused() {
            return false;
        }
        vectorizer.pause.times += 1;
        let wait = retry::PAUSE.wait(vectorizer.pause.times, &mut self.random);
        vectorizer.pause.until = Some(self.now + wait);
        true
    }

    /// A row ran out of steps.
    pub(in crate::worker) fn ran_out_of_steps(&mut self, id: i64, reason: &str) {
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return;
        };
        vectorizer.out_of_steps += 1;
        if vectorizer.out_of_steps >= OUT_OF_STEPS_MAX {
            vectorizer.out_of_steps = 0;
            let reason = format!("{reason}, and on others: give the vectorizer another separator");
            self.pause_vectorizer(id, failure::UNEXPECTED, &reason);
        }
    }

    /// A statement of a batch met a missing table, column or right.
    pub(in crate::worker) fn vectorizer_broke(&mut self, id: i64, error: &DbError) {
        let listed_at = self.session.listed_at;
        if let Some(vectorizer) = self.vectorizers.get_mut(&id)
            && vectorizer.may_be_outdated(error, self.now, listed_at)
        {
            vectorizer.pace.again(self.now + 2 * HOUSEKEEPING);
            self.session.reload_soon(self.now);
            return;
        }
        self.pause_vectorizer(id, failure::UNEXPECTED, &remedy(error));
        self.session.reload_at(self.now);
    }

    pub(in crate::worker) fn end_pauses(&mut self) {
        if self.settings.once {
            return;
        }
        for vectorizer in self.vectorizers.values_mut() {
            if vectorizer
                .pause
                .until
                .is_some_and(|until| until <= self.now)
            {
                (vectorizer.pause.until, vectorizer.pause.reason) = (None, None);
                vectorizer.pace.again(self.now);
            }
        }
    }
}
