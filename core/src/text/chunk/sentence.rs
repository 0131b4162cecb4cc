//! Splits a text at its sentences (`ai.chunking_sentence`), which are found by Unicode's rules.

use serde_json::{Map, Value};
use unicode_segmentation::UnicodeSegmentation;

use super::sentences::{Packing, Sentences, pack};
use super::{ChunkError, ChunkingError, Chunks, Sizes, sizes};

/// Packs whole sentences. One that is longer than a chunk is split between words, and a word that is
/// longer between characters as a reader sees them.
#[derive(Clone, Debug)]
pub struct SentenceSplitter {
    sizes: Sizes,
}

impl SentenceSplitter {
    pub(super) fn new(config: &Map<String, Value>) -> Result<Self, ChunkingError> {
        Ok(Self {
            sizes: sizes(config)?,
        })
    }

    pub(super) fn chunk(&self, text: &str, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        let mut sentences = Sentences::within(chunks.bytes_max);
        for end in ends(text) {
            self.push(text, end, &mut sentences)?;
        }
        let packing = Packing::strict(self.sizes);
        pack(text, &sentences.sentences, packing, chunks)
    }

    /// Adds the sentence that ends here: in parts, if it is longer than a chunk.
    fn push(&self, text: &str, end: usize, sentences: &mut Sentences) -> Result<(), ChunkError> {
        let start = sentences.end();
        let sentence = &text[start..end];
        if self.fits(sentence) {
            return sentences.push(text, end);
        }
        // The characters since the last part: counted once, because a part may be long.
        let mut held = 0;
        for (at, word) in sentence.split_word_bound_indices() {
            let characters = word.chars().count();
            if held + characters <= self.sizes.size {
                held += characters;
                continue;
            }
            if sentences.end() < start + at {
                sentences.push(text, start + at)?;
            }
            held = match characters <= self.sizes.size {
                true => characters,
                false => self.push_word(text, start + at, word, sentences)?,
            };
        }
        if sentences.end() < end {
            sentences.push(text, end)?;
        }
        Ok(())
    }

    /// Adds all of a long word but its last part, and returns the characters of that.
    fn push_word(
        &self,
        text: &str,
        start: usize,
        word: &str,
        sentences: &mut Sentences,
    ) -> Result<usize, ChunkError> {
        let mut held = 0;
        for (at, grapheme) in word.grapheme_indices(true) {
            let characters = grapheme.chars().count();
            if held > 0 && held + characters > self.sizes.size {
                sentences.push(text, start + at)?;
                held = 0;
            }
            held += characters;
        }
        Ok(held)
    }

    fn fits(&self, part: &str) -> bool {
        part.chars().nth(self.sizes.size).is_none()
    }
}

/// Where the sentences of a text end.
pub(super) fn ends(text: &str) -> impl Iterator<Item = usize> {
    let mut start = 0;
    let parts = text.split_sentence_bound_indices();
    parts.filter_map(move |(at, part)| {
        let end = at + part.len();
        if end < text.len() && goes_on(&text[start..end], &text[end..]) {
            return None;
        }
        start = end;
        Some(end)
    })
}

/// Whether the sentence goes on, although Unicode's rules (UAX #29) end it: they know no abbreviations,
/// and end a sentence with each line.
fn goes_on(sentence: &str, rest: &str) -> bool {
    let trimmed = sentence.trim_end();
    if trimmed.is_empty() {
        return false;
    }
    let space = &sentence[trimmed.len()..];
    if space.contains(['\n', '\r', '\u{2029}']) {
        // A line of a paragraph, if the next one starts in the middle of a sentence.
        let is_blank = space.matches('\n').count() > 1;
        return !is_blank && rest.chars().next().is_some_and(char::is_lowercase);
    }
    // The closing quotation mark after a space, as in French.
    let mut next = rest.chars();
    if next.next() == Some('»') && next.next().is_none_or(char::is_whitespace) {
        return true;
    }
    let Some(before) = trimmed.strip_suffix('.') else {
        return false;
    };
    let word = before
        .rsplit(|c: char| c.is_whitespace() || c == '(')
        .next();
    word.is_some_and(|word| is_abbreviation(word) || is_number_of_item(word, before))
}

/// A number at the start of a sentence is that of a list's item, or a day ("3. Oktober").
fn is_number_of_item(word: &str, before: &str) -> bool {
    let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
    is_number && (word.len() <= 2 || before.trim_start() == word)
}

/// Whether a word with a full stop after it is more likely an abbreviation than the end of a sentence.
fn is_abbreviation(word: &str) -> bool {
    let letters = word.rsplit('.').next().unwrap_or(word);
    // An initial, or the last part of "e.g", "z.B", "p.ex".
    let is_initial = letters.chars().count() == 1 && letters.chars().all(char::is_alphabetic);
    let has_points = word.contains('.') && letters.chars().count() <= 3;
    is_initial || has_points || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Titles and words that are written with a full stop before a capital or a number, in English, German,
/// French, Spanish, Italian, Portuguese and Dutch. What often ends a sentence, such as "etc.", is not
/// here.
const ABBREVIATIONS: [&str; 76] = [
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "fig", "figs", "no", "nos", "vol",
    "pp", "ed", "eds", "al", "approx", "dept", "gen", "col", "sgt", "capt", "lt", "rev", "hon",
    "gov", "sen", "rep", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct",
    "nov", "dec", "cf", "bzw", "ca", "nr", "abb", "bd", "hr", "fr", "str", "evtl", "ggf", "inkl",
    "vgl", "mme", "mlle", "mm", "env", "sra", "srta", "ud", "uds", "pág", "núm", "sig", "sigg",
    "dott", "avv", "pag", "exmo", "dhr", "mevr", "bijv", "art", "sec",
];
