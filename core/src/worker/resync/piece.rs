//! How many rows of a source one statement compares: as many as take a moment, so that no snapshot is
//! held for long and a killed worker loses little.

use std::time::Duration;

/// A statement that takes longer is too large.
const LONG: Duration = Duration::from_millis(500);
/// One that takes no longer than this could have compared twice as much.
const SHORT: Duration = Duration::from_millis(100);
/// The size begins with this part of the largest.
const FIRST: usize = 10;
/// It never falls below this part of it.
const LEAST: usize = 100;

/// The size of the next pieces, in rows.
#[derive(Debug)]
pub(super) struct PieceSize {
    rows: usize,
    most: usize,
}

impl PieceSize {
    pub(super) fn new(most: usize) -> Self {
        Self {
            rows: (most / FIRST).max(1),
            most,
        }
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// How many chunks may stand in it.
    pub(super) const fn chunks(&self) -> usize {
        self.rows.saturating_mul(2)
    }

    /// Comparing a piece of this size took so long.
    pub(super) fn took(&mut self, time: Duration) {
        if time > LONG {
            self.shrink();
        } else if time <= SHORT {
            self.rows = (self.rows * 2).min(self.most);
        }
    }

    /// A statement was cancelled, or refused for what it read.
    pub(super) fn shrink(&mut self) {
        self.rows = (self.rows / 2).max(self.most / LEAST).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_as_large_as_takes_a_moment() {
        let settled = |micros_a_row: u64| {
            let mut size = PieceSize::new(10_000);
            for _ in 0..20 {
                let rows = u64::try_from(size.rows()).unwrap();
                size.took(Duration::from_micros(micros_a_row * rows));
            }
            size.rows()
        };
        assert_eq!(settled(2), 10_000);
        assert_eq!(settled(200), 1_000);
        assert_eq!(settled(100_000), 100);
    }
}
