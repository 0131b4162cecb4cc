//! A cross-encoder: a model that reads a question together with a text, and says how well the text answers it.

use std::path::Path;

use rayon::prelude::*;
use tokenizers::{Tokenizer, TruncationParams, TruncationStrategy};

use crate::bert::{Bert, Sequence};
use crate::description::{self, OpenError};
use crate::model::{EmbedError, open_tokenizer};
use crate::weights::Weights;

/// A loaded cross-encoder: a BERT that was trained to classify pairs of texts, with one label.
#[derive(Debug)]
pub struct CrossEncoder {
    bert: Bert,
    pooler: Dense,
    classifier: Dense,
    tokenizer: Tokenizer,
}

/// A linear function; its weight is outputs by inputs.
#[derive(Debug)]
struct Dense {
    bias: Vec<f32>,
    weight: Vec<f32>,
}

/// Where the encoder of such a model is.
const ENCODER: &str = "bert";

impl CrossEncoder {
    /// Loads the model in a directory.
    ///
    /// # Errors
    /// If a file is missing or damaged, or if the model is not supported.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let (shape, tokens_max) = description::read_pair_classifier(directory)?;
        let mut tokenizer = open_tokenizer(directory, &shape)?;
        let truncation = TruncationParams {
            max_length: tokens_max,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        tokenizer
            .with_truncation(Some(truncation))
            .map_err(|error| OpenError::Malformed {
                path: directory.join("tokenizer.json"),
                reason: error.to_string(),
            })?;
        let mut weights = Weights::open(directory)?;
        let pooler = format!("{ENCODER}.pooler.dense");
        Ok(Self {
            bert: Bert::read(&mut weights, &shape)?,
            pooler: Dense::read(&mut weights, &pooler, shape.hidden, shape.hidden)?,
            classifier: Dense::read(&mut weights, "classifier", shape.hidden, 1)?,
            tokenizer,
        })
    }

    /// Scores each text, in order: a higher score is a better answer. It is what the model computes, before any function
    /// that would bring it between 0 and 1. The longer of question and text is truncated where both are longer than the
    /// model reads.
    ///
    /// Computes on rayon's threads and blocks until all scores are there.
    ///
    /// # Errors
    /// If a text cannot be tokenized, or a score is not finite.
    pub fn scores(&self, question: &str, texts: &[&str]) -> Result<Vec<f32>, EmbedError> {
        let texts = texts.par_iter().enumerate();
        texts
            .map(|(index, text)| self.score(index, question.trim(), text.trim()))
            .collect()
    }

    fn score(&self, index: usize, question: &str, text: &str) -> Result<f32, EmbedError> {
        let encoding = self.tokenizer.encode_fast((question, text), true);
        let encoding = encoding.map_err(|error| EmbedError::Tokens {
            index,
            reason: error.to_string(),
        })?;
        let types = encoding.get_type_ids();
        let second = types
            .iter()
            .position(|&kind| kind > 0)
            .unwrap_or(types.len());
        let tokens = encoding.get_ids();
        let hidden = self.bert.encode(&[Sequence { tokens, second }], 1);
        let hidden = hidden.map_err(|error| EmbedError::Computation(error.to_string()))?;
        // The first token stands for the pair.
        let mut pooled = self.pooler.apply(&hidden[..self.pooler.bias.len()]);
        pooled.iter_mut().for_each(|x| *x = x.tanh());
        let score = self.classifier.apply(&pooled)[0];
        if score.is_finite() {
            Ok(score)
        } else {
            Err(EmbedError::NotFinite { index })
        }
    }
}

impl Dense {
    fn read(
        weights: &mut Weights,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            bias: weights.read(&format!("{name}.bias"), &[outputs])?,
            weight: weights.read(&format!("{name}.weight"), &[outputs, inputs])?,
        })
    }

    fn apply(&self, row: &[f32]) -> Vec<f32> {
        let outputs = self.weight.chunks_exact(row.len()).zip(&self.bias);
        outputs
            .map(|(weights, bias)| {
                let products = weights.iter().zip(row).map(|(weight, x)| weight * x);
                products.sum::<f32>() + bias
            })
            .collect()
    }
}
