//! What a statement's answer does to the rows that it was about.

use std::time::Duration;

use super::{Batch, Planned, Report, RowState, RowWork, Step};
use crate::query::{DbError, Rows};
use crate::worker::failure::Failure;
use crate::worker::trouble::is_about_characters;

impl Batch {
    /// Takes the answer to any statement but a read.
    pub(in crate::worker) fn handle_step(&mut self, step: Step, answer: &Rows) -> Report {
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
                // The item and its lease are there still.
                Some("unwritten") => {
                    row.state = RowState::Failed(Failure::unwritten());
                    continue;
                }
                // The row changed, somebody wrote to the store, or the lease is another's: either
                // the item is still there for a new claim, or it is somebody else's by now.
                _ => {}
            }
            row.state = RowState::Over;
        }
    }

    /// Whether the answer left a row unanswered because a transaction holds its item.
    pub(in crate::worker) fn met_a_lock(answer: &Rows) -> bool {
        answer.iter().any(|line| field(line, 1) == Some("busy"))
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
                RowState::Over | RowState::Planned(_) | RowState::Unread => false,
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

fn field(line: &[Option<String>], at: usize) -> Option<&str> {
    line.get(at)?.as_deref()
}
