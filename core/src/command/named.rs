//! The vectorizer that a command names.

use super::{Ask, field};
use crate::nearest::nearest;
use crate::query::{Query, Rows};
use crate::settings::{Secrets, Settings};
use crate::vectorizer::{Definition, Profile};

/// Requests all vectorizers: they are few.
pub(super) fn ask() -> Ask {
    Ask::Query(Query::LoadVectorizers { ids: vec![] })
}

/// All vectorizers whose definition can be read.
pub(crate) fn all(rows: &Rows) -> Vec<Definition> {
    let definitions = rows.iter().map(|row| serde_json::from_str(field(row, 1)));
    definitions.filter_map(Result::ok).collect()
}

/// The ids of those whose definition cannot be read, with the reasons.
pub(crate) fn unreadable(rows: &Rows) -> impl Iterator<Item = (&str, String)> {
    rows.iter().filter_map(|row| {
        let reason = match field(row, 1) {
            "" => "it is larger than 1 MB".to_owned(),
            text => serde_json::from_str::<Definition>(text).err()?.to_string(),
        };
        Some((field(row, 0), reason))
    })
}

/// The vectorizer of this name or id.
pub(super) fn find(rows: &Rows, wanted: &str) -> Result<Definition, String> {
    if let Some((_, reason)) = unreadable(rows).find(|(id, _)| *id == wanted) {
        return Err(format!(
            "the definition of vectorizer {wanted} cannot be read: {reason}"
        ));
    }
    let definitions = all(rows);
    let names: Vec<String> = definitions.iter().map(|known| known.name.clone()).collect();
    definitions
        .into_iter()
        .find(|known| known.name == wanted || known.id.to_string() == wanted)
        .ok_or_else(|| match names.as_slice() {
            [] => "the database has no vectorizers: ai.create_vectorizer makes one".to_owned(),
            names => unknown(wanted, names),
        })
}

/// What to say of a name that no vectorizer has.
pub(crate) fn unknown(wanted: &str, names: &[String]) -> String {
    match nearest(wanted, names.iter().map(String::as_str)) {
        Some(meant) => format!("no vectorizer is named {wanted}: did you mean {meant}?"),
        None => format!(
            "there is no vectorizer {wanted:?}: there are {}",
            names.join(", ")
        ),
    }
}

/// Settings of a command that asks no provider: no secret is needed, and no price.
pub(super) fn without_secrets(settings: Settings) -> Settings {
    Settings {
        secrets: Secrets::unasked(),
        spend_per_day: None,
        ..settings
    }
}

/// The vectorizer of this name or id, ready to be used.
pub(super) fn profile(rows: &Rows, wanted: &str, settings: &Settings) -> Result<Profile, String> {
    Profile::new(&find(rows, wanted)?, settings)
}
