//! A batch: what one claim goes through, from its keys to its commits.
//!
//! ```text
//! claimed ─ read ─ (load, parse) ─ chunk, format, compare ─ requests ─ commit ─ over
//!                        └ fail          └ fail                └ fail
//! ```
//! Where chunks depend on vectors, a row goes from the requests back to the chunks, at most twice.
//! A batch has at most one statement in flight, so its statements never meet each other.

mod documents;
mod outcomes;
mod plan;
mod steps;
mod texts;
mod undecided;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::accounts::Sizes;
use super::doubt::FAILURES_MAX;
use super::failure::Failure;
use crate::compute::Work;
use crate::query::{CheckedDocument, ClaimId, ClaimedRow, Key, ReadRow};
use crate::reuse::Piece;
use crate::settings::Limits;
use crate::time::Time;
use crate::vectorizer::Profile;
pub(super) use documents::DocumentStep;
use documents::Documents;
pub(super) use outcomes::StepAnswer;
pub(crate) use plan::{PlanRows, PlannedRows};

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) profile: Arc<Profile>,
    pub(super) claim: ClaimId,
    limits: Limits,
    documents: Documents,
    /// The rows of the last read, while no thread has them yet.
    pub(super) work: Option<Box<Work>>,
    /// When it was claimed.
    pub(super) asked: Time,
    /// The lease, on the worker's own clock.
    pub(super) held_until: Time,
    rows: Vec<RowWork>,
    /// The distinct texts that need a vector.
    inputs: Vec<Input>,
    by_text: BTreeMap<Arc<str>, usize>,
    /// The inputs that the chunks of the row depend on which is being planned again.
    deciding: Vec<usize>,
    /// What is still to be sent.
    pub(super) spans: VecDeque<Span>,
    pub(super) requests_out: usize,
    /// The inputs of the doubtful request that is in flight.
    trying: Vec<usize>,
    pub(super) query_out: bool,
    /// No statement before this moment: somebody held a row, or the database was in trouble.
    pub(super) not_before: Time,
    pub(super) troubles: u32,
    /// Since when every statement has met a row that an application holds.
    pub(super) stuck_since: Option<Time>,
    /// The last statement was refused because of a lock on a table, or for another reason of the moment.
    pub(super) is_refused: bool,
    /// A statement over several rows was refused for its data: find the row.
    one_by_one: bool,
    /// Send nothing more; commit what is finished, then give the rest back.
    pub(super) draining: bool,
    /// Do not wait for requests either.
    pub(super) leaving: bool,
}

#[derive(Debug)]
struct RowWork {
    key: Key,
    generation: i64,
    attempts: u32,
    /// It has failed before: it shares no request with others.
    is_suspect: bool,
    /// The version of its document that was loaded.
    document: Option<CheckedDocument>,
    state: RowState,
}

#[derive(Debug)]
enum RowState {
    Failed(Failure),
    Over,
    Planned(Vec<Planned>),
    /// It is to be planned.
    Read,
    /// Its chunks depend on the vectors of these inputs: with them it is planned again.
    Undecided(Box<ReadRow>, Vec<usize>),
    Unread,
}

/// A chunk of a row, its new text by the number of the input and with its location.
#[derive(Debug)]
enum Planned {
    Input(usize, Option<Arc<str>>),
    Stored(Piece),
}

#[derive(Debug)]
struct Input {
    text: Arc<str>,
    /// What is sent in its place, because it is longer than the model takes.
    cut: Option<Arc<str>>,
    vector: Option<Arc<[f32]>>,
    failure: Option<String>,
}

/// Inputs that go in one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Span {
    pub(super) inputs: Vec<usize>,
    /// How often its answer was no use.
    pub(super) bad_answers: u32,
    /// Why it was refused, while it is not yet clear whose fault that is.
    pub(super) refused: Option<String>,
    /// How many answers with vectors there had been when the request that it comes from was refused:
    /// if there was none since, nothing shows that the provider takes others.
    pub(super) doubted: Option<u64>,
    /// How often it failed, or a request that it is a part of, and it is not clear whose fault that is.
    failures: u32,
    /// What was said then.
    failed: String,
    /// It is sent, for the second time at least, while the provider works.
    pub(super) is_trial: bool,
}

/// Which rows a statement was about.
#[derive(Debug)]
pub(super) enum Step {
    Commit(Vec<usize>),
    Extend {
        rows: Vec<usize>,
        asked: Time,
    },
    /// With the wait until the next attempt, if there is one.
    Fail(Vec<(usize, Option<Duration>)>),
    Read(Vec<usize>),
    Release,
}

/// A row whose workers ended without a word is claimed at least this often, even if its vectorizer
/// allows no retries: a worker that was killed says nothing about the rows that it held. (From the
/// third time on it is claimed alone, when nothing else is due.)
const SILENT_MIN: u32 = 4;
/// And at most this often, however many retries its vectorizer allows: it may be what kills them.
const SILENT_MAX: u32 = 7;

/// Inputs that are longer than the model takes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Truncated {
    pub(super) inputs: usize,
    /// What is not embedded of them.
    pub(super) bytes: usize,
}

/// What came of the rows of a read.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) truncated: Truncated,
    /// A row ran out of steps: why.
    pub(super) out_of_steps: Option<String>,
}

/// What a statement's answer brought about.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: u64,
    pub(super) embedded: u64,
    pub(super) reused: u64,
    pub(super) failed: Vec<(Key, Failure, Option<Duration>)>,
}

impl Batch {
    pub(super) fn new(
        profile: Arc<Profile>,
        claim: ClaimId,
        limits: Limits,
        asked: Time,
        lease: Duration,
        items: Vec<ClaimedRow>,
    ) -> Self {
        let rows = items.into_iter().map(|item| {
            // Something about this row keeps killing workers: it is not tried for ever.
            let state = if item.silent > profile.attempts_max.clamp(SILENT_MIN, SILENT_MAX) {
                RowState::Failed(Failure::abandoned(item.silent - 1))
            } else {
                RowState::Unread
            };
            RowWork {
                key: item.key,
                generation: item.generation,
                attempts: item.attempts,
                is_suspect: item.attempts > item.silent,
                document: None,
                state,
            }
        });
        Self {
            rows: rows.collect(),
            profile,
            claim,
            limits,
            documents: Documents::default(),
            work: None,
            asked,
            held_until: asked + lease,
            inputs: vec![],
            by_text: BTreeMap::new(),
            deciding: vec![],
            spans: VecDeque::new(),
            requests_out: 0,
            trying: vec![],
            query_out: false,
            not_before: Time::ZERO,
            troubles: 0,
            stuck_since: None,
            is_refused: false,
            one_by_one: false,
            draining: false,
            leaving: false,
        }
    }

    /// Whether nothing is left to do for any row.
    pub(super) fn is_over(&self) -> bool {
        !self.query_out
            && self
                .rows
                .iter()
                .all(|row| matches!(row.state, RowState::Over))
    }

    /// How many rows were claimed.
    pub(super) const fn size(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has nothing left to do but to ask again for rows that applications hold.
    pub(super) fn waits_for_rows(&self) -> bool {
        self.stuck_since.is_some() && !self.is_refused && self.is_quiet()
    }

    /// Whether it has nothing left to do but to ask again for a table that somebody has locked.
    pub(super) fn waits_for_a_table(&self) -> bool {
        self.is_refused && self.is_quiet()
    }

    fn is_quiet(&self) -> bool {
        self.requests_out == 0 && self.spans.is_empty() && !self.is_planning()
    }

    /// Whether rows that were read are being planned.
    pub(super) fn is_planning(&self) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| matches!(row.state, RowState::Read))
    }

    /// Whether none of its rows has been read yet.
    pub(super) fn is_unread(&self) -> bool {
        let mut rows = self.rows.iter();
        !self.draining && rows.all(|row| matches!(row.state, RowState::Unread))
    }

    /// Whether a doubtful request of it is in flight.
    pub(super) const fn is_trying(&self) -> bool {
        !self.trying.is_empty()
    }

    /// Whether some of it is doubtful.
    pub(super) fn has_doubts(&self) -> bool {
        self.is_trying() || self.spans.iter().any(Span::is_doubtful)
    }

    /// Whether it waits for what is doubtful: others need not wait with it.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.has_doubts() && self.requests_out == usize::from(self.is_trying())
    }

    /// The span to send next: a fresh one, or a doubtful one if that may be sent, the largest first,
    /// because most of it is innocent.
    pub(super) fn next_span(&self, may_try: bool) -> Option<usize> {
        let spans = self.spans.iter().enumerate();
        spans
            .filter(|(_, span)| may_try || !span.is_doubtful())
            .min_by_key(|(at, span)| (span.failures, std::cmp::Reverse(span.inputs.len()), *at))
            .map(|(at, _)| at)
    }

    /// Takes a span that is to be sent, or as much of it as a request may hold by now.
    pub(super) fn take_span(&mut self, at: usize, sizes: Sizes) -> Option<Span> {
        let mut span = self.spans.remove(at)?;
        let mut bytes = 0;
        let room = span.inputs.iter().take(sizes.inputs).take_while(|at| {
            bytes += self.inputs[**at].sent().len();
            bytes <= sizes.bytes
        });
        let room = room.count().max(1);
        if span.inputs.len() > room {
            let inputs = span.inputs.split_off(room);
            self.spans.push_front(Span {
                inputs,
                ..span.clone()
            });
        }
        self.requests_out += 1;
        if span.is_doubtful() {
            self.trying.clone_from(&span.inputs);
        }
        Some(span)
    }

    /// A request with this span is no longer in flight.
    pub(super) fn back(&mut self, span: &Span) {
        self.requests_out = self.requests_out.saturating_sub(1);
        if span.is_doubtful() {
            self.trying.clear();
        }
    }

    /// How many numbers its vectors have, those that are still to come included.
    pub(super) fn numbers_of_vectors(&self) -> usize {
        self.inputs.len() * self.profile.plan.dimensions
    }

    /// Sends nothing more; what is finished is committed, the rest is given back.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.spans.clear();
        self.documents = Documents::default();
        self.work = None;
    }

    /// Gives everything back as it is, because nothing can be written.
    pub(super) fn give_back(&mut self) {
        self.drain();
        self.leaving = true;
        for row in &mut self.rows {
            if !matches!(row.state, RowState::Over) {
                row.state = RowState::Unread;
            }
        }
    }

    /// Gives up on all rows without a word to the database: their leases run out.
    pub(super) fn abandon(&mut self) {
        self.spans.clear();
        self.documents = Documents::default();
        self.work = None;
        for row in &mut self.rows {
            row.state = RowState::Over;
        }
    }

    /// Forgets the rows because the lease has run out.
    pub(super) fn expire(&mut self, now: Time) {
        if now >= self.held_until && !self.query_out {
            self.abandon();
        }
    }

    /// When the lease must be extended: when less is left of it than a request may take.
    pub(super) fn extend_at(&self, timeout: Duration) -> Time {
        self.held_until - timeout
    }
}

impl Span {
    fn new(inputs: Vec<usize>) -> Self {
        Self {
            inputs,
            bad_answers: 0,
            refused: None,
            doubted: None,
            failures: 0,
            failed: String::new(),
            is_trial: false,
        }
    }

    /// Two halves, to find the input that is refused.
    pub(super) fn halves(mut self) -> [Self; 2] {
        let second = self.inputs.split_off(self.inputs.len() / 2);
        let doubted = self.doubted;
        let failures = self.failures.min(1);
        let failed = self.failed;
        [self.inputs, second].map(|inputs| Self {
            doubted,
            failures,
            failed: failed.clone(),
            ..Self::new(inputs)
        })
    }

    /// A request with it failed; that counts if it was the first time, or a trial. Says whether it
    /// was a trial.
    pub(super) fn fail(&mut self, reason: &str) -> bool {
        let was_trial = std::mem::take(&mut self.is_trial);
        self.failures = self.failures.max(1) + u32::from(was_trial);
        reason.clone_into(&mut self.failed);
        was_trial
    }

    /// What failed says nothing of its inputs.
    pub(super) fn forgive(&mut self) {
        self.failures = self.failures.min(1);
    }

    /// Whether it failed, and it is not clear whose fault that is.
    pub(super) const fn is_doubtful(&self) -> bool {
        self.failures > 0
    }

    /// Whether its one input has failed so often that it is to blame, if the provider works.
    pub(super) const fn is_guilty(&self) -> bool {
        self.inputs.len() == 1 && self.failures >= FAILURES_MAX
    }

    /// Why it failed.
    pub(super) fn reason(&self) -> String {
        format!(
            "{}: this text fails again and again, while other requests are answered",
            self.failed
        )
    }
}

#[cfg(test)]
mod tests;
