//! The semantic chunker of pgai-rs (`ai.chunking_semantic_chunker`): a chunk ends where the meaning of
//! neighbouring sentences differs most. The same chunks as of the crate julienne 0.1.0, which pgai-rs used.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::sentence_chunker::Delimiters;
use super::sentences::{Packing, Sentence, pack};
use super::vectors::Vectors;
use super::{CHUNK_BYTES, ChunkError, ChunkingError, Chunks, Sizes, optional, sizes};

/// Compares the vectors of windows of sentences. It asks for those that it does not know yet with
/// [`ChunkError::NeedsVectors`], at most twice for a text.
#[derive(Clone, Debug)]
pub struct SemanticChunker {
    sizes: Sizes,
    delimiters: Delimiters,
    /// How many sentences are embedded together.
    window: usize,
    /// How many chunks an aside may have that is joined with what is around it.
    aside_chunks: usize,
    /// And how many characters.
    aside_characters: usize,
    /// The similarity from which on chunks around an aside are joined.
    similarity_min: f32,
}

/// The defaults of pgai-rs.
const WINDOW_DEFAULT: usize = 3;
const ASIDE_CHARACTERS_DEFAULT: usize = 512;
const SIMILARITY_DEFAULT: f32 = 0.75;

impl SemanticChunker {
    pub(super) fn new(config: &Map<String, Value>) -> Result<Self, ChunkingError> {
        Ok(Self {
            sizes: sizes(config)?,
            delimiters: Delimiters::new(config)?,
            window: optional(config, "window_size", WINDOW_DEFAULT)?,
            aside_chunks: optional(config, "skip_window", 0)?.min(ASIDE_CHUNKS_MAX),
            aside_characters: optional(config, "max_aside_length", ASIDE_CHARACTERS_DEFAULT)?,
            similarity_min: similarity(config)?,
        })
    }

    pub(super) fn chunk(
        &self,
        text: &str,
        vectors: &Vectors,
        chunks: &mut Chunks<'_>,
    ) -> Result<(), ChunkError> {
        let sentences = self.delimiters.sentences(text, chunks.bytes_max)?;
        let sentences = sentences.sentences;
        if self.window == 0 || sentences.len() <= self.window || vectors.are_absent() {
            return pack(text, &sentences, self.packing(), chunks);
        }
        let boundaries = self.boundaries(text, &sentences, vectors, chunks.bytes_max)?;
        let mut parts = parts(text, &sentences, &boundaries);
        if self.aside_chunks > 0 {
            parts = self.joined(text, &parts, vectors, chunks.bytes_max)?;
        }
        for part in parts {
            let part = &text[part];
            if part.chars().nth(self.sizes.size).is_none() {
                chunks.add(part)?;
                continue;
            }
            let sentences = self.delimiters.short_sentences(part, chunks.bytes_max)?;
            pack(part, &sentences.sentences, self.packing(), chunks)?;
        }
        Ok(())
    }

    const fn packing(&self) -> Packing {
        Packing {
            sizes: self.sizes,
            sentences_min: 1,
            is_strict: false,
        }
    }

    /// The numbers of the sentences that begin a chunk: where the similarity of neighbouring windows, smoothed,
    /// is lower than before and after.
    fn boundaries(
        &self,
        text: &str,
        sentences: &[Sentence],
        vectors: &Vectors,
        bytes_max: usize,
    ) -> Result<Vec<usize>, ChunkError> {
        let windows = sentences.windows(self.window);
        let windows = windows.map(|window| {
            let ends = window.first().zip(window.last());
            ends.map_or("", |(first, last)| &text[first.at.start..last.at.end])
        });
        let windows = Vec::from_iter(windows);
        needed(windows.iter().copied(), vectors, bytes_max)?;
        let similarities = windows.windows(2).map(|pair| match pair {
            [left, right] => vectors.similarity(left, right),
            _ => 0.0,
        });
        let minima = local_minima(&smoothed(&Vec::from_iter(similarities)));
        Ok(minima.into_iter().map(|at| at + self.window).collect())
    }

    /// The parts that may be joined with this one, because little is between them.
    fn around_asides(&self, text: &str, parts: &[Range<usize>], first: usize) -> Range<usize> {
        let mut end = first + 2;
        let mut room = self.aside_characters;
        while let Some(part) = parts.get(end)
            && end - first <= self.aside_chunks + 1
        {
            let aside = &text[parts[end - 1].start..part.start];
            let characters = aside.chars().take(room.saturating_add(1)).count();
            let Some(left) = room.checked_sub(characters) else {
                break;
            };
            (room, end) = (left, end + 1);
        }
        first + 2..end
    }

    /// Joins the parts around a short aside if they are similar: the farthest of those that may be joined.
    fn joined(
        &self,
        text: &str,
        parts: &[Range<usize>],
        vectors: &Vectors,
        bytes_max: usize,
    ) -> Result<Vec<Range<usize>>, ChunkError> {
        let candidates = |first| self.around_asides(text, parts, first);
        let compared = (0..parts.len()).flat_map(|first| {
            let ends = candidates(first);
            let first = (!ends.is_empty()).then_some(first);
            first.into_iter().chain(ends)
        });
        let compared = compared.map(|at| &text[parts[at].clone()]);
        needed(compared, vectors, bytes_max)?;
        let mut joined = vec![];
        let mut first = 0;
        while let Some(part) = parts.get(first) {
            let is_similar = |end: &usize| {
                let other = &text[parts[*end].clone()];
                vectors.similarity(&text[part.clone()], other) >= self.similarity_min
            };
            let last = candidates(first).rev().find(is_similar).unwrap_or(first);
            joined.push(part.start..parts[last].end);
            first = last + 1;
        }
        Ok(joined)
    }
}

/// How many chunks may be between two that are joined: they are all looked at.
const ASIDE_CHUNKS_MAX: usize = 100;

fn similarity(config: &Map<String, Value>) -> Result<f32, ChunkingError> {
    let name = "reconnect_similarity_threshold";
    let Some(value) = config.get(name).filter(|value| !value.is_null()) else {
        return Ok(SIMILARITY_DEFAULT);
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "pgai-rs has it as a float4"
    )]
    let value = value.as_f64().map(|value| value as f32);
    let value = value.filter(|value| (0.0..=1.0).contains(value));
    value.ok_or(ChunkingError::Setting {
        name,
        expected: "a number from 0 to 1",
    })
}

/// Asks for the vectors of these texts that are not known. Together with their texts they have place in the
/// memory of one row.
fn needed<'a>(
    texts: impl Iterator<Item = &'a str>,
    vectors: &Vectors,
    bytes_max: usize,
) -> Result<(), ChunkError> {
    let mut unknown = BTreeSet::new();
    let mut bytes = 0_usize;
    for text in texts {
        if vectors.knows(text) || !unknown.insert(text) {
            continue;
        }
        bytes = bytes.saturating_add(text.len() + CHUNK_BYTES);
        if bytes > bytes_max {
            return Err(ChunkError::TooManyParts(bytes_max));
        }
    }
    match unknown.is_empty() {
        true => Ok(()),
        false => {
            let unknown = unknown.into_iter().map(Arc::from);
            Err(ChunkError::NeedsVectors(unknown.collect()))
        }
    }
}

/// The parts between the boundaries, without white space around them.
fn parts(text: &str, sentences: &[Sentence], boundaries: &[usize]) -> Vec<Range<usize>> {
    let mut parts = vec![];
    let mut first = 0;
    for boundary in boundaries.iter().copied().chain([sentences.len()]) {
        let ends = sentences.get(first..boundary).unwrap_or_default();
        let Some((start, end)) = ends.first().zip(ends.last()) else {
            continue;
        };
        let part = &text[start.at.start..end.at.end];
        let start = start.at.start + part.len() - part.trim_start().len();
        let part = part.trim();
        if !part.is_empty() {
            parts.push(start..start + part.len());
        }
        first = boundary;
    }
    parts
}

/// The weights of Savitzky and Golay for 5 values and a polynomial of degree 2 (Analytical Chemistry 36, 1964,
/// table I).
const WEIGHTS: [f32; 5] = [
    -3.0 / 35.0,
    12.0 / 35.0,
    17.0 / 35.0,
    12.0 / 35.0,
    -3.0 / 35.0,
];

/// The values, but for the first two and the last two, smoothed.
fn smoothed(values: &[f32]) -> Vec<f32> {
    let mut smoothed = values.to_vec();
    for (to, values) in smoothed.iter_mut().skip(2).zip(values.windows(5)) {
        let weighted = WEIGHTS.iter().zip(values);
        *to = weighted.fold(0.0, |sum, (weight, value)| sum + weight * value);
    }
    smoothed
}

/// Where a value is lower than the one before, and not higher than the next one.
fn local_minima(values: &[f32]) -> Vec<usize> {
    let triples = values.windows(3).zip(1..);
    let minima = triples.filter(|(triple, _)| triple[1] < triple[0] && triple[1] <= triple[2]);
    minima.map(|(_, at)| at).collect()
}
