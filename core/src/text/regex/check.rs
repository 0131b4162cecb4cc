//! What a match depends on besides the next character.

use std::ops::Range;

use super::set::is_word;
use super::syntax::{Assertion, Fold};

/// Tells whether an assertion holds at a place.
pub(super) fn holds(text: &str, assertion: Assertion, at: usize) -> bool {
    let (before, after) = (&text[..at], &text[at..]);
    match assertion {
        Assertion::Boundary { ascii, negative } => {
            let is_word = |character| is_word(character, ascii);
            let is_boundary = before.chars().next_back().is_some_and(is_word)
                != after.chars().next().is_some_and(is_word);
            // Neither matches in an empty text.
            is_boundary != negative && !text.is_empty()
        }
        Assertion::End => after.is_empty(),
        Assertion::EndOrLastNewline => after.is_empty() || after == "\n",
        Assertion::LineEnd => after.is_empty() || after.starts_with('\n'),
        Assertion::LineStart => before.is_empty() || before.ends_with('\n'),
        Assertion::Start => before.is_empty(),
    }
}

/// Tells whether what a group matched stands at a place again, and returns where that ends.
pub(super) fn repeats(text: &str, group: Range<usize>, fold: Fold, at: usize) -> Option<usize> {
    let mut end = at;
    let mut characters = text[at..].chars();
    // A group that is matched again may have begun behind its last end.
    for wanted in text.get(group)?.chars() {
        let character = characters.next()?;
        if fold.lower(character) != fold.lower(wanted) {
            return None;
        }
        end += character.len_utf8();
    }
    Some(end)
}
