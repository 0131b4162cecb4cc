//! Pure work of the core that may take long: it is a call, so that a shell can run it away from the
//! thread that polls, and several at a time. What takes a moment only is done at once.

use crate::worker::{CompareRows, ComparedRows, PlanRows, PlannedRows};

/// Work to be run with [`run`](Self::run).
#[derive(Debug)]
#[must_use = "work that is not run is waited for for ever"]
pub struct Work(Job);

#[derive(Debug)]
enum Job {
    Compare(CompareRows),
    Plan(PlanRows),
}

impl From<CompareRows> for Work {
    fn from(rows: CompareRows) -> Self {
        Self(Job::Compare(rows))
    }
}

impl From<PlanRows> for Work {
    fn from(rows: PlanRows) -> Self {
        Self(Job::Plan(rows))
    }
}

/// What came of a [`Work`].
#[derive(Debug)]
#[must_use = "what was done is waited for"]
pub struct Done(pub(crate) Made);

#[derive(Debug)]
pub(crate) enum Made {
    Compared(ComparedRows),
    Planned(PlannedRows),
}

impl Work {
    /// Does it: up to a second or two of a processor's time, without IO.
    pub fn run(self) -> Done {
        Done(match self.0 {
            Job::Compare(rows) => Made::Compared(rows.run()),
            Job::Plan(rows) => Made::Planned(rows.run()),
        })
    }

    /// Whether it may take longer than work over so many bytes, which is a moment.
    pub(crate) fn is_long(&self, inline_bytes: usize) -> bool {
        let (bytes, is_unpredictable) = match &self.0 {
            Job::Compare(rows) => (rows.bytes(), rows.is_unpredictable()),
            Job::Plan(rows) => (rows.bytes(), rows.is_unpredictable()),
        };
        is_unpredictable || bytes > inline_bytes
    }
}
