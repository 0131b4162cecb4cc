//! Documents that are checked again and again, because they change behind an unchanged address. Those whose check is due
//! are queued like changed rows, by whichever worker asks first; the worker that claims such a row asks the server for
//! the document only if it has changed.

use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use super::vectorizers::Vectorizer;
use crate::event::Event;
use crate::query::{DbError, Query, Refreshed, Rows};
use crate::time::Time;

/// The longest time between two looks at what is due.
const LOOK: Duration = Duration::from_secs(60);
/// So often in an interval a worker looks.
const LOOKS: u32 = 10;

/// When a worker looks for documents whose check is due.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    at: Time,
    is_out: bool,
    /// With `--once`: whether everything that was due has been queued.
    is_done: bool,
    is_told: bool,
}

impl Vectorizer {
    fn refreshes_at(&self) -> Option<Time> {
        let interval = self.interval()?;
        let runs = !interval.is_zero() && !self.is_paused() && !self.refresh.is_out;
        runs.then_some(self.refresh.at)
    }

    fn interval(&self) -> Option<Duration> {
        let seconds = self.profile.as_ref()?.plan.refresh?;
        Some(Duration::from_secs(seconds))
    }

    /// Whether nothing more is to be queued now.
    pub(super) fn has_refreshed(&self) -> bool {
        self.interval().is_none() || self.refresh.is_done
    }
}

impl Worker {
    pub(super) fn refresh_query(&mut self) -> Option<(Asked, Query)> {
        if !self.life.is_running() {
            return None;
        }
        let (now, in_flight) = (self.now, self.in_flight());
        let (id, vectorizer) = self.vectorizers.iter_mut().find(|(id, vectorizer)| {
            vectorizer.refreshes_at().is_some_and(|at| at <= now)
                && vectorizer.record.wanted.is_none()
                && in_flight.has_room(**id, vectorizer.is_slow)
        })?;
        vectorizer.refresh.is_out = true;
        let plan = Arc::clone(&vectorizer.profile.as_ref()?.plan);
        Some((Asked::Refresh(*id), Query::Refresh { plan }))
    }

    pub(super) fn refresh_wakes(&self) -> impl Iterator<Item = Time> {
        let running = self.life.is_running();
        let vectorizers = self.vectorizers.values();
        vectorizers.filter_map(move |vectorizer| vectorizer.refreshes_at().filter(|_| running))
    }

    pub(super) fn refreshed(&mut self, id: i64, rows: Rows) {
        let refreshed = match Refreshed::new(rows) {
            Ok(refreshed) => refreshed,
            Err(error) => return self.refresh_refused(id, Trouble::Schema, &error.into()),
        };
        let now = self.now;
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return;
        };
        let interval = vectorizer.interval().unwrap_or(LOOK);
        let wait = if refreshed.is_full {
            HOUSEKEEPING
        } else {
            (interval / LOOKS).clamp(HOUSEKEEPING, LOOK)
        };
        vectorizer.refresh = Refresh {
            at: now + wait,
            is_done: !refreshed.is_full,
            ..Refresh::default()
        };
        if refreshed.queued > 0 {
            vectorizer.stir();
            vectorizer.pace.found(now);
        }
    }

    /// It is tried again later: what is due stays due.
    pub(super) fn refresh_refused(&mut self, id: i64, trouble: Trouble, error: &DbError) {
        let at = self.now + LOOK;
        let Some(vectorizer) = self.vectorizers.get_mut(&id) else {
            return;
        };
        vectorizer.refresh.is_out = false;
        vectorizer.refresh.at = at;
        vectorizer.refresh.is_done = true;
        let is_passing = matches!(trouble, Trouble::Again | Trouble::Outage);
        if !is_passing && !std::mem::replace(&mut vectorizer.refresh.is_told, true) {
            let reason = format!(
                "the documents of vectorizer {id} cannot be checked again: {}",
                remedy(error)
            );
            self.events.push_back(Event::DatabaseTrouble {
                reason,
                retry_in: LOOK,
            });
        }
    }
}
