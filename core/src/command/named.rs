//! The vectorizer that a command names.

use std::sync::Arc;
use std::time::Duration;

use super::{Ask, field};
use crate::call::Reply;
use crate::provider::{Verdict, refused_parameters};
use crate::query::{Query, Rows};
use crate::request::RequestError;
use crate::settings::{Secrets, Settings};
use crate::vectorizer::{Definition, Profile};

/// Requests all vectorizers: they are few.
pub(super) fn ask() -> Ask {
    Ask::Query(Query::LoadVectorizers { ids: vec![] })
}

/// All vectorizers whose definition can be read.
pub(super) fn all(rows: &Rows) -> Vec<Definition> {
    let definitions = rows.iter().map(|row| serde_json::from_str(field(row, 1)));
    definitions.filter_map(Result::ok).collect()
}

/// The ids of those whose definition cannot be read, with the reasons.
pub(super) fn unreadable(rows: &Rows) -> impl Iterator<Item = (&str, String)> {
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
            names => format!(
                "there is no vectorizer {wanted:?}: there are {}",
                names.join(", ")
            ),
        })
}

/// Settings of a command that asks no provider: no secret is needed.
pub(super) fn without_secrets(settings: Settings) -> Settings {
    Settings {
        secrets: Secrets::unasked(),
        ..settings
    }
}

/// The vectorizer of this name or id, ready to be used.
pub(super) fn profile(rows: &Rows, wanted: &str, settings: &Settings) -> Result<Profile, String> {
    Profile::new(&find(rows, wanted)?, settings)
}

/// The single requested vector, or an error message. `wall` is the time since 1970.
pub(super) fn vector(
    profile: &Profile,
    reply: Reply,
    wall: Duration,
) -> Result<Arc<[f32]>, String> {
    let account = profile.provider.account();
    let verdict = match reply {
        Reply::Http(Ok(answer)) => profile.provider.judge(answer, 1, wall),
        Reply::Http(Err(error)) => return Err(unreached(profile, &error)),
        Reply::Model(answer) => profile.provider.judge_model(answer, 1),
        Reply::Compute(_) => return Err("the provider was not asked".to_owned()),
    };
    match verdict {
        Verdict::Vectors(vectors) => vectors
            .into_iter()
            .next()
            .ok_or_else(|| format!("{account} answered without a vector")),
        Verdict::Bad(bad) => Err(format!("{account}: {bad}")),
        Verdict::Refused(refusal) => Err(format!(
            "{account}, model {:?}: {refusal}",
            profile.provider.model
        )),
    }
}

/// Whether an answer rejects optional parameters of the request. If so, they are added to the omitted
/// ones, and the request must be sent again.
pub(super) fn leaves_out(
    profile: &Profile,
    reply: &Reply,
    without: &mut Vec<&'static str>,
) -> bool {
    let Reply::Http(Ok(answer)) = reply else {
        return false;
    };
    let mut refused = refused_parameters(&answer.response, without);
    refused.retain(|name| profile.provider.sends(name));
    without.extend(&refused);
    !refused.is_empty()
}

/// The message for a provider that did not answer.
fn unreached(profile: &Profile, error: &RequestError) -> String {
    let account = profile.provider.account();
    match error {
        RequestError::Secret(reason) => reason.clone(),
        RequestError::Broken(_) | RequestError::Connect(_) | RequestError::Timeout => {
            format!("{account} does not answer: {error}: check that it runs, and its address")
        }
    }
}
