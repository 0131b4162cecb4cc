//! The worker's standing with the database: the schema check, the list of vectorizers, heartbeats,
//! error records and counts.

use std::collections::{BTreeMap, BTreeSet};

use super::Worker;
use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::Trouble;
use crate::event::Event;
use crate::query::{DbError, ErrorRecord, Heartbeat, Progress, Query};
use crate::time::Time;

/// Errors that could not be recorded are kept up to this many.
const RECORDS_MAX: usize = 100;
/// A heartbeat comes at least this often.
const HEARTBEAT_MAX: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Session {
    pub(super) schema: Schema,
    /// Why the schema cannot be used, since it was looked at last.
    pub(super) lacks: Option<String>,
    pub(super) check_at: Time,
    worker: Option<String>,
    start_asked: bool,
    list_out: bool,
    list_at: Time,
    pub(super) listed_at: Time,
    /// Whether the list came at least once.
    pub(super) listed: bool,
    heartbeat_at: Time,
    heartbeat_out: bool,
    heartbeat: Heartbeat,
    progress: BTreeMap<i64, Progress>,
    pub(super) records_out: bool,
    records_at: Time,
    waiting: BTreeMap<i64, Waiting>,
    waiting_out: bool,
    waiting_at: Time,
    chunks: u64,
    /// The owners and names that the operator was told of: beyond the worker's trust domain.
    pub(super) foreign: BTreeSet<(String, String)>,
    /// The vectorizers whose chunks everybody sees, as the operator was told.
    pub(super) open: Vec<i64>,
    pub(super) goodbye_said: bool,
}

/// What the worker asks of the database for itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chore {
    AddUsage,
    CheckSchema,
    Heartbeat,
    LoadVectorizers,
    RecordErrors,
    /// Counts all queues anew.
    Recount,
    StartWorker,
}

impl Chore {
    /// Without it there is nothing else to do.
    const fn is_first(self) -> bool {
        matches!(
            self,
            Self::CheckSchema | Self::LoadVectorizers | Self::StartWorker
        )
    }
}

/// How many items wait for a vectorizer: as last counted, less what was done since.
#[derive(Debug)]
struct Waiting {
    rows: u64,
    is_fresh: bool,
}

#[derive(Debug, Default, Eq, PartialEq)]
pub(super) enum Schema {
    Asked,
    Known,
    #[default]
    Unknown,
}

impl Session {
    pub(super) fn is_checked(&self) -> bool {
        self.schema == Schema::Known
    }

    pub(super) fn count(&mut self, vectorizer: i64, rows: u64) {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.heartbeat.successes += rows;
        if rows > 0 {
            self.progress_of(vectorizer).successes += rows;
        }
    }

    pub(super) fn count_error(&mut self, vectorizer: i64, reason: &str) {
        self.heartbeat.errors += 1;
        self.heartbeat.error_message = Some(reason.to_owned());
        self.progress_of(vectorizer).error_message = Some(reason.to_owned());
    }

    fn progress_of(&mut self, vectorizer: i64) -> &mut Progress {
        self.progress.entry(vectorizer).or_insert_with(|| Progress {
            vectorizer,
            ..Progress::default()
        })
    }

    /// What is to be told since the last heartbeat; `None` if this worker is not registered.
    pub(super) fn take_heartbeat(&mut self) -> Option<Heartbeat> {
        let worker = self.worker.clone()?;
        let mut heartbeat = std::mem::take(&mut self.heartbeat);
        heartbeat.worker = worker;
        heartbeat.progress = std::mem::take(&mut self.progress).into_values().collect();
        Some(heartbeat)
    }

    /// Puts back what was not told.
    fn put_back(&mut self, heartbeat: Heartbeat) {
        self.heartbeat.successes += heartbeat.successes;
        self.heartbeat.errors += heartbeat.errors;
        let newer = self.heartbeat.error_message.take();
        self.heartbeat.error_message = newer.or(heartbeat.error_message);
        for told in heartbeat.progress {
            let progress = self.progress_of(told.vectorizer);
            progress.successes += told.successes;
            let newer = progress.error_message.take();
            progress.error_message = newer.or(told.error_message);
        }
    }

    /// Wants the list anew, but not more often than once a second.
    pub(super) fn reload_soon(&mut self, now: Time) {
        let at = now.max(self.listed_at + HOUSEKEEPING);
        self.reload_at(at);
    }

    pub(super) fn reload_at(&mut self, at: Time) {
        self.list_at = self.list_at.min(at);
    }

    pub(super) fn waiting_known(&self) -> Option<u64> {
        (!self.waiting.is_empty()).then(|| self.waiting.values().map(|waiting| waiting.rows).sum())
    }

    /// Wants all queues counted anew.
    pub(super) fn recount(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.is_fresh = false;
        }
    }
}

impl Worker {
    /// Each chore that is to be done, and when: the one place that says so. Those of the first kind come
    /// before everything else, the others after it.
    fn chores(&self) -> impl Iterator<Item = (Chore, Time)> {
        let session = &self.session;
        let is_running = self.life.is_running();
        let is_known = session.is_checked();
        let at = |is_wanted: bool, chore, at| is_wanted.then_some((chore, at));
        let check = session.schema == Schema::Unknown;
        let start = is_known && !session.start_asked;
        let load = is_known && session.start_asked && !session.list_out;
        let record = is_known && !self.records.is_empty() && !session.records_out;
        let beat = is_known && session.worker.is_some() && !session.heartbeat_out;
        let recount = is_known && self.settings.progress;
        let usage = self.usage.due(is_running).filter(|_| is_known);
        [
            at(usage.is_some(), Chore::AddUsage, usage.unwrap_or(self.now)),
            at(is_running && check, Chore::CheckSchema, session.check_at),
            at(is_running && start, Chore::StartWorker, self.now),
            at(is_running && load, Chore::LoadVectorizers, session.list_at),
            at(record, Chore::RecordErrors, session.records_at),
            at(is_running && beat, Chore::Heartbeat, session.heartbeat_at),
            at(is_running && recount, Chore::Recount, session.waiting_at),
        ]
        .into_iter()
        .flatten()
    }

    fn due_chore(&self, which: impl Fn(Chore) -> bool) -> Option<Chore> {
        let mut chores = self.chores();
        let due = chores.find(|(chore, at)| which(*chore) && *at <= self.now);
        due.map(|(chore, _)| chore)
    }

    pub(super) fn session_wakes(&self) -> impl Iterator<Item = Time> {
        self.chores().map(|(_, at)| at)
    }

    /// The schema first, then registration and the list of vectorizers.
    pub(super) fn session_query(&mut self) -> Option<(Asked, Query)> {
        let chore = self.due_chore(Chore::is_first)?;
        self.chore_query(chore)
    }

    /// What can wait: error records, heartbeats, counts.
    pub(super) fn housekeeping_query(&mut self) -> Option<(Asked, Query)> {
        let chore = self.due_chore(|chore| !chore.is_first());
        let query = chore.and_then(|chore| self.chore_query(chore));
        let counts = self.settings.progress && self.session.is_checked() && self.life.is_running();
        query.or_else(|| counts.then(|| self.count_waiting_query())?)
    }

    fn chore_query(&mut self, chore: Chore) -> Option<(Asked, Query)> {
        let session = &mut self.session;
        match chore {
            Chore::AddUsage => Some(self.usage_query()),
            Chore::CheckSchema => {
                session.schema = Schema::Asked;
                Some((Asked::CheckSchema, Query::CheckSchema))
            }
            Chore::StartWorker => {
                session.start_asked = true;
                let version = self.settings.version.clone();
                let interval = self.settings.poll_interval.min(HEARTBEAT_MAX);
                Some((Asked::StartWorker, Query::StartWorker { version, interval }))
            }
            Chore::LoadVectorizers => {
                session.list_out = true;
                let ids = self.settings.vectorizer_ids.clone();
                Some((Asked::LoadVectorizers, Query::LoadVectorizers { ids }))
            }
            Chore::RecordErrors => {
                session.records_out = true;
                let records = std::mem::take(&mut self.records);
                let query = Query::RecordErrors(records.clone());
                Some((Asked::Records(records), query))
            }
            Chore::Heartbeat => {
                let heartbeat = session.take_heartbeat()?;
                session.heartbeat_out = true;
                let query = Query::Heartbeat(heartbeat.clone());
                Some((Asked::Heartbeat(heartbeat), query))
            }
            Chore::Recount => {
                session.waiting_at = self.now + HOUSEKEEPING * 10;
                session.recount();
                self.count_waiting_query()
            }
        }
    }

    /// Counts the next queue whose count is not fresh.
    pub(super) fn count_waiting_query(&mut self) -> Option<(Asked, Query)> {
        if self.session.waiting_out {
            return None;
        }
        let counted = &self.session.waiting;
        let (id, state) = self.vectorizers.iter().find(|(id, state)| {
            state.profile.is_some() && !counted.get(id).is_some_and(|waiting| waiting.is_fresh)
        })?;
        let plan = std::sync::Arc::clone(&state.profile.as_ref()?.plan);
        self.session.waiting_out = true;
        Some((Asked::Waiting(*id), Query::Waiting { plan }))
    }

    pub(super) fn worker_started(&mut self, worker: String) {
        self.session.worker = Some(worker);
        self.session.heartbeat_at = self.now;
    }

    /// Without registration the worker works all the same.
    pub(super) fn start_refused(&mut self, trouble: Trouble, error: &DbError) {
        match trouble {
            Trouble::Again | Trouble::Outage => self.session.start_asked = false,
            Trouble::Data | Trouble::Schema => self.untold(error),
        }
    }

    fn untold(&mut self, error: &DbError) {
        let reason = format!("this worker cannot be tracked: {error}");
        self.events.push_back(Event::DatabaseTrouble {
            reason,
            retry_in: HEARTBEAT_MAX,
        });
    }

    pub(super) fn heartbeat_sent(&mut self) {
        self.session.heartbeat_out = false;
        self.session.heartbeat_at = self.now
            + self
                .settings
                .poll_interval
                .clamp(HOUSEKEEPING, HEARTBEAT_MAX);
    }

    pub(super) fn heartbeat_refused(
        &mut self,
        heartbeat: Heartbeat,
        trouble: Trouble,
        error: &DbError,
    ) {
        self.heartbeat_sent();
        match trouble {
            Trouble::Again | Trouble::Outage => {
                self.session.heartbeat_at = self.now + HOUSEKEEPING;
                self.session.put_back(heartbeat);
            }
            Trouble::Data | Trouble::Schema => self.untold(error),
        }
    }

    pub(super) fn records_refused(
        &mut self,
        mut records: Vec<ErrorRecord>,
        trouble: Trouble,
        error: &DbError,
    ) {
        self.session.records_out = false;
        self.session.records_at = self.now + HOUSEKEEPING;
        match trouble {
            Trouble::Again | Trouble::Outage => {
                records.append(&mut self.records);
                records.truncate(RECORDS_MAX);
                self.records = records;
            }
            Trouble::Data | Trouble::Schema => self.untold(error),
        }
    }

    pub(super) fn list_came(&mut self) {
        self.session.list_out = false;
        self.session.listed = true;
        self.session.listed_at = self.now;
        self.session.list_at = self.now + self.settings.poll_interval;
        self.resync.look(self.now);
        self.look_for_indexes();
    }

    pub(super) fn load_refused(&mut self, trouble: Trouble, error: &DbError) {
        self.session.list_out = false;
        self.session.list_at = self.now + HOUSEKEEPING;
        if !matches!(trouble, Trouble::Data | Trouble::Schema) {
            return;
        }
        match error.sqlstate.as_deref() {
            // The check has found the schema, so what is missing is what this version has added.
            Some(MISSING_TABLE | "42883" | MISSING_COLUMN) => {
                self.not_installed(self.outdated_schema())
            }
            _ => self.schema_missing(trouble, error),
        }
    }

    pub(super) fn waiting_counted(&mut self, vectorizer: i64, rows: u64) {
        self.counted(vectorizer, rows);
        self.progressed(vectorizer, 0, 0);
    }

    pub(super) fn waiting_refused(&mut self, vectorizer: i64) {
        self.counted(vectorizer, 0);
    }

    fn counted(&mut self, vectorizer: i64, rows: u64) {
        self.session.waiting_out = false;
        self.session.waiting.insert(
            vectorizer,
            Waiting {
                rows,
                is_fresh: true,
            },
        );
    }

    /// Counts what was written and, where somebody watches, tells how far the worker is.
    pub(super) fn progressed(&mut self, vectorizer: i64, rows: u64, chunks: u64) {
        self.session.chunks += chunks;
        if let Some(waiting) = self.session.waiting.get_mut(&vectorizer) {
            waiting.rows = waiting.rows.saturating_sub(rows);
        }
        if self.settings.progress && self.life.is_running() {
            self.events.push_back(Event::Progress {
                done: self.summary.rows,
                waiting: self.session.waiting_known().unwrap_or(0),
                chunks: self.session.chunks,
            });
        }
    }
}

/// SQLSTATE `undefined_table`.
pub(super) const MISSING_TABLE: &str = "42P01";
/// SQLSTATE `undefined_column`.
pub(super) const MISSING_COLUMN: &str = "42703";
