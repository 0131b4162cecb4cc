//! One resync: a walk over all keys of a source, piece by piece.
//!
//! ```text
//! barrier ─ renew ─ bound ─ compare ─ read ─ queue ─ save ─ over
//!                     └────────────────────────────────┘
//! ```
//! It has one statement in flight at most. Each may be asked again: none does harm when it runs twice.

mod outcomes;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::piece::PieceSize;
use crate::compute::Work;
use crate::query::{ClaimId, Key, Query};
use crate::resync::{ResyncCounts, ResyncQuery, ResyncStanding, ResyncState, TakenRequest};
use crate::settings::Limits;
use crate::sql::Depth;
use crate::time::Time;
use crate::vectorizer::Profile;

/// Keys that one statement queues: it holds their locks until it ends.
const QUEUED_AT_ONCE: usize = 100;
/// Keys of its own that may wait in the queue: the application's changes come in between.
const WAITING_MAX: usize = 1_000;
/// Rows in one read, and in a piece whose rows are read.
const READ_AT_ONCE: usize = 500;
/// Transactions that write while the resync begins are waited for so long.
const BARRIER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(in crate::worker) struct Pass {
    pub(in crate::worker) profile: Arc<Profile>,
    pub(in crate::worker) claim: ClaimId,
    /// On the worker's own clock.
    pub(in crate::worker) held_until: Time,
    lease: Duration,
    limits: Limits,
    depth: Depth,
    stage: Stage,
    query_out: bool,
    /// No statement before this moment.
    not_before: Time,
    troubles: u32,
    /// How far it is, as it is saved.
    pub(in crate::worker) standing: ResyncStanding,
    size: PieceSize,
    /// The end of the piece in work; none if it is the last one.
    bound: Option<Key>,
    /// What was found in it.
    counts: ResyncCounts,
    /// Keys to be queued.
    found: VecDeque<Key>,
    /// Keys whose texts are to be compared.
    unread: VecDeque<Key>,
    /// Of these, the keys whose rows were read and are being compared.
    comparing: Vec<Key>,
    /// Comparing them, while nobody does it.
    pub(in crate::worker) work: Option<Box<Work>>,
    read_at_once: usize,
    /// Keys that were queued, and were still waiting when last looked at.
    waiting: Vec<Key>,
    /// How often in a row there was no room for more of them.
    full: u32,
    leaving: bool,
}

#[derive(Debug)]
enum Stage {
    Barrier {
        transaction: String,
        since: Time,
        asked: u32,
    },
    Renew,
    Bound,
    Compare,
    /// What was compared is read, where it must be, and queued.
    Settle,
    Save,
    Over,
}

/// What a statement was about.
#[derive(Debug)]
pub(in crate::worker) enum Step {
    Barrier,
    Bound,
    Compare {
        asked: Time,
    },
    Queue(Vec<Key>),
    Queued,
    Read(Vec<Key>),
    Renew,
    Save {
        asked: Time,
        is_step: bool,
        /// It ends the lease: the request is anybody's afterwards.
        gives_back: bool,
    },
}

/// What an answer brought about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::worker) enum Progress {
    /// The resync is over, or somebody else's.
    Over,
    /// Rows were queued.
    Queued,
    #[default]
    Same,
}

impl Pass {
    pub(in crate::worker) fn new(
        profile: Arc<Profile>,
        claim: ClaimId,
        asked: Time,
        lease: Duration,
        limits: Limits,
        taken: TakenRequest,
    ) -> Self {
        let TakenRequest {
            verifies_text,
            mut standing,
            transaction,
            ..
        } = taken;
        let plan = &profile.plan;
        let has_documents = profile.documents.is_some();
        let needs_vectors = !has_documents && profile.chunker.needs_vectors();
        let lacks_tokenizer = profile.chunker.needs_tokenizer();
        let depth = match verifies_text && plan.resync.stores_texts() {
            false => Depth::Keys,
            true if plan.resync.has_plain_texts => Depth::Hashes,
            true => Depth::Listed,
        };
        if verifies_text && !plan.resync.stores_texts() {
            add_note(&mut standing, NO_TEXTS);
        }
        // Texts that are not known here are compared when their rows are embedded.
        for (is_unknown, note) in [
            (has_documents, DOCUMENTS),
            (needs_vectors, NO_VECTORS),
            (lacks_tokenizer, NO_TOKENIZER),
        ] {
            if depth == Depth::Listed && is_unknown {
                add_note(&mut standing, note);
            }
        }
        // The key may have had other columns when a worker before began.
        standing.after = standing.after.filter(|key| key.0.len() == plan.key_columns);
        let stage = match standing.after {
            Some(_) => Stage::Bound,
            None => Stage::Barrier {
                transaction,
                since: asked,
                asked: 0,
            },
        };
        let mut pass = Self {
            profile,
            claim,
            held_until: asked + lease,
            lease,
            limits,
            depth,
            stage,
            query_out: false,
            not_before: Time::ZERO,
            troubles: 0,
            standing,
            size: PieceSize::new(limits.compared),
            bound: None,
            counts: ResyncCounts::default(),
            found: VecDeque::new(),
            unread: VecDeque::new(),
            comparing: vec![],
            work: None,
            read_at_once: READ_AT_ONCE,
            waiting: vec![],
            full: 0,
            leaving: false,
        };
        pass.set_depth(depth);
        pass
    }

    fn set_depth(&mut self, depth: Depth) {
        self.depth = depth;
        let most = match depth {
            Depth::Hashes | Depth::Keys => self.limits.compared,
            Depth::Listed => self.limits.compared.min(READ_AT_ONCE),
        };
        self.size = PieceSize::new(most);
    }

    /// Gives the request back as soon as may be; another worker goes on from there.
    pub(in crate::worker) const fn leave(&mut self) {
        self.leaving = true;
    }

    /// Ends it, with what to tell whoever asked for it.
    pub(in crate::worker) fn fail(&mut self, reason: String) {
        self.standing.state = ResyncState::Failed;
        self.standing.reason = Some(reason);
        self.stage = Stage::Save;
    }

    pub(in crate::worker) fn is_lost(&self, now: Time) -> bool {
        now >= self.held_until && !self.query_out
    }

    /// Whether it waits until workers have embedded what it queued.
    pub(in crate::worker) const fn is_full(&self) -> bool {
        self.full > 0
    }

    /// The moments at which it may have something to do again.
    pub(in crate::worker) fn wakes(&self) -> [Time; 3] {
        [self.not_before, self.extend_at(), self.held_until]
    }

    fn extend_at(&self) -> Time {
        self.held_until - self.lease / 2
    }

    /// The next statement, if one is due.
    pub(in crate::worker) fn next_query(&mut self, now: Time) -> Option<(Step, Query)> {
        if self.query_out || now < self.not_before {
            return None;
        }
        let next = if self.leaving {
            Some(self.save(now, Duration::ZERO, false))
        } else if now >= self.extend_at() && !matches!(self.stage, Stage::Save) {
            Some(self.save(now, self.lease, false))
        } else {
            self.next_step(now)
        };
        self.query_out = next.is_some();
        next
    }

    fn next_step(&mut self, now: Time) -> Option<(Step, Query)> {
        let plan = Arc::clone(&self.profile.plan);
        let after = self.standing.after.clone();
        let (step, query) = match &self.stage {
            Stage::Barrier { transaction, .. } => {
                let transaction = transaction.clone();
                (Step::Barrier, ResyncQuery::Barrier { transaction })
            }
            Stage::Renew => (Step::Renew, ResyncQuery::Renew { plan }),
            Stage::Bound => {
                let query = ResyncQuery::Bound {
                    sql: plan.resync.bound(after.is_none()),
                    plan,
                    after,
                    rows: self.size.rows(),
                    chunks: self.size.chunks(),
                };
                (Step::Bound, query)
            }
            Stage::Compare => {
                let (is_first, is_last) = (after.is_none(), self.bound.is_none());
                let query = ResyncQuery::Compare {
                    sql: plan.resync.compare(self.depth, is_first, is_last),
                    plan,
                    depth: self.depth,
                    after,
                    to: self.bound.clone(),
                };
                (Step::Compare { asked: now }, query)
            }
            Stage::Settle if !self.comparing.is_empty() => return None,
            Stage::Settle => return Some(self.settle(now)),
            Stage::Save => return Some(self.save(now, self.lease, true)),
            Stage::Over => return None,
        };
        Some((step, Query::Resync(query)))
    }

    /// Reads what must be read, queues what was found, and when both are done saves how far it is.
    fn settle(&mut self, now: Time) -> (Step, Query) {
        let plan = Arc::clone(&self.profile.plan);
        if !self.unread.is_empty() {
            let keys = self.unread.iter().take(self.read_at_once);
            let keys: Vec<_> = keys.cloned().collect();
            let query = Query::Read {
                plan,
                keys: keys.clone(),
                bytes_max: self.limits.bytes,
            };
            return (Step::Read(keys), query);
        }
        let keys = self
            .found
            .iter()
            .take(QUEUED_AT_ONCE.min(self.limits.compared));
        let keys: Vec<_> = keys.cloned().collect();
        if keys.is_empty() {
            self.finish_piece();
            return self.save(now, self.lease, true);
        }
        if self.waiting.len() + keys.len() > WAITING_MAX {
            let keys = self.waiting.clone();
            return (
                Step::Queued,
                Query::Resync(ResyncQuery::Queued { plan, keys }),
            );
        }
        let query = ResyncQuery::Queue {
            plan,
            keys: keys.clone(),
        };
        (Step::Queue(keys), Query::Resync(query))
    }

    fn finish_piece(&mut self) {
        let counts = &mut self.standing.counts;
        counts.rows += self.counts.rows;
        counts.missing += self.counts.missing;
        counts.orphans += self.counts.orphans;
        counts.stale += self.counts.stale;
        self.counts = ResyncCounts::default();
        match self.bound.take() {
            Some(bound) => self.standing.after = Some(bound),
            None => self.standing.state = ResyncState::Done,
        }
        self.stage = Stage::Save;
    }

    fn save(&self, now: Time, lease: Duration, is_step: bool) -> (Step, Query) {
        let query = ResyncQuery::Save {
            vectorizer: self.profile.id,
            claim: self.claim,
            lease,
            standing: self.standing.clone(),
        };
        let step = Step::Save {
            asked: now,
            is_step,
            gives_back: lease.is_zero(),
        };
        (step, Query::Resync(query))
    }
}

fn add_note(standing: &mut ResyncStanding, note: &str) {
    standing.reason = Some(match standing.reason.take() {
        Some(reason) if reason.contains(note) => reason,
        Some(reason) => format!("{reason}; {note}"),
        None => note.to_owned(),
    });
}

const NO_TEXTS: &str = "the vectors are in a column of the source, which stores no text: only whether \
    rows have a vector was compared";
const DOCUMENTS: &str =
    "what a document says is known only after it was loaded again: all rows were queued for that";
const NO_VECTORS: &str = "the chunks depend on vectors of sentences, which are known only after the provider was asked \
    again: rows of several sentences were queued for that";
const NO_TOKENIZER: &str = "the chunks depend on the tokens of a model that cannot be loaded now: all rows were queued, and \
    are compared once it can be loaded";
const STILL_WRITING: &str = "transactions that had begun before had not ended after 60 seconds: what \
    they wrote past the triggers may have been missed, so ask again when they have ended";
