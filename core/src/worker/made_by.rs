//! What made the stored texts. Where somebody has changed how they are made, the worker records that
//! before it claims anything, and the database has all rows compared with their texts anew.
//!
//! (Where the vectors are made differently, nothing is claimed at all: see
//! [`Definition::check_vectors`](crate::vectorizer::Definition::check_vectors).)

use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use super::vectorizers::Vectorizer;
use super::{Worker, failure};
use crate::event::Event;
use crate::query::{DbError, Query};
use crate::retry;
use crate::time::Time;
use crate::vectorizer::MakerDigests;

/// What a vectorizer waits for before it claims anything.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// To be recorded; `None` if it is.
    pub(super) wanted: Option<MakerDigests>,
    /// Not before this moment.
    at: Time,
    is_out: bool,
}

impl Record {
    pub(super) fn new(wanted: Option<MakerDigests>) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }
}

impl Vectorizer {
    fn records_at(&self) -> Option<Time> {
        let runs = self.profile.is_some() && !self.is_paused();
        (runs && self.record.wanted.is_some() && !self.record.is_out).then_some(self.record.at)
    }
}

impl Worker {
    pub(super) fn accept_query(&mut self) -> Option<(Asked, Query)> {
        if !self.life.is_running() {
            return None;
        }
        let now = self.now;
        let (id, vectorizer) = self
            .vectorizers
            .iter_mut()
            .find(|(_, vectorizer)| vectorizer.records_at().is_some_and(|at| at <= now))?;
        let digests = vectorizer.record.wanted.clone()?;
        vectorizer.record.is_out = true;
        let query = Query::AcceptTexts {
            vectorizer: *id,
            digests: digests.clone(),
        };
        Some((Asked::AcceptTexts(*id, digests), query))
    }

    pub(super) fn accept_wakes(&self) -> impl Iterator<Item = Time> {
        let running = self.life.is_running();
        let vectorizers = self.vectorizers.values();
        vectorizers.filter_map(move |vectorizer| vectorizer.records_at().filter(|_| running))
    }

    pub(super) fn texts_accepted(&mut self, id: i64, digests: &MakerDigests, is_recorded: bool) {
        let later = self.now + HOUSEKEEPING;
        let Some(record) = self.wanted_record(id, digests) else {
            return;
        };
        record.is_out = false;
        if is_recorded {
            record.wanted = None;
            self.resync.look(self.now);
            self.events
                .push_back(Event::TextsChanged { vectorizer: id });
        } else {
            // The configuration has changed once more.
            record.at = later;
        }
        self.session.reload_soon(self.now);
    }

    pub(super) fn accept_refused(
        &mut self,
        id: i64,
        digests: &MakerDigests,
        trouble: Trouble,
        error: &DbError,
    ) {
        let at = self.now + retry::LOCKED.wait(1, &mut self.random);
        if let Some(record) = self.wanted_record(id, digests) {
            (record.is_out, record.at) = (false, at);
            if matches!(trouble, Trouble::Data | Trouble::Schema) {
                self.pause_vectorizer(id, failure::UNEXPECTED, &remedy(error));
            }
        }
    }

    /// Unless the vectorizer has been defined anew since these digests were sent.
    fn wanted_record(&mut self, id: i64, digests: &MakerDigests) -> Option<&mut Record> {
        let record = &mut self.vectorizers.get_mut(&id)?.record;
        (record.is_out && record.wanted.as_ref() == Some(digests)).then_some(record)
    }
}
