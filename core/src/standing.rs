//! The owner of a vectorizer, and whether this worker may use the objects that the vectorizer
//! names.
//!
//! Code of an owner (triggers on the store, checks of domains) runs in the worker's session, with the
//! privileges of the worker's role. So a worker serves one trust domain. The operator decides which
//! owners belong to it.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::settings::Settings;
use crate::sql::{literal, quoted};

/// A vectorizer's owner and objects, as the database reports them to the calling role.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Standing {
    /// The calling role.
    role: String,
    /// The owner of the source table; `None` if the table does not exist.
    owner: Option<String>,
    /// Whether the role is the owner or has its privileges anyway.
    is_trusted: bool,
    /// Whether all vectorizers of the database belong to this owner.
    #[serde(default)]
    is_sole: bool,
    /// Why its objects must not be used.
    problem: Option<String>,
    /// Whether that is because one of them belongs to another owner.
    #[serde(default)]
    is_foreign: bool,
    /// The source's key column that has another type than the queue's.
    #[serde(default)]
    outgrown_key: Option<String>,
    /// Schemas of its objects whose owners could put other tables there.
    schemas: Vec<ForeignSchema>,
    /// Whether the source has row-level security and the store does not have it yet.
    pub(crate) is_open: bool,
    /// Whether row-level security hides rows from the role.
    hides_rows: bool,
    /// Whether row-level security also applies to the owner.
    is_forced: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct ForeignSchema {
    schema: String,
    owner: String,
}

impl Standing {
    /// Returns the reason if no worker should use the vectorizer's objects, and what to do.
    pub(crate) fn problem(&self, name: &str, settings: &Settings) -> Option<String> {
        if let Some(problem) = &self.problem {
            return Some(if self.is_foreign {
                format!(
                    "{problem}: hand it over, as a superuser or as the owner, with \
                     select ai.adopt_vectorizer({})",
                    literal(name)
                )
            } else {
                format!("{problem}: drop the vectorizer with ai.drop_vectorizer and create it anew")
            });
        }
        if let Some(outgrown) = &self.outgrown_key {
            return Some(format!(
                "{outgrown}: let its owner follow that with select ai.refresh_vectorizer({})",
                literal(name)
            ));
        }
        let foreign = self
            .schemas
            .iter()
            .find(|schema| !settings.owners.contains(&schema.owner))?;
        Some(format!(
            "the schema {} belongs to {}, who could put another table into it: \
             alter schema {} owner to {}, or start the worker with --owner {}",
            foreign.schema,
            foreign.owner,
            quoted(&foreign.schema),
            quoted(self.owner.as_deref().unwrap_or_default()),
            foreign.owner,
        ))
    }

    /// Returns the reason if this worker must not, or cannot, embed the vectorizer's rows, and what
    /// to do.
    pub(crate) fn refusal(&self, settings: &Settings) -> Option<String> {
        self.distrust(settings).or_else(|| self.hidden())
    }

    /// Returns the reason if the operator has excluded this vectorizer.
    pub(crate) fn distrust(&self, settings: &Settings) -> Option<String> {
        let owner = self.foreign(settings).filter(|_| settings.require_trust)?;
        Some(format!(
            "it belongs to {owner}, whom this worker does not trust: start the worker with \
             --owner {owner}, or start one of its own for that owner: {}",
            worker_of(owner)
        ))
    }

    /// Returns the reason if this role does not see all rows, and what it lacks.
    pub(crate) fn hidden(&self) -> Option<String> {
        let owner = self.owner.as_deref().unwrap_or_default();
        let (role, quoted_role) = (&self.role, quoted(&self.role));
        if !self.hides_rows {
            return None;
        }
        Some(if self.is_forced {
            format!(
                "row-level security hides rows of its source table from everybody, its owner too (force row \
                 level security): the worker's role needs BYPASSRLS, and {role} does not have it: \
                 alter role {quoted_role} bypassrls"
            )
        } else {
            format!(
                "row-level security hides rows of its source table from {role}, which is not its owner \
                 ({owner}), not a member of {owner}, and does not have BYPASSRLS: \
                 grant {} to {quoted_role}, or: alter role {quoted_role} bypassrls",
                quoted(owner)
            )
        })
    }

    /// Returns the reason if the operator has named the owners whose vectorizers may be used, and this is none of them.
    /// For roles that are not the operator's own.
    pub(crate) fn is_unnamed(&self, settings: &Settings) -> Option<String> {
        let owner = self.owner.as_deref().unwrap_or_default();
        let is_named = settings.owners.iter().any(|named| named == owner);
        (settings.require_trust && !is_named).then(|| {
            format!("it belongs to {owner}, and this server was started with --require-trust and without --owner {owner}")
        })
    }

    /// The owner, if it is outside the worker's trust domain.
    pub(crate) fn foreign(&self, settings: &Settings) -> Option<&str> {
        let owner = self.owner.as_deref()?;
        let trusted = self.is_trusted
            || settings.owners.iter().any(|named| named == owner)
            || self.is_sole && settings.owners.is_empty();
        (!trusted).then_some(owner)
    }
}

/// The advice if a worker serves vectorizers of several trust domains: their names and owners, and
/// the SQL for one worker per owner.
pub(crate) fn advice(foreign: &BTreeSet<(String, String)>) -> String {
    let names: Vec<String> = foreign
        .iter()
        .map(|(owner, name)| format!("{name} of {owner}"))
        .collect();
    let owners: BTreeSet<&str> = foreign.iter().map(|(owner, _)| owner.as_str()).collect();
    let remedies: Vec<String> = owners.into_iter().map(worker_of).collect();
    format!(
        "this worker serves vectorizers of owners besides its own: {}. Code of these owners (triggers and \
         checks on their tables) runs with this worker's rights. A worker for each owner keeps them apart: {} \
         Or name those that you trust: --owner NAME",
        names.join(", "),
        remedies.join(" ")
    )
}

/// The advice if chunks do not have the row-level security of their source.
pub(crate) fn open_advice(id: i64) -> String {
    format!(
        "vectorizer {id}: its source table has row-level security and its store does not: whoever may read \
         the store sees all chunks. As the owner or a superuser: select ai.secure_vectorizer({id})"
    )
}

/// SQL for a role that runs a worker for one owner.
fn worker_of(owner: &str) -> String {
    let role = format!("{owner}_worker");
    format!(
        "create role {} login; select ai.grant_worker_usage({}, {});",
        quoted(&role),
        literal(&role),
        literal(owner)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Standing {
        Standing {
            role: "w".to_owned(),
            owner: Some("alice".to_owned()),
            is_trusted: false,
            is_sole: false,
            problem: None,
            is_foreign: false,
            outgrown_key: None,
            schemas: vec![],
            is_open: false,
            hides_rows: false,
            is_forced: false,
        }
    }

    #[test]
    fn a_worker_trusts_whom_its_operator_names_and_a_sole_owner() {
        let settings = Settings::new("w");
        let named = Settings {
            owners: vec!["alice".to_owned()],
            ..Settings::new("w")
        };
        let other = Settings {
            owners: vec!["bob".to_owned()],
            ..Settings::new("w")
        };
        let sole = Standing {
            is_sole: true,
            ..standing()
        };
        assert_eq!(standing().foreign(&settings), Some("alice"));
        assert_eq!(standing().foreign(&named), None);
        assert_eq!(sole.foreign(&settings), None);
        assert_eq!(sole.foreign(&other), Some("alice"));
    }

    #[test]
    fn the_advice_can_be_pasted_whatever_the_owner_is_called() {
        let foreign = BTreeSet::from([("o'a\"b".to_owned(), "blog".to_owned())]);
        let advice = advice(&foreign);
        let sql = r#"create role "o'a""b_worker" login; select ai.grant_worker_usage('o''a"b_worker', 'o''a"b');"#;
        assert!(advice.contains(sql), "{advice}");
    }

    #[test]
    fn hidden_rows_name_what_the_role_lacks() {
        let hidden = Standing {
            hides_rows: true,
            ..standing()
        };
        let refusal = hidden.hidden().unwrap();
        for missing in ["owner", "member", "BYPASSRLS"] {
            assert!(refusal.contains(missing), "{refusal}");
        }
        let forced = Standing {
            is_forced: true,
            ..hidden
        };
        let refusal = forced.hidden().unwrap();
        assert!(
            refusal.contains("BYPASSRLS") && !refusal.contains("member"),
            "{refusal}"
        );
    }
}
