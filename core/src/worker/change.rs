//! Changes to another model. The database has a second generation of such a vectorizer, which a worker serves like
//! a vectorizer of its own. Beside that the worker asks for the next step of the change, again and again: the
//! database finds that all rows are embedded, that the index is built, and lets the new generation serve.

use std::time::Duration;

use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use super::vectorizers::Vectorizer;
use super::{Worker, failure};
use crate::event::Event;
use crate::query::{DbError, Query, Rows, text};
use crate::retry;
use crate::time::Time;

/// The longest time between two steps.
const STEP_MAX: Duration = Duration::from_secs(10);
/// After so many equal answers nothing comes of it soon: a session that was in the way for a moment is gone.
const SETTLED: u32 = 3;
/// The state after which nothing follows by itself.
const KEPT: &str = "kept";

/// What is known of a change.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// As the database said last.
    state: Option<String>,
    /// When to ask for the next step.
    at: Time,
    is_out: bool,
    /// Answers in a row that said the same.
    unchanged: u32,
    /// Nothing more can come of it as long as nothing else happens.
    is_settled: bool,
}

impl Change {
    fn is_over(&self) -> bool {
        self.state.as_deref() == Some(KEPT)
    }
}

impl Vectorizer {
    fn steps_at(&self) -> Option<Time> {
        let change = self.change.as_ref()?;
        let runs = self.profile.is_some() && !self.is_paused();
        (runs && !change.is_out && !change.is_over()).then_some(change.at)
    }

    /// Whether nothing can come of its change now, if there is one.
    pub(super) fn has_settled(&self) -> bool {
        self.change
            .as_ref()
            .is_none_or(|change| change.is_over() || change.is_settled)
    }
}

impl Worker {
    pub(super) fn change_query(&mut self) -> Option<(Asked, Query)> {
        if !self.life.is_running() {
            return None;
        }
        let now = self.now;
        let (id, vectorizer) = self
            .vectorizers
            .iter_mut()
            .find(|(_, vectorizer)| vectorizer.steps_at().is_some_and(|at| at <= now))?;
        vectorizer.change.as_mut()?.is_out = true;
        let query = Query::Change { generation: *id };
        Some((Asked::Change(*id), query))
    }

    pub(super) fn change_wakes(&self) -> impl Iterator<Item = Time> {
        let running = self.life.is_running();
        let vectorizers = self.vectorizers.values();
        vectorizers.filter_map(move |vectorizer| vectorizer.steps_at().filter(|_| running))
    }

    pub(super) fn change_answered(&mut self, id: i64, rows: Rows) {
        let state = match text(rows) {
            // The change has ended.
            Ok(state) => (!state.is_empty()).then_some(state),
            Err(error) => return self.change_refused(id, Trouble::Schema, &error.into()),
        };
        let is_quiet = self.nothing_else_is_due();
        let (now, once, poll) = (self.now, self.settings.once, self.settings.poll_interval);
        let known = self.vectorizers.get_mut(&id);
        let Some(change) = known.and_then(|known| known.change.as_mut()) else {
            return;
        };
        change.is_out = false;
        if change.state == state {
            change.unchanged += 1;
            change.is_settled = is_quiet && change.unchanged >= SETTLED;
            let longest = if once {
                HOUSEKEEPING
            } else {
                STEP_MAX.min(poll)
            };
            let wait = HOUSEKEEPING * (1 << change.unchanged.min(4)) / 2;
            change.at = now + wait.min(longest.max(HOUSEKEEPING));
            return;
        }
        let is_first = change.state.is_none();
        *change = Change {
            state: state.clone(),
            at: now,
            ..Change::default()
        };
        if !is_first && let Some(state) = state {
            self.events.push_back(Event::ChangeAdvanced {
                vectorizer: id,
                state,
            });
        }
        if !is_first {
            self.session.reload_soon(now);
        }
        self.look_for_indexes();
    }

    pub(super) fn change_refused(&mut self, id: i64, trouble: Trouble, error: &DbError) {
        let at = self.now + retry::LOCKED.wait(4, &mut self.random);
        let known = self.vectorizers.get_mut(&id);
        let Some(change) = known.and_then(|known| known.change.as_mut()) else {
            return;
        };
        change.is_out = false;
        change.at = at;
        if matches!(trouble, Trouble::Data | Trouble::Schema) {
            change.is_settled = true;
            self.pause_vectorizer(id, failure::UNEXPECTED, &remedy(error));
        }
    }
}
