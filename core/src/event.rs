//! Events that the worker reports to its operator.

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
    /// A statement failed and will be retried.
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
        /// How long its build took.
        after: Duration,
    },
    /// A vector index was not built.
    IndexFailed {
        /// The vectorizer's id.
        vectorizer: i64,
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// How far the build of a vector index is.
    IndexProgress {
        /// The vectorizer's id.
        vectorizer: i64,
        /// The phase, as in `pg_stat_progress_create_index`.
        progress: String,
        /// How long it has run.
        after: Duration,
    },
    /// A vector index is built, or what an interrupted build has left is dropped.
    IndexStarted {
        /// The vectorizer's id.
        vectorizer: i64,
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

impl Event {
    /// The severity.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::Committed { .. } | Self::Progress { .. } => Level::Debug,
            Self::Finished { .. }
            | Self::IndexBuilt { .. }
            | Self::IndexProgress { .. }
            | Self::IndexStarted { .. }
            | Self::ResyncStarted { .. }
            | Self::Resumed { .. }
            | Self::Running { .. }
            | Self::Started { .. }
            | Self::Stopping { .. }
            | Self::TextsChanged { .. } => Level::Info,
            Self::ResyncEnded { failed: true, .. } => Level::Error,
            Self::ResyncEnded { reason, .. } => {
                if reason.is_some() {
                    Level::Warning
                } else {
                    Level::Info
                }
            }
            Self::Stopped { failure, .. } => {
                if failure.is_some() {
                    Level::Error
                } else {
                    Level::Info
                }
            }
            Self::Advice { .. }
            | Self::DatabaseTrouble { .. }
            | Self::IndexFailed { .. }
            | Self::NoVectorizers
            | Self::ParameterRefused { .. }
            | Self::Truncated { .. }
            | Self::Waiting { .. } => Level::Warning,
            Self::RowFailed { retry_in, .. } => {
                if retry_in.is_some() {
                    Level::Warning
                } else {
                    Level::Error
                }
            }
            Self::CeilingReached { .. }
            | Self::InvalidVectorizers { .. }
            | Self::NotInstalled { .. }
            | Self::Paused { .. }
            | Self::VectorizerBroken { .. } => Level::Error,
        }
    }

    /// The message, in the words that scripts of pgai's users search for.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Advice { message } => message.clone(),
            Self::CeilingReached { .. } => "daily ceiling reached".to_owned(),
            Self::Committed { .. } => "rows embedded".to_owned(),
            Self::DatabaseTrouble { reason, .. } => reason.clone(),
            Self::Finished { .. } => "finished processing vectorizer".to_owned(),
            Self::IndexBuilt { .. } => "vector index built".to_owned(),
            Self::IndexFailed { .. } => "vector index not built".to_owned(),
            Self::IndexProgress { .. } => "vector index in progress".to_owned(),
            Self::IndexStarted { .. } => "vector index started".to_owned(),
            Self::InvalidVectorizers { wanted, got } => {
                format!("invalid vectorizers, wanted: {wanted:?}, got: {got:?}")
            }
            Self::NoVectorizers => "no vectorizers found".to_owned(),
            Self::NotInstalled { reason } => reason.clone(),
            Self::ParameterRefused { .. } => {
                "embedding provider rejects a parameter: the worker omits it".to_owned()
            }
            Self::Paused { .. } => "embedding provider paused".to_owned(),
            Self::Progress { .. } => "progress".to_owned(),
            Self::ResyncEnded { failed: true, .. } => "resync failed".to_owned(),
            Self::ResyncEnded { failed: false, .. } => "resync finished".to_owned(),
            Self::ResyncStarted { .. } => "resync started".to_owned(),
            Self::Resumed { .. } => "embedding provider answers again".to_owned(),
            Self::RowFailed {
                retry_in: Some(_), ..
            } => "row failed, will be tried again".to_owned(),
            Self::RowFailed { retry_in: None, .. } => "row failed for good".to_owned(),
            Self::Running { .. } => "running vectorizer".to_owned(),
            Self::Started { .. } => "worker started".to_owned(),
            Self::Stopped { .. } => "worker stopped".to_owned(),
            Self::Stopping { .. } => "stopping".to_owned(),
            Self::TextsChanged { .. } => {
                "the configuration of the texts has changed: all rows are compared".to_owned()
            }
            Self::Truncated { .. } => {
                "chunks truncated: they are longer than the model takes".to_owned()
            }
            Self::VectorizerBroken { .. } => "vectorizer cannot run".to_owned(),
            Self::Waiting { .. } => "waiting for the embedding provider".to_owned(),
        }
    }

    /// The details, as names and values.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm for each event")]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::CeilingReached {
                vectorizer,
                reason,
                resumes_in,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("reason", reason.clone()),
                ("resumes_in", seconds(*resumes_in)),
            ],
            Self::Committed {
                vectorizer,
                rows,
                embedded,
                reused,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("rows", rows.to_string()),
                ("chunks_embedded", embedded.to_string()),
                ("chunks_reused", reused.to_string()),
            ],
            Self::DatabaseTrouble { retry_in, .. } => vec![("retry_in", seconds(*retry_in))],
            Self::Finished {
                vectorizer,
                items,
                failed,
            } => vec![
                ("items", items.to_string()),
                ("failed", failed.to_string()),
                ("vectorizer_id", vectorizer.to_string()),
            ],
            Self::IndexBuilt { vectorizer, after } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("after", seconds(*after)),
            ],
            Self::IndexFailed {
                vectorizer,
                reason,
                retry_in,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("reason", reason.clone()),
                ("retry_in", seconds(*retry_in)),
            ],
            Self::IndexProgress {
                vectorizer,
                progress,
                after,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("progress", progress.clone()),
                ("after", seconds(*after)),
            ],
            Self::IndexStarted {
                vectorizer,
                statement,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("statement", statement.clone()),
            ],
            Self::Advice { .. }
            | Self::InvalidVectorizers { .. }
            | Self::NoVectorizers
            | Self::NotInstalled { .. } => vec![],
            Self::ParameterRefused {
                vectorizer,
                parameter,
                reason,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("parameter", (*parameter).to_owned()),
                ("reason", reason.clone()),
            ],
            Self::Paused {
                provider,
                reason,
                retry_in,
            }
            | Self::Waiting {
                provider,
                reason,
                retry_in,
            } => vec![
                ("provider", provider.clone()),
                ("reason", reason.clone()),
                ("retry_in", seconds(*retry_in)),
            ],
            Self::Progress {
                done,
                waiting,
                chunks,
            } => vec![
                ("done", done.to_string()),
                ("waiting", waiting.to_string()),
                ("chunks", chunks.to_string()),
            ],
            Self::ResyncEnded {
                vectorizer,
                counts,
                reason,
                ..
            } => {
                let mut fields = vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("rows", counts.rows.to_string()),
                    ("missing", counts.missing.to_string()),
                    ("orphans", counts.orphans.to_string()),
                    ("stale", counts.stale.to_string()),
                ];
                fields.extend(reason.clone().map(|reason| ("reason", reason)));
                fields
            }
            Self::ResyncStarted {
                vectorizer,
                verifies_text,
            } => vec![
                ("vectorizer_id", vectorizer.to_string()),
                ("verify_text", verifies_text.to_string()),
            ],
            Self::Resumed { provider } => vec![("provider", provider.clone())],
            Self::RowFailed {
                vectorizer,
                key,
                step,
                reason,
                retry_in,
            } => {
                let mut fields = vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("key", key.clone()),
                    ("step", (*step).to_owned()),
                    ("reason", reason.clone()),
                ];
                fields.extend(retry_in.map(|retry_in| ("retry_in", seconds(retry_in))));
                fields
            }
            Self::Running { vectorizer, name } => {
                vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("name", name.clone()),
                ]
            }
            Self::Started { version } => vec![("version", version.clone())],
            Self::Stopped {
                rows,
                failed,
                waiting,
                failure,
            } => {
                let mut fields = vec![("rows", rows.to_string()), ("failed", failed.to_string())];
                fields.extend(waiting.map(|waiting| ("waiting", waiting.to_string())));
                fields.extend(failure.clone().map(|failure| ("failure", failure)));
                fields
            }
            Self::Stopping { batches } => vec![("batches", batches.to_string())],
            Self::TextsChanged { vectorizer } => {
                vec![("vectorizer_id", vectorizer.to_string())]
            }
            Self::Truncated {
                vectorizer,
                chunks,
                bytes,
            } => {
                let mut fields = vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("chunks", chunks.to_string()),
                ];
                fields.extend(bytes.map(|bytes| ("bytes_not_embedded", bytes.to_string())));
                fields
            }
            Self::VectorizerBroken { vectorizer, reason } => {
                vec![
                    ("vectorizer_id", vectorizer.to_string()),
                    ("reason", reason.clone()),
                ]
            }
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}
