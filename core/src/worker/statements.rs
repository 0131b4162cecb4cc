//! Statements that are in flight, and what their answers do.

use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use super::batch::{Batch, DocumentStep, PlanRows, PlannedRows, Step, StepAnswer};
use super::budgets::Scope;
use super::connections;
use super::failure;
use super::indexes;
use super::resync;
use super::trouble::Trouble;
use crate::call::Reply;
use crate::compute::{Done, Made, Work};
use crate::document::FileError;
use crate::event::Event;
use crate::query::{
    BudgetTaken, ClaimId, ClaimedRows, DbError, ErrorRecord, Heartbeat, LoadedVectorizer, Query,
    Rows, SchemaVersions, count, is_so, text,
};
use crate::retry;
use crate::time::Time;
use crate::vectorizer::{MakerDigests, Profile};

/// What a statement in flight was asked for.
#[derive(Debug)]
pub(super) enum Asked {
    AcceptTexts(i64, MakerDigests),
    AddUsage,
    Batch {
        number: u64,
        step: Step,
        asked: Time,
    },
    Bell(i64),
    Change(i64),
    CheckSchema,
    Claim {
        profile: Arc<Profile>,
        claim: ClaimId,
        asked: Time,
        from_head: bool,
        suspects: bool,
    },
    Heartbeat(Heartbeat),
    Index(indexes::Step),
    LoadVectorizers,
    Records(Vec<ErrorRecord>),
    Refresh(i64),
    RefuseResync,
    Resync(resync::Step),
    StartWorker,
    /// Less than nothing is wanted where something is given back.
    TakeBudget {
        scope: Scope,
        day: u64,
        wanted: i64,
    },
    TakeResync {
        claim: ClaimId,
        asked: Time,
    },
    Waiting(i64),
}

impl Worker {
    pub(super) fn answered(&mut self, asked: Asked, rows: Result<Rows, DbError>) {
        self.trace_statement(&asked, &rows);
        match rows {
            Ok(rows) => {
                self.database_answered();
                self.fulfilled(asked, rows);
            }
            Err(error) => {
                let trouble = Trouble::of(&error);
                self.meters.trouble(trouble);
                if trouble == Trouble::Outage {
                    self.outage(&error);
                }
                self.refused(asked, trouble, &error);
            }
        }
    }

    fn fulfilled(&mut self, asked: Asked, rows: Rows) {
        match asked {
            Asked::AcceptTexts(vectorizer, digests) => match is_so(rows) {
                Ok(is_recorded) => self.texts_accepted(vectorizer, &digests, is_recorded),
                Err(error) => {
                    self.accept_refused(vectorizer, &digests, Trouble::Schema, &error.into());
                }
            },
            Asked::AddUsage => self.usage_added(),
            Asked::Batch {
                number,
                step,
                asked,
            } => self.batch_answered(number, step, asked, rows),
            Asked::Bell(_) => {}
            Asked::Change(generation) => self.change_answered(generation, rows),
            Asked::CheckSchema => self.schema_checked(SchemaVersions::new(rows)),
            Asked::Claim {
                profile,
                claim,
                asked,
                from_head,
                suspects,
            } => match ClaimedRows::new(rows, profile.plan.key_columns) {
                Ok(rows) => self.claimed(profile, claim, asked, (from_head, suspects), rows),
                Err(error) => {
                    self.claim_refused(profile.id, claim, Trouble::Schema, &error.into());
                }
            },
            Asked::Heartbeat(_) => self.heartbeat_sent(),
            Asked::Index(step) => self.index_answered(&step, rows),
            Asked::LoadVectorizers => match LoadedVectorizer::all(rows) {
                Ok(loaded) => self.vectorizers_loaded(loaded),
                Err(error) => self.load_refused(Trouble::Schema, &error.into()),
            },
            Asked::Records(_) => self.session.records_out = false,
            Asked::Refresh(vectorizer) => self.refreshed(vectorizer, rows),
            Asked::RefuseResync => self.resync_refusal_saved(!rows.is_empty()),
            Asked::Resync(step) => self.resync_answered(step, rows),
            Asked::StartWorker => match text(rows) {
                Ok(worker) => self.worker_started(worker),
                Err(error) => self.start_refused(Trouble::Schema, &error.into()),
            },
            Asked::TakeBudget { scope, day, wanted } => match BudgetTaken::new(rows) {
                Ok(taken) => self.budget_taken(&scope, day, wanted, taken),
                Err(error) => {
                    self.budget_refused(&scope, wanted, Trouble::Schema, &error.into());
                }
            },
            Asked::TakeResync { claim, asked } => self.resync_taken(claim, asked, rows),
            Asked::Waiting(vectorizer) => match count(rows) {
                Ok(count) => self.waiting_counted(vectorizer, count),
                Err(_) => self.waiting_refused(vectorizer),
            },
        }
    }

    fn refused(&mut self, asked: Asked, trouble: Trouble, error: &DbError) {
        match asked {
            Asked::AcceptTexts(vectorizer, digests) => {
                self.accept_refused(vectorizer, &digests, trouble, error);
            }
            Asked::AddUsage => self.usage_refused(trouble, error),
            Asked::Batch {
                number,
                step,
                asked,
            } => self.batch_refused(number, step, asked, trouble, error),
            Asked::Bell(_) => {}
            Asked::Change(generation) => self.change_refused(generation, trouble, error),
            Asked::CheckSchema => self.schema_missing(trouble, error),
            Asked::Claim { profile, claim, .. } => {
                self.claim_refused(profile.id, claim, trouble, error);
            }
            Asked::Heartbeat(heartbeat) => self.heartbeat_refused(heartbeat, trouble, error),
            Asked::Index(step) => self.index_refused(&step, trouble, error),
            Asked::LoadVectorizers => self.load_refused(trouble, error),
            Asked::Records(records) => self.records_refused(records, trouble, error),
            Asked::Refresh(vectorizer) => self.refresh_refused(vectorizer, trouble, error),
            Asked::RefuseResync => self.resync_refusal_saved(false),
            Asked::Resync(step) => self.resync_refused(&step, trouble, error),
            Asked::StartWorker => self.start_refused(trouble, error),
            Asked::TakeBudget { scope, wanted, .. } => {
                self.budget_refused(&scope, wanted, trouble, error);
            }
            Asked::TakeResync { claim, .. } => self.take_refused(claim, trouble, error),
            Asked::Waiting(vectorizer) => self.waiting_refused(vectorizer),
        }
    }

    pub(super) fn batch_query(&mut self) -> Option<(Asked, Query)> {
        let timeout = self.settings.request_timeout();
        let (lease, limits) = (self.settings.lease, self.settings.limits);
        let in_flight = self.in_flight();
        for (number, batch) in &mut self.batches {
            let known = self.vectorizers.get(&batch.profile.id);
            let is_slow = known.is_some_and(|known| known.is_slow);
            if !in_flight.has_room(batch.profile.id, is_slow) {
                continue;
            }
            let commit_max = known.map_or(limits.chunks, |known| known.commit_size.chunks());
            if let Some((step, query)) =
                batch.next_query(self.now, lease, timeout, commit_max, &mut self.random)
            {
                return Some((
                    Asked::Batch {
                        number: *number,
                        step,
                        asked: self.now,
                    },
                    query,
                ));
            }
        }
        None
    }

    pub(super) fn batch_wakes(&self) -> impl Iterator<Item = Time> {
        let timeout = self.settings.request_timeout();
        self.batches
            .values()
            .flat_map(move |batch| [batch.not_before, batch.extend_at(timeout), batch.held_until])
    }

    fn batch_answered(&mut self, number: u64, step: Step, asked: Time, rows: Rows) {
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        let answer = match StepAnswer::new(&step, rows, batch.profile.format.columns().len()) {
            Ok(answer) => answer,
            Err(error) => {
                return self.batch_refused(number, step, asked, Trouble::Schema, &error.into());
            }
        };
        if let Some(known) = self.vectorizers.get_mut(&batch.profile.id) {
            let took = self.now.since(asked);
            known.is_slow = connections::is_slow(took);
            if let Step::Commit(rows) = &step {
                known.commit_size.took(batch.chunks(rows), took);
            }
        }
        batch.query_out = false;
        batch.is_refused = false;
        batch.not_before = Time::ZERO;
        let mut is_stuck = false;
        if answer.met_a_lock() {
            batch.troubles += 1;
            batch.not_before = self.now + retry::LOCKED.wait(batch.troubles, &mut self.random);
            let since = *batch.stuck_since.get_or_insert(self.now);
            is_stuck = self.now.since(since) >= self.settings.lease / 2;
        } else {
            batch.troubles = 0;
            if matches!(step, Step::Commit(_) | Step::Fail(_)) {
                batch.stuck_since = None;
            }
        }
        let answer = match (&step, answer) {
            (Step::Read(asked), StepAnswer::Rows(rows)) => {
                let plan = batch.read_rows(asked, rows);
                return match batch.profile.documents.clone() {
                    Some(source) => {
                        batch.read_documents(&source, &self.settings.documents, plan);
                        self.plan_texts(number);
                    }
                    None => self.plan_rows(number, plan),
                };
            }
            (_, answer) => answer,
        };
        if let Step::Extend { asked, .. } = step {
            batch.held_until = asked + self.settings.lease;
        }
        let vectorizer = batch.profile.id;
        let report = batch.handle_step(step, &answer);
        if is_stuck {
            // The rows are embedded again when they can be written.
            batch.give_back();
        }
        self.bound_waiting(vectorizer);
        self.tell(vectorizer, report);
    }

    /// Plans rows, at once if that takes a moment only.
    fn plan_rows(&mut self, number: u64, plan: PlanRows) {
        match self.done_at_once(Work::from(plan)) {
            Ok(done) => self.rows_planned(number, done),
            Err(work) => self.plan_later(number, work),
        }
    }

    /// Plans the rows of a batch whose chunks can be decided, because the vectors that they depend on are there.
    pub(super) fn plan_decided(&mut self, number: u64) {
        while let Some(plan) = self.batches.get_mut(&number).and_then(Batch::take_decided) {
            match self.done_at_once(Work::from(plan)) {
                Ok(done) => self.take_planned(number, done),
                Err(work) => self.plan_later(number, work),
            }
        }
    }

    /// Plans the rows of a batch whose documents are all text.
    pub(super) fn plan_texts(&mut self, number: u64) {
        let batch = self.batches.get_mut(&number);
        if let Some(plan) = batch.and_then(Batch::take_texts) {
            self.plan_rows(number, plan);
        }
    }

    /// A document was loaded or parsed, or not.
    pub(super) fn document_came(
        &mut self,
        (number, at): (u64, usize),
        (step, took): (DocumentStep, Duration),
        reply: Reply,
    ) {
        let times = (self.now, self.wall());
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        match reply {
            Reply::File(read) => batch.file_came(at, times.1, read),
            Reply::Http(answer) if step == DocumentStep::Parse => {
                if let Some(reason) = batch.document_converted(at, answer) {
                    let profile = Arc::clone(&batch.profile);
                    return self.parsing_stopped(&profile, &reason);
                }
            }
            Reply::Http(answer) => {
                let (settings, stores) = (&self.settings.documents, &mut self.stores);
                batch.page_came(at, settings, stores, times, answer);
            }
            Reply::Parse(parsed) => batch.document_parsed(at, parsed),
            Reply::Build(_) | Reply::Compute(_) | Reply::Model(_) => {
                let nobody = "no document came".to_owned();
                batch.file_came(at, times.1, Err(FileError::Failed(nobody)));
            }
        }
        let mut counts = batch.take_document_counts();
        match step {
            DocumentStep::Load => counts.loading_seconds = took.as_secs_f64(),
            DocumentStep::Parse => counts.parsing_seconds = took.as_secs_f64(),
        }
        self.meters.documents(batch.profile.id, counts);
        self.plan_texts(number);
    }

    /// The server that parses documents does not. A definition that was fixed meanwhile is not paused for that.
    fn parsing_stopped(&mut self, profile: &Arc<Profile>, reason: &str) {
        if self.is_current(profile) {
            self.pause_vectorizer(profile.id, failure::PARSING, reason);
        }
    }

    fn plan_later(&mut self, number: u64, work: Box<Work>) {
        if let Some(batch) = self.batches.get_mut(&number) {
            batch.work = Some(work);
        }
    }

    /// Rows of a batch were planned, if that goes on.
    pub(super) fn rows_planned(&mut self, number: u64, done: Done) {
        self.take_planned(number, done);
        self.plan_decided(number);
    }

    fn take_planned(&mut self, number: u64, done: Done) {
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        let planned = match done.0 {
            Made::Planned(planned) => planned,
            // Nobody did it: the rows are read again.
            Made::Compared(_) => PlannedRows::default(),
        };
        let vectorizer = batch.profile.id;
        let known = self.vectorizers.get(&vectorizer);
        let sizes = self.accounts.sizes(&batch.profile.provider);
        let inputs_max = known.map_or(1, |known| known.inputs_max);
        let taken = batch.plan_rows(planned, sizes.within(inputs_max));
        let truncated = taken.truncated;
        self.tell_truncated(vectorizer, truncated.inputs, Some(truncated.bytes));
        if let Some(reason) = taken.out_of_steps {
            self.ran_out_of_steps(vectorizer, &reason);
        }
    }

    fn batch_refused(
        &mut self,
        number: u64,
        step: Step,
        asked: Time,
        trouble: Trouble,
        error: &DbError,
    ) {
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        batch.query_out = false;
        let took = self.now.since(asked);
        if let Some(known) = self.vectorizers.get_mut(&batch.profile.id) {
            known.is_slow = connections::is_slow(took);
        }
        match trouble {
            Trouble::Outage => {}
            Trouble::Again => {
                batch.troubles += 1;
                batch.is_refused = true;
                // Waiting for a table's lock takes up a connection: others get most of its time.
                let retry_in = retry::LOCKED.wait(batch.troubles, &mut self.random);
                let retry_in = retry_in.max(took.min(TOOK_MAX) * 4);
                batch.not_before = self.now + retry_in;
                if batch.troubles.is_multiple_of(TROUBLES_TOLD) {
                    let reason = error.to_string();
                    self.events
                        .push_back(Event::DatabaseTrouble { reason, retry_in });
                    // A statement that is always cancelled is too much for the database: less at a
                    // time, and a row that is too much alone fails.
                    if error.sqlstate.as_deref() == Some(CANCELED) {
                        batch.handle_bad_data(&step, error);
                    }
                }
            }
            Trouble::Data => batch.handle_bad_data(&step, error),
            Trouble::Schema => {
                let vectorizer = batch.profile.id;
                // Give back what can be given back, and look at the definition again.
                if matches!(step, Step::Release) {
                    batch.abandon();
                } else {
                    batch.give_back();
                }
                self.vectorizer_broke(vectorizer, error);
            }
        }
    }
}

/// What a statement that waited for a lock took, as far as the next attempt is put off for it.
const TOOK_MAX: Duration = Duration::from_secs(1);
/// A statement that meets a lock this often in a row is worth a warning.
const TROUBLES_TOLD: u32 = 5;
/// SQLSTATE `query_canceled`: among others, of `statement_timeout`.
pub(super) const CANCELED: &str = "57014";

/// The least time between two statements of the same housekeeping.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(1);
