//! What a regex is made of, once it is parsed.

use super::set::Set;

/// A part of a regex. What flags change is settled by the parser, so there are none here.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Alternatives(Vec<Self>),
    Assertion(Assertion),
    /// Matches once and is never reconsidered.
    Atomic(Box<Self>),
    Backreference {
        group: usize,
        fold: Fold,
    },
    Conditional {
        group: usize,
        yes: Box<Self>,
        no: Box<Self>,
    },
    Group(usize, Box<Self>),
    Look {
        /// The width of what is looked back at.
        behind: Option<usize>,
        negative: bool,
        node: Box<Self>,
    },
    Repeat {
        node: Box<Self>,
        min: u32,
        max: Option<u32>,
        kind: Repeat,
    },
    Sequence(Vec<Self>),
    Set(Box<Set>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Repeat {
    Greedy,
    Lazy,
    Possessive,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Assertion {
    Boundary { ascii: bool, negative: bool },
    End,
    EndOrLastNewline,
    LineEnd,
    LineStart,
    Start,
}

/// How case is ignored, if it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fold {
    Ascii,
    Exact,
    Unicode,
}

impl Fold {
    /// The simple lower case, by which Python compares.
    pub(super) fn lower(self, character: char) -> char {
        match self {
            Self::Ascii => character.to_ascii_lowercase(),
            Self::Exact => character,
            // Python keeps to the first character where there are several (İ).
            Self::Unicode => character.to_lowercase().next().unwrap_or(character),
        }
    }
}
