//! Events that the worker reports to its operator.

#[cfg(test)]
mod documented;
mod words;

use std::time::Duration;

use crate::resync::ResyncCounts;

/// An event. [`crate::log::line`] formats it as a log line.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A setting that works but that the operator should know about.
    Advice {
        /// The situation, and what to do.
        message: String,
    },
    /// A ceiling of a day has nothing left: what is under it waits.
    CeilingReached {
        /// The vectorizer that met it.
        vectorizer: i64,
        /// What the ceiling is, when it ends, and how to raise it.
        reason: String,
        /// When the next day begins.
        resumes_in: Duration,
    },
    /// A change to another model has come to its next state.
    ChangeAdvanced {
        /// The id of the generation that does not serve.
        vectorizer: i64,
        /// The state: `filling`, `indexing`, `ready`, or `kept` when the new generation serves.
        state: String,
    },
    /// Rows of a vectorizer are in sync now.
    Committed {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Rows finished.
        rows: u64,
        /// Chunks whose vectors came from the provider.
        embedded: u64,
        /// Chunks that kept their vectors, at the same place or moved.
        reused: u64,
    },
    /// The database answers again, after [`DatabaseTrouble`](Self::DatabaseTrouble).
    DatabaseBack {
        /// How long it did not.
        after: Duration,
    },
    /// The database does not answer, or a statement failed and will be retried. Of an outage only the beginning is
    /// reported.
    DatabaseTrouble {
        /// PostgreSQL's message.
        reason: String,
        /// When it is asked again.
        retry_in: Duration,
    },
    /// No item of a vectorizer's queue is due any more.
    Finished {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Rows done since it began to run.
        items: u64,
        /// Rows that failed since then.
        failed: u64,
    },
    /// A vector index is ready.
    IndexBuilt {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Whether it is a text index, and not a vector index.
        of_text: bool,
        /// How long its build took.
        after: Duration,
    },
    /// A vector index was not built.
    IndexFailed {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Whether it is a text index, and not a vector index.
        of_text: bool,
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// How far the build of a vector index is.
    IndexProgress {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Whether it is a text index, and not a vector index.
        of_text: bool,
        /// The phase, as in `pg_stat_progress_create_index`.
        progress: String,
        /// How long it has run.
        after: Duration,
    },
    /// A vector index is built, or what an interrupted build has left is dropped.
    IndexStarted {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Whether it is a text index, and not a vector index.
        of_text: bool,
        /// The statement.
        statement: String,
    },
    /// `--vectorizer-id` names vectorizers that do not exist.
    InvalidVectorizers {
        /// The ids asked for.
        wanted: Vec<i64>,
        /// Those that exist.
        got: Vec<i64>,
    },
    /// The database has no vectorizers.
    NoVectorizers,
    /// The schema is missing from the database, or its version is unknown to this worker.
    NotInstalled {
        /// The problem, and the command that fixes it.
        reason: String,
    },
    /// A server rejects an optional parameter; from now on the worker omits it.
    ParameterRefused {
        /// The vectorizer's id.
        vectorizer: i64,
        /// The parameter's name.
        parameter: &'static str,
        /// What the server said.
        reason: String,
    },
    /// A provider is paused for a reason that concerns more than one row.
    Paused {
        /// The provider and where it is.
        provider: String,
        /// What it said.
        reason: String,
        /// When it is asked again.
        retry_in: Duration,
    },
    /// The worker's progress; only if [`Settings::progress`](crate::Settings::progress) is set.
    Progress {
        /// Rows finished since the start.
        done: u64,
        /// Rows that are queued or in progress.
        waiting: u64,
        /// Chunks written since the start.
        chunks: u64,
    },
    /// A resync has ended, successfully or not.
    ResyncEnded {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Whether it failed.
        failed: bool,
        /// The differences that were found and queued.
        counts: ResyncCounts,
        /// Why it failed, or what was not compared.
        reason: Option<String>,
    },
    /// A resync has started.
    ResyncStarted {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Whether texts are compared, too.
        verifies_text: bool,
    },
    /// A provider that was paused answers again.
    Resumed {
        /// The provider and where it is.
        provider: String,
    },
    /// A row failed.
    RowFailed {
        /// The vectorizer's id.
        vectorizer: i64,
        /// The row's key.
        key: String,
        /// The step that failed.
        step: &'static str,
        /// What went wrong.
        reason: String,
        /// When it is tried again; `None` if it went to the failed table.
        retry_in: Option<Duration>,
    },
    /// How far a vectorizer is: once a minute while it works.
    Working {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Its name.
        name: String,
        /// Rows done since the last line about it.
        items: u64,
        /// Rows that failed since then.
        failed: u64,
        /// The time since then.
        during: Duration,
    },
    /// Items of a vectorizer's queue are due.
    Running {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Its name.
        name: String,
    },
    /// The worker begins.
    Started {
        /// The worker's version.
        version: String,
    },
    /// The worker ends.
    Stopped {
        /// Rows finished.
        rows: u64,
        /// Rows that failed.
        failed: u64,
        /// Rows that wait for a later attempt, if they were counted (with `--once`).
        waiting: Option<u64>,
        /// The failure that was not one row's own, if any.
        failure: Option<String>,
    },
    /// The worker was asked to stop.
    Stopping {
        /// Batches in flight, which get the grace period.
        batches: usize,
    },
    /// The configuration of a vectorizer's texts has changed; all rows are compared.
    TextsChanged {
        /// The vectorizer's id.
        vectorizer: i64,
    },
    /// Chunks are longer than the model's limit: their ends are stored but not embedded.
    Truncated {
        /// The vectorizer's id.
        vectorizer: i64,
        /// How many chunks.
        chunks: u64,
        /// The number of bytes that are not embedded, if known.
        bytes: Option<u64>,
    },
    /// Rows are delayed because a provider's limits are used up, or it is busy.
    Waiting {
        /// The provider and where it is.
        provider: String,
        /// Why it is not called now.
        reason: String,
        /// When it is asked again.
        retry_in: Duration,
    },
    /// A vectorizer cannot run until its config or its tables are fixed.
    VectorizerBroken {
        /// The vectorizer's id.
        vectorizer: i64,
        /// What is wrong.
        reason: String,
    },
}

/// The severity of an event.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// For debugging.
    Debug,
    /// Normal operation.
    Info,
    /// The worker continues, but the operator may want to know.
    Warning,
    /// The operator has to act.
    Error,
}
