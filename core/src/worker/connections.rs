//! How many connections one vectorizer may use at a time. Code of its owner (a trigger on the store)
//! runs in its statements, and may sleep: that must not keep other vectorizers waiting.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Worker;
use super::statements::Asked;

/// Statements in flight for one vectorizer.
const OWN_MAX: usize = 2;
/// Statements in flight for all slow vectorizers together.
const SLOW_MAX: usize = 2;
/// A vectorizer whose last statement took longer is slow.
const SLOW: Duration = Duration::from_secs(5);

/// The statements in flight, by vectorizer.
#[derive(Debug)]
pub(super) struct InFlight {
    own: BTreeMap<i64, usize>,
    slow: usize,
}

impl InFlight {
    /// Whether one more statement of a vectorizer may run.
    pub(super) fn has_room(&self, vectorizer: i64, is_slow: bool) -> bool {
        let own = self.own.get(&vectorizer).copied().unwrap_or(0);
        own < OWN_MAX && (!is_slow || self.slow < SLOW_MAX)
    }
}

impl Worker {
    /// Counts the statements in flight.
    pub(super) fn in_flight(&self) -> InFlight {
        let mut own = BTreeMap::new();
        for vectorizer in self.asked.values().filter_map(|asked| self.whose(asked)) {
            *own.entry(vectorizer).or_insert(0) += 1;
        }
        let slow = own.iter().filter(|(id, _)| self.is_slow(**id));
        let slow = slow.map(|(_, count)| count).sum();
        InFlight { own, slow }
    }

    fn whose(&self, asked: &Asked) -> Option<i64> {
        match asked {
            Asked::Batch { number, .. } => Some(self.batches.get(number)?.profile.id),
            Asked::AcceptTexts(vectorizer, _)
            | Asked::Bell(vectorizer)
            | Asked::Change(vectorizer)
            | Asked::Refresh(vectorizer)
            | Asked::Waiting(vectorizer) => Some(*vectorizer),
            Asked::Claim { profile, .. } => Some(profile.id),
            Asked::AddUsage
            | Asked::CheckSchema
            | Asked::Heartbeat(_)
            | Asked::Index(_)
            | Asked::LoadVectorizers
            | Asked::Records(_)
            | Asked::RefuseResync
            | Asked::StartWorker
            | Asked::TakeBudget { .. }
            | Asked::TakeResync { .. } => None,
            Asked::Resync(_) => self.resync.vectorizer(),
        }
    }

    fn is_slow(&self, vectorizer: i64) -> bool {
        let known = self.vectorizers.get(&vectorizer);
        known.is_some_and(|known| known.is_slow)
    }
}

/// Whether a statement that took this long makes its vectorizer a slow one.
pub(super) fn is_slow(took: Duration) -> bool {
    took > SLOW
}
