//! Splits a text into pieces.

use std::borrow::Cow;
use std::ops::Range;

use super::super::regex::{Pattern, Steps};
use super::ChunkError;
use crate::cut::cut;

/// Where a text is split.
#[derive(Clone, Debug)]
pub(super) enum Separator {
    /// The empty separator: every code point is a piece.
    Everywhere,
    Character(char),
    Pattern(Pattern),
    Text(String),
}

/// A part of a text between two separators, with its size, so that nothing is counted twice.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Its position, in bytes.
    pub(super) at: Range<usize>,
    /// A second part elsewhere in the text: LangChain joins the text that a capture group
    /// matched with the next element.
    pub(super) more: Range<usize>,
    /// Code points in both parts.
    pub(super) size: usize,
}

impl Piece {
    fn new(text: &str, at: Range<usize>) -> Self {
        let size = text[at.clone()].chars().count();
        Self {
            at,
            more: 0..0,
            size,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.at.len() + self.more.len()
    }

    pub(super) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let at = &text[self.at.clone()];
        if self.more.is_empty() {
            Cow::Borrowed(at)
        } else {
            Cow::Owned([at, &text[self.more.clone()]].concat())
        }
    }
}

impl Separator {
    /// A separator that is not a regex.
    pub(super) fn literal(source: &str) -> Self {
        let mut characters = source.chars();
        match (characters.next(), characters.next()) {
            (None, _) => Self::Everywhere,
            (Some(character), None) => Self::Character(character),
            (Some(_), Some(_)) => Self::Text(source.to_owned()),
        }
    }

    /// A search for plain text takes time, too: about a step for eight bytes.
    fn spend(&self, text: &str, steps: &mut Steps) -> Result<(), ChunkError> {
        let source = match self {
            Self::Everywhere => "",
            Self::Character(_) => "of one character",
            // A pattern counts its steps itself.
            Self::Pattern(_) => return Ok(()),
            Self::Text(separator) => separator,
        };
        if steps.spend(text.len() as u64 / 8) {
            Ok(())
        } else {
            Err(ChunkError::TooManySteps(cut(source)))
        }
    }

    pub(super) fn is_in(&self, text: &str, steps: &mut Steps) -> Result<bool, ChunkError> {
        self.spend(text, steps)?;
        Ok(match self {
            Self::Everywhere => true,
            Self::Character(character) => text.contains(*character),
            Self::Pattern(pattern) => pattern.find(text, 0, false, steps)?.is_some(),
            Self::Text(separator) => text.contains(separator.as_str()),
        })
    }

    /// Returns the pieces that are not empty, without the separators.
    pub(super) fn cut<E>(
        &self,
        text: &str,
        steps: &mut Steps,
        mut each: E,
    ) -> Result<(), ChunkError>
    where
        E: FnMut(Piece, &mut Steps) -> Result<(), ChunkError>,
    {
        self.spend(text, steps)?;
        let mut start = 0;
        let mut cut = |at: Range<usize>, next: usize, steps: &mut Steps| {
            let piece = start..at.start;
            start = next;
            if piece.is_empty() {
                Ok(())
            } else {
                each(Piece::new(text, piece), steps)
            }
        };
        match self {
            Self::Everywhere => return every_character(text, steps, each),
            Self::Character(character) => {
                for (at, found) in text.match_indices(*character) {
                    cut(at..at, at + found.len(), steps)?;
                }
            }
            Self::Pattern(pattern) => return cut_at_pattern(pattern, text, steps, each),
            Self::Text(separator) => {
                for (at, found) in text.match_indices(separator.as_str()) {
                    cut(at..at, at + found.len(), steps)?;
                }
            }
        }
        cut(text.len()..text.len(), text.len(), steps)
    }

    /// Returns the pieces that are not empty, each with the separator before it.
    pub(super) fn cut_keeping<E>(
        &self,
        text: &str,
        steps: &mut Steps,
        mut each: E,
    ) -> Result<(), ChunkError>
    where
        E: FnMut(Piece, &mut Steps) -> Result<(), ChunkError>,
    {
        self.spend(text, steps)?;
        let mut start = 0;
        let mut cut = |at: usize, steps: &mut Steps| {
            let piece = start..at;
            start = at;
            if piece.is_empty() {
                Ok(())
            } else {
                each(Piece::new(text, piece), steps)
            }
        };
        match self {
            Self::Everywhere => return every_character(text, steps, each),
            Self::Character(character) => {
                for (at, _) in text.match_indices(*character) {
                    cut(at, steps)?;
                }
            }
            Self::Pattern(pattern) => return cut_keeping_pattern(pattern, text, steps, each),
            Self::Text(separator) => {
                for (at, _) in text.match_indices(separator.as_str()) {
                    cut(at, steps)?;
                }
            }
        }
        cut(text.len(), steps)
    }
}

fn every_character<E>(text: &str, steps: &mut Steps, mut each: E) -> Result<(), ChunkError>
where
    E: FnMut(Piece, &mut Steps) -> Result<(), ChunkError>,
{
    for (at, character) in text.char_indices() {
        each(
            Piece {
                at: at..at + character.len_utf8(),
                more: 0..0,
                size: 1,
            },
            steps,
        )?;
    }
    Ok(())
}

/// Python's `re.split`: the texts that groups matched are between the pieces.
fn cut_at_pattern<E>(
    pattern: &Pattern,
    text: &str,
    steps: &mut Steps,
    mut each: E,
) -> Result<(), ChunkError>
where
    E: FnMut(Piece, &mut Steps) -> Result<(), ChunkError>,
{
    split(pattern, text, steps, |element, steps| {
        // Python keeps a None for a group that took no part, and then fails to measure it.
        let Some(at) = element else {
            return Err(ChunkError::CaptureGroup(cut(pattern.source())));
        };
        if at.is_empty() {
            Ok(())
        } else {
            each(Piece::new(text, at), steps)
        }
    })
}

/// Like LangChain's use of `re.split` to keep separators: after the first element it pairs the
/// elements. With one group, the separator itself, a pair is a separator and the text after it.
/// With more groups the pairs are arbitrary.
fn cut_keeping_pattern<E>(
    pattern: &Pattern,
    text: &str,
    steps: &mut Steps,
    mut each: E,
) -> Result<(), ChunkError>
where
    E: FnMut(Piece, &mut Steps) -> Result<(), ChunkError>,
{
    let failed = || ChunkError::CaptureGroup(cut(pattern.source()));
    if pattern.groups() > 1 {
        // Nothing may be handed over before it is known that all elements have a partner.
        let mut count = 0;
        split(pattern, text, steps, |element, _| {
            count += 1;
            element.map(|_| ()).ok_or_else(failed)
        })?;
        if count % 2 == 0 {
            return Err(failed());
        }
    }
    let mut first = true;
    let mut partner: Option<Range<usize>> = None;
    split(pattern, text, steps, |element, steps| {
        let element = element.ok_or_else(failed)?;
        let mut piece = if std::mem::take(&mut first) {
            Piece::new(text, element)
        } else if let Some(before) = partner.take() {
            pair(text, before, element)
        } else {
            partner = Some(element);
            return Ok(());
        };
        if piece.at.is_empty() {
            piece.at = std::mem::replace(&mut piece.more, 0..0);
        }
        if piece.size == 0 {
            Ok(())
        } else {
            each(piece, steps)
        }
    })
}

fn pair(text: &str, before: Range<usize>, after: Range<usize>) -> Piece {
    if before.end == after.start {
        return Piece::new(text, before.start..after.end);
    }
    let mut piece = Piece::new(text, before);
    let Piece { at, size, .. } = Piece::new(text, after);
    piece.more = at;
    piece.size += size;
    piece
}

/// Returns the elements of Python's `re.split`: texts and, between two of them, the match of each
/// group, or `None` for a group without a match.
fn split<E>(pattern: &Pattern, text: &str, steps: &mut Steps, mut each: E) -> Result<(), ChunkError>
where
    E: FnMut(Option<Range<usize>>, &mut Steps) -> Result<(), ChunkError>,
{
    let mut start = 0;
    let mut search = 0;
    let mut was_empty = false;
    while let Some(found) = pattern.find(text, search, was_empty, steps)? {
        each(Some(start..found.at.start), steps)?;
        for group in 1..=pattern.groups() {
            each(found.group(group), steps)?;
        }
        // An empty match may follow any other, but never an empty one at the same place.
        was_empty = found.at.is_empty();
        start = found.at.end;
        search = start;
    }
    each(Some(start..text.len()), steps)
}
