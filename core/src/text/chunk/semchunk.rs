//! The chunker `semchunk` of pgai-rs (`ai.chunking_semchunk`): the same chunks as of the crate julienne
//! 0.1.0, which pgai-rs used.
//!
//! It is not that crate, because that counts characters from the start of the text for each chunk, and
//! measures each chunk anew for each piece of it.

use std::ops::Range;

use serde_json::{Map, Value};

use super::{ChunkError, ChunkingError, Chunks, Sizes, optional_flag, sizes};

/// Splits at the coarsest delimiters that occur, merges the pieces, and splits what is still too long at
/// the next finer ones.
#[derive(Clone, Debug)]
pub struct SemchunkSplitter {
    sizes: Sizes,
    levels: &'static [Level; 10],
}

/// What a text is split at, of the coarsest level first.
#[derive(Clone, Copy, Debug)]
enum Level {
    /// The longest run of this character, which is left out.
    Run(char),
    /// The longest of these texts that occurs, which stays at the end of its piece.
    Marks(&'static [&'static str]),
}

const LEVELS: [Level; 10] = [
    Level::Run('\n'),
    Level::Run('\t'),
    Level::Marks(&[
        "... ", "...", "… ", "…", ". ", "? ", "! ", "* ", ".", "?", "!", "*",
    ]),
    Level::Marks(&[", ", "; ", ",", ";"]),
    Level::Marks(&[
        ") ", "] ", "} ", "( ", "[ ", "{ ", ")", "]", "}", "(", "[", "{",
    ]),
    Level::Marks(&["\" ", "' ", "\"", "'"]),
    Level::Marks(&[" -- ", "-- ", ": ", ":", "--"]),
    Level::Marks(&[
        "@ ", "# ", "$ ", "% ", "= ", "+ ", "| ", "@", "#", "$", "%", "=", "+", "|",
    ]),
    Level::Run(' '),
    Level::Marks(&[" / ", " \\ ", " & ", " - ", "/", "\\", "&", "-"]),
];

/// The levels of `strict_mode`, where a line's end counts like a space.
const LEVELS_STRICT: [Level; 10] = [
    Level::Run('\n'),
    Level::Run('\t'),
    Level::Marks(&[
        "...\n", "... ", "...", "…\n", "… ", "…", ".\n", "?\n", "!\n", "*\n", ". ", "? ", "! ",
        "* ", ".", "?", "!", "*",
    ]),
    Level::Marks(&[",\n", ";\n", ", ", "; ", ",", ";"]),
    Level::Marks(&[
        ")\n", "]\n", "}\n", "( ", "[ ", "{ ", ") ", "] ", "} ", ")", "]", "}", "(", "[", "{",
    ]),
    Level::Marks(&["\"\n", "'\n", "\" ", "' ", "\"", "'"]),
    Level::Marks(&[
        "...\n", "... ", "...", " -- ", "-- ", ": ", ":\n", ":", "--",
    ]),
    Level::Marks(&[
        "@\n", "#\n", "$\n", "%\n", "=\n", "+\n", "|\n", "@ ", "# ", "$ ", "% ", "= ", "+ ", "| ",
        "@", "#", "$", "%", "=", "+", "|",
    ]),
    Level::Run(' '),
    Level::Marks(&[
        " /\n", " \\\n", " &\n", " -\n", " / ", " \\ ", " & ", " - ", "/", "\\", "&", "-",
    ]),
];

impl SemchunkSplitter {
    /// `memoize` is accepted and changes no chunk.
    pub(super) fn new(config: &Map<String, Value>) -> Result<Self, ChunkingError> {
        optional_flag(config, "memoize")?;
        let is_strict = optional_flag(config, "strict_mode")?;
        Ok(Self {
            sizes: sizes(config)?,
            levels: if is_strict { &LEVELS_STRICT } else { &LEVELS },
        })
    }

    pub(super) fn chunk(&self, text: &str, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        match text.trim() {
            "" => Ok(()),
            text => self.split(text, self.levels, chunks),
        }
    }

    /// Recurses once per level at most.
    fn split(
        &self,
        text: &str,
        levels: &[Level],
        chunks: &mut Chunks<'_>,
    ) -> Result<(), ChunkError> {
        if text.chars().nth(self.sizes.size).is_none() {
            return chunks.add(text);
        }
        let Some((level, finer)) = levels.split_first() else {
            return self.merge(text, &characters(text, chunks.bytes_max)?, chunks, None);
        };
        let delimiter = level.find(text);
        let pieces = match &delimiter {
            Some((delimiter, is_kept)) => pieces(text, delimiter, *is_kept, chunks.bytes_max)?,
            None => vec![],
        };
        match pieces.len() {
            0 | 1 => self.split(text, finer, chunks),
            _ => self.merge(text, &pieces, chunks, Some(finer)),
        }
    }

    /// Merges as many pieces as fit. What is longer than a chunk is split at finer levels, if any.
    fn merge(
        &self,
        text: &str,
        pieces: &[Piece],
        chunks: &mut Chunks<'_>,
        finer: Option<&[Level]>,
    ) -> Result<(), ChunkError> {
        let mut start = 0;
        while start < pieces.len() {
            let end = self.end_of_chunk(pieces, start);
            let chunk = span(pieces, start..end);
            match (chunk, finer) {
                (Some((at, size)), Some(finer)) if size > self.sizes.size => {
                    self.split(&text[at], finer, chunks)?;
                }
                (Some((at, _)), _) => chunks.add(&text[at])?,
                (None, _) => {}
            }
            if end >= pieces.len() {
                break;
            }
            start = self.start_of_next(pieces, start, end);
        }
        Ok(())
    }

    /// The end of the longest chunk from `start` on that fits: one piece at least.
    fn end_of_chunk(&self, pieces: &[Piece], start: usize) -> usize {
        let mut fits = start + 1;
        for end in start + 1..=pieces.len() {
            match span(pieces, start..end) {
                None => break,
                Some((_, size)) if size > self.sizes.size && end > start + 1 => break,
                Some(_) => fits = end,
            }
        }
        fits
    }

    /// Goes back from the end of a chunk as far as the overlap allows, but not to its start.
    fn start_of_next(&self, pieces: &[Piece], start: usize, end: usize) -> usize {
        if self.sizes.overlap == 0 {
            return end;
        }
        let mut next = end;
        while next > start {
            match span(pieces, next - 1..end) {
                Some((_, size)) if size <= self.sizes.overlap => next -= 1,
                Some(_) | None => break,
            }
        }
        next.max(start + 1).min(end)
    }
}

impl Level {
    /// What the text is split at on this level, and whether it stays.
    fn find(self, text: &str) -> Option<(String, bool)> {
        match self {
            Self::Run(character) => {
                let runs = text.split(|c| c != character);
                let longest = runs.max_by_key(|run| run.len())?;
                (!longest.is_empty()).then(|| (longest.to_owned(), false))
            }
            Self::Marks(marks) => {
                let found = marks.iter().enumerate();
                let found = found.filter_map(|(order, mark)| Some((mark, text.find(mark)?, order)));
                // The longest, then the first in the text, then the first in the list.
                let best =
                    found.min_by_key(|(mark, at, order)| (usize::MAX - mark.len(), *at, *order))?;
                Some(((*best.0).to_owned(), true))
            }
        }
    }
}

/// A piece of a text between two delimiters, without the white space around it.
#[derive(Clone, Debug)]
struct Piece {
    /// In bytes; empty if the piece is only white space.
    at: Range<usize>,
    /// The characters of the text before it.
    before: usize,
    /// Its characters.
    characters: usize,
    /// The next piece, this one included, that is not only white space; the last one, to search
    /// backwards.
    next: usize,
    last: usize,
}

/// The place of neighbouring pieces in the text and its length in characters, without white space
/// around it; `None` if there is nothing else.
fn span(pieces: &[Piece], range: Range<usize>) -> Option<(Range<usize>, usize)> {
    let first = pieces.get(pieces.get(range.start)?.next)?;
    let last = pieces.get(pieces.get(range.end - 1)?.last)?;
    (first.at.start < last.at.end).then(|| {
        let characters = last.before + last.characters - first.before;
        (first.at.start..last.at.end, characters)
    })
}

/// The pieces of a text between delimiters, which are at the ends of pieces if they are kept.
fn pieces(
    text: &str,
    delimiter: &str,
    is_kept: bool,
    bytes_max: usize,
) -> Result<Vec<Piece>, ChunkError> {
    let mut start = 0;
    let found = text.match_indices(delimiter);
    let cuts = found.map(|(at, found)| (at, at + found.len()));
    let cuts = cuts.chain([(text.len(), text.len())]);
    let pieces = cuts.map(|(at, next)| {
        let piece = start..if is_kept { next } else { at };
        start = next;
        piece
    });
    measure(text, pieces.filter(|piece| !piece.is_empty()), bytes_max)
}

/// Each character as a piece.
fn characters(text: &str, bytes_max: usize) -> Result<Vec<Piece>, ChunkError> {
    let characters = text.char_indices();
    let characters = characters.map(|(at, character)| at..at + character.len_utf8());
    measure(text, characters, bytes_max)
}

/// Strips the white space around each piece, and counts the characters of each and before each. They
/// must have place in the memory of one row.
fn measure(
    text: &str,
    places: impl Iterator<Item = Range<usize>>,
    bytes_max: usize,
) -> Result<Vec<Piece>, ChunkError> {
    let mut pieces: Vec<Piece> = vec![];
    let (mut counted, mut before, mut last) = (0, 0, usize::MAX);
    for (number, place) in places.enumerate() {
        if number >= bytes_max / size_of::<Piece>() {
            return Err(ChunkError::TooManyParts(bytes_max));
        }
        let stripped = text[place.clone()].trim_start();
        let start = place.end - stripped.len();
        let stripped = stripped.trim_end();
        before += text[counted..start].chars().count();
        counted = start;
        if !stripped.is_empty() {
            last = number;
        }
        pieces.push(Piece {
            at: start..start + stripped.len(),
            before,
            characters: stripped.chars().count(),
            next: usize::MAX,
            last,
        });
    }
    let mut next = usize::MAX;
    for (number, piece) in pieces.iter_mut().enumerate().rev() {
        if !piece.at.is_empty() {
            next = number;
        }
        piece.next = next;
    }
    Ok(pieces)
}
