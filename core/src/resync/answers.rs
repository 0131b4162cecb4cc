//! Parses the answers of a resync's statements.

use super::{ResyncCounts, ResyncStanding, ResyncState};
use crate::query::{Key, Rows, Unreadable, fields};

/// A request that was taken.
#[derive(Debug)]
pub(crate) struct TakenRequest {
    pub(crate) vectorizer: i64,
    pub(crate) verifies_text: bool,
    /// The progress of the previous worker.
    pub(crate) standing: ResyncStanding,
    /// The transaction in which it was taken.
    pub(crate) transaction: String,
    /// Its documents are checked again.
    pub(crate) refreshes: bool,
}

impl TakenRequest {
    /// `None` if there is none.
    pub(crate) fn new(rows: Rows) -> Result<Option<Self>, Unreadable> {
        let Some(mut row) = fields(rows).next() else {
            return Ok(None);
        };
        let vectorizer = row.parsed("vectorizer_id")?;
        let verifies_text = row.parsed("verifies_text")?;
        let after = row.optional();
        let after = after.and_then(|text| serde_json::from_str(&text).ok());
        let standing = ResyncStanding {
            after: after.map(Key),
            counts: ResyncCounts {
                rows: row.number_or_zero("rows_compared")?,
                missing: row.number_or_zero("missing")?,
                orphans: row.number_or_zero("orphans")?,
                stale: row.number_or_zero("stale")?,
            },
            state: ResyncState::Running,
            reason: row.optional(),
        };
        Ok(Some(Self {
            vectorizer,
            verifies_text,
            standing,
            transaction: row.text("transaction")?,
            refreshes: row.optional().is_some(),
        }))
    }
}

/// The result of comparing one piece of the keys.
#[derive(Debug, Default)]
pub(crate) struct ComparedPiece {
    /// Rows of the source.
    pub(crate) rows: i64,
    pub(crate) different: Vec<(Different, Key)>,
}

/// Why a key differs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Different {
    Missing,
    Orphan,
    Stale,
    /// It may differ: its row must be read.
    Unread,
}

impl ComparedPiece {
    pub(crate) fn new(rows: Rows, key_columns: usize) -> Result<Self, Unreadable> {
        let mut piece = Self::default();
        for mut row in fields(rows) {
            let why = row.optional();
            let key = row.key(key_columns);
            piece.rows = row.parsed("count")?;
            // Where nothing differs, one row brings the count.
            let (Some(why), Some(key)) = (why, key) else {
                continue;
            };
            let why = match why.as_str() {
                "missing" => Different::Missing,
                "orphan" => Different::Orphan,
                "stale" => Different::Stale,
                "unread" => Different::Unread,
                _ => {
                    return Err(Unreadable {
                        column: "why",
                        value: Some(why),
                    });
                }
            };
            piece.different.push((why, key));
        }
        Ok(piece)
    }
}
