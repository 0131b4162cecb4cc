//! Whether what is stored for rows is what their columns make. Pure work, which may be run away from the
//! thread that polls.

use std::sync::Arc;

use crate::query::{Found, ReadRow};
use crate::reuse::{self, Piece};
use crate::rows::{Bounds, STEPS_AT_A_TIME};
use crate::settings::Limits;
use crate::text::Vectors;
use crate::vectorizer::Profile;

/// Rows to be compared.
#[derive(Debug)]
pub(crate) struct CompareRows {
    pub(super) profile: Arc<Profile>,
    pub(super) rows: Vec<ReadRow>,
    pub(super) limits: Limits,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct ComparedRows {
    /// So many rows were compared, from the first on; the others are left for another read.
    pub(super) count: usize,
    /// The numbers of the rows that differ, and whether anything is stored for them.
    pub(super) different: Vec<(usize, bool)>,
}

impl CompareRows {
    /// What the work is about, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.iter().map(ReadRow::bytes).sum()
    }

    /// Whether its time does not depend on the bytes alone.
    pub(crate) fn is_unpredictable(&self) -> bool {
        self.profile.chunker.is_slow()
    }

    /// Compares each row, until they have taken their time.
    pub(crate) fn run(self) -> ComparedRows {
        let mut compared = ComparedRows::default();
        let mut steps = 0;
        for row in &self.rows {
            if steps >= STEPS_AT_A_TIME {
                break;
            }
            compared.count += 1;
            if !is_current(&self.profile, row, self.limits, &mut steps) {
                compared.different.push((row.number, row.stored.is_some()));
            }
        }
        compared
    }
}

/// Whether what is stored for a row is all chunks of its text, at their places, and no others. A row
/// whose texts cannot be made, or are too long to be read, is not current: the worker that claims it
/// will say why. Its search for separators is added to `steps`.
pub(crate) fn is_current(
    profile: &Profile,
    row: &ReadRow,
    limits: Limits,
    steps: &mut u64,
) -> bool {
    let text = match row.found {
        Found::Gone => "",
        Found::Row => row.text.as_deref().unwrap_or_default(),
        Found::TooLong => return false,
    };
    let stored = reuse::parse_stored(row.stored.as_deref());
    let mut bounds = Bounds::new(text, limits);
    let vectors = Vectors::default();
    let texts = profile.texts(text, &row.parts, &row.columns, &vectors, &mut bounds);
    *steps = steps.saturating_add(bounds.steps.spent());
    texts.is_ok_and(|texts| {
        let pieces = reuse::compare(texts, &stored);
        let all = pieces.len() == stored.len();
        all && pieces.iter().all(|piece| matches!(piece, Piece::Keep(_)))
    })
}
