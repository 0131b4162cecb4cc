//! The model database without a world around it, to be compared with a real one.

use std::time::Duration;

use pgai_core::{Query, Rows};

use super::database::{Database, Destination, Edit, Isolation};
use super::{Coverage, Mutant};
use crate::replay::{Line, Side};

/// The model database with a clock. Every statement sees what is committed.
#[derive(Debug)]
pub struct Replica {
    database: Database,
    now: Duration,
    coverage: Coverage,
}

impl Replica {
    /// One with empty tables, whose vectors go to a column of the source or to a store.
    #[must_use]
    pub fn new(is_column: bool, mutant: Option<Mutant>) -> Self {
        let destination = if is_column {
            Destination::Column
        } else {
            Destination::Table
        };
        let mut database = Database::new(destination, mutant);
        database.trust_plans();
        Self {
            database,
            now: Duration::ZERO,
            coverage: Coverage::default(),
        }
    }

    /// No two statements act at the same time.
    fn tick(&mut self) {
        self.now += Duration::from_millis(1);
    }
}

impl Side for Replica {
    fn edit(&mut self, edit: &Edit) {
        self.tick();
        self.database
            .apply(edit, &Isolation::ReadCommitted, self.now);
    }

    fn run(&mut self, query: &Query) -> Rows {
        self.tick();
        let snapshot = self.database.snapshot();
        self.database
            .finish(query, &snapshot, self.now, &mut self.coverage)
            .expect("the tables are there")
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn contents(&mut self) -> Vec<Line> {
        self.database.contents(self.now)
    }
}
