//! Splits rows of answers into fields.

use std::fmt;
use std::str::FromStr;

use super::{DbError, Key, Rows};

/// An answer that does not match any statement of this version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Unreadable {
    pub(crate) column: &'static str,
    pub(crate) value: Option<String>,
}

/// PostgreSQL's `internal_error`: the operator has to act.
const INTERNAL: &str = "XX000";

impl From<Unreadable> for DbError {
    fn from(answer: Unreadable) -> Self {
        Self {
            sqlstate: Some(INTERNAL.to_owned()),
            message: answer.to_string(),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column;
        match &self.value {
            Some(value) => write!(f, "the column {column} of an answer holds {value:?}"),
            None => write!(f, "the column {column} of an answer holds nothing"),
        }
    }
}

/// The fields of one row, in order.
pub(crate) struct Fields(std::vec::IntoIter<Option<String>>);

pub(crate) fn fields(rows: Rows) -> impl Iterator<Item = Fields> {
    rows.into_iter().map(|row| Fields(row.into_iter()))
}

impl Fields {
    /// A key of so many columns; `None` where there is none.
    pub(crate) fn key(&mut self, columns: usize) -> Option<Key> {
        let parts: Vec<_> = self.0.by_ref().take(columns).collect();
        parts.into_iter().collect::<Option<_>>().map(Key)
    }

    /// A field that may be NULL.
    pub(crate) fn optional(&mut self) -> Option<String> {
        self.0.next().flatten()
    }

    pub(crate) fn text(&mut self, column: &'static str) -> Result<String, Unreadable> {
        self.optional().ok_or(Unreadable {
            column,
            value: None,
        })
    }

    /// A number; NULL, or a missing field, is 0.
    pub(crate) fn number_or_zero<T: FromStr + Default>(
        &mut self,
        column: &'static str,
    ) -> Result<T, Unreadable> {
        match self.optional() {
            Some(text) => parsed(text, column),
            None => Ok(T::default()),
        }
    }

    pub(crate) fn parsed<T: FromStr>(&mut self, column: &'static str) -> Result<T, Unreadable> {
        parsed(self.text(column)?, column)
    }
}

fn parsed<T: FromStr>(text: String, column: &'static str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable {
        column,
        value: Some(text),
    })
}
