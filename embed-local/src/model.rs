//! The interface of a model for the shells: texts in, vectors out.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use thiserror::Error;
use tokenizers::{PostProcessor as _, Tokenizer, TruncationDirection};

use crate::bert::{Bert, Sequence};
use crate::description::{Description, OpenError, Shape, read};
use crate::find::{self, FindError};
use crate::kernel::{normalize, pool_rows};
use crate::weights::Weights;

/// Tokens that are computed together: enough for large matrices, few enough for the CPU caches.
const BATCH_TOKENS: usize = 512;

/// Why texts could not be embedded.
#[derive(Debug, Error)]
pub enum EmbedError {
    /// The matrices could not be computed.
    #[error("the model could not be computed: {0}")]
    Computation(String),
    /// The vector of a text contains a value that is not finite.
    #[error("the model's vector for text {index} has numbers that are not finite")]
    NotFinite {
        /// Which text of the call, from zero.
        index: usize,
    },
    /// A text cannot be tokenized.
    #[error("text {index} cannot be made into tokens: {reason}")]
    Tokens {
        /// Which text of the call, from zero.
        index: usize,
        /// The error of the tokenizer.
        reason: String,
    },
}

/// A loaded sentence-transformers model.
#[derive(Debug)]
pub struct Model {
    bert: Bert,
    description: Description,
    tokenizer: Tokenizer,
}

/// The vectors of some texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// One vector for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// The number of texts that were longer than the model's limit.
    pub truncated: usize,
}

/// The tokens of a text.
struct Tokens {
    /// The tokens that the model reads.
    read: Vec<u32>,
    /// The number of tokens beyond the model's limit.
    cut: usize,
}

impl Model {
    /// Finds the directory of a model: a path, or a name that is looked up in `models_dir`.
    ///
    /// A name such as `sentence-transformers/all-MiniLM-L6-v2` means the first of these that is a
    /// directory in `models_dir`: the name itself, its last part, and its directory in the
    /// Hugging Face cache (`models--sentence-transformers--all-MiniLM-L6-v2/snapshots/…`).
    ///
    /// # Errors
    /// If there is no such directory; the error contains all paths that were tried.
    pub fn find(name_or_path: &str, models_dir: Option<&Path>) -> Result<PathBuf, FindError> {
        find::find(name_or_path, models_dir)
    }

    /// Loads the model in a directory.
    ///
    /// # Errors
    /// If a file is missing or damaged, or if the model is not supported.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let description = Description::read(directory)?;
        let tokenizer = open_tokenizer(directory, &description.shape)?;
        let bert = Bert::read(&mut Weights::open(directory)?, &description.shape)?;
        Ok(Self {
            bert,
            description,
            tokenizer,
        })
    }

    /// Returns the number of tokens of a text, including the [added ones](Self::added_tokens). The
    /// model reads at most [`max_tokens`](Self::max_tokens) of them.
    ///
    /// # Errors
    /// If the text cannot be made into tokens.
    pub fn count_tokens(&self, text: &str) -> Result<usize, EmbedError> {
        let tokens = self.tokens(0, text)?;
        Ok(tokens.read.len() + tokens.cut)
    }

    /// Returns the number of special tokens that stand around the tokens of each text.
    pub fn added_tokens(&self) -> usize {
        let framing = self.tokenizer.get_post_processor();
        framing.map_or(0, |framing| framing.added_tokens(false))
    }

    /// Returns the number of components of every vector.
    pub fn dimensions(&self) -> usize {
        self.description.shape.hidden
    }

    /// Computes one vector for each text, in order. A longer text is truncated at
    /// [`max_tokens`](Self::max_tokens), and counted.
    ///
    /// Computes on rayon's threads and blocks until all vectors are done, which takes some ten
    /// milliseconds for each text.
    ///
    /// # Errors
    /// If a text cannot be tokenized, or a vector is not finite.
    pub fn embed(&self, texts: &[&str]) -> Result<Embedded, EmbedError> {
        let tokens: Vec<Tokens> = texts
            .par_iter()
            .enumerate()
            .map(|(index, text)| self.tokens(index, text))
            .collect::<Result<_, EmbedError>>()?;
        let truncated = tokens.iter().filter(|tokens| tokens.cut > 0).count();
        let mut tokens: Vec<(usize, Vec<u32>)> = tokens
            .into_iter()
            .map(|tokens| tokens.read)
            .enumerate()
            .collect();
        // The long ones first: what is left at the end, when not all threads have work, is short.
        tokens.sort_by_key(|(index, tokens)| (usize::MAX - tokens.len(), *index));
        let batches = batches(&tokens);
        let threads = match batches.len() {
            1 => rayon::current_num_threads(),
            _ => 1,
        };
        let done: Vec<Vec<(usize, Vec<f32>)>> = batches
            .into_par_iter()
            .map(|batch| self.embed_batch(batch, threads))
            .collect::<Result<_, EmbedError>>()?;
        let mut vectors = vec![Vec::new(); texts.len()];
        for (index, vector) in done.into_iter().flatten() {
            vectors[index] = vector;
        }
        Ok(Embedded { vectors, truncated })
    }

    /// Returns the maximum number of tokens that the model reads of a text.
    pub fn max_tokens(&self) -> usize {
        self.description.tokens_max
    }

    /// Returns the model's prompt for search texts, often empty. The caller puts it in front of the
    /// text; its tokens count.
    pub fn query_prompt(&self) -> &str {
        &self.description.query_prompt
    }

    fn tokens(&self, index: usize, text: &str) -> Result<Tokens, EmbedError> {
        // As sentence-transformers does it.
        let text = text.trim();
        let text = match self.description.lower_case {
            true => Cow::Owned(text.to_lowercase()),
            false => Cow::Borrowed(text),
        };
        let failed = |reason| EmbedError::Tokens { index, reason };
        // Truncated here and not by the tokenizer, which would not say how much it left out.
        let mut encoding = self
            .tokenizer
            .encode_fast(text.as_ref(), false)
            .map_err(|error| failed(error.to_string()))?;
        let cut = (encoding.len() + self.added_tokens()).saturating_sub(self.max_tokens());
        encoding.truncate(encoding.len() - cut, 0, TruncationDirection::Right);
        let encoding = self
            .tokenizer
            .post_process(encoding, None, true)
            .map_err(|error| failed(error.to_string()))?;
        let read = encoding.get_ids().to_vec();
        if read.is_empty() {
            return Err(failed("it has none".to_owned()));
        }
        Ok(Tokens { read, cut })
    }

    fn embed_batch(
        &self,
        batch: &[(usize, Vec<u32>)],
        threads: usize,
    ) -> Result<Vec<(usize, Vec<f32>)>, EmbedError> {
        let texts = batch.iter().map(|(_, tokens)| Sequence::single(tokens));
        let texts: Vec<Sequence<'_>> = texts.collect();
        let hidden = self
            .bert
            .encode(&texts, threads)
            .map_err(|error| EmbedError::Computation(error.to_string()))?;
        let width = self.dimensions();
        let mut rest = hidden.as_slice();
        let mut vectors = Vec::with_capacity(batch.len());
        for (index, tokens) in batch {
            let (rows, after) = rest.split_at(tokens.len() * width);
            rest = after;
            let mut vector = pool_rows(rows, width, self.description.pooling);
            if self.description.normalize {
                normalize(&mut vector);
            }
            if !vector.iter().all(|x| x.is_finite()) {
                return Err(EmbedError::NotFinite { index: *index });
            }
            vectors.push((*index, vector));
        }
        Ok(vectors)
    }
}

pub(crate) fn open_tokenizer(directory: &Path, shape: &Shape) -> Result<Tokenizer, OpenError> {
    let file = "tokenizer.json";
    let malformed = |reason: String| OpenError::Malformed {
        path: directory.join(file),
        reason,
    };
    let bytes = read(directory, file)?;
    let mut tokenizer =
        Tokenizer::from_bytes(bytes).map_err(|error| malformed(error.to_string()))?;
    // The file's own limits are those of its training.
    tokenizer
        .with_truncation(None)
        .map_err(|error| malformed(error.to_string()))?;
    tokenizer.with_padding(None);
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
    if largest >= shape.vocabulary {
        return Err(malformed(format!(
            "it has a token {largest}, and config.json a vocabulary of {}",
            shape.vocabulary
        )));
    }
    Ok(tokenizer)
}

/// Groups of adjacent texts with at most [`BATCH_TOKENS`] tokens, at least one text each.
fn batches<T>(texts: &[(T, Vec<u32>)]) -> Vec<&[(T, Vec<u32>)]> {
    let mut batches = Vec::new();
    let mut rest = texts;
    while !rest.is_empty() {
        let mut total = 0;
        let fit = rest
            .iter()
            .take_while(|(_, tokens)| {
                total += tokens.len();
                total <= BATCH_TOKENS
            })
            .count();
        let (batch, after) = rest.split_at(fit.max(1));
        batches.push(batch);
        rest = after;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lengths: &[usize], expect: &[usize]) {
        let texts: Vec<((), Vec<u32>)> = lengths.iter().map(|&n| ((), vec![0; n])).collect();
        let sizes: Vec<usize> = batches(&texts).iter().map(|batch| batch.len()).collect();
        assert_eq!(sizes, expect, "{lengths:?}");
    }

    #[test]
    fn a_batch_takes_as_many_texts_as_fit_and_at_least_one() {
        check(&[], &[]);
        check(&[600, 512, 511, 2], &[1, 1, 1, 1]);
        check(&[256, 256, 3], &[2, 1]);
        check(&[100; 12], &[5, 5, 2]);
    }

    #[test]
    fn a_model_can_be_shared_between_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Model>();
        check::<OpenError>();
        check::<FindError>();
        check::<EmbedError>();
    }
}
