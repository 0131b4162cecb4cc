//! Splits a text by tokens (`ai.chunking_token`): those of the vectorizer's model, where it runs in the worker's
//! process, and otherwise those of cl100k_base, which OpenAI's embedding models have.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};
use unicode_segmentation::UnicodeSegmentation;

use super::sentence::ends;
use super::sentences::{Packing, Sentences, pack};
use super::{ChunkError, ChunkingError, Chunks, Sizes, sizes};
use crate::model::Tokenizer;
use crate::tokens;

/// Packs whole sentences, by their tokens. One that is longer than a chunk is split between words, and a word that
/// is longer between characters as a reader sees them.
///
/// The tokens of a chunk are added up from those of its parts. The encoder may divide the whole differently, so
/// that a chunk has one or two tokens more than its size.
#[derive(Clone, Debug)]
pub struct TokenSplitter {
    /// In tokens, those included that a model adds to each text.
    sizes: Sizes,
    encoder: Encoder,
}

/// What divides a text into tokens.
#[derive(Clone, Debug)]
pub(super) enum Encoder {
    Cl100k,
    /// The model's own, once it is known.
    Model(Arc<OnceLock<Tokenizer>>),
}

impl Encoder {
    /// OpenAI's; an error if this build lacks it.
    pub(super) const fn cl100k() -> Result<Self, ChunkingError> {
        match tokens::ARE_COUNTED {
            true => Ok(Self::Cl100k),
            false => Err(ChunkingError::NoTokens),
        }
    }

    /// A model's, which is not known yet.
    #[expect(clippy::unnecessary_wraps, reason = "another encoder may be missing")]
    pub(super) fn model() -> Result<Self, ChunkingError> {
        Ok(Self::Model(Arc::default()))
    }
}

impl TokenSplitter {
    pub(super) fn new(
        config: &Map<String, Value>,
        encoder: Encoder,
    ) -> Result<Self, ChunkingError> {
        let sizes = sizes(config)?;
        Ok(Self { sizes, encoder })
    }

    /// Whether a model's tokenizer counts, of whose speed nothing is known.
    pub(super) const fn has_model(&self) -> bool {
        matches!(self.encoder, Encoder::Model(_))
    }

    /// Whether it waits for the model's tokenizer.
    pub(super) fn needs_tokenizer(&self) -> bool {
        match &self.encoder {
            Encoder::Cl100k => false,
            Encoder::Model(tokenizer) => tokenizer.get().is_none(),
        }
    }

    /// Takes the model's tokenizer, if it waits for one.
    pub(super) fn set_tokenizer(&self, came: &Tokenizer) {
        if let Encoder::Model(tokenizer) = &self.encoder {
            tokenizer.get_or_init(|| came.clone());
        }
    }

    pub(super) fn chunk(&self, text: &str, chunks: &mut Chunks<'_>) -> Result<(), ChunkError> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let counter = match &self.encoder {
            Encoder::Cl100k => Counter {
                tokenizer: None,
                room: self.sizes.size,
            },
            Encoder::Model(tokenizer) => {
                let tokenizer = tokenizer.get().ok_or(ChunkError::NeedsTokenizer)?;
                Counter {
                    tokenizer: Some(tokenizer),
                    room: self.sizes.size.saturating_sub(tokenizer.added).max(1),
                }
            }
        };
        let mut sentences = Sentences::within(chunks.bytes_max);
        for end in ends(text) {
            counter.push(text, end, &mut sentences)?;
        }
        let packing = Packing::strict(Sizes {
            size: counter.room,
            overlap: self.sizes.overlap.min(counter.room),
        });
        pack(text, &sentences.sentences, packing, chunks)
    }
}

/// Cuts sentences to what fits into a chunk.
struct Counter<'a> {
    /// `None` for cl100k_base.
    tokenizer: Option<&'a Tokenizer>,
    /// The tokens of a chunk, without those that a model adds.
    room: usize,
}

impl Counter<'_> {
    /// Adds the sentence that ends here: in parts, if it is longer than a chunk.
    fn push(&self, text: &str, end: usize, sentences: &mut Sentences) -> Result<(), ChunkError> {
        let start = sentences.end();
        let sentence = &text[start..end];
        let size = self.count(sentence);
        if size <= self.room {
            return sentences.push_sized(end, size);
        }
        let mut held = 0;
        for (at, word) in words(sentence) {
            let size = self.count(word);
            if held + size <= self.room {
                held += size;
                continue;
            }
            if sentences.end() < start + at {
                sentences.push_sized(start + at, held)?;
            }
            held = match size <= self.room {
                true => size,
                false => self.push_word(start + at, word, sentences)?,
            };
        }
        if sentences.end() < end {
            sentences.push_sized(end, held)?;
        }
        Ok(())
    }

    /// Adds all of a long word but its last part, and returns the size of that.
    fn push_word(
        &self,
        start: usize,
        word: &str,
        sentences: &mut Sentences,
    ) -> Result<usize, ChunkError> {
        let mut held = 0;
        for (at, grapheme) in word.grapheme_indices(true) {
            let size = self.count(grapheme);
            if held > 0 && held + size > self.room {
                sentences.push_sized(start + at, held)?;
                held = 0;
            }
            held += size;
        }
        Ok(held)
    }

    /// The tokens of a part of a text, wherever it stands in a chunk: at its start, where white space is left out,
    /// "splits" has two of cl100k_base, and " splits" one elsewhere. (For a model, white space around a text is nothing.)
    fn count(&self, text: &str) -> usize {
        let trimmed = text.trim();
        if let Some(tokenizer) = self.tokenizer {
            return (tokenizer.count)(trimmed);
        }
        // Without an encoder there is no such splitter.
        let count = |text: &str| tokens::count(text).unwrap_or(text.len());
        match trimmed.len() == text.len() {
            true => count(text),
            false => count(text).max(count(trimmed)),
        }
    }
}

/// The words of a text, each with the white space before it: a token often has both.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    let parts = text.split_word_bound_indices();
    parts.filter_map(move |(at, part)| {
        let end = at + part.len();
        if part.trim().is_empty() && end < text.len() {
            return None;
        }
        let word = (start, &text[start..end]);
        start = end;
        Some(word)
    })
}

#[cfg(feature = "tokens")]
#[cfg(test)]
mod tests {
    use super::super::Chunker;
    use super::*;
    use serde_json::json;

    fn chunks(text: &str, size: usize, overlap: usize) -> Vec<String> {
        let config =
            json!({"implementation": "token", "chunk_size": size, "chunk_overlap": overlap});
        Chunker::parse(&config).unwrap().chunk(text).unwrap()
    }

    fn count(text: &str) -> usize {
        let counter = Counter {
            tokenizer: None,
            room: 1,
        };
        counter.count(text)
    }

    fn ink(text: &str) -> String {
        text.chars().filter(|c| !c.is_whitespace()).collect()
    }

    #[test]
    fn sentences_are_packed_by_their_tokens() {
        // Five tokens each.
        let text = "One two three four. Five six seven eight. Nine ten eleven twelve.";
        assert_eq!(
            chunks(text, 12, 0),
            [
                "One two three four. Five six seven eight.",
                "Nine ten eleven twelve."
            ]
        );
        assert_eq!(
            chunks(text, 3, 0)[..2],
            ["One two three".to_owned(), "four.".to_owned()]
        );
        assert_eq!(chunks("", 3, 0), [""; 0]);
    }

    #[test]
    fn tokens_of_a_model_are_those_of_its_tokenizer_with_the_ones_that_it_adds() {
        let config = json!({"implementation": "token", "chunk_size": 5, "chunk_overlap": 0});
        let chunker = Chunker::parse_for_model(&config).unwrap();
        assert!(chunker.needs_tokenizer());
        assert_eq!(chunker.chunk(" \n"), Ok(vec![]), "whatever the tokens are");
        let text = "One two. Three four five six seven. Eight.";
        assert_eq!(chunker.chunk(text), Err(ChunkError::NeedsTokenizer));
        // A word is a token here, and two are added to each text.
        chunker.set_tokenizer(&Tokenizer {
            added: 2,
            count: Arc::new(|text| text.unicode_words().count()),
        });
        assert!(!chunker.needs_tokenizer());
        let chunks = chunker.chunk(text).unwrap();
        assert_eq!(chunks, ["One two.", "Three four five", "six seven. Eight."]);
    }

    #[test]
    fn chunks_have_at_most_two_tokens_more_than_their_size_and_nothing_is_lost() {
        let mut texts = vec![
            include_str!("../../../../docs/chunking.md").to_owned(),
            include_str!("token.rs").to_owned(),
            "日本語の文章です。とても長い文章もあります。".repeat(20),
            "Donaudampfschifffahrtsgesellschaftskapitän".repeat(9),
            "👩‍👧 family 🏳️‍🌈 ".repeat(30),
            "a\n\n \t b. ".repeat(50),
        ];
        texts.push(texts.concat());
        for text in &texts {
            for size in [1, 2, 3, 7, 20, 64, 256] {
                for overlap in [0, size / 2] {
                    let chunks = chunks(text, size, overlap);
                    for chunk in &chunks {
                        let is_one = chunk.graphemes(true).count() == 1;
                        assert!(count(chunk) <= size + 2 || is_one, "{size}: {chunk:?}");
                        assert!(text.contains(chunk.as_str()));
                    }
                    if overlap == 0 {
                        assert_eq!(ink(&chunks.concat()), ink(text));
                    }
                }
            }
        }
    }
}
