//! The same operations on two databases, the model and a real one, must have the same answers and
//! leave the same tables.
//!
//! Generations are numbers that differ from database to database, and so are the times that a claim
//! brings. Operations and answers have names for them: the how-manieth that was seen.

mod real;
mod script;

use std::time::Duration;

use pgai_core::{Query, Rows};

use crate::world::Edit;
pub use real::Real;
pub use script::Script;

/// A database that can be asked and looked at.
pub trait Side {
    /// Runs a statement of an application.
    fn edit(&mut self, edit: &Edit);

    /// Runs a statement of a worker.
    fn run(&mut self, query: &Query) -> Rows;

    /// Lets time pass, for leases and for those who wait.
    fn pass(&mut self, time: Duration);

    /// All rows of all tables.
    fn contents(&mut self) -> Vec<Line>;
}

/// One row of a table.
#[derive(Clone, Debug)]
pub struct Line {
    text: String,
    generation: Option<i64>,
}

impl Line {
    /// A row's text, and its generation, where it has one.
    #[must_use]
    pub const fn new(text: String, generation: Option<i64>) -> Self {
        Self { text, generation }
    }
}

/// What happens to a database.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A statement of an application.
    Edit(Edit),
    /// A statement of a worker, with names instead of generations and of the low-water mark.
    Query(Query),
    /// Time passes.
    Pass(Duration),
}

/// What comes of an operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The rows of a worker's statement.
    pub answer: Rows,
    /// The tables after it.
    pub contents: Vec<String>,
}

/// One side, and what it calls the things that have names.
#[derive(Debug)]
pub struct Player<S> {
    side: S,
    generations: Vec<i64>,
    /// The times at which claimed items had been queued.
    marks: Vec<String>,
}

impl<S: Side> Player<S> {
    /// A player with nothing named yet.
    pub const fn new(side: S) -> Self {
        Self {
            side,
            generations: vec![],
            marks: vec![],
        }
    }

    /// The database, for another game.
    pub fn into_side(self) -> S {
        self.side
    }

    /// Lets an operation happen.
    pub fn play(&mut self, operation: &Operation) -> Outcome {
        let answer = match operation {
            Operation::Edit(edit) => {
                self.side.edit(edit);
                vec![]
            }
            Operation::Pass(time) => {
                self.side.pass(*time);
                vec![]
            }
            Operation::Query(query) => {
                let query = self.with_numbers(query);
                let rows = self.side.run(&query);
                self.with_names(&query, rows)
            }
        };
        let lines = self.side.contents();
        let contents = lines.into_iter().map(|line| match line.generation {
            Some(generation) => format!("{}, generation {}", line.text, self.name(generation)),
            None => line.text,
        });
        Outcome {
            answer,
            contents: contents.collect(),
        }
    }

    fn name(&mut self, generation: i64) -> usize {
        let known = self.generations.iter().position(|it| *it == generation);
        known.unwrap_or_else(|| {
            self.generations.push(generation);
            self.generations.len() - 1
        })
    }

    /// No generation has the number 0: it stands for what this side has never seen.
    fn number(&self, name: i64) -> i64 {
        let place = usize::try_from(name).ok();
        place.map_or(0, |at| self.generations.get(at).copied().unwrap_or(0))
    }

    fn with_numbers(&self, query: &Query) -> Query {
        let mut query = query.clone();
        if let Query::Commit { rows, .. } = &mut query {
            for row in rows {
                row.generation = self.number(row.generation);
            }
        } else if let Query::Fail { rows, .. } = &mut query {
            for row in rows {
                row.generation = self.number(row.generation);
            }
        } else if let Query::Claim { since, .. } = &mut query {
            let place = since.as_ref().and_then(|name| name.parse::<usize>().ok());
            *since = place.and_then(|at| self.marks.get(at).cloned());
        }
        query
    }

    fn with_names(&mut self, query: &Query, mut rows: Rows) -> Rows {
        if matches!(query, Query::Claim { .. }) {
            // The bell rings in a row of its own where there is nothing to claim.
            rows.retain(|row| row[0].is_some());
            for row in &mut rows {
                let field = |at: usize| row[at].clone().expect("a claim has no nulls");
                let generation = field(1).parse().expect("a generation is a number");
                self.marks.push(field(4));
                row[1] = Some(self.name(generation).to_string());
                row.truncate(4);
            }
        } else if matches!(query, Query::Extend { .. }) {
            // The rows of an UPDATE come in no order.
            rows.sort();
        }
        rows
    }
}
