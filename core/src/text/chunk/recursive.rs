//! Splits at several separators, coarse ones first.

use std::borrow::Cow;

use super::super::regex::Steps;
use super::super::strip::strip;
use super::merge::Merger;
use super::piece::Separator;
use super::{ChunkError, ChunkingError, Chunks, REGEX_BYTES_MAX, SEPARATORS_MAX, Sizes, separator};

/// Splits at the first of several separators that occurs, and splits pieces that are too long
/// at those after it. A separator stays at the beginning of the piece that follows it.
#[derive(Clone, Debug)]
pub struct RecursiveSplitter {
    sizes: Sizes,
    /// Never empty.
    separators: Vec<Separator>,
}

/// LangChain's default separators; they differ from the default in SQL.
const SEPARATORS_DEFAULT: [&str; 4] = ["\n\n", "\n", " ", ""];

impl RecursiveSplitter {
    pub(super) fn new(
        sizes: Sizes,
        sources: &[&str],
        is_regex: bool,
    ) -> Result<Self, ChunkingError> {
        if sources.len() > SEPARATORS_MAX {
            return Err(ChunkingError::TooManySeparators(sources.len()));
        }
        let sources = if sources.is_empty() {
            &SEPARATORS_DEFAULT
        } else {
            sources
        };
        let bytes: usize = sources.iter().map(|source| source.len()).sum();
        if is_regex && bytes > REGEX_BYTES_MAX {
            return Err(ChunkingError::RegexTooLong(bytes));
        }
        let separators = sources
            .iter()
            .map(|source| separator(source, is_regex, true));
        let separators = separators.collect::<Result<_, _>>()?;
        Ok(Self { sizes, separators })
    }

    /// Whether one of its separators is a regex.
    pub(super) fn has_regex(&self) -> bool {
        let mut separators = self.separators.iter();
        separators.any(|separator| matches!(separator, Separator::Pattern(_)))
    }

    pub(super) fn chunk(
        &self,
        text: &str,
        steps: &mut Steps,
        chunks: &mut Chunks<'_>,
    ) -> Result<(), ChunkError> {
        self.split(text, &self.separators, steps, chunks)
    }

    /// Recurses once per separator at most, of which there are at most [`SEPARATORS_MAX`].
    fn split(
        &self,
        text: &str,
        separators: &[Separator],
        steps: &mut Steps,
        chunks: &mut Chunks<'_>,
    ) -> Result<(), ChunkError> {
        let (separator, finer) = choose(text, separators, steps)?;
        let Some(separator) = separator else {
            // The whole text is one piece. LangChain strips what it merges, but not what it could
            // not cut.
            let fits = text.chars().count() < self.sizes.size;
            let chunk = if fits { strip(text) } else { text };
            return match chunk.is_empty() {
                true => Ok(()),
                false => chunks.add(chunk),
            };
        };
        let mut merger = Merger::new(text, self.sizes, "");
        separator.cut_keeping(text, steps, |piece, steps| {
            if piece.size < self.sizes.size {
                return merger.push(piece, chunks);
            }
            merger.finish(chunks)?;
            let piece = piece.text(text);
            if finer.is_empty() {
                return chunks.add(&piece);
            }
            // A copy is held for as long as it is cut.
            if let Cow::Owned(copy) = &piece {
                chunks.charge(copy.len())?;
            }
            self.split(&piece, finer, steps, chunks)
        })?;
        merger.finish(chunks)
    }
}

/// Returns the first separator that occurs in the text, if any, and the remaining ones for its
/// pieces. The empty separator occurs in every text, so separators after it are not used.
fn choose<'a>(
    text: &str,
    separators: &'a [Separator],
    steps: &mut Steps,
) -> Result<(Option<&'a Separator>, &'a [Separator]), ChunkError> {
    for (index, separator) in separators.iter().enumerate() {
        if matches!(separator, Separator::Everywhere) {
            return Ok((Some(separator), &[]));
        }
        if separator.is_in(text, steps)? {
            return Ok((Some(separator), &separators[index + 1..]));
        }
    }
    Ok((None, &[]))
}
