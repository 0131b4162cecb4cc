//! Parses the answers of the statements. Only this module knows their columns.

use super::fields::{Fields, Unreadable, fields};
use super::{Key, Rows};
use crate::document::Parts;

/// The numbers, from 1, of the keys in an answer.
pub(crate) fn numbers(rows: Rows) -> Result<Vec<usize>, Unreadable> {
    fields(rows).map(|mut row| row.parsed("number")).collect()
}

/// The single number of an answer.
pub(crate) fn count(rows: Rows) -> Result<u64, Unreadable> {
    first(rows, "count")?.parsed("count")
}

/// The single boolean of an answer.
pub(crate) fn is_so(rows: Rows) -> Result<bool, Unreadable> {
    first(rows, "is_so")?.parsed("is_so")
}

/// The single field of an answer.
pub(crate) fn text(rows: Rows) -> Result<String, Unreadable> {
    first(rows, "text")?.text("text")
}

/// The key of the first row, if there is one.
pub(crate) fn first_key(rows: Rows, columns: usize) -> Option<Key> {
    fields(rows).next()?.key(columns)
}

fn first(rows: Rows, column: &'static str) -> Result<Fields, Unreadable> {
    fields(rows).next().ok_or(Unreadable {
        column,
        value: None,
    })
}

/// The versions installed in the schema `ai`, from `Query::CheckSchema`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct SchemaVersions {
    /// Of Python pgai.
    pub(crate) pgai: Option<String>,
    pub(crate) ours: Option<String>,
}

impl SchemaVersions {
    pub(crate) fn new(rows: Rows) -> Self {
        fields(rows)
            .next()
            .map_or_else(Self::default, |mut row| Self {
                pgai: row.optional(),
                ours: row.optional(),
            })
    }
}

/// The result of `Query::TakeBudget`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BudgetTaken {
    /// Tokens, or millionths of a dollar.
    pub(crate) granted: i64,
    /// Whether no worker had met the ceiling before.
    pub(crate) is_news: bool,
}

impl BudgetTaken {
    pub(crate) fn new(rows: Rows) -> Result<Self, Unreadable> {
        let mut row = first(rows, "granted")?;
        Ok(Self {
            granted: row.parsed("granted")?,
            is_news: row.parsed("is_news")?,
        })
    }
}

/// A vectorizer, from `Query::LoadVectorizers`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LoadedVectorizer {
    pub(crate) id: i64,
    /// A JSON object; empty if it is too large to be sent.
    pub(crate) definition: String,
}

impl LoadedVectorizer {
    pub(crate) fn all(rows: Rows) -> Result<Vec<Self>, Unreadable> {
        let one = |mut row: Fields| {
            Ok(Self {
                id: row.parsed("id")?,
                definition: row.optional().unwrap_or_default(),
            })
        };
        fields(rows).map(one).collect()
    }
}

/// The result of `Query::Claim`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ClaimedRows {
    pub(crate) rows: Vec<ClaimedRow>,
    /// When the last of them was queued: the next claim may start there.
    pub(crate) queued_at: Option<String>,
    /// The number of rows moved to the failed table because their keys cannot be read.
    pub(crate) unreadable: u64,
}

/// The result of `Query::Refresh`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refreshed {
    /// The documents that were queued.
    pub(crate) queued: u64,
    /// Whether there may be more that are due.
    pub(crate) is_full: bool,
}

impl Refreshed {
    pub(crate) fn new(rows: Rows) -> Result<Self, Unreadable> {
        let mut row = first(rows, "queued")?;
        Ok(Self {
            queued: row.parsed("queued")?,
            is_full: row.parsed("is_full")?,
        })
    }
}

/// One claimed item.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ClaimedRow {
    pub(crate) key: Key,
    pub(crate) generation: i64,
    /// Attempts so far, including this one.
    pub(crate) attempts: u32,
    /// The number of these attempts whose lease expired: their workers were killed or
    /// disconnected.
    pub(crate) silent: u32,
}

impl ClaimedRows {
    pub(crate) fn new(rows: Rows, key_columns: usize) -> Result<Self, Unreadable> {
        let mut claimed = Self::default();
        for mut row in fields(rows) {
            let key = row.key(key_columns);
            // The one row of a claim that got nothing has no key.
            if let Some(key) = key {
                claimed.rows.push(ClaimedRow {
                    key,
                    generation: row.parsed("generation")?,
                    attempts: row.parsed("attempts")?,
                    silent: row.parsed("silent")?,
                });
            } else {
                let _nothing = (row.optional(), row.optional(), row.optional());
            }
            claimed.queued_at = row.optional();
            let _bell = row.optional();
            claimed.unreadable = row.number_or_zero("unreadable")?;
        }
        Ok(claimed)
    }
}

/// The outcome of one row, from `Query::Commit` and `Query::Fail`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// The place of its key among those that were asked for, from 1.
    pub(crate) number: usize,
    pub(crate) fate: Fate,
}

/// See [`Outcome`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// A transaction has locked the item: the row stays as it is, and the statement is
    /// repeated.
    Busy,
    Done,
    /// The row or the store has changed, or the lease belongs to another claim: the item is in the
    /// queue for a new claim, or is gone, or is in progress elsewhere.
    Overtaken,
    /// The row's chunks were not written, although there was no error.
    Unwritten,
}

impl Outcome {
    pub(crate) fn all(rows: Rows) -> Result<Vec<Self>, Unreadable> {
        let one = |mut row: Fields| {
            let number = row.parsed("number")?;
            let fate = row.text("fate")?;
            let fate = match fate.as_str() {
                "busy" => Fate::Busy,
                "done" => Fate::Done,
                "unwritten" => Fate::Unwritten,
                "changed" | "edited" | "lost" => Fate::Overtaken,
                _ => {
                    return Err(Unreadable {
                        column: "fate",
                        value: Some(fate),
                    });
                }
            };
            Ok(Self { number, fate })
        };
        fields(rows).map(one).collect()
    }
}

/// A row of the source, from `Query::Read`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ReadRow {
    /// The place of its key among those that were asked for, from 1.
    pub(crate) number: usize,
    pub(crate) found: Found,
    /// The text that is chunked.
    pub(crate) text: Option<String>,
    /// The values of the template's columns.
    pub(crate) columns: Vec<Option<String>>,
    /// The positions and hashes of the stored chunks: see [`crate::reuse::parse_stored`].
    pub(crate) stored: Option<String>,
    /// What is known of the document that the text was.
    pub(crate) parts: Parts,
    /// Which version of its document the stored chunks were made from.
    pub(crate) known: Option<KnownDocument>,
    /// The document is that version still: the stored chunks stay.
    pub(crate) is_unchanged: bool,
}

/// The version of a document that a row's stored chunks were made from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KnownDocument {
    /// See [`CheckedDocument`](super::CheckedDocument).
    pub(crate) source: String,
    pub(crate) validator: Option<String>,
    /// How many chunks that were.
    pub(crate) chunks: usize,
    /// The queue item of its last check.
    pub(crate) generation: i64,
}

impl KnownDocument {
    fn new(fields: &mut Fields) -> Result<Option<Self>, Unreadable> {
        let (source, validator) = (fields.optional(), fields.optional());
        let chunks = fields.number_or_zero("chunks")?;
        let generation = fields.number_or_zero("generation")?;
        Ok(source.map(|source| Self {
            source,
            validator,
            chunks,
            generation,
        }))
    }
}

/// What a read found for a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    Gone,
    Row,
    /// A row whose texts exceed the limit: they are not returned.
    TooLong,
}

impl ReadRow {
    /// Parses the answer to a read of a template with this many columns.
    pub(crate) fn all(rows: Rows, columns: usize) -> Result<Vec<Self>, Unreadable> {
        fields(rows).map(|row| Self::new(row, columns)).collect()
    }

    fn new(mut fields: Fields, columns: usize) -> Result<Self, Unreadable> {
        let number = fields.parsed("number")?;
        let found = fields.text("found")?;
        let found = match found.as_str() {
            "true" => Found::Row,
            "false" => Found::Gone,
            "long" => Found::TooLong,
            _ => {
                return Err(Unreadable {
                    column: "found",
                    value: Some(found),
                });
            }
        };
        Ok(Self {
            number,
            found,
            text: fields.optional(),
            columns: (0..columns).map(|_| fields.optional()).collect(),
            stored: fields.optional(),
            parts: Parts::default(),
            known: KnownDocument::new(&mut fields)?,
            is_unchanged: false,
        })
    }

    /// The size of its texts in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let fields = [&self.text, &self.stored];
        let fields = fields.into_iter().chain(&self.columns);
        self.parts.bytes() + fields.flatten().map(String::len).sum::<usize>()
    }
}
