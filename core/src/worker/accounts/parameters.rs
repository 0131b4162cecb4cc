//! Optional parameters that a server refuses: it is asked again without them, and that is remembered
//! for the account and the model.

use std::collections::BTreeMap;

use super::Accounts;
use crate::call::Reply;
use crate::provider::{Account, Provider, refused_parameters, said};

/// What one account's model does not take.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// What is left out, and what the server said of it.
    left_out: BTreeMap<&'static str, String>,
    /// What is sent all the same: without it the answers were of no use.
    needed: Vec<&'static str>,
}

/// A parameter that is left out from now on, and what the server said of it.
#[derive(Debug)]
pub(in crate::worker) struct RefusedParameter {
    pub(in crate::worker) name: &'static str,
    pub(in crate::worker) reason: String,
}

impl Accounts {
    /// The parameters that requests go without.
    pub(in crate::worker) fn left_out(&self, provider: &Provider) -> Vec<&'static str> {
        let known = self.parameters.get(&place(provider));
        known.map_or_else(Vec::new, |known| known.left_out.keys().copied().collect())
    }

    /// Looks whether a reply refuses parameters that the request had, which went without `without`. If so
    /// the request is to be sent again, without those that are returned, and others that another reply
    /// refused meanwhile.
    pub(in crate::worker) fn parameters_refused(
        &mut self,
        provider: &Provider,
        without: &[&'static str],
        reply: &Reply,
    ) -> Option<Vec<RefusedParameter>> {
        let Reply::Http(Ok(answer)) = reply else {
            return None;
        };
        let mut refused = refused_parameters(&answer.response, without);
        refused.retain(|name| provider.sends(name));
        let known = self.parameters.entry(place(provider)).or_default();
        refused.retain(|name| !known.needed.contains(name));
        if refused.is_empty() {
            return None;
        }
        let reason = said(answer.response.body());
        // Others were in flight when another answer said so.
        refused.retain(|name| !known.left_out.contains_key(name));
        let new = refused.into_iter().map(|name| {
            known.left_out.insert(name, reason.clone());
            RefusedParameter {
                name,
                reason: reason.clone(),
            }
        });
        Some(new.collect())
    }

    /// The answers have other dimensions. If that is because the server was not told them, says what
    /// it said, and tells it again the next time.
    pub(in crate::worker) fn dimensions_are_needed(
        &mut self,
        provider: &Provider,
    ) -> Option<String> {
        let known = self.parameters.get_mut(&place(provider))?;
        let names = ["dimensions", "output_dimension"];
        let (name, reason) = names
            .iter()
            .find_map(|name| known.left_out.remove_entry(name))?;
        known.needed.push(name);
        Some(format!("the server refused the parameter {name}: {reason}"))
    }
}

/// What is known of a server is known for an account and a model.
pub(super) fn place(provider: &Provider) -> (Account, String) {
    (provider.account(), provider.model.clone())
}
