//! Merges neighbouring pieces into chunks.

use std::collections::VecDeque;

use super::super::strip::strip;
use super::piece::Piece;
use super::{ChunkError, Chunks, Sizes};

/// Collects pieces until the next one would not fit. The next chunk then starts with as many of
/// the last pieces as the overlap allows.
#[derive(Debug)]
pub(super) struct Merger<'a> {
    text: &'a str,
    sizes: Sizes,
    /// The text between two pieces.
    separator: &'a str,
    separator_size: usize,
    /// The pieces of the next chunk, and their size with the separators between them.
    held: VecDeque<Piece>,
    held_size: usize,
    /// Their bytes, without separators.
    held_bytes: usize,
}

impl<'a> Merger<'a> {
    pub(super) fn new(text: &'a str, sizes: Sizes, separator: &'a str) -> Self {
        let separator_size = separator.chars().count();
        Self {
            text,
            sizes,
            separator,
            separator_size,
            held: VecDeque::new(),
            held_size: 0,
            held_bytes: 0,
        }
    }

    pub(super) fn push(&mut self, piece: Piece, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        if self.size_with(&piece) > self.sizes.size && !self.held.is_empty() {
            self.join(chunks)?;
            while self.held_size > self.sizes.overlap
                || (self.held_size > 0 && self.size_with(&piece) > self.sizes.size)
            {
                self.drop_first();
            }
        }
        self.held_size = self.size_with(&piece);
        self.held_bytes += piece.bytes();
        self.held.push_back(piece);
        Ok(())
    }

    /// Ends the last chunk, and resets the merger.
    pub(super) fn finish(&mut self, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        self.join(chunks)?;
        self.held.clear();
        (self.held_size, self.held_bytes) = (0, 0);
        Ok(())
    }

    fn size_with(&self, piece: &Piece) -> usize {
        let separator_size = if self.held.is_empty() {
            0
        } else {
            self.separator_size
        };
        self.held_size + piece.size + separator_size
    }

    fn drop_first(&mut self) {
        if let Some(piece) = self.held.pop_front() {
            let separator_size = if self.held.is_empty() {
                0
            } else {
                self.separator_size
            };
            self.held_size -= piece.size + separator_size;
            self.held_bytes -= piece.bytes();
        }
    }

    /// Adds the chunk, unless it contains only white space. Its size is counted before it is made, and
    /// also if it is dropped, because making it takes time.
    fn join(&self, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        let (Some(first), Some(last)) = (self.held.front(), self.held.back()) else {
            return Ok(());
        };
        let separators = self.separator.len().saturating_mul(self.held.len() - 1);
        chunks.charge(self.held_bytes.saturating_add(separators))?;
        // What a capture group matched may come from before the other part.
        let part = self
            .text
            .get(first.at.start..last.at.end)
            .unwrap_or_default();
        let part = strip(part);
        let chunk = if self.is_contiguous() {
            part.to_owned()
        } else {
            let pieces: Vec<_> = self
                .held
                .iter()
                .map(|piece| piece.text(self.text))
                .collect();
            strip(&pieces.join(self.separator)).to_owned()
        };
        if !chunk.is_empty() {
            chunks.push(chunk, part);
        }
        Ok(())
    }

    /// Whether the chunk is a contiguous part of the text, so that it need not be joined.
    fn is_contiguous(&self) -> bool {
        let mut pairs = self.held.iter().zip(self.held.iter().skip(1));
        let is_whole = self.held.iter().all(|piece| piece.more.is_empty());
        let is_joined = self.held.len() == 1 || self.separator.is_empty();
        is_whole && is_joined && pairs.all(|(left, right)| left.at.end == right.at.start)
    }
}
