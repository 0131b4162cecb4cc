//! What a statement's answer does to the rows that it was about.

use std::time::Duration;

use super::{Batch, Planned, Report, RowState, RowWork, Step};
use crate::query::{DbError, Fate, Outcome, ReadRow, Rows, Unreadable, numbers};
use crate::worker::failure::Failure;
use crate::worker::trouble::is_about_characters;

/// What the answer to a [`Step`] says.
#[derive(Debug)]
pub(in crate::worker) enum StepAnswer {
    /// The keys that are still held, by their numbers.
    Held(Vec<usize>),
    Outcomes(Vec<Outcome>),
    Released,
    Rows(Vec<ReadRow>),
}

impl StepAnswer {
    /// `columns` are those of the template.
    pub(in crate::worker) fn new(
        step: &Step,
        rows: Rows,
        columns: usize,
    ) -> Result<Self, Unreadable> {
        match step {
            Step::Commit(_) | Step::Fail(_) => Outcome::all(rows).map(Self::Outcomes),
            Step::Extend { .. } => numbers(rows).map(Self::Held),
            Step::Read(_) => ReadRow::all(rows, columns).map(Self::Rows),
            Step::Release => Ok(Self::Released),
        }
    }

    /// Whether a row is unanswered because a transaction holds its item.
    pub(in crate::worker) fn met_a_lock(&self) -> bool {
        match self {
            Self::Outcomes(outcomes) => outcomes.iter().any(|it| it.fate == Fate::Busy),
            Self::Held(_) | Self::Released | Self::Rows(_) => false,
        }
    }
}

impl Batch {
    /// Takes the answer to any statement but a read.
    pub(in crate::worker) fn handle_step(&mut self, step: Step, answer: &StepAnswer) -> Report {
        let mut report = Report::default();
        match (step, answer) {
            (Step::Commit(rows), StepAnswer::Outcomes(outcomes)) => {
                let rows = rows.into_iter().map(|at| (at, None)).collect::<Vec<_>>();
                self.conclude(&rows, outcomes, &mut report);
            }
            (Step::Fail(rows), StepAnswer::Outcomes(outcomes)) => {
                self.conclude(&rows, outcomes, &mut report);
            }
            (Step::Extend { rows, .. }, StepAnswer::Held(held)) => {
                for (at, number) in rows.into_iter().zip(1..) {
                    if !held.contains(&number) {
                        self.rows[at].state = RowState::Over;
                    }
                }
            }
            (Step::Release, _) => self.abandon(),
            // No answer of another statement is read for these.
            (Step::Commit(_) | Step::Extend { .. } | Step::Fail(_) | Step::Read(_), _) => {}
        }
        report
    }

    fn conclude(
        &mut self,
        rows: &[(usize, Option<Duration>)],
        outcomes: &[Outcome],
        report: &mut Report,
    ) {
        for outcome in outcomes {
            let asked = outcome.number.checked_sub(1).and_then(|at| rows.get(at));
            let Some((at, wait)) = asked else {
                continue;
            };
            let row = &mut self.rows[*at];
            match outcome.fate {
                Fate::Busy => continue,
                Fate::Done => report.add(row, *wait),
                // The item and its lease are there still.
                Fate::Unwritten => {
                    row.state = RowState::Failed(Failure::unwritten());
                    continue;
                }
                Fate::Overtaken => {}
            }
            row.state = RowState::Over;
        }
    }

    /// A statement was refused for its data: look for the row, and fail it when it stands alone.
    pub(in crate::worker) fn handle_bad_data(&mut self, step: &Step, error: &DbError) {
        let reason = error.to_string();
        let (rows, failure) = match step {
            Step::Commit(rows) => (rows.as_slice(), Failure::writing(&reason)),
            Step::Read(rows) => (rows.as_slice(), Failure::loading(&reason)),
            Step::Fail(rows) => return self.handle_bad_failure(rows, error),
            Step::Extend { .. } | Step::Release => return self.abandon(),
        };
        match rows {
            [] => self.abandon(),
            [at] => {
                self.rows[*at].state = RowState::Failed(failure);
                self.one_by_one = false;
            }
            _ => self.one_by_one = true,
        }
    }

    /// The failures of rows were refused: the database cannot store why, or a constraint or a trigger
    /// of the application does not let it clear a row's vector.
    fn handle_bad_failure(&mut self, rows: &[(usize, Option<Duration>)], error: &DbError) {
        let given_up = rows.iter().filter(|(_, wait)| wait.is_none());
        let clears = self.profile.plan.clears_vectors()
            && given_up.clone().count() > 0
            && !rows.iter().any(|(at, _)| match &self.rows[*at].state {
                RowState::Failed(failure) => failure.keeps_vector,
                RowState::Over
                | RowState::Planned(_)
                | RowState::Read
                | RowState::Undecided(..)
                | RowState::Unread => false,
            });
        if !clears || is_about_characters(error) {
            return self.write_plainly(rows);
        }
        match rows {
            [(at, _)] => {
                if let RowState::Failed(failure) = &mut self.rows[*at].state {
                    failure.keep_vector(&error.to_string());
                }
                self.one_by_one = false;
            }
            _ => self.one_by_one = true,
        }
    }

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
            RowState::Over | RowState::Read | RowState::Undecided(..) | RowState::Unread => {}
            RowState::Planned(pieces) => {
                let new = pieces
                    .iter()
                    .filter(|piece| matches!(piece, Planned::Input(..)))
                    .count();
                self.rows += 1;
                self.embedded += new as u64;
                self.reused += (pieces.len() - new) as u64;
            }
        }
    }
}
