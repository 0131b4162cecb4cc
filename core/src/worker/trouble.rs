//! What a database error means for the worker.

use crate::query::DbError;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// Something of the moment: a lock, a serialization failure, a cancelled statement.
    Again,
    /// The statement's data: one row's fault.
    Data,
    /// The database as a whole: wait for it.
    Outage,
    /// A table, a column or a right that the statement needs is not there.
    Schema,
}

impl Trouble {
    /// By SQLSTATE class (PostgreSQL's documentation, appendix A); never by the text.
    pub(super) fn of(error: &DbError) -> Self {
        let Some(code) = error.sqlstate.as_deref() else {
            return Self::Outage;
        };
        match code {
            // query_canceled, lock_not_available, object_in_use
            "57014" | "55P03" | "55006" => return Self::Again,
            // read_only_sql_transaction: a standby, until it is promoted
            "25006" => return Self::Outage,
            // program_limit_exceeded and its like are about one value
            "54000" => return Self::Data,
            _ => {}
        }
        match code.get(..2).unwrap_or_default() {
            "40" => Self::Again,
            // A trigger on the store may refuse one row with P0001.
            "22" | "23" | "P0" => Self::Data,
            // connection, transaction state, authorization, resources, operator, system
            "08" | "25" | "28" | "53" | "57" | "58" => Self::Outage,
            // Something that one vectorizer's statements cannot have: a table, a column, a right, a
            // replica identity, an undamaged index.
            _ => Self::Schema,
        }
    }
}

/// Whether the same statement may succeed a moment later.
pub(crate) fn is_passing(error: &DbError) -> bool {
    Trouble::of(error) == Trouble::Again
}

/// Whether a text has characters that the database's encoding, or UTF-8, lacks.
pub(super) fn is_about_characters(error: &DbError) -> bool {
    matches!(error.sqlstate.as_deref(), Some("22021" | "22P05"))
}

/// The error, and what to do about it where its SQLSTATE tells.
pub(super) fn remedy(error: &DbError) -> String {
    match error.sqlstate.as_deref() {
        // insufficient_privilege
        Some("42501") => format!(
            "{error}; let the owner of the schema ai run: select ai.grant_worker_usage('this worker''s role')"
        ),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_meaning() {
        for (code, meaning) in [
            (None, Trouble::Outage),
            (Some("08006"), Trouble::Outage),
            (Some("22021"), Trouble::Data),
            (Some("22000"), Trouble::Data),
            (Some("25006"), Trouble::Outage),
            (Some("3F000"), Trouble::Schema),
            (Some("40001"), Trouble::Again),
            (Some("40P01"), Trouble::Again),
            (Some("42501"), Trouble::Schema),
            (Some("42P01"), Trouble::Schema),
            (Some("53100"), Trouble::Outage),
            (Some("53300"), Trouble::Outage),
            (Some("55000"), Trouble::Schema),
            (Some("55P03"), Trouble::Again),
            (Some("57014"), Trouble::Again),
            (Some("57P01"), Trouble::Outage),
        ] {
            let error = DbError {
                sqlstate: code.map(str::to_owned),
                message: String::new(),
            };
            assert_eq!(Trouble::of(&error), meaning, "{code:?}");
        }
    }
}
