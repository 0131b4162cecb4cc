//! The documents of a world whose rows have addresses: a file for every text. Somebody changes them, and tells nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use pgai_core::FileVersion;

use super::entropy::Entropy;

/// Documents are checked again after so many seconds.
pub(super) const REFRESH: Duration = Duration::from_secs(40);

/// What the last words of changed documents are. (No word of these troubles the provider.)
const WORDS: [&str; 3] = ["eel", "fox", "gnu"];

/// What goes wrong with one document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DocumentFault {
    /// It is not there just now.
    Missing,
    /// The process that parses it is killed.
    ParserKilled,
    /// Half of it is missing when it is parsed.
    Truncated,
}

impl DocumentFault {
    pub(super) const ALL: [Self; 3] = [Self::Missing, Self::ParserKilled, Self::Truncated];

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "the file does not exist",
            Self::ParserKilled => "the process was killed",
            Self::Truncated => "the file is truncated",
        }
    }

    /// Whether a row may have been given up for such a fault.
    pub(super) fn is_reason(reason: &str) -> bool {
        Self::ALL.iter().any(|fault| reason == fault.reason())
    }
}

/// The versions of the documents that have changed, by their addresses.
#[derive(Debug, Default)]
pub(super) struct Library(BTreeMap<String, u64>);

impl Library {
    fn version(&self, address: &str) -> u64 {
        self.0.get(address).copied().unwrap_or(0)
    }

    /// What a document says now: its address, and another last word with each change.
    pub(super) fn content(&self, address: &str) -> String {
        let version = self.version(address);
        let word = usize::try_from(version).unwrap_or(0).checked_sub(1);
        match word.filter(|_| !address.is_empty()) {
            Some(word) => format!("{address} {}", WORDS[word % WORDS.len()]),
            None => address.to_owned(),
        }
    }

    /// Size and time of its file. (Each change takes it another time.)
    pub(super) fn file(&self, address: &str) -> FileVersion {
        FileVersion {
            bytes: self.content(address).len() as u64,
            modified: Duration::from_nanos(self.version(address)),
        }
    }

    /// One of these documents changes. Returns its address.
    pub(super) fn change(
        &mut self,
        addresses: &[String],
        entropy: &mut Entropy<'_>,
    ) -> Option<String> {
        if addresses.is_empty() {
            return None;
        }
        let address = addresses[entropy.index(addresses.len())].clone();
        *self.0.entry(address.clone()).or_default() += 1;
        Some(address)
    }
}
