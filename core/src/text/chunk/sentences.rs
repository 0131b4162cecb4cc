//! Sentences, and their packing into chunks.

use std::ops::Range;

use super::{ChunkError, Chunks, Sizes};

/// A sentence: its place in the text, in bytes, and its size in characters or tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Sentence {
    pub(super) at: Range<usize>,
    pub(super) size: usize,
}

/// Sentences of a text, which together are the whole text.
#[derive(Debug)]
pub(super) struct Sentences {
    pub(super) sentences: Vec<Sentence>,
    count_max: usize,
    bytes_max: usize,
}

impl Sentences {
    /// Takes at most as many sentences as have place in the memory of one row.
    pub(super) const fn within(bytes_max: usize) -> Self {
        Self {
            sentences: vec![],
            count_max: bytes_max / size_of::<Sentence>(),
            bytes_max,
        }
    }

    /// Adds the next sentence, which ends here, with its characters.
    pub(super) fn push(&mut self, text: &str, end: usize) -> Result<(), ChunkError> {
        self.push_sized(end, text[self.end()..end].chars().count())
    }

    /// Adds the next sentence, which ends here.
    pub(super) fn push_sized(&mut self, end: usize, size: usize) -> Result<(), ChunkError> {
        if self.sentences.len() >= self.count_max {
            return Err(ChunkError::TooManyParts(self.bytes_max));
        }
        let at = self.end()..end;
        self.sentences.push(Sentence { at, size });
        Ok(())
    }

    /// Adds what is left to the last sentence.
    pub(super) fn extend_last(&mut self, text: &str, end: usize) -> Result<(), ChunkError> {
        match self.sentences.last_mut() {
            Some(last) => {
                last.size += text[last.at.end..end].chars().count();
                last.at.end = end;
                Ok(())
            }
            None => self.push(text, end),
        }
    }

    /// Where the next sentence starts.
    pub(super) fn end(&self) -> usize {
        self.sentences.last().map_or(0, |last| last.at.end)
    }
}

/// How sentences are packed into chunks: as many as fit into `sizes.size`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    pub(super) sizes: Sizes,
    /// A chunk has so many sentences, even if they do not fit.
    pub(super) sentences_min: usize,
    /// Whether the overlap is left out as far as the next sentence does not fit beside it.
    pub(super) is_strict: bool,
}

impl Packing {
    /// No chunk is longer than its size, unless one sentence is.
    pub(super) const fn strict(sizes: Sizes) -> Self {
        Self {
            sizes,
            sentences_min: 1,
            is_strict: true,
        }
    }
}

/// Packs neighbouring sentences. The next chunk starts with as many of the sentences before it as have
/// place in the overlap. White space around a chunk is left out.
pub(super) fn pack(
    text: &str,
    sentences: &[Sentence],
    packing: Packing,
    chunks: &mut Chunks<'_>,
) -> Result<(), ChunkError> {
    let Packing { sizes, .. } = packing;
    let (mut first, mut size) = (0, 0_usize);
    for (at, sentence) in sentences.iter().enumerate() {
        let is_full = at > first && size + sentence.size > sizes.size;
        if is_full && at - first >= packing.sentences_min {
            add(text, &sentences[first..at], chunks)?;
            let room = match packing.is_strict {
                true => sizes.size.saturating_sub(sentence.size),
                false => usize::MAX,
            };
            (first, size) = overlap(sentences, at, sizes.overlap.min(room));
        }
        size += sentence.size;
    }
    add(text, &sentences[first..], chunks)
}

/// The first sentence before `at` from which on they fit into the overlap, and their size.
fn overlap(sentences: &[Sentence], at: usize, overlap: usize) -> (usize, usize) {
    let (mut first, mut size) = (at, 0);
    while let Some(before) = first.checked_sub(1) {
        let more = size + sentences[before].size;
        if more > overlap {
            break;
        }
        (first, size) = (before, more);
    }
    (first, size)
}

fn add(text: &str, sentences: &[Sentence], chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
    let (Some(first), Some(last)) = (sentences.first(), sentences.last()) else {
        return Ok(());
    };
    match text[first.at.start..last.at.end].trim() {
        "" => Ok(()),
        chunk => chunks.add(chunk),
    }
}
