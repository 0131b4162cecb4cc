//! Documents that are checked again: which version of each is known, and what is recorded.

use super::{Batch, InWork};
use crate::query::{CheckedDocument, ReadRow};
use crate::reuse;

/// What is to be recorded of a document, if documents are checked again.
#[derive(Debug)]
pub(super) struct Check {
    /// See [`CheckedDocument`].
    pub(super) source: String,
    /// The row has not changed: it was queued for this check alone.
    pub(super) is_due: bool,
    /// The version that the stored chunks were made from, if they can stay as they are.
    pub(super) known: Option<String>,
}

impl InWork {
    /// The version that need not be loaded again.
    pub(super) fn known(&self) -> Option<&str> {
        self.check.as_ref()?.known.as_deref()
    }

    /// What is recorded of a version that was loaded.
    pub(super) fn checked(&self, version: Option<String>) -> Option<CheckedDocument> {
        let source = self.check.as_ref()?.source.clone();
        Some(CheckedDocument {
            source,
            validator: version,
        })
    }
}

impl Batch {
    /// What the row's document was when it was loaded last, if documents are checked again.
    pub(super) fn check(&self, at: usize, row: &mut ReadRow) -> Option<Check> {
        let of_config = self.profile.checks.as_ref()?;
        let address = row.text.as_deref().unwrap_or_default();
        let source = reuse::hash(&format!("{of_config} {address}")).0;
        let known = row.known.take();
        let known = known.filter(|known| known.generation == self.rows[at].generation);
        let is_due = known.is_some();
        let known = known.filter(|known| {
            let kept = reuse::kept(row.stored.as_deref());
            known.source == source && kept.is_some_and(|kept| kept.len() == known.chunks)
        });
        Some(Check {
            source,
            is_due,
            known: known.and_then(|known| known.validator),
        })
    }
}
