//! Vector indexes: a worker builds one at a time, under a lease. The build is a call, on a connection of its
//! own; meanwhile the worker watches it, extends the lease, and embeds rows as always.

mod build;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::calls::{Called, Purpose};
use super::failure;
use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use crate::call::Call;
use crate::event::Event;
use crate::index::{IndexBuild, IndexProgress, IndexQuery, TakenBuild, TakenIndex};
use crate::query::{ClaimId, DbError, Query, Rows, is_so};
use crate::time::Time;
use build::{Build, Outcome, is_of_text};

/// The lease of a build. If it is lost while its worker is frozen, nothing is lost: another worker finds that the
/// table is locked, or an index of the same name.
const LEASE: Duration = Duration::from_secs(10);
/// How often the build is watched: it is cancelled before a session that it blocks looks for a deadlock, which
/// is after a second (`deadlock_timeout`).
const WATCH: Duration = Duration::from_millis(400);
/// The least time between two looks for indexes to build.
const LOOK: Duration = Duration::from_secs(10);
/// A build that gave way to another session is tried again after this time.
const GAVE_WAY: Duration = Duration::from_secs(60);

/// What a worker has to do with vector indexes.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// When to look for an index to build.
    look_at: Option<Time>,
    looked_at: Option<Time>,
    take_out: bool,
    /// The operator was told that the state of indexes cannot be read.
    is_told: bool,
    /// The problems that the operator was told of, by vectorizer.
    problems: BTreeMap<i64, String>,
    held: Option<Build>,
}

/// What a statement in flight is for.
#[derive(Debug)]
pub(super) enum Step {
    End,
    Take(ClaimId),
    Watch,
}

impl Indexes {
    /// Whether there is nothing to wait for with `--once`.
    pub(super) const fn is_quiet(&self) -> bool {
        self.holds_nothing() && self.look_at.is_none() && !self.take_out
    }

    pub(super) const fn holds_nothing(&self) -> bool {
        self.held.is_none()
    }
}

impl Worker {
    /// Something may have changed: the configuration, or the number of rows that wait.
    pub(super) fn look_for_indexes(&mut self) {
        if self.with_indexes().next().is_none() {
            return;
        }
        let pause = if self.settings.once {
            Duration::ZERO
        } else {
            LOOK.min(self.settings.poll_interval)
        };
        let soonest = self.indexes.looked_at.map_or(self.now, |at| at + pause);
        let at = self.now.max(soonest);
        self.indexes.look_at.get_or_insert(at);
    }

    fn with_indexes(&self) -> impl Iterator<Item = i64> {
        let known = self.vectorizers.iter();
        let profiles = known.filter_map(|(id, known)| Some((id, known.profile.as_ref()?)));
        profiles
            .filter(|(_, profile)| profile.wants_index)
            .map(|(id, _)| *id)
    }

    pub(super) fn settle_indexes(&mut self) {
        if self.with_indexes().next().is_none() {
            self.indexes.look_at = None;
        }
        let is_running = self.life.is_running();
        if let Some(build) = &mut self.indexes.held
            && !is_running
        {
            build.cancel(Outcome::Stopped);
        }
    }

    pub(super) fn index_query(&mut self) -> Option<(Asked, Query)> {
        let Some(build) = &mut self.indexes.held else {
            return self.take_index_query();
        };
        let (step, query) = build.next_query(self.now, &mut self.random)?;
        Some((Asked::Index(step), Query::Index(query)))
    }

    fn take_index_query(&mut self) -> Option<(Asked, Query)> {
        let is_due = self.indexes.look_at.is_some_and(|at| at <= self.now);
        if !is_due || self.indexes.take_out || !self.life.is_running() {
            return None;
        }
        let ids = self.with_indexes().collect();
        let claim = ClaimId(self.random.positive());
        let lease = LEASE;
        self.indexes.look_at = None;
        self.indexes.looked_at = Some(self.now);
        self.indexes.take_out = true;
        let query = IndexQuery::Take { claim, lease, ids };
        Some((Asked::Index(Step::Take(claim)), Query::Index(query)))
    }

    /// The build that was taken.
    pub(super) fn build_call(&mut self) -> Option<(Called, Call)> {
        let build = self.indexes.held.as_mut()?;
        let (sql, profile) = (build.start()?, Arc::clone(&build.profile));
        let called = self.calling(profile, Purpose::Build);
        Some((called, Call::Build(IndexBuild { sql })))
    }

    pub(super) fn index_wakes(&self) -> impl Iterator<Item = Time> {
        let at = match &self.indexes.held {
            Some(build) => build.ask_at(),
            None => self.indexes.look_at.filter(|_| self.life.is_running()),
        };
        at.into_iter()
    }

    pub(super) fn index_answered(&mut self, step: &Step, rows: Rows) {
        let understood = match step {
            Step::End => self.index_ended(rows),
            Step::Take(claim) => TakenIndex::new(rows).map(|taken| self.index_taken(*claim, taken)),
            Step::Watch => IndexProgress::new(rows).map(|progress| self.index_watched(progress)),
        };
        if let Err(error) = understood {
            self.index_refused(step, Trouble::Schema, &error.into());
        }
    }

    fn index_taken(&mut self, claim: ClaimId, taken: TakenIndex) {
        self.indexes.take_out = false;
        self.indexes.is_told = false;
        for (vectorizer, problem) in taken.problems {
            let told = self.indexes.problems.insert(vectorizer, problem.clone());
            if told.as_ref() != Some(&problem) {
                let message = format!("vectorizer {vectorizer} gets no vector index: {problem}");
                self.events.push_back(Event::Advice { message });
            }
        }
        let Some(taken) = taken.build else {
            return;
        };
        let known = self.vectorizers.get(&taken.vectorizer);
        // Without one, its lease runs out.
        let Some(profile) = known.and_then(|known| known.profile.clone()) else {
            return;
        };
        self.indexes.problems.remove(&taken.vectorizer);
        self.events.push_back(Event::IndexStarted {
            vectorizer: taken.vectorizer,
            of_text: is_of_text(&taken.sql),
            statement: taken.sql.clone(),
        });
        self.advise_memory(&taken);
        self.indexes.held = Some(Build::new(profile, claim, self.now, taken));
    }

    /// Without enough memory the build of an hnsw index takes many times as long.
    fn advise_memory(&mut self, taken: &TakenBuild) {
        let TakenBuild {
            vectorizer,
            memory_needed: needed,
            memory_given: given,
            ..
        } = taken;
        if needed > given {
            let megabytes = |bytes: &u64| bytes.div_ceil(1 << 20);
            let (needed, given) = (megabytes(needed), megabytes(given));
            let message = format!(
                "the vector index of vectorizer {vectorizer} is built in about {needed} MB, and \
                 maintenance_work_mem is {given} MB: the rest of the build is many times slower. If the server \
                 has the memory: alter role the_worker's_role set maintenance_work_mem = '{needed}MB'"
            );
            self.events.push_back(Event::Advice { message });
        }
    }

    fn index_watched(&mut self, progress: Option<IndexProgress>) {
        let Some(build) = &mut self.indexes.held else {
            return;
        };
        if let Some((progress, after)) = build.watched(self.now, progress) {
            let (vectorizer, of_text) = (build.profile.id, build.is_of_text());
            self.events.push_back(Event::IndexProgress {
                vectorizer,
                of_text,
                progress,
                after,
            });
        }
    }

    /// The statement has ended.
    pub(super) fn built(&mut self, result: Result<(), DbError>) {
        if let Some(build) = &mut self.indexes.held {
            build.ended(self.now, result);
        }
    }

    /// The end of a claim was saved.
    fn index_ended(&mut self, rows: Rows) -> Result<(), crate::query::Unreadable> {
        let is_mine = !rows.is_empty();
        let is_valid = is_mine && is_so(rows)?;
        let Some(build) = self.indexes.held.take() else {
            return Ok(());
        };
        self.indexes.looked_at = None;
        self.look_for_indexes();
        if !is_mine {
            return Ok(());
        }
        let (vectorizer, of_text) = (build.profile.id, build.is_of_text());
        match build.outcome() {
            Outcome::Done if is_valid => self.events.push_back(Event::IndexBuilt {
                vectorizer,
                of_text,
                after: self.now.since(build.began),
            }),
            Outcome::Done if !build.is_drop() => self.events.push_back(Event::IndexFailed {
                vectorizer,
                of_text,
                reason:
                    "there is no valid index after it: perhaps there is something else of its name"
                        .to_owned(),
                retry_in: build.retry_in,
            }),
            Outcome::Done | Outcome::Stopped => {}
            Outcome::GaveWay => self.events.push_back(Event::IndexFailed {
                vectorizer,
                of_text,
                reason: "it gave way to another session, which changes the table".to_owned(),
                retry_in: build.retry_in,
            }),
            Outcome::Failed(error) => {
                let reason = remedy(error);
                self.record(vectorizer, failure::UNEXPECTED, &reason);
                if self.settings.once {
                    let what = if of_text { "text" } else { "vector" };
                    let reason = format!("the {what} index of vectorizer {vectorizer}: {reason}");
                    self.failed_as_a_whole(&reason);
                }
                self.events.push_back(Event::IndexFailed {
                    vectorizer,
                    of_text,
                    reason,
                    retry_in: build.retry_in,
                });
            }
        }
        Ok(())
    }

    pub(super) fn index_refused(&mut self, step: &Step, trouble: Trouble, error: &DbError) {
        if let Some(build) = &mut self.indexes.held {
            build.unanswered(self.now);
        }
        let is_passing = matches!(trouble, Trouble::Again | Trouble::Outage);
        match step {
            Step::Watch => {}
            // Its lease runs out.
            Step::End if is_passing => {}
            Step::End => self.indexes.held = None,
            Step::Take(_) => {
                self.indexes.take_out = false;
                // It may have been taken: the lease runs out first.
                let wait = LEASE + HOUSEKEEPING;
                self.indexes.look_at = is_passing.then_some(self.now + wait);
            }
        }
        if !is_passing && !std::mem::replace(&mut self.indexes.is_told, true) {
            let reason = format!("vector indexes cannot be built: {}", remedy(error));
            let retry_in = self.settings.poll_interval;
            self.events
                .push_back(Event::DatabaseTrouble { reason, retry_in });
        }
    }
}
