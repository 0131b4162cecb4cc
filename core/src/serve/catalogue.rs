//! The vectorizers that a role sees.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::refused::Refused;
use crate::command::named;
use crate::query::Rows;
use crate::settings::Settings;
use crate::vectorizer::{Definition, Profile};

/// See the module.
#[derive(Debug)]
pub(super) struct Catalogue {
    entries: Vec<Entry>,
    /// The ids of definitions that cannot be read, with the reasons.
    unreadable: Vec<(String, String)>,
}

/// One vectorizer.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) definition: Definition,
    /// Or why it cannot be used.
    profile: Result<Arc<Profile>, String>,
}

impl Catalogue {
    pub(super) fn new(rows: &Rows, settings: &Settings) -> Self {
        let entry = |definition: Definition| Entry {
            profile: usable(&definition, settings).map(Arc::new),
            definition,
        };
        let unreadable = named::unreadable(rows).map(|(id, reason)| (id.to_owned(), reason));
        Self {
            entries: named::all(rows).into_iter().map(entry).collect(),
            unreadable: unreadable.collect(),
        }
    }

    /// The vectorizer of this name or id.
    pub(super) fn find(&self, wanted: &str) -> Result<&Entry, Refused> {
        let missing = |message| Refused::new(StatusCode::NOT_FOUND, message);
        if let Some((_, reason)) = self.unreadable.iter().find(|(id, _)| id == wanted) {
            return Err(missing(format!(
                "the definition of vectorizer {wanted} cannot be read: {reason}"
            )));
        }
        let is_it = |known: &Definition| known.name == wanted || known.id.to_string() == wanted;
        let found = self.entries.iter().find(|entry| is_it(&entry.definition));
        found.ok_or_else(|| {
            let names = self
                .entries
                .iter()
                .map(|entry| entry.definition.name.clone());
            missing(match names.collect::<Vec<_>>().as_slice() {
                [] => "the role of this token sees no vectorizers".to_owned(),
                names => named::unknown(wanted, names),
            })
        })
    }

    /// The first vectorizer with this model, otherwise the one of this name.
    pub(super) fn of_model(&self, model: &str) -> Result<Arc<Profile>, Refused> {
        let mut usable = self
            .entries
            .iter()
            .filter_map(|entry| entry.profile.as_ref().ok());
        if let Some(profile) = usable.find(|profile| profile.provider.model == model) {
            return Ok(Arc::clone(profile));
        }
        let named = self.find(model).map_err(|refused| Refused {
            message: format!("no vectorizer has the model {model:?}; {}", refused.message),
            ..refused
        });
        named?.profile()
    }

    /// The models of all vectorizers that can be used, each once, in OpenAI's shape.
    pub(super) fn models(&self) -> Value {
        let mut models: Vec<Value> = vec![];
        for profile in self
            .entries
            .iter()
            .filter_map(|entry| entry.profile.as_ref().ok())
        {
            let model = &profile.provider.model;
            if !models.iter().any(|known| known["id"] == **model) {
                let owner = profile.provider.account().provider;
                models
                    .push(json!({"id": model, "object": "model", "created": 0, "owned_by": owner}));
            }
        }
        json!({"object": "list", "data": models})
    }

    /// What can be searched.
    pub(super) fn list(&self) -> Value {
        let entries = self.entries.iter().map(|entry| {
            let mut summary = entry.definition.summary();
            if let Err(reason) = &entry.profile {
                summary["problem"] = json!(reason);
            }
            summary
        });
        entries.collect()
    }
}

impl Entry {
    pub(super) fn profile(&self) -> Result<Arc<Profile>, Refused> {
        let unusable = |reason: &String| {
            let name = &self.definition.name;
            Refused::new(
                StatusCode::CONFLICT,
                format!("the vectorizer {name} cannot be used: {reason}"),
            )
        };
        self.profile.as_ref().map(Arc::clone).map_err(unusable)
    }
}

/// The role may own vectorizers and so choose what is asked with the keys of this server: it can be confined to those
/// of owners that the operator names.
fn usable(definition: &Definition, settings: &Settings) -> Result<Profile, String> {
    let distrust = definition.standing.as_ref();
    let distrust = distrust.and_then(|standing| standing.is_unnamed(settings));
    distrust.map_or(Ok(()), Err)?;
    definition.check_vectors()?;
    Profile::new(definition, settings)
}
