//! What went wrong with one row, in the words of pgai's errors table.

use std::fmt::Write as _;

use serde_json::json;

use crate::cut::cut;
use crate::query::Key;
use crate::vectorizer::Profile;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    /// The step, for the failed table.
    pub(super) step: &'static str,
    pub(super) reason: String,
    /// The message of the errors table.
    pub(super) message: &'static str,
    /// The vector in its column cannot be cleared.
    pub(super) keeps_vector: bool,
    /// To try again as often as the vectorizer's config says is of no use, or does harm.
    pub(super) is_final: bool,
}

pub(super) const CEILING: &str = "daily ceiling reached";
const LOADING: &str = "loading failed";
pub(super) const PARSING: &str = "parsing failed";
pub(super) const EMBEDDING: &str = "embedding provider failed";
pub(super) const UNEXPECTED: &str = "vectorizer failed with unexpected error";

impl Failure {
    fn new(step: &'static str, reason: &str, message: &'static str) -> Self {
        Self {
            step,
            reason: reason.to_owned(),
            message,
            keeps_vector: false,
            is_final: false,
        }
    }

    pub(super) fn abandoned(times: u32) -> Self {
        let reason = format!("the worker died or was cut off {times} times while it held this row");
        Self {
            is_final: true,
            ..Self::new("worker", &reason, UNEXPECTED)
        }
    }

    pub(super) fn chunking(reason: &str) -> Self {
        Self::new("chunking", reason, UNEXPECTED)
    }

    /// A separator that is a regex took all steps that one row may take, and would again.
    pub(super) fn out_of_steps(reason: &str) -> Self {
        Self {
            is_final: true,
            ..Self::chunking(reason)
        }
    }

    pub(super) fn embedding(reason: &str) -> Self {
        Self::new("embedding", reason, EMBEDDING)
    }

    pub(super) fn formatting(reason: &str) -> Self {
        Self::new("formatting", reason, UNEXPECTED)
    }

    /// The row cannot be read. PostgreSQL repeats a row's text in some of its messages.
    pub(super) fn loading(reason: &str) -> Self {
        Self::new("loading", &cut(reason), UNEXPECTED)
    }

    /// Its document cannot be loaded.
    pub(super) fn document_not_loaded(reason: &str) -> Self {
        Self::new("loading", &cut(reason), LOADING)
    }

    /// Its document cannot be turned into text.
    pub(super) fn document_not_parsed(reason: &str, is_final: bool) -> Self {
        Self {
            is_final,
            ..Self::new("parsing", &cut(reason), PARSING)
        }
    }

    /// The row's text is too long to be read.
    pub(super) fn too_long(reason: &str) -> Self {
        Self {
            is_final: true,
            ..Self::new("loading", reason, UNEXPECTED)
        }
    }

    /// The row cannot be written.
    pub(super) fn writing(reason: &str) -> Self {
        Self::new("writing", &cut(reason), UNEXPECTED)
    }

    /// A statement succeeded, and what it wrote is not there.
    pub(super) fn unwritten() -> Self {
        Self::writing(
            "a trigger on the table that holds the vectors returned NULL, so not everything was written; \
             change the trigger, then put the row back with the command retry",
        )
    }

    /// Says that the row's old vector stays, and why.
    pub(super) fn keep_vector(&mut self, why: &str) {
        self.keeps_vector = true;
        let _ = write!(
            self.reason,
            "; its old vector stays, because it cannot be cleared: {why}"
        );
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
            "key": key.0.iter().map(|part| cut(part)).collect::<Vec<_>>(),
            "is_retryable": is_retryable,
        });
        if self.message == EMBEDDING {
            details["provider"] = profile.provider.account().provider.into();
        }
        details.to_string()
    }
}
