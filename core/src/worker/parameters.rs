//! Optional parameters that a server refuses: it is asked again without them, and that is remembered
//! for the account and the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Worker;
use crate::call::Reply;
use crate::event::Event;
use crate::provider::{Account, refused_parameters, said};
use crate::vectorizer::Profile;

/// What one account's model does not take.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// What is left out, and what the server said of it.
    left_out: BTreeMap<&'static str, String>,
    /// What is sent all the same: without it the answers were of no use.
    needed: Vec<&'static str>,
}

impl Worker {
    /// The parameters that requests of this vectorizer go without.
    pub(super) fn left_out(&self, profile: &Profile) -> Vec<&'static str> {
        let known = self.parameters.get(&place(profile));
        known.map_or_else(Vec::new, |known| known.left_out.keys().copied().collect())
    }

    /// Looks whether an answer refuses parameters that the request had, which went without `without`.
    /// Says whether the request is to be sent again.
    pub(super) fn parameters_refused(
        &mut self,
        profile: &Arc<Profile>,
        without: &[&'static str],
        reply: &Reply,
    ) -> bool {
        let Reply::Http(Ok(answer)) = reply else {
            return false;
        };
        let response = &answer.response;
        let mut refused = refused_parameters(response, without);
        refused.retain(|name| profile.provider.sends(name));
        let known = self.parameters.entry(place(profile)).or_default();
        refused.retain(|name| !known.needed.contains(name));
        if refused.is_empty() {
            // Most answers hold vectors: they are not read twice.
            return false;
        }
        let reason = said(response.body());
        for name in &refused {
            if known.left_out.contains_key(name) {
                // It was in flight when another answer said so.
                continue;
            }
            known.left_out.insert(name, reason.clone());
            self.events.push_back(Event::ParameterRefused {
                vectorizer: profile.id,
                parameter: name,
                reason: reason.clone(),
            });
        }
        true
    }

    /// The answers have other dimensions. If that is because the server was not told them, says what
    /// it said, and tells it again the next time.
    pub(super) fn dimensions_are_needed(&mut self, profile: &Profile) -> Option<String> {
        let known = self.parameters.get_mut(&place(profile))?;
        let names = ["dimensions", "output_dimension"];
        let (name, reason) = names
            .iter()
            .find_map(|name| known.left_out.remove_entry(name))?;
        known.needed.push(name);
        Some(format!("the server refused the parameter {name}: {reason}"))
    }
}

fn place(profile: &Profile) -> (Account, String) {
    (
        profile.provider.account(),
        profile.provider.model.to_owned(),
    )
}
