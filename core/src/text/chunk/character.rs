//! Splits at one separator.

use super::super::regex::Steps;
use super::merge::Merger;
use super::piece::Separator;
use super::{ChunkError, ChunkingError, Chunks, Sizes, separator};

/// Splits at one separator, removes it, and merges the pieces with the separator's source text
/// between them.
#[derive(Clone, Debug)]
pub struct CharacterSplitter {
    sizes: Sizes,
    separator: Separator,
    /// The text between two pieces of a chunk.
    between: String,
}

impl CharacterSplitter {
    pub(super) fn new(sizes: Sizes, source: &str, is_regex: bool) -> Result<Self, ChunkingError> {
        let separator = separator(source, is_regex, false)?;
        // LangChain puts a regex between the pieces, too, as it is written. Stored chunks depend
        // on that, so it stays; only what begins as a lookaround does is left out.
        let is_lookaround = is_regex
            && ["(?=", "(?!", "(?<=", "(?<!"]
                .iter()
                .any(|s| source.starts_with(s));
        let between = if is_lookaround {
            String::new()
        } else {
            source.to_owned()
        };
        Ok(Self {
            sizes,
            separator,
            between,
        })
    }

    /// Whether its separator is a regex.
    pub(super) const fn has_regex(&self) -> bool {
        matches!(self.separator, Separator::Pattern(_))
    }

    pub(super) fn chunk(
        &self,
        text: &str,
        steps: &mut Steps,
        chunks: &mut Chunks<'_>,
    ) -> Result<(), ChunkError> {
        let mut merger = Merger::new(text, self.sizes, &self.between);
        self.separator
            .cut(text, steps, |piece, _| merger.push(piece, chunks))?;
        merger.finish(chunks)
    }
}
