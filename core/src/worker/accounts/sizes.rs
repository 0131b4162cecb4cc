//! The size of requests that an account's server accepts for a model, learnt from its refusals.

use super::Accounts;
use super::parameters::place;
use crate::provider::{Provider, SizeLimit, exceeded, limit_named};

/// What a server has said of its limits by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Limits {
    Asked,
    Said,
}

/// The limits of one request, as far as they are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::worker) struct Sizes {
    /// Texts.
    pub(in crate::worker) inputs: usize,
    /// Bytes of text.
    pub(in crate::worker) bytes: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            inputs: usize::MAX,
            bytes: usize::MAX,
        }
    }
}

impl Sizes {
    /// With no more texts than this.
    pub(in crate::worker) fn within(self, inputs: usize) -> Self {
        Self {
            inputs: self.inputs.min(inputs),
            ..self
        }
    }
}

impl Accounts {
    /// What requests of this provider may hold.
    pub(in crate::worker) fn sizes(&self, provider: &Provider) -> Sizes {
        let known = self.sizes.get(&place(provider)).copied();
        known.unwrap_or_default()
    }

    /// Whether a server that has a page with its limits has not said them yet: requests wait for that.
    pub(in crate::worker) fn waits_for_limits(&self, provider: &Provider) -> bool {
        provider.has_info() && self.limits.get(&place(provider)) != Some(&Limits::Said)
    }

    /// Whether the page with the server's limits is to be requested.
    pub(in crate::worker) fn wants_limits(&self, provider: &Provider) -> bool {
        provider.has_info() && !self.limits.contains_key(&place(provider))
    }

    /// The page was requested.
    pub(in crate::worker) fn limits_asked(&mut self, provider: &Provider) {
        self.limits.insert(place(provider), Limits::Asked);
    }

    /// The page came, or not: what is too much is learnt from refusals as well.
    pub(in crate::worker) fn limits_came(&mut self, provider: &Provider, page: Option<&[u8]>) {
        self.limits.insert(place(provider), Limits::Said);
        if let Some(inputs) = page.and_then(limit_named) {
            self.sizes.entry(place(provider)).or_default().inputs = inputs;
        }
    }

    /// A request with so many texts and bytes was refused. Says whether that was for its size, so that
    /// smaller ones are to be sent from now on.
    pub(in crate::worker) fn size_refused(
        &mut self,
        provider: &Provider,
        reason: &str,
        inputs: usize,
        bytes: usize,
    ) -> bool {
        let Some(limit) = exceeded(reason, inputs, bytes) else {
            return false;
        };
        let known = self.sizes.entry(place(provider)).or_default();
        match limit {
            SizeLimit::Inputs(limit) => known.inputs = known.inputs.min(limit),
            SizeLimit::Bytes(limit) => known.bytes = known.bytes.min(limit.max(1)),
        }
        // Others were in flight when that was learnt; what is within the limits is refused for another
        // reason.
        inputs > known.inputs || bytes > known.bytes
    }
}
