//! Building vector indexes: the statements around a build, and the build itself.
//!
//! `create index concurrently` runs for minutes, and in no transaction. So it is a [`Call`](crate::Call), on a
//! connection of its own, while other statements go on.

use std::time::Duration;

use crate::query::{ClaimId, Param, Rows, Unreadable, fields, millis};
use crate::sql;

/// A statement to be run on a connection of its own, outside of a transaction and without a limit of time. It needs
/// nothing of its session: every name in it is qualified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IndexBuild {
    /// The statement, to be sent as a simple query.
    pub sql: String,
}

/// The settings of a session for [`IndexBuild`], to be run as one simple query after
/// [`session_settings`](crate::session_settings). Behind a pooler, which would hand them to others, there are none.
pub const BUILD_SETTINGS: &str = sql::BUILD_SETTINGS;

/// One short statement around a build.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IndexQuery {
    /// Ends a claim, and returns whether there is a valid index.
    End {
        /// The vectorizer's id.
        vectorizer: i64,
        /// The claim.
        claim: ClaimId,
        /// No worker tries again for so long.
        retry_in: Duration,
        /// Why it failed, if it has failed.
        reason: Option<String>,
    },
    /// Finds an index to build and takes its lease; returns the statement to run.
    Take {
        /// The id of the claim.
        claim: ClaimId,
        /// The duration of the lease, from the database's current time.
        lease: Duration,
        /// The vectorizers whose indexes this worker builds.
        ids: Vec<i64>,
    },
    /// Extends the lease while the statement runs, and returns how far it is.
    Watch {
        /// The vectorizer's id.
        vectorizer: i64,
        /// The claim.
        claim: ClaimId,
        /// The duration of the lease, from the database's current time.
        lease: Duration,
        /// Whether the statement is cancelled.
        cancels: bool,
    },
}

impl IndexQuery {
    /// As [`Query::sql`](crate::Query::sql).
    pub(crate) const fn sql(&self) -> &str {
        match self {
            Self::End { .. } => sql::INDEX_END,
            Self::Take { .. } => sql::INDEX_TAKE,
            Self::Watch { .. } => sql::INDEX_WATCH,
        }
    }

    /// As [`Query::params`](crate::Query::params).
    pub(crate) fn params(&self) -> Vec<Param> {
        match self {
            Self::End {
                vectorizer,
                claim,
                retry_in,
                reason,
            } => vec![
                Param::Int(*vectorizer),
                Param::Int(claim.0),
                millis(*retry_in),
                Param::Text(reason.clone()),
            ],
            Self::Take { claim, lease, ids } => vec![
                Param::Int(claim.0),
                millis(*lease),
                Param::Ints(ids.iter().copied().map(Some).collect()),
            ],
            Self::Watch {
                vectorizer,
                claim,
                lease,
                cancels,
            } => vec![
                Param::Int(*vectorizer),
                Param::Int(claim.0),
                millis(*lease),
                Param::Int(i64::from(*cancels)),
            ],
        }
    }
}

/// The answer to [`IndexQuery::Take`].
#[derive(Debug, Default)]
pub(crate) struct TakenIndex {
    pub(crate) build: Option<TakenBuild>,
    /// Vectorizers whose index nobody with this role can build, and why.
    pub(crate) problems: Vec<(i64, String)>,
}

/// An index to build.
#[derive(Clone, Debug)]
pub(crate) struct TakenBuild {
    pub(crate) vectorizer: i64,
    pub(crate) sql: String,
    /// How often it has failed.
    pub(crate) failures: u32,
    /// The memory, in bytes, with which the build is fast; 0 if that is unknown.
    pub(crate) memory_needed: u64,
    /// The server's `maintenance_work_mem`, in bytes.
    pub(crate) memory_given: u64,
}

impl TakenIndex {
    pub(crate) fn new(rows: Rows) -> Result<Self, Unreadable> {
        let mut taken = Self::default();
        for mut row in fields(rows) {
            let vectorizer = row.parsed("vectorizer_id")?;
            let sql = row.optional();
            let failures = row.parsed("failures")?;
            let memory_needed = row.parsed("memory_needed")?;
            let memory_given = row.parsed("memory_given")?;
            match (sql, row.optional()) {
                (Some(sql), _) => {
                    taken.build = Some(TakenBuild {
                        vectorizer,
                        sql,
                        failures,
                        memory_needed,
                        memory_given,
                    });
                }
                (None, Some(problem)) => taken.problems.push((vectorizer, problem)),
                (None, None) => {}
            }
        }
        Ok(taken)
    }
}

/// The answer to [`IndexQuery::Watch`]; `None` if the lease is lost.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct IndexProgress {
    /// The phase and how far it is.
    pub(crate) said: Option<String>,
    /// Whether another session waits for a lock that the build holds.
    pub(crate) is_in_the_way: bool,
}

impl IndexProgress {
    pub(crate) fn new(rows: Rows) -> Result<Option<Self>, Unreadable> {
        let Some(mut row) = fields(rows).next() else {
            return Ok(None);
        };
        Ok(Some(Self {
            said: row.optional().filter(|said| !said.is_empty()),
            is_in_the_way: row.parsed("is_in_the_way")?,
        }))
    }
}
