//! Sets of characters.

use super::super::strip::is_space;
use super::super::unicode::{ALPHANUMERIC, ALSO_EQUAL, DECIMAL, holds};
use super::syntax::Fold;

/// A set of characters, as between `[` and `]`.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// The answers for ASCII.
    ascii: u128,
    ranges: Vec<(u32, u32)>,
    classes: Vec<Class>,
    negative: bool,
    fold: Fold,
}

/// `\d`, `\s`, `\w` and their opposites.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Class {
    pub(super) kind: ClassKind,
    pub(super) ascii: bool,
    pub(super) negative: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClassKind {
    Digit,
    Space,
    Word,
}

impl Class {
    fn contains(self, character: char) -> bool {
        let member = match self.kind {
            ClassKind::Digit => is_decimal(character, self.ascii),
            // In ASCII mode, Python's \s is C's isspace.
            ClassKind::Space if self.ascii => {
                matches!(character, ' ' | '\t'..='\r')
            }
            ClassKind::Space => is_space(character),
            ClassKind::Word => is_word(character, self.ascii),
        };
        member != self.negative
    }
}

fn is_decimal(character: char, ascii: bool) -> bool {
    character.is_ascii_digit() || !ascii && holds(DECIMAL, u32::from(character))
}

/// Tells whether `\w` matches a character.
pub(super) fn is_word(character: char, ascii: bool) -> bool {
    character.is_ascii_alphanumeric()
        || character == '_'
        || !ascii && holds(ALPHANUMERIC, u32::from(character))
}

impl Set {
    /// `ranges` may hold surrogates, which no text has.
    pub(super) fn new(
        ranges: Vec<(u32, u32)>,
        classes: Vec<Class>,
        negative: bool,
        fold: Fold,
    ) -> Self {
        let mut ranges = merged(ranges);
        if fold != Fold::Exact {
            add_lower_cases(&mut ranges, fold);
            ranges = merged(ranges);
        }
        let mut distinct: Vec<Class> = vec![];
        for class in classes {
            if !distinct.contains(&class) {
                distinct.push(class);
            }
        }
        let mut set = Self {
            ascii: 0,
            ranges,
            classes: distinct,
            negative,
            fold,
        };
        for code in 0..128 {
            if set.contains_slowly(char::from(code)) {
                set.ascii |= 1 << code;
            }
        }
        set
    }

    pub(super) fn class(class: Class) -> Self {
        Self::new(Vec::new(), vec![class], false, Fold::Exact)
    }

    pub(super) fn contains(&self, character: char) -> bool {
        let code = u32::from(character);
        if code < 128 {
            self.ascii >> code & 1 == 1
        } else {
            self.contains_slowly(character)
        }
    }

    /// Returns the ASCII characters in the set, a bit for each.
    pub(super) fn ascii(&self) -> u128 {
        self.ascii
    }

    /// Tells whether a character beyond ASCII may be in the set; `false` is certain.
    pub(super) fn may_hold_others(&self) -> bool {
        self.negative
            || self.fold == Fold::Unicode
            || !self.classes.is_empty()
            || self.ranges.last().is_some_and(|&(_, high)| high >= 128)
    }

    fn contains_slowly(&self, character: char) -> bool {
        // Python lowers the character in the text, and the members of the set beforehand.
        let character = self.fold.lower(character);
        let code = u32::from(character);
        let index = self.ranges.partition_point(|&(_, high)| high < code);
        let member = self.ranges.get(index).is_some_and(|&(low, _)| low <= code)
            || self.classes.iter().any(|class| class.contains(character));
        member != self.negative
    }
}

/// The ranges in order, those that meet made one.
fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            Some(_) | None => merged.push((low, high)),
        }
    }
    merged
}

/// Behind this there are no letters with a lower case (Unicode 17 has the last ones below).
const CASED_MAX: u32 = 0x1_FFFF;

/// Adds the lower cases of what is in the ranges, and the letters that are equal to those.
fn add_lower_cases(ranges: &mut Vec<(u32, u32)>, fold: Fold) {
    let mut more = Vec::new();
    for &(low, high) in ranges.iter() {
        for character in (low..=high.min(CASED_MAX)).filter_map(char::from_u32) {
            let lower = fold.lower(character);
            if lower != character {
                more.push((u32::from(lower), u32::from(lower)));
            }
            if fold == Fold::Unicode {
                more.extend(also_equal(lower).map(|code| (code, code)));
            }
        }
    }
    ranges.append(&mut more);
}

fn also_equal(lower: char) -> impl Iterator<Item = u32> {
    let code = u32::from(lower);
    let start = ALSO_EQUAL.partition_point(|&(letter, _)| letter < code);
    ALSO_EQUAL[start..]
        .iter()
        .take_while(move |&&(letter, _)| letter == code)
        .map(|&(_, b)| b)
}
