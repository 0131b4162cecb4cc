//! What went wrong with one row, in the words of pgai's errors table.

use serde_json::json;

use crate::query::Key;
use crate::vectorizer::Profile;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    /// The step, for the failed table.
    pub(super) step: &'static str,
    pub(super) reason: String,
    /// The message of the errors table.
    pub(super) message: &'static str,
}

pub(super) const EMBEDDING: &str = "embedding provider failed";
pub(super) const UNEXPECTED: &str = "vectorizer failed with unexpected error";

impl Failure {
    pub(super) fn abandoned(times: u32) -> Self {
        let reason = format!("the worker died or was cut off {times} times while it held this row");
        Self {
            step: "worker",
            reason,
            message: UNEXPECTED,
        }
    }

    pub(super) fn chunking(reason: &str) -> Self {
        Self {
            step: "chunking",
            reason: reason.to_owned(),
            message: UNEXPECTED,
        }
    }

    pub(super) fn database(reason: &str) -> Self {
        Self {
            step: "writing",
            reason: reason.to_owned(),
            message: UNEXPECTED,
        }
    }

    pub(super) fn embedding(reason: &str) -> Self {
        Self {
            step: "embedding",
            reason: reason.to_owned(),
            message: EMBEDDING,
        }
    }

    pub(super) fn formatting(reason: &str) -> Self {
        Self {
            step: "formatting",
            reason: reason.to_owned(),
            message: UNEXPECTED,
        }
    }

    /// Keeps only what every database encoding has. Says whether that changed anything.
    pub(super) fn make_plain(&mut self) -> bool {
        let is_plain = |c: char| c.is_ascii() && !c.is_ascii_control();
        let plain = self.reason.replace(|c: char| !is_plain(c), "?");
        let changed = plain != self.reason;
        self.reason = plain;
        changed
    }

    /// The details of the errors table: pgai's keys, and ours that name the row.
    pub(super) fn details(&self, profile: &Profile, key: &Key, is_retryable: bool) -> String {
        let mut details = json!({
            "error_reason": self.reason,
            "step": self.step,
            "key": key.0,
            "is_retryable": is_retryable,
        });
        if self.message == EMBEDDING {
            details["provider"] = profile.provider.account().provider.into();
        }
        details.to_string()
    }
}
