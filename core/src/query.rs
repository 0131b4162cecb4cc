//! The core's statements for PostgreSQL, and their answers.

mod answers;
mod commit;
mod fields;
mod params;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::index::IndexQuery;
use crate::resync::ResyncQuery;
use crate::sql::{self, Plan};
use crate::vectorizer::MakerDigests;

pub(crate) use answers::{
    BudgetTaken, ClaimedRow, ClaimedRows, Fate, Found, LoadedVectorizer, Outcome, ReadRow,
    Refreshed, SchemaVersions, count, first_key, is_so, numbers, text,
};
pub use commit::{CheckedDocument, ChunkHash, CommitChunk, CommitRow};
pub(crate) use fields::{Unreadable, fields};
pub use params::{Binary, Param};
pub(crate) use params::{key_params, millis};

/// The handle that the answer to a [`Query`] must return. It cannot be copied, so a query is
/// answered at most once.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct QueryTicket(pub(crate) u64);

/// The identifier of one claim: a random number that the worker chooses. So a claim whose answer
/// was lost can be sent again, and no two claims have the same id, even after a crash of
/// PostgreSQL.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ClaimId(pub i64);

/// The key of one source row: the text of each key column, in the order of the primary key.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key(pub Vec<String>);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// One statement, to be run in a transaction of its own. A shell needs only [`Query::sql`] and
/// [`Query::params`]; the variants are for a simulated database.
#[derive(Clone, Debug)]
pub enum Query {
    /// Records that the configuration of a vectorizer's texts has changed, and requests that all rows
    /// are compared. Returns one row, which says whether this is recorded now.
    AcceptTexts {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Digests of the configuration of its vectors, which must match the recorded one, if
        /// any, and of its texts.
        digests: MakerDigests,
    },
    /// Adds to what vectorizers have used.
    AddUsage(UsageAddition),
    /// Tells writers until when the worker will poll the queue without a notification.
    Bell {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The duration, from the database's current time.
        promise: Duration,
    },
    /// Takes the next step of a change to another model, if one is possible now. Returns one row with the
    /// state after it, which is empty if the change has ended.
    Change {
        /// The id of the generation that does not serve.
        generation: i64,
    },
    /// Returns the installed schema: one row with pgai's version and ours.
    CheckSchema,
    /// Leases due items to this worker.
    Claim {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The claim's id.
        claim: ClaimId,
        /// The duration of the leases, from the database's current time.
        lease: Duration,
        /// Items queued before this time are skipped: the low-water mark.
        since: Option<String>,
        /// As in `Bell`, if the claim gets nothing; `None` does not set the bell.
        promise: Option<Duration>,
        /// Whether one item may be claimed whose lease has expired twice, if no other item is due.
        suspects: bool,
    },
    /// A statement of one of the operator's commands.
    Command {
        /// The statement.
        sql: String,
        /// Its parameters.
        params: Vec<Param>,
    },
    /// Writes finished rows and deletes their queue items.
    Commit {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The claim that holds the rows.
        claim: ClaimId,
        /// The new chunks of each row.
        rows: Vec<CommitRow>,
    },
    /// Extends the leases of a claim.
    Extend {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The claim.
        claim: ClaimId,
        /// The keys that are still in progress.
        keys: Vec<Key>,
        /// The duration, from the database's current time.
        lease: Duration,
    },
    /// Counts a failed attempt for each row, and delays the row or moves it to the failed
    /// table.
    Fail {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The claim that holds the rows.
        claim: ClaimId,
        /// The rows and their failures.
        rows: Vec<FailedRow>,
        /// Whether the vectors of rows that move to the failed table are cleared, if they are
        /// in a column of the source.
        clears: bool,
    },
    /// Records a heartbeat, and what the worker has done since the last one.
    Heartbeat(Heartbeat),
    /// Around the build of a vector index.
    Index(IndexQuery),
    /// Loads the vectorizers of the database: all, or those with the given ids.
    LoadVectorizers {
        /// The ids; empty means all.
        ids: Vec<i64>,
    },
    /// Reads the source rows of claimed keys, and the hashes of their stored chunks.
    Read {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The keys.
        keys: Vec<Key>,
        /// Rows beyond this many bytes of text are left for another read; the first row is always
        /// returned.
        bytes_max: usize,
    },
    /// Inserts rows into the errors table.
    RecordErrors(Vec<ErrorRecord>),
    /// Queues documents whose check is due. Returns one row: how many, and whether there may be more.
    Refresh {
        /// The vectorizer.
        plan: Arc<Plan>,
    },
    /// Releases leases without counting an attempt.
    Release {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The claim.
        claim: ClaimId,
        /// The keys to release.
        keys: Vec<Key>,
    },
    /// Compares a source with what is stored for it.
    Resync(ResyncQuery),
    /// Registers this worker; one row with its id.
    StartWorker {
        /// The worker's version.
        version: String,
        /// The interval of its heartbeats.
        interval: Duration,
    },
    /// Takes of the ceiling of a day. Returns one row: what was granted, and whether no worker had met
    /// the ceiling before.
    TakeBudget {
        /// What the ceiling is over.
        scope: String,
        /// The vectorizer, if it is a vectorizer's.
        vectorizer: Option<i64>,
        /// The day, as days since 1970.
        day: u64,
        /// The ceiling, in tokens or in millionths of a US dollar.
        ceiling: u64,
        /// How much is wanted at most; a negative number is given back.
        wanted: i64,
    },
    /// Counts the items in the queue of a vectorizer.
    Waiting {
        /// The vectorizer.
        plan: Arc<Plan>,
    },
}

/// A row that failed, and when it is retried.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedRow {
    /// The row's key.
    pub key: Key,
    /// The claimed generation; if the row has changed since, its lease is released instead.
    pub generation: i64,
    /// The delay until the next attempt; `None` moves the row to the failed table.
    pub retry_after: Option<Duration>,
    /// The step that failed: `loading`, `chunking`, `formatting`, `embedding` or `worker`.
    pub step: &'static str,
    /// The reason, for the failed table.
    pub reason: String,
    /// The message for the errors table.
    pub message: &'static str,
    /// The details for the errors table: a JSON object as text.
    pub details: String,
}

/// A worker's report about itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Heartbeat {
    /// The worker's id, assigned by the database.
    pub worker: String,
    /// Rows finished since the last heartbeat.
    pub successes: i64,
    /// Failures since the last heartbeat.
    pub errors: i64,
    /// The last failure since the last heartbeat.
    pub error_message: Option<String>,
    /// The same for each vectorizer with activity.
    pub progress: Vec<Progress>,
}

/// What a worker has done for one vectorizer since the last heartbeat.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// The vectorizer's id.
    pub vectorizer: i64,
    /// Rows finished.
    pub successes: i64,
    /// The last failure.
    pub error_message: Option<String>,
}

/// What is added to the usage of vectorizers at a time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsageAddition {
    /// Its number: an addition that is repeated under its number is made once.
    pub number: i64,
    /// What is added.
    pub entries: Vec<UsageEntry>,
}

/// What one vectorizer has used of one model on one day.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsageEntry {
    /// The vectorizer's id.
    pub vectorizer: i64,
    /// The model's name.
    pub model: String,
    /// The day in UTC, as days since 1970.
    pub day: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// The part of the tokens that is an estimate.
    pub estimated: u64,
}

/// One row for the errors table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ErrorRecord {
    /// The vectorizer's id.
    pub vectorizer: i64,
    /// What failed.
    pub message: &'static str,
    /// A JSON object as text.
    pub details: String,
}

/// The rows of an answer. Every column of every statement is `text`, so a shell needs no types.
pub type Rows = Vec<Vec<Option<String>>>;

/// Why a statement returned no rows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DbError {
    /// PostgreSQL's SQLSTATE. `None` means that there was no answer (no connection, a broken
    /// connection, or a timeout): the statement may have run or not.
    pub sqlstate: Option<String>,
    /// The message, with PostgreSQL's detail and hint if there are any.
    pub message: String,
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sqlstate {
            Some(code) => write!(f, "{} (SQLSTATE {code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for DbError {}

impl DbError {
    /// An error without an answer, with the reason.
    #[must_use]
    pub fn unanswered(message: impl Into<String>) -> Self {
        Self {
            sqlstate: None,
            message: message.into(),
        }
    }

    /// PostgreSQL's error for a statement or a connection.
    #[must_use]
    pub fn refused(
        sqlstate: &str,
        message: &str,
        detail: Option<&str>,
        hint: Option<&str>,
    ) -> Self {
        let mut message = message.to_owned();
        for (name, text) in [("detail", detail), ("hint", hint)] {
            if let Some(text) = text {
                message.push_str("; ");
                message.push_str(name);
                message.push_str(": ");
                message.push_str(text);
            }
        }
        Self {
            sqlstate: Some(sqlstate.to_owned()),
            message,
        }
    }

    /// The error message for the operator who gave the database's URL. At startup the most
    /// likely cause of a missing answer is a wrong URL.
    #[must_use]
    pub fn explain(&self) -> String {
        match self.sqlstate {
            Some(_) => self.to_string(),
            None => format!(
                "unable to connect to database: {self}; check that the server runs, and host, port, \
                 user, password and database of --db-url or DB_URL"
            ),
        }
    }
}

/// The SQL that a shell runs first on every new connection, as one simple query.
#[must_use]
pub const fn session_settings() -> &'static str {
    sql::SESSION
}

impl Query {
    /// The text of the statement. It is the same for every query of its kind and vectorizer, so
    /// a shell may keep it prepared.
    #[must_use]
    pub fn sql(&self) -> &str {
        match self {
            Self::AcceptTexts { .. } => sql::ACCEPT_TEXTS,
            Self::AddUsage(_) => sql::ADD_USAGE,
            Self::Bell { plan, .. } => &plan.bell,
            Self::Change { .. } => sql::CHANGE,
            Self::CheckSchema => sql::CHECK_SCHEMA,
            Self::Claim { plan, .. } => &plan.claim,
            Self::Command { sql, .. } => sql,
            Self::Commit { plan, .. } => &plan.commit,
            Self::Extend { plan, .. } => &plan.extend,
            Self::Fail { plan, clears, .. } => match &plan.fail_and_clear {
                Some(fail_and_clear) if *clears => fail_and_clear,
                _ => &plan.fail,
            },
            Self::Heartbeat(_) => sql::HEARTBEAT,
            Self::Index(query) => query.sql(),
            Self::LoadVectorizers { .. } => sql::LOAD_VECTORIZERS,
            Self::Read { plan, .. } => &plan.read,
            Self::RecordErrors(_) => sql::RECORD_ERRORS,
            Self::Refresh { plan } => &plan.refresh_documents,
            Self::Release { plan, .. } => &plan.release,
            Self::Resync(query) => query.sql(),
            Self::StartWorker { .. } => sql::START_WORKER,
            Self::TakeBudget { .. } => sql::TAKE_BUDGET,
            Self::Waiting { plan } => &plan.waiting,
        }
    }

    /// For a query whose answer may be large: a statement to run instead of [`Query::sql`], with the
    /// same parameters, and then a simple query in the same session that returns the rows. So the
    /// server holds no lock while it waits for a client to read them. If the second query fails, the
    /// session must not be used again.
    #[must_use]
    pub fn held(&self) -> Option<(&str, &'static str)> {
        match self {
            Self::Read { plan, .. } => Some((&plan.read_held, sql::FETCH)),
            Self::AcceptTexts { .. }
            | Self::AddUsage(_)
            | Self::Bell { .. }
            | Self::Change { .. }
            | Self::CheckSchema
            | Self::Claim { .. }
            | Self::Command { .. }
            | Self::Commit { .. }
            | Self::Extend { .. }
            | Self::Fail { .. }
            | Self::Heartbeat(_)
            | Self::Index(_)
            | Self::LoadVectorizers { .. }
            | Self::RecordErrors(_)
            | Self::Refresh { .. }
            | Self::Release { .. }
            | Self::Resync(_)
            | Self::StartWorker { .. }
            | Self::TakeBudget { .. }
            | Self::Waiting { .. } => None,
        }
    }
}
