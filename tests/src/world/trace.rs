//! What happened in a world, line by line, for those who want to read it.

use std::time::Duration;

/// Most worlds are never read: their lines are not even made.
#[derive(Debug, Default)]
pub(super) struct Trace(Option<Vec<String>>);

impl Trace {
    /// A trace that keeps its lines, or one that does not.
    pub(super) fn new(is_read: bool) -> Self {
        Self(is_read.then(Vec::new))
    }

    pub(super) fn note(&mut self, now: Duration, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.0 {
            lines.push(format!("{now:>12?} {}", line()));
        }
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}
