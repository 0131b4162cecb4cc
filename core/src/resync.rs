//! What a worker asks of PostgreSQL while it compares a source with what is stored for it.

mod answers;

use std::sync::Arc;
use std::time::Duration;

use crate::query::{ClaimId, Key, Param, key_params, millis};
use crate::sql::{self, Depth, Plan};

pub(crate) use answers::{ComparedPiece, Different, TakenRequest};

/// One statement of a resync. They come in this order: take a request; wait for those who are writing;
/// then have read again what workers are on; then for each piece of the keys: find its end, compare, queue what differs, save how far it is.
#[derive(Clone, Debug)]
pub enum ResyncQuery {
    /// Whether all transactions up to this one have ended.
    Barrier {
        /// Its number, as `Take` returned it.
        transaction: String,
    },
    /// Finds the last key of the next piece.
    Bound {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The statement.
        sql: String,
        /// The last key of the piece before.
        after: Option<Key>,
        /// At most so many rows of the source.
        rows: usize,
        /// At most so many chunks of the store, and all of the last key.
        chunks: usize,
    },
    /// Compares a piece.
    Compare {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The statement.
        sql: String,
        /// How closely.
        depth: Depth,
        /// Keys after this one; `None` is the beginning.
        after: Option<Key>,
        /// Up to this one; `None` is the end.
        to: Option<Key>,
    },
    /// Queues keys that are not queued already.
    Queue {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The keys, in their order.
        keys: Vec<Key>,
    },
    /// Which of these keys are still in the queue.
    Queued {
        /// The vectorizer.
        plan: Arc<Plan>,
        /// The keys.
        keys: Vec<Key>,
    },
    /// Has read again what workers are on: they may have read it before the resync began.
    Renew {
        /// The vectorizer.
        plan: Arc<Plan>,
    },
    /// Saves how far a resync is, and holds it for longer.
    Save {
        /// The vectorizer's id.
        vectorizer: i64,
        /// The claim that holds it.
        claim: ClaimId,
        /// For how long, from the database's now; zero gives it back.
        lease: Duration,
        /// How far it is.
        standing: ResyncStanding,
    },
    /// Takes a request that nobody is on.
    Take {
        /// The name that the worker gives to its hold on it.
        claim: ClaimId,
        /// For how long, from the database's now.
        lease: Duration,
        /// The vectorizers to look for.
        ids: Vec<i64>,
    },
}

/// How far a resync is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ResyncStanding {
    /// The last key of the last piece that was done.
    pub after: Option<Key>,
    /// What was found so far.
    pub counts: ResyncCounts,
    /// Whether it goes on.
    pub state: ResyncState,
    /// Why it failed, or what it could not compare.
    pub reason: Option<String>,
}

/// What a resync has found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResyncCounts {
    /// Rows of the source that were compared.
    pub rows: i64,
    /// Rows with a text of which not everything is stored.
    pub missing: i64,
    /// Keys with chunks and without a row.
    pub orphans: i64,
    /// Rows whose chunks are those of another text.
    pub stale: i64,
}

/// Whether a resync goes on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ResyncState {
    /// It has come to its end.
    Done,
    /// It cannot go on.
    Failed,
    /// It is under way.
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
