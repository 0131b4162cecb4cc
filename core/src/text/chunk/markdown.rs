//! Splits Markdown at its structure (`ai.chunking_markdown`).

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::{Map, Value};

use super::super::outline::may_be_parsed;
use super::sentences::{Packing, Sentence, pack};
use super::{ChunkError, ChunkingError, Chunks, SentenceSplitter, Sizes, sizes};

/// Keeps sections, lists, tables and code blocks whole where they fit. What is longer is split at the
/// coarsest parts that it has: sections, blocks, items and rows and lines of code, and then sentences.
#[derive(Clone, Debug)]
pub struct MarkdownSplitter {
    sizes: Sizes,
    sentences: SentenceSplitter,
}

/// A place where a text may be split.
#[derive(Clone, Copy, Debug)]
struct Boundary {
    /// In bytes.
    at: usize,
    level: Level,
}

/// What starts at a boundary; coarse ones are less.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Level {
    Section(HeadingLevel),
    /// A paragraph, a list, a table, a block of code or a quotation.
    Block,
    /// An item, a row, a line of code.
    Part,
}

impl MarkdownSplitter {
    pub(super) fn new(config: &Map<String, Value>) -> Result<Self, ChunkingError> {
        Ok(Self {
            sizes: sizes(config)?,
            sentences: SentenceSplitter::new(config)?,
        })
    }

    pub(super) fn chunk(&self, text: &str, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        if !may_be_parsed(text, chunks.bytes_max) {
            return Err(ChunkError::TooManyParts(chunks.bytes_max));
        }
        self.split(text, 0..text.len(), &boundaries(text), chunks)
    }

    /// Recurses once per level at most. `boundaries` are those inside of the range.
    fn split(
        &self,
        text: &str,
        range: Range<usize>,
        boundaries: &[Boundary],
        chunks: &mut Chunks<'_>,
    ) -> Result<(), ChunkError> {
        let part = &text[range.clone()];
        if part.chars().nth(self.sizes.size).is_none() {
            return match part.trim() {
                "" => Ok(()),
                chunk => chunks.add(chunk),
            };
        }
        let Some(level) = boundaries.iter().map(|boundary| boundary.level).min() else {
            return self.sentences.chunk(part, chunks);
        };
        // Neighbours that fit into a chunk each.
        let mut run: Vec<Sentence> = vec![];
        let mut rest = boundaries;
        let mut start = range.start;
        while start < range.end {
            let next = rest.iter().position(|boundary| boundary.level == level);
            let inside = &rest[..next.unwrap_or(rest.len())];
            let end = next.map_or(range.end, |next| rest[next].at);
            rest = next.map_or(&[][..], |next| &rest[next + 1..]);
            let characters = text[start..end].chars().count();
            if characters <= self.sizes.size {
                run.push(Sentence {
                    at: start..end,
                    size: characters,
                });
            } else {
                pack(text, &run, Packing::strict(self.sizes), chunks)?;
                run.clear();
                self.split(text, start..end, inside, chunks)?;
            }
            start = end;
        }
        pack(text, &run, Packing::strict(self.sizes), chunks)
    }
}

/// The places where a text may be split, in their order. A heading stays with what follows it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most parts of Markdown are no places to split at"
)]
fn boundaries(text: &str) -> Vec<Boundary> {
    let mut found = Boundaries::default();
    let (mut depth, mut is_after_heading, mut is_code) = (0_usize, false, false);
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                match &tag {
                    _ if depth == 0 && is_after_heading => {}
                    Tag::Heading { level, .. } if depth == 0 => {
                        found.push(range.start, Level::Section(*level));
                    }
                    _ if depth == 0 => found.push(range.start, Level::Block),
                    Tag::Item | Tag::TableRow => found.push(range.start, Level::Part),
                    _ => {}
                }
                is_code = matches!(tag, Tag::CodeBlock(_));
                depth += 1;
            }
            Event::End(end) => {
                is_code = false;
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    is_after_heading = matches!(end, TagEnd::Heading(_));
                }
            }
            Event::Rule if depth == 0 => {
                found.push(range.start, Level::Block);
                is_after_heading = false;
            }
            Event::Text(_) if is_code => {
                let lines = text[range.clone()].split_inclusive('\n');
                let mut at = range.start;
                for line in lines {
                    found.push(at, Level::Part);
                    at += line.len();
                }
            }
            _ => {}
        }
    }
    found.0
}

#[derive(Default)]
struct Boundaries(Vec<Boundary>);

impl Boundaries {
    /// The first one of several at one place is the coarsest.
    fn push(&mut self, at: usize, level: Level) {
        if at > self.0.last().map_or(0, |last| last.at) {
            self.0.push(Boundary { at, level });
        }
    }
}
