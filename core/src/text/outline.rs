//! The headings of a Markdown text, and what stands around a part of it.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use unicode_segmentation::UnicodeSegmentation;

/// Whether a text is short enough to be parsed as Markdown, where a row's texts may have this many bytes.
///
/// The parser's tree takes 24 to 64 bytes for each byte of a text that is all structure (`-` or `[` again and
/// again), and a few for ordinary text. So a text of a sixteenth may take four times the bytes of a row.
pub(crate) const fn may_be_parsed(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max / 16
}

/// The headings of a text, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outline(Vec<Heading>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Heading {
    /// In bytes.
    at: usize,
    level: HeadingLevel,
    title: String,
    /// The heading of the section around it.
    above: Option<usize>,
}

impl Outline {
    /// The headings of a text that is short enough to be parsed, and none of a longer one.
    pub(crate) fn within(text: &str, bytes_max: usize) -> Self {
        match may_be_parsed(text, bytes_max) {
            true => Self::of(text),
            false => Self::default(),
        }
    }

    /// Reads the headings of a Markdown text, except those in lists and quotations.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most parts of Markdown are no headings"
    )]
    pub(crate) fn of(text: &str) -> Self {
        let mut headings: Vec<Heading> = vec![];
        let (mut depth, mut is_heading) = (0_usize, false);
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(tag) => {
                    if let (Tag::Heading { level, .. }, 0) = (&tag, depth) {
                        is_heading = true;
                        headings.push(Heading {
                            at: range.start,
                            level: *level,
                            title: String::new(),
                            above: above(&headings, *level),
                        });
                    }
                    depth += 1;
                }
                Event::End(end) => {
                    depth = depth.saturating_sub(1);
                    is_heading &= !matches!(end, TagEnd::Heading(_));
                }
                Event::Text(part) | Event::Code(part) if is_heading => {
                    if let Some(heading) = headings.last_mut() {
                        heading.title.push_str(&part);
                    }
                }
                Event::SoftBreak | Event::HardBreak if is_heading => {
                    if let Some(heading) = headings.last_mut() {
                        heading.title.push(' ');
                    }
                }
                _ => {}
            }
        }
        Self(headings)
    }

    /// The titles of the sections that this place is in, the outermost first.
    pub(crate) fn path(&self, at: usize) -> Vec<&str> {
        let before = self.0.partition_point(|heading| heading.at <= at);
        let mut next = before.checked_sub(1);
        let mut path = vec![];
        while let Some(heading) = next.and_then(|next| self.0.get(next)) {
            if !heading.title.is_empty() {
                path.push(heading.title.as_str());
            }
            next = heading.above;
        }
        path.reverse();
        path
    }

    /// The first heading of the highest level, as the title of the text.
    pub(crate) fn title(&self) -> Option<&str> {
        let highest = self.0.iter().map(|heading| heading.level).min()?;
        let first = self.0.iter().find(|heading| heading.level == highest)?;
        Some(&first.title)
    }
}

/// The last heading of a higher level.
fn above(headings: &[Heading], level: HeadingLevel) -> Option<usize> {
    let mut next = headings.len().checked_sub(1);
    while let Some(heading) = next.and_then(|next| headings.get(next)) {
        if heading.level < level {
            return next;
        }
        next = heading.above;
    }
    None
}

/// A sentence beside a chunk is cut to about this many bytes.
const NEIGHBOUR_BYTES: usize = 400;

/// The last sentence before a part of a text, and the first one after it; empty if there is none.
pub(crate) fn neighbours(text: &str, at: &Range<usize>) -> (String, String) {
    let before = text.get(..at.start).unwrap_or_default().trim_end();
    let window = &before[before.ceil_char_boundary(before.len().saturating_sub(NEIGHBOUR_BYTES))..];
    let before = window.unicode_sentences().last().unwrap_or_default();
    let after = text.get(at.end..).unwrap_or_default().trim_start();
    let window = &after[..after.floor_char_boundary(NEIGHBOUR_BYTES)];
    let after = window.unicode_sentences().next().unwrap_or_default();
    (before.trim().to_owned(), after.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
intro

# Guide `x`

## Install

text

### Linux

text

## Use

> # quoted

text
";

    #[test]
    fn a_place_is_in_its_section_and_those_around_it() {
        let outline = Outline::of(TEXT);
        let path = |part: &str| outline.path(TEXT.find(part).unwrap());
        assert_eq!(path("intro"), <[&str; 0]>::default());
        assert_eq!(path("## Install"), ["Guide x", "Install"]);
        assert_eq!(path("### Linux"), ["Guide x", "Install", "Linux"]);
        assert_eq!(outline.path(TEXT.len()), ["Guide x", "Use"]);
        assert_eq!(outline.title(), Some("Guide x"));
        assert_eq!(Outline::of("no heading").title(), None);
        assert_eq!(Outline::within(TEXT, 16 * TEXT.len()), outline);
        assert_eq!(
            Outline::within(TEXT, 16 * TEXT.len() - 1),
            Outline::default()
        );
    }

    #[test]
    fn neighbours_are_the_sentences_beside() {
        let text = "One is here. Two is here. Three is here. Four is here.";
        let at = text.find("Two").unwrap()..text.find(" Three").unwrap();
        let (before, after) = neighbours(text, &at);
        assert_eq!(
            (before.as_str(), after.as_str()),
            ("One is here.", "Three is here.")
        );
        assert_eq!(
            neighbours(text, &(0..text.len())),
            (String::new(), String::new())
        );
        let long = "é".repeat(1000);
        let (before, after) = neighbours(&long, &(1000..1002));
        assert_eq!((before.len(), after.len()), (400, 400));
    }
}
