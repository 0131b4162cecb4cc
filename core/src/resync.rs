//! The statements of a resync, which compares a source with what is stored for it.

mod answers;

use std::sync::Arc;
use std::time::Duration;

use crate::query::{ClaimId, Key, Param, key_params, millis};
use crate::sql::{self, Depth, Plan};

pub(crate) use answers::{ComparedPiece, Different, TakenRequest};

/// One statement of a resync. Their order: take a request; wait for open transactions; renew the items that workers
/// have claimed; then for each piece of the keys: find its end, compare, queue the keys that differ, save the
/// progress.
#[derive(Clone, Debug)]
pub enum ResyncQuery {
    /// Returns whether all transactions up to this one have ended.
    Barrier {
        /// Its number, from `Take`.
        transaction: String,
    },
    /// Finds the last key of the next piece.
    Bound {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The statement.
        sql: String,
        /// The last key of the previous piece.
        after: Option<Key>,
        /// At most this many rows of the source.
        rows: usize,
        /// At most this many chunks of the store, plus the rest of the last key's chunks.
        chunks: usize,
    },
    /// Compares a piece.
    Compare {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The statement.
        sql: String,
        /// How to compare.
        depth: Depth,
        /// Keys after this one; `None` is the beginning.
        after: Option<Key>,
        /// Up to this one; `None` is the end.
        to: Option<Key>,
    },
    /// Queues keys that are not in the queue.
    Queue {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The keys, in their order.
        keys: Vec<Key>,
    },
    /// Returns which of these keys are still in the queue.
    Queued {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Gives claimed items a new generation, so that their rows are read again: workers may
    /// have read them before the resync began.
    Renew {
        /// The vectorizer.
        plan: Arc<Plan>,
    },
    /// Saves the progress of a resync, and extends its lease.
    Save {
        /// The vectorizer's id.
        vectorizer: i64,
        /// The claim that holds the resync.
        claim: ClaimId,
        /// The new duration of the lease, from the database's current time; zero releases it.
        lease: Duration,
        /// The progress.
        standing: ResyncStanding,
    },
    /// Takes a request that no worker holds.
    Take {
        /// The id of the claim.
        claim: ClaimId,
        /// The duration of the lease, from the database's current time.
        lease: Duration,
        /// The vectorizers whose requests may be taken.
        ids: Vec<i64>,
    },
}

/// The progress of a resync.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ResyncStanding {
    /// The last key of the last finished piece.
    pub after: Option<Key>,
    /// The results so far.
    pub counts: ResyncCounts,
    /// The state.
    pub state: ResyncState,
    /// Why it failed, or what was not compared.
    pub reason: Option<String>,
}

/// The results of a resync.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResyncCounts {
    /// Rows of the source that were compared.
    pub rows: i64,
    /// Rows with a text but with missing chunks.
    pub missing: i64,
    /// Keys with chunks but without a row.
    pub orphans: i64,
    /// Rows whose chunks were made from another text.
    pub stale: i64,
}

/// The state of a resync.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ResyncState {
    /// It has ended.
    Done,
    /// It cannot continue.
    Failed,
    /// It is in progress.
    #[default]
    Running,
}

impl ResyncQuery {
    /// As [`Query::sql`](crate::Query::sql).
    pub(crate) fn sql(&self) -> &str {
        match self {
            Self::Barrier { .. } => sql::BARRIER,
            Self::Bound { sql, .. } | Self::Compare { sql, .. } => sql,
            Self::Queue { plan, .. } => &plan.enqueue,
            Self::Queued { plan, .. } => &plan.enqueued,
            Self::Renew { plan } => &plan.renew,
            Self::Save { .. } => sql::SAVE,
            Self::Take { .. } => sql::TAKE,
        }
    }

    /// As [`Query::params`](crate::Query::params).
    pub(crate) fn params(&self) -> Vec<Param> {
        match self {
            Self::Barrier { transaction } => vec![Param::Text(Some(transaction.clone()))],
            Self::Bound {
                plan,
                after,
                rows,
                chunks,
                ..
            } => {
                // What is passed over before the last one.
                let mut params = vec![size(*rows - 1)];
                if plan.resync.stores_texts() {
                    params.push(size(*chunks - 1));
                }
                params.extend(values(after.as_ref()));
                params
            }
            Self::Compare { after, to, .. } => {
                values(after.as_ref()).chain(values(to.as_ref())).collect()
            }
            Self::Queue { plan, keys } | Self::Queued { plan, keys } => {
                key_params(plan, keys.iter())
            }
            Self::Renew { .. } => vec![],
            Self::Save {
                vectorizer,
                claim,
                lease,
                standing,
            } => save_params(*vectorizer, *claim, *lease, standing),
            Self::Take { claim, lease, ids } => vec![
                Param::Int(claim.0),
                millis(*lease),
                Param::Ints(ids.iter().copied().map(Some).collect()),
            ],
        }
    }

    /// The vectorizer whose tables it uses.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Bound { plan, .. }
            | Self::Compare { plan, .. }
            | Self::Queue { plan, .. }
            | Self::Queued { plan, .. }
            | Self::Renew { plan } => Some(plan),
            Self::Barrier { .. } | Self::Save { .. } | Self::Take { .. } => None,
        }
    }
}

impl ResyncState {
    /// Its name in `ai.vectorizer_resync`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Running => "running",
        }
    }
}

fn size(size: usize) -> Param {
    Param::Int(i64::try_from(size).unwrap_or(i64::MAX))
}

/// One `text` for each key column.
fn values(key: Option<&Key>) -> impl Iterator<Item = Param> {
    let parts = key.map_or(&[][..], |key| key.0.as_slice());
    parts.iter().map(|part| Param::Text(Some(part.clone())))
}

fn save_params(
    vectorizer: i64,
    claim: ClaimId,
    lease: Duration,
    standing: &ResyncStanding,
) -> Vec<Param> {
    let cursor = standing.after.as_ref();
    let cursor = cursor.map(|key| serde_json::Value::from(key.0.clone()).to_string());
    let counts = standing.counts;
    vec![
        Param::Int(vectorizer),
        Param::Int(claim.0),
        millis(lease),
        Param::Text(cursor),
        Param::Int(counts.rows),
        Param::Int(counts.missing),
        Param::Int(counts.orphans),
        Param::Int(counts.stale),
        Param::Text(Some(standing.state.name().to_owned())),
        Param::Text(standing.reason.clone()),
    ]
}
