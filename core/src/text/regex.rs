//! Python's `re`: separators that are regexes mean here what they mean there.
//!
//! Rust's regex crates differ from `re` in many small things (what `\w`, `\s` and `\b` are, `$`
//! before a last newline, `\Z`, `{,n}`, which letters are equal where case is ignored, where an
//! empty match may follow another), and stored chunks depend on each of them. Most could be
//! translated; but none of the crates bounds what all searches of a text take together, so that one
//! row could keep a worker for weeks. So this is a backtracking matcher of its own, with a bound on
//! its steps. `docs/text.md` has the numbers.
//!
//! What differs from Python 3.11:
//! * `\N{…}` and nesting deeper than [`DEPTH_MAX`](parse::DEPTH_MAX) are refused.
//! * Global flags are accepted at the start of a separator that is to be kept, as in Python 3.10;
//!   LangChain puts a group around it, in which Python 3.11 refuses them.
//! * In a few odd patterns Python forgets to restore a group that matched in a branch or in a pass of
//!   a loop that was given up (`(?:(\W)|\Z)++`); here it is restored.
//! * A search that takes too many steps fails; Python's goes on.
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
    /// Where, in code points from 0.
    pub(crate) position: usize,
}

/// A search took too many steps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MatchError {
    pub(crate) pattern: String,
}

/// Where a pattern was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) at: Range<usize>,
    groups: Vec<Option<Range<usize>>>,
}

/// How many steps may still be taken on one text, over all searches.
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
    /// The bound is generous for patterns that take about as long as the text is, and stops those
    /// that take exponentially long after a second or so.
    #[must_use]
    pub fn for_text(text: &str) -> Self {
        let per_byte = STEPS_PER_BYTE.saturating_mul(text.len() as u64);
        let all = STEPS.saturating_add(per_byte).min(STEPS_MAX);
        Self { all, left: all }
    }

    /// How many have been taken.
    #[must_use]
    pub const fn spent(&self) -> u64 {
        self.all - self.left
    }

    /// Takes some, if so many are left.
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

    /// How many groups there are, not counting the whole match.
    pub(crate) fn groups(&self) -> usize {
        self.program.groups
    }

    /// Finds the first match at `start` or behind it; with `advance`, not an empty one at `start`.
    /// What lies before `start` can still be looked back at.
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
    /// What a group matched, from 1 on; `None` if it took no part.
    pub(crate) fn group(&self, number: usize) -> Option<Range<usize>> {
        self.groups.get(number - 1).cloned().flatten()
    }
}
