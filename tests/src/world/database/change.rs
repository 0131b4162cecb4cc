//! Changes to another model: the generation that does not serve, and the steps of a change, as the functions of the
//! schema take them.
//!
//! Each generation has tables of its own. The statements of this model know one set of tables; where one is about
//! the other generation, the two change places until it has acted.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::swap;
use std::time::Duration;

use pgai_core::{Query, ResyncQuery, Rows};

use super::protocol::{id, text};
use super::resync::Request;
use super::vectorizer::{Config, Vectorizer, plan};
use super::{Chunk, Database, Item, Lease, Mutant, Tables};
use crate::world::Coverage;
use crate::world::rules::Rule;

/// Rows may wait for so long when a generation begins to serve.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How far a change is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::world) enum State {
    Filling,
    Indexing,
    Ready,
    Kept,
}

/// The generation that does not serve.
#[derive(Clone, Debug)]
pub(in crate::world) struct Generation {
    pub(in crate::world) vectorizer: Vectorizer,
    pub(in crate::world) state: State,
    /// Whether workers let it serve when it is ready.
    pub(in crate::world) switches: bool,
    items: BTreeMap<i64, Item>,
    leases: BTreeMap<i64, Lease>,
    failed: BTreeMap<i64, String>,
    pub(super) request: Option<Request>,
    pub(super) store: BTreeMap<(i64, i32), Chunk>,
}

impl Tables {
    /// The tables of the other generation take the place of those that serve.
    fn exchange(&mut self) {
        if let (Some(this), Some(other)) = (&mut self.vectorizer, &mut self.other) {
            swap(this, &mut other.vectorizer);
            swap(&mut self.items, &mut other.items);
            swap(&mut self.leases, &mut other.leases);
            swap(&mut self.failed, &mut other.failed);
            swap(&mut self.request, &mut other.request);
            swap(&mut self.store, &mut other.store);
        }
    }

    /// The same as the other generation has it, if there is one.
    pub(in crate::world) fn beside(&self) -> Option<Self> {
        self.other.as_ref()?;
        let mut beside = self.clone();
        beside.exchange();
        Some(beside)
    }

    /// The same with the tables of this number in the first place.
    pub(super) fn of_number(&self, number: i64) -> Option<Self> {
        let other = self.other.as_ref()?;
        (other.vectorizer.number == number).then(|| self.beside())?
    }

    /// The state of the change, if there is one.
    pub(in crate::world) fn change(&self) -> Option<State> {
        self.other.as_ref().map(|other| other.state)
    }

    /// Whether nothing more follows by itself.
    pub(super) fn has_settled(&self) -> bool {
        self.other.as_ref().is_none_or(|other| {
            let waits = other.state == State::Ready && !other.switches;
            other.items.is_empty() && (waits || other.state == State::Kept)
        })
    }

    /// All that workers should serve.
    pub(in crate::world) fn enabled(&self) -> Vec<Vectorizer> {
        let other = self.other.as_ref().map(|other| other.vectorizer);
        let all = self.vectorizer.into_iter().chain(other);
        all.filter(|vectorizer| !vectorizer.is_disabled).collect()
    }

    /// The vectorizer or generation with this number.
    pub(super) fn numbered(&self, number: i64) -> Option<Vectorizer> {
        let other = self.other.as_ref().map(|other| other.vectorizer);
        let mut all = self.vectorizer.into_iter().chain(other);
        all.find(|vectorizer| vectorizer.number == number)
    }

    /// The number of the vectorizer or generation with this id.
    pub(super) fn number_of(&self, id: i64) -> Option<i64> {
        let other = self.other.as_ref().map(|other| other.vectorizer);
        let mut all = self.vectorizer.into_iter().chain(other);
        all.find(|vectorizer| vectorizer.id == id)
            .map(|vectorizer| vectorizer.number)
    }
}

impl Database {
    /// Does this with the tables of the other generation, if there is one.
    pub(super) fn beside(&mut self, act: impl FnOnce(&mut Self)) {
        if self.tables.other.is_some() {
            self.exchange();
            act(self);
            self.exchange();
        }
    }

    fn exchange(&mut self) {
        self.write().exchange();
        swap(&mut self.ledger, &mut self.other_ledger);
    }

    /// Whether a statement is about the other generation.
    fn is_about_other(&self, query: &Query) -> bool {
        let Some(other) = self.tables.other.as_ref().map(|other| other.vectorizer) else {
            return false;
        };
        match (query, plan(query)) {
            (Query::AcceptTexts { vectorizer, .. }, _)
            | (Query::Resync(ResyncQuery::Save { vectorizer, .. }), _) => *vectorizer == other.id,
            // The names of its tables are in the statement.
            (_, Some(plan)) if self.is(Mutant::StatementsFollowTheSwitch) => {
                plan.vectorizer == other.id
            }
            (_, Some(plan)) => plan.number == other.number,
            (_, None) => false,
        }
    }

    /// Runs a worker's statement on the tables of the generation that it is about.
    pub(super) fn finish_where_it_belongs(
        &mut self,
        query: &Query,
        snapshot: &Tables,
        now: Duration,
        coverage: &mut Coverage,
    ) -> Rows {
        if !self.is_about_other(query) {
            let number = plan(query).map(|plan| plan.number);
            let arranged = number.and_then(|number| snapshot.of_number(number));
            return self.act(query, arranged.as_ref().unwrap_or(snapshot), now, coverage);
        }
        self.exchange();
        let number = self.tables.vectorizer.map(|vectorizer| vectorizer.number);
        let arranged = number.and_then(|number| snapshot.of_number(number));
        let rows = self.act(query, arranged.as_ref().unwrap_or(snapshot), now, coverage);
        self.exchange();
        self.watch_the_fill(query, &rows);
        rows
    }

    /// A row of the new generation that is embedded, or given up, is no longer missing there.
    fn watch_the_fill(&mut self, query: &Query, rows: &Rows) {
        let keys: Vec<i64> = if let Query::Commit { rows, .. } = query {
            rows.iter().map(|row| id(&row.key)).collect()
        } else if let Query::Fail { rows, .. } = query {
            rows.iter().map(|row| id(&row.key)).collect()
        } else {
            return;
        };
        let Some(other) = &self.tables.other else {
            return;
        };
        let is_done = |row: &Vec<Option<String>>| row[1].as_deref() == Some("done");
        for (key, _) in keys.iter().zip(rows).filter(|(_, row)| is_done(row)) {
            if !other.items.contains_key(key) {
                self.unfilled.remove(key);
            }
        }
    }

    /// The triggers of both generations queue a key.
    pub(super) fn queue(&mut self, key: i64, now: Duration) {
        self.enqueue(key, now);
        if self.is_followed() {
            self.beside(|database| database.enqueue(key, now));
        }
    }

    /// Whether changes reach the generation that does not serve.
    pub(super) fn is_followed(&self) -> bool {
        let missed = match self.tables.change() {
            Some(State::Filling) => Mutant::FillMissesChanges,
            Some(State::Kept) => Mutant::KeptIsNotFollowed,
            Some(State::Indexing | State::Ready) | None => return true,
        };
        !self.is(missed)
    }

    /// Begins a change to this model. Nobody writes to the source meanwhile.
    pub(in crate::world) fn begin_change(&mut self, model: i64, switches: bool) -> bool {
        let Some(serving) = self.tables.vectorizer else {
            return false;
        };
        let is_possible = serving.is_sound() && model != serving.config.model;
        if !is_possible || self.tables.other.is_some() {
            return false;
        }
        self.vectorizers += 1;
        let config = Config {
            model,
            ..serving.config
        };
        let vectorizer = serving.generation(self.vectorizers, config);
        let rows = self.tables.source.iter();
        let with_text = rows.filter(|(_, text)| !text.is_empty());
        let unfilled: BTreeSet<i64> = with_text.map(|(key, _)| *key).collect();
        self.unfilled = unfilled;
        self.other_ledger.tables_dropped();
        self.write().other = Some(Generation {
            vectorizer,
            state: State::Filling,
            switches,
            items: BTreeMap::new(),
            leases: BTreeMap::new(),
            failed: BTreeMap::new(),
            request: None,
            store: BTreeMap::new(),
        });
        self.beside(Self::request_resync);
        true
    }

    /// A worker asks for the next step of a change; returns the state after it.
    pub(super) fn advance(&mut self, id: i64, now: Duration, coverage: &mut Coverage) -> Rows {
        let is_disabled = self.tables.vectorizer.is_some_and(|it| it.is_disabled);
        let other = self.tables.other.as_ref();
        let Some(other) = other.filter(|other| other.vectorizer.id == id) else {
            return vec![vec![text("")]];
        };
        let (state, switches) = (other.state, other.switches);
        let after = match state {
            State::Filling | State::Indexing | State::Ready if is_disabled => state,
            State::Filling if self.is(Mutant::SwitchBeforeFilled) || self.is_filled(now) => {
                State::Indexing
            }
            // No index is wanted.
            State::Indexing => State::Ready,
            State::Ready if switches && self.switch(now, coverage) => State::Kept,
            state @ (State::Filling | State::Ready | State::Kept) => state,
        };
        if let Some(other) = &mut self.write().other {
            other.state = after;
        }
        let state = match after {
            State::Filling => "filling",
            State::Indexing => "indexing",
            State::Ready => "ready",
            State::Kept => "kept",
        };
        vec![vec![text(state)]]
    }

    /// Whether the rows have been compared, and none waits that was queued until then. (One that was queued at a
    /// time to come says that the clock was set back.)
    fn is_filled(&self, now: Duration) -> bool {
        let other = self.tables.other.as_ref();
        let ended = other.and_then(|other| Some((other, other.request.as_ref()?.ended_at()?)));
        ended.is_some_and(|(other, ended)| {
            other.items.values().all(|item| {
                let is_to_come = item.queued_at > now && !self.is(Mutant::FillTrustsTheClock);
                item.queued_at > ended && !is_to_come
            })
        })
    }

    /// The other generation serves from now on, unless rows have waited for it too long.
    fn switch(&mut self, now: Duration, coverage: &mut Coverage) -> bool {
        let Some(other) = &self.tables.other else {
            return false;
        };
        let state = other.state;
        let is_late = |item: &Item| item.queued_at + WAIT_MAX < now;
        if other.items.values().any(is_late) || !matches!(state, State::Ready | State::Kept) {
            return false;
        }
        if state == State::Ready && !self.unfilled.is_empty() {
            let how = format!("rows {:?} were never embedded for it", self.unfilled);
            self.ledger.broke(Rule::ASwitchComesAfterTheFill, how);
        }
        self.exchange();
        let tables = self.write();
        if let (Some(this), Some(other)) = (&mut tables.vectorizer, &mut tables.other) {
            // The ids stay with the places, and requests with the ids.
            swap(&mut this.id, &mut other.vectorizer.id);
            swap(&mut tables.request, &mut other.request);
            other.state = State::Kept;
            let requests = [&mut tables.request, &mut other.request];
            if requests
                .iter()
                .any(|it| it.as_ref().is_some_and(Request::is_open))
            {
                for request in requests {
                    request.get_or_insert_default().begin_again();
                }
            }
        }
        match state {
            State::Ready => coverage.switches += 1,
            State::Filling | State::Indexing | State::Kept => coverage.reverts += 1,
        }
        true
    }

    /// Somebody lets the other generation serve, or the first one again.
    pub(in crate::world) fn switch_by_hand(
        &mut self,
        now: Duration,
        coverage: &mut Coverage,
    ) -> bool {
        let now = self.clock(now);
        self.switch(now, coverage)
    }

    /// Drops the generation that does not serve.
    pub(in crate::world) fn drop_generation(&mut self) {
        self.write().other = None;
        self.other_ledger.tables_dropped();
        self.unfilled.clear();
    }
}
