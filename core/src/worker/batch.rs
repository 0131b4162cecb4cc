//! A batch: what one claim goes through, from its keys to its commits.
//!
//! ```text
//! claimed ─ read ─ chunk, format, compare ─ requests ─ commit ─ over
//!                        └ fail                └ fail
//! ```
//! A batch has at most one statement in flight, so its statements never meet each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use crate::query::{ClaimId, CommitChunk, CommitRow, FailedRow, Key, Query, Rows};
use crate::random::Random;
use crate::retry;
use crate::reuse::{self, Piece};
use crate::settings::Limits;
use crate::sql::TemplateColumn;
use crate::text;
use crate::time::Time;
use crate::vectorizer::{Format, Profile};

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) profile: Arc<Profile>,
    pub(super) claim: ClaimId,
    /// The lease, on the worker's own clock.
    pub(super) held_until: Time,
    rows: Vec<RowWork>,
    /// The distinct texts that need a vector.
    inputs: Vec<Input>,
    by_text: BTreeMap<Arc<str>, usize>,
    /// What is still to be sent.
    pub(super) spans: VecDeque<Span>,
    pub(super) requests_out: usize,
    pub(super) query_out: bool,
    /// No statement before this moment: somebody held a row, or the database was in trouble.
    pub(super) not_before: Time,
    pub(super) troubles: u32,
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
    state: RowState,
}

#[derive(Debug)]
enum RowState {
    Failed(Failure),
    Over,
    Planned(Vec<Planned>),
    Unread,
}

/// A chunk of a row, its new text by the number of the input.
#[derive(Debug)]
enum Planned {
    Input(usize),
    Stored(Piece),
}

#[derive(Debug)]
struct Input {
    text: Arc<str>,
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
}

/// One claimed item, as the claim statement returned it.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) key: Key,
    pub(super) generation: i64,
    /// Attempts so far, this one included.
    pub(super) attempts: u32,
    /// Of these, how many claims ended without a word: their workers died or were cut off.
    pub(super) silent: u32,
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

/// A row is tried at least this often, even if its vectorizer allows no retries: a worker that was
/// killed says nothing about the rows that it held. (From the third time on it is claimed alone.)
const SILENT_MAX: u32 = 4;

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
        held_until: Time,
        items: Vec<Claimed>,
    ) -> Self {
        let rows = items.into_iter().map(|item| {
            // Something about this row keeps killing workers: it is not tried for ever.
            let state = if item.silent > profile.attempts_max.max(SILENT_MAX) {
                RowState::Failed(Failure::abandoned(item.silent - 1))
            } else {
                RowState::Unread
            };
            RowWork {
                key: item.key,
                generation: item.generation,
                attempts: item.attempts,
                state,
            }
        });
        Self {
            rows: rows.collect(),
            profile,
            claim,
            held_until,
            inputs: vec![],
            by_text: BTreeMap::new(),
            spans: VecDeque::new(),
            requests_out: 0,
            query_out: false,
            not_before: Time::ZERO,
            troubles: 0,
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

    /// Sends nothing more; what is finished is committed, the rest is given back.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.spans.clear();
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

    /// The next statement, if one is due.
    pub(super) fn next_query(
        &mut self,
        now: Time,
        lease: Duration,
        timeout: Duration,
        limits: Limits,
        random: &mut Random,
    ) -> Option<(Step, Query)> {
        if self.query_out || now < self.not_before {
            return None;
        }
        // A row that somebody holds must not keep the others from being read or given back.
        let is_stuck = self.troubles > 0;
        let extend = (!self.leaving).then(|| self.extend(now, lease, timeout));
        let next = extend
            .flatten()
            .or_else(|| is_stuck.then(|| self.release().or_else(|| self.read(limits)))?)
            .or_else(|| self.commit(limits))
            .or_else(|| self.fail(random))
            .or_else(|| self.release())
            .or_else(|| self.read(limits));
        self.query_out = next.is_some();
        next
    }

    fn numbers(&self, of: impl Fn(&RowState) -> bool) -> Vec<usize> {
        let rows = self.rows.iter().enumerate();
        rows.filter(|(_, row)| of(&row.state))
            .map(|(at, _)| at)
            .collect()
    }

    /// As many of these rows as one statement may hold.
    fn some_of(&self, mut rows: Vec<usize>) -> Vec<usize> {
        if self.one_by_one {
            rows.truncate(1);
        }
        rows
    }

    fn keys(&self, rows: &[usize]) -> Vec<Key> {
        rows.iter().map(|at| self.rows[*at].key.clone()).collect()
    }

    /// Whether vectors are still to come.
    fn expects_vectors(&self) -> bool {
        self.requests_out > 0 || (!self.spans.is_empty() && !self.draining)
    }

    fn is_ready(&self, state: &RowState) -> bool {
        let RowState::Planned(pieces) = state else {
            return false;
        };
        pieces.iter().all(|piece| match piece {
            Planned::Input(at) => self.inputs[*at].vector.is_some(),
            Planned::Stored(_) => true,
        })
    }

    /// Finished rows, up to the bound on chunks; fewer only when nothing more is on its way.
    fn commit(&self, limits: Limits) -> Option<(Step, Query)> {
        let ready = self.some_of(self.numbers(|state| self.is_ready(state)));
        let size = |at: &usize| match &self.rows[*at].state {
            RowState::Planned(pieces) => pieces.len().max(1),
            RowState::Failed(_) | RowState::Over | RowState::Unread => 0,
        };
        let chunks: usize = ready.iter().map(size).sum();
        if ready.is_empty() || (chunks < limits.chunks && self.expects_vectors() && !self.leaving) {
            return None;
        }
        let mut room = limits.chunks;
        let mut rows = vec![];
        for at in ready {
            if !rows.is_empty() && size(&at) > room {
                break;
            }
            room = room.saturating_sub(size(&at));
            rows.push(at);
        }
        let query = Query::Commit {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            rows: rows
                .iter()
                .map(|at| self.commit_row(&self.rows[*at]))
                .collect(),
        };
        Some((Step::Commit(rows), query))
    }

    fn commit_row(&self, row: &RowWork) -> CommitRow {
        let pieces = match &row.state {
            RowState::Planned(pieces) => pieces.as_slice(),
            RowState::Failed(_) | RowState::Over | RowState::Unread => &[],
        };
        let chunks = pieces.iter().filter_map(|piece| match piece {
            Planned::Input(at) => {
                let input = &self.inputs[*at];
                let vector = Arc::clone(input.vector.as_ref()?);
                Some(CommitChunk::Write {
                    text: Arc::clone(&input.text),
                    vector,
                })
            }
            Planned::Stored(Piece::Keep(hash)) => Some(CommitChunk::Keep(hash.clone())),
            Planned::Stored(Piece::Move { text, from, hash }) => Some(CommitChunk::Move {
                text: Arc::clone(text),
                from: *from,
                hash: hash.clone(),
            }),
            Planned::Stored(Piece::New(_)) => None,
        });
        CommitRow {
            key: row.key.clone(),
            generation: row.generation,
            chunks: chunks.collect(),
        }
    }

    fn fail(&self, random: &mut Random) -> Option<(Step, Query)> {
        let rows = self.numbers(|state| matches!(state, RowState::Failed(_)));
        if rows.is_empty() {
            return None;
        }
        let mut waits = vec![];
        let mut failed = vec![];
        for at in rows {
            let row = &self.rows[at];
            let RowState::Failed(failure) = &row.state else {
                continue;
            };
            let again = row.attempts < self.profile.attempts_max;
            let retry_after = again.then(|| retry::ITEM.wait(row.attempts, random));
            waits.push((at, retry_after));
            failed.push(FailedRow {
                key: row.key.clone(),
                generation: row.generation,
                retry_after,
                step: failure.step,
                reason: failure.reason.clone(),
                message: failure.message,
                details: failure.details(&self.profile, &row.key, again),
            });
        }
        let query = Query::Fail {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            rows: failed,
        };
        Some((Step::Fail(waits), query))
    }

    fn release(&self) -> Option<(Step, Query)> {
        let done_waiting = self.leaving || (self.draining && self.requests_out == 0);
        let rows = self.numbers(|state| match state {
            // These are still being written, unless there is no time for that.
            RowState::Failed(_) => self.leaving,
            RowState::Planned(_) => self.leaving || !self.is_ready(state),
            RowState::Unread => true,
            RowState::Over => false,
        });
        if !done_waiting || rows.is_empty() {
            return None;
        }
        let query = Query::Release {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            keys: self.keys(&rows),
        };
        Some((Step::Release, query))
    }

    fn extend(&self, now: Time, lease: Duration, timeout: Duration) -> Option<(Step, Query)> {
        if now < self.extend_at(timeout) {
            return None;
        }
        let rows = self.numbers(|state| !matches!(state, RowState::Over));
        let query = Query::Extend {
            plan: Arc::clone(&self.profile.plan),
            claim: self.claim,
            keys: self.keys(&rows),
            lease,
        };
        (!rows.is_empty()).then_some((Step::Extend { rows, asked: now }, query))
    }

    /// Unread rows, once the rows of the last read are out of the way, or wait for a lock only: that
    /// bounds the memory.
    fn read(&self, limits: Limits) -> Option<(Step, Query)> {
        let rows = self.some_of(self.numbers(|state| matches!(state, RowState::Unread)));
        let is_waiting =
            |row: &RowWork| matches!(row.state, RowState::Planned(_)) && !self.is_ready(&row.state);
        let is_asking = self.requests_out > 0 || !self.spans.is_empty();
        if rows.is_empty() || is_asking || self.draining || self.rows.iter().any(is_waiting) {
            return None;
        }
        let query = Query::Read {
            plan: Arc::clone(&self.profile.plan),
            keys: self.keys(&rows),
            bytes_max: limits.bytes,
        };
        Some((Step::Read(rows), query))
    }

    /// Takes the answer to a read: chunks, formats and compares each row that came.
    pub(super) fn handle_read(&mut self, asked: &[usize], answer: Rows, limits: Limits) {
        if !self
            .rows
            .iter()
            .any(|row| matches!(row.state, RowState::Planned(_)))
        {
            // Inputs of the rows before are of no more use, and no request points at them.
            self.inputs.clear();
            self.by_text.clear();
        }
        let first = self.inputs.len();
        for line in answer {
            let mut fields = line.into_iter();
            let number = fields
                .next()
                .flatten()
                .and_then(|number| number.parse::<usize>().ok());
            let Some(at) = number.and_then(|number| asked.get(number - 1)).copied() else {
                continue;
            };
            let found = fields.next().flatten().as_deref() == Some("true");
            let fields: Vec<_> = fields.collect();
            self.rows[at].state = match plan_row(&self.profile, found, &fields) {
                Ok(pieces) => RowState::Planned(
                    pieces
                        .into_iter()
                        .map(|piece| self.planned(piece))
                        .collect(),
                ),
                Err(failure) => RowState::Failed(failure),
            };
        }
        self.pack(first, limits);
    }

    fn planned(&mut self, piece: Piece) -> Planned {
        let Piece::New(text) = piece else {
            return Planned::Stored(piece);
        };
        if let Some(at) = self.by_text.get(&text) {
            return Planned::Input(*at);
        }
        let at = self.inputs.len();
        self.by_text.insert(Arc::clone(&text), at);
        self.inputs.push(Input {
            text,
            vector: None,
            failure: None,
        });
        Planned::Input(at)
    }

    /// Packs the inputs from `first` on into requests of about the same size, within the provider's
    /// limits.
    fn pack(&mut self, first: usize, limits: Limits) {
        let provider = self.profile.provider.limits();
        let inputs_max = provider.inputs.min(limits.inputs);
        let count = self.inputs.len() - first;
        let requests = count.div_ceil(inputs_max).max(1);
        let each = count.div_ceil(requests).max(1);
        let (mut inputs, mut bytes) = (vec![], 0);
        for (at, input) in self.inputs.iter().enumerate().skip(first) {
            if !inputs.is_empty()
                && (inputs.len() == each || bytes + input.text.len() > provider.bytes)
            {
                self.spans.push_back(Span::new(std::mem::take(&mut inputs)));
                bytes = 0;
            }
            bytes += input.text.len();
            inputs.push(at);
        }
        if !inputs.is_empty() {
            self.spans.push_back(Span::new(inputs));
        }
    }

    pub(super) fn texts(&self, span: &Span) -> Vec<Arc<str>> {
        span.inputs
            .iter()
            .map(|at| Arc::clone(&self.inputs[*at].text))
            .collect()
    }

    pub(super) fn fill(&mut self, span: &Span, vectors: Vec<Arc<[f32]>>) {
        for (at, vector) in span.inputs.iter().zip(vectors) {
            if let Some(input) = self.inputs.get_mut(*at) {
                input.vector = Some(vector);
            }
        }
    }

    /// The provider does not take this input: its rows fail.
    pub(super) fn blame(&mut self, span: &Span, reason: &str) {
        for at in &span.inputs {
            self.inputs[*at].failure = Some(reason.to_owned());
        }
        for row in &mut self.rows {
            let RowState::Planned(pieces) = &row.state else {
                continue;
            };
            let failure = pieces.iter().find_map(|piece| match piece {
                Planned::Input(at) => self.inputs[*at].failure.as_ref(),
                Planned::Stored(_) => None,
            });
            if let Some(reason) = failure {
                row.state = RowState::Failed(Failure::embedding(reason));
            }
        }
        self.forget_unneeded_inputs();
    }

    /// Does not ask for vectors that only failed rows would have used.
    fn forget_unneeded_inputs(&mut self) {
        let mut needed = BTreeSet::new();
        for row in &self.rows {
            let RowState::Planned(pieces) = &row.state else {
                continue;
            };
            needed.extend(pieces.iter().filter_map(|piece| match piece {
                Planned::Input(at) => Some(*at),
                Planned::Stored(_) => None,
            }));
        }
        for span in &mut self.spans {
            span.inputs.retain(|at| needed.contains(at));
        }
        self.spans.retain(|span| !span.inputs.is_empty());
    }

    /// Takes the answer to any statement but a read.
    pub(super) fn handle_step(&mut self, step: Step, answer: &Rows) -> Report {
        let mut report = Report::default();
        let held: Vec<usize> = answer
            .iter()
            .filter_map(|line| field(line, 0)?.parse().ok())
            .collect();
        match step {
            Step::Commit(rows) => {
                let rows = rows.into_iter().map(|at| (at, None)).collect::<Vec<_>>();
                self.conclude(&rows, answer, &mut report);
            }
            Step::Fail(rows) => self.conclude(&rows, answer, &mut report),
            Step::Extend { rows, .. } => {
                for (number, at) in rows.into_iter().enumerate() {
                    if !held.contains(&(number + 1)) {
                        self.rows[at].state = RowState::Over;
                    }
                }
            }
            Step::Release => self.abandon(),
            Step::Read(_) => {}
        }
        report
    }

    fn conclude(&mut self, rows: &[(usize, Option<Duration>)], answer: &Rows, report: &mut Report) {
        for line in answer {
            let number: Option<usize> = field(line, 0).and_then(|number| number.parse().ok());
            let Some((at, wait)) = number.and_then(|number| rows.get(number - 1)) else {
                continue;
            };
            let row = &mut self.rows[*at];
            match field(line, 1) {
                // A transaction holds the item: the row stays as it is, and is asked for again.
                Some("busy") => continue,
                Some("done") => report.add(row, *wait),
                // The row changed, somebody wrote to the store, or the lease is another's: either
                // the item is still there for a new claim, or it is somebody else's by now.
                _ => {}
            }
            row.state = RowState::Over;
        }
    }

    /// Whether the answer left a row unanswered because a transaction holds its item.
    pub(super) fn met_a_lock(answer: &Rows) -> bool {
        answer.iter().any(|line| field(line, 1) == Some("busy"))
    }

    /// A statement was refused for its data: look for the row, and fail it when it stands alone.
    pub(super) fn handle_bad_data(&mut self, step: &Step, reason: &str) {
        let rows = match step {
            Step::Commit(rows) | Step::Read(rows) => rows.as_slice(),
            Step::Fail(rows) => return self.write_plainly(rows),
            Step::Extend { .. } | Step::Release => &[],
        };
        match rows {
            [] => self.abandon(),
            [at] => {
                self.rows[*at].state = RowState::Failed(Failure::database(reason));
                self.one_by_one = false;
            }
            _ => self.one_by_one = true,
        }
    }
}

impl Batch {
    /// The database cannot store why these rows failed: its encoding may lack a character.
    fn write_plainly(&mut self, rows: &[(usize, Option<Duration>)]) {
        let mut is_new = false;
        for (at, _) in rows {
            if let RowState::Failed(failure) = &mut self.rows[*at].state {
                is_new |= failure.make_plain();
            }
        }
        if !is_new {
            self.give_back();
        }
    }
}

impl Report {
    fn add(&mut self, row: &RowWork, wait: Option<Duration>) {
        match &row.state {
            RowState::Failed(failure) => self.failed.push((row.key.clone(), failure.clone(), wait)),
            RowState::Over | RowState::Unread => {}
            RowState::Planned(pieces) => {
                let new = pieces
                    .iter()
                    .filter(|piece| matches!(piece, Planned::Input(_)))
                    .count();
                self.rows += 1;
                self.embedded += new as u64;
                self.reused += (pieces.len() - new) as u64;
            }
        }
    }
}

impl Span {
    fn new(inputs: Vec<usize>) -> Self {
        Self {
            inputs,
            bad_answers: 0,
            refused: None,
        }
    }

    /// Two halves, to find the input that is refused.
    pub(super) fn halves(mut self) -> [Self; 2] {
        let second = self.inputs.split_off(self.inputs.len() / 2);
        [Self::new(self.inputs), Self::new(second)]
    }
}

/// One row from its source columns to the chunks that it shall have.
fn plan_row(
    profile: &Profile,
    found: bool,
    fields: &[Option<String>],
) -> Result<Vec<Piece>, Failure> {
    let value = |at: usize| fields.get(at).and_then(Option::as_deref);
    let columns = profile.format.columns();
    let stored = reuse::parse_stored(value(columns.len() + 1));
    // A row that is gone, or whose text is NULL or empty, has no chunks.
    let payload = if found {
        value(0).unwrap_or_default()
    } else {
        ""
    };
    if payload.is_empty() {
        return Ok(vec![]);
    }
    let chunks = profile
        .chunker
        .chunk(payload)
        .map_err(|error| Failure::chunking(&error.to_string()))?;
    let texts: Result<Vec<_>, _> = match &profile.format {
        Format::ChunkValue => Ok(chunks),
        Format::Template { template, columns } => {
            let values = rendered(columns, &fields[1..], &profile.time_zone);
            chunks
                .into_iter()
                .map(|chunk| {
                    template.substitute(|name| match name {
                        "chunk" => Some(chunk.as_str().into()),
                        name => values.get(name).map(|value| value.as_str().into()),
                    })
                })
                .collect()
        }
    };
    let mut texts = texts.map_err(|error| Failure::formatting(&error.to_string()))?;
    // Providers refuse an empty text.
    texts.retain(|text| !text.is_empty());
    Ok(reuse::compare(texts, &stored))
}

fn rendered<'a>(
    columns: &'a [TemplateColumn],
    fields: &[Option<String>],
    time_zone: &str,
) -> BTreeMap<&'a str, String> {
    let values = columns.iter().zip(fields);
    values
        .map(|(column, value)| {
            let text = text::python_text_in(value.as_deref(), &column.base_type, time_zone);
            (column.name.as_str(), text.into_owned())
        })
        .collect()
}

fn field(line: &[Option<String>], at: usize) -> Option<&str> {
    line.get(at)?.as_deref()
}
