//! Python's `re`, so that regex separators have the same meaning as in pgai.
//!
//! Rust's regex crates differ from `re` in many details (the characters of `\w`, `\s` and `\b`, `$`
//! before a last newline, `\Z`, `{,n}`, which letters are equal if case is ignored, where an empty
//! match may follow another). Stored chunks depend on each of them. Most could be translated. But
//! no crate limits the total work of all searches of a text, so one row could occupy a worker for
//! weeks. Therefore this is a backtracking matcher of our own, with a limit on its steps.
//! `docs/text.md` has the numbers.
//!
//! Differences from Python 3.11:
//! * `\N{…}` and nesting deeper than [`DEPTH_MAX`](parse::DEPTH_MAX) are errors.
//! * Global flags are accepted at the start of a separator that is kept, as in Python 3.10.
//!   LangChain puts a group around the separator, and Python 3.11 does not accept them in a
//!   group.
//! * In a few unusual patterns Python does not restore a group that matched in a failed branch or
//!   loop pass (`(?:(\W)|\Z)++`); here it is restored.
//! * A search that takes too many steps fails; in Python it continues.
//! * Letters and digits are those of Unicode 14; Python 3.12 has 15, Python 3.13 has 15.1.

mod check;
mod compile;
mod escape;
mod group;
mod matcher;
mod parse;
mod set;
mod syntax;
mod width;

use std::ops::Range;

use compile::Program;

/// A compiled regex.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    source: String,
    program: Program,
}

/// Why a text is not a regex.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PatternError {
    pub(crate) reason: &'static str,
    /// The position, in code points from 0.
    pub(crate) position: usize,
}

/// A search took too many steps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MatchError {
    pub(crate) pattern: String,
}

/// A match.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) at: Range<usize>,
    groups: Vec<Option<Range<usize>>>,
}

/// The number of steps left for one text, over all searches.
#[derive(Clone, Debug)]
pub struct Steps {
    all: u64,
    left: u64,
}

/// Steps for any text, per byte, and for the longest text; a plain pattern takes about two per byte.
const STEPS: u64 = 50_000_000;
const STEPS_PER_BYTE: u64 = 40;
const STEPS_MAX: u64 = 1_000_000_000;

impl Steps {
    /// The limit is high for patterns whose time is about linear in the text, and stops patterns
    /// with exponential time after about a second.
    #[must_use]
    pub fn for_text(text: &str) -> Self {
        let per_byte = STEPS_PER_BYTE.saturating_mul(text.len() as u64);
        let all = STEPS.saturating_add(per_byte).min(STEPS_MAX);
        Self { all, left: all }
    }

    /// The number of steps used.
    #[must_use]
    pub const fn spent(&self) -> u64 {
        self.all - self.left
    }

    /// Uses this many steps, if they are left.
    pub(crate) fn spend(&mut self, steps: u64) -> bool {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                false
            }
        }
    }
}

impl Pattern {
    /// Compiles a regex. `kept` puts it into group 1, as `f"({source})"` does in Python.
    pub(crate) fn parse(source: &str, kept: bool) -> Result<Self, PatternError> {
        let program = compile::compile(&parse::parse(source, kept)?)?;
        Ok(Self {
            source: source.to_owned(),
            program,
        })
    }

    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// The number of groups, not counting the whole match.
    pub(crate) fn groups(&self) -> usize {
        self.program.groups
    }

    /// Finds the first match at `start` or after it; with `advance`, not an empty one at `start`.
    /// Lookbehinds can see the text before `start`.
    pub(crate) fn find(
        &self,
        text: &str,
        start: usize,
        advance: bool,
        steps: &mut Steps,
    ) -> Result<Option<Found>, MatchError> {
        matcher::find(&self.program, text, start, advance, &mut steps.left).map_err(
            |matcher::OutOfSteps| MatchError {
                pattern: self.source.clone(),
            },
        )
    }
}

impl Found {
    /// The match of a group, from 1; `None` if it has no match.
    pub(crate) fn group(&self, number: usize) -> Option<Range<usize>> {
        self.groups.get(number - 1).cloned().flatten()
    }
}
