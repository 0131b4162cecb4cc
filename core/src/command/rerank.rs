//! Texts that a reranker scores, in as many requests as that takes.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, Reply};
use crate::provider::Reranker;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reranking {
    reranker: Arc<Reranker>,
    query: Arc<str>,
    texts: Vec<Arc<str>>,
    /// Of the first texts.
    scores: Vec<f64>,
    timeout: Duration,
    /// The time since 1970.
    wall: Duration,
}

/// What comes after an answer.
#[derive(Debug)]
pub(crate) enum After {
    Call(Call),
    /// One for each text.
    Scores(Vec<f64>),
}

/// How many chunks a reranker reads, at least: what a search has not found, it cannot move up.
const READ: u32 = 50;

/// How many chunks to find for a reranker that is to choose the best `k`.
pub(crate) const fn candidates(k: u32) -> u32 {
    let more = k.saturating_mul(3);
    if more < READ { READ } else { more }
}

impl Reranking {
    /// Of at least one text.
    pub(crate) fn new(
        reranker: Arc<Reranker>,
        query: &str,
        texts: Vec<Arc<str>>,
        (timeout, wall): (Duration, Duration),
    ) -> Self {
        Self {
            reranker,
            query: Arc::from(query),
            texts,
            scores: vec![],
            timeout,
            wall,
        }
    }

    fn batch(&self) -> &[Arc<str>] {
        let left = &self.texts[self.scores.len().min(self.texts.len())..];
        &left[..left.len().min(self.reranker.inputs_max())]
    }

    /// The next request.
    pub(crate) fn call(&self) -> Call {
        self.reranker.call(&self.query, self.batch(), self.timeout)
    }

    /// What an answer brings.
    ///
    /// # Errors
    /// Why there are no scores.
    pub(crate) fn answered(&mut self, reply: Reply) -> Result<After, String> {
        let scores = self.reranker.scores(reply, self.batch().len(), self.wall)?;
        self.scores.extend(scores);
        Ok(if self.scores.len() < self.texts.len() {
            After::Call(self.call())
        } else {
            After::Scores(std::mem::take(&mut self.scores))
        })
    }
}
