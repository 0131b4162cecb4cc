//! `resync --verify`: embeds a sample of the stored chunks again, and compares the vectors with those that are stored.
//! It shows whether a store that was adopted, copied or restored has vectors of this model.

use std::sync::Arc;

use super::question::{Embedded, Next, Question};
use super::{Answer, Ask, field, key};
use crate::provider::Purpose;
use crate::query::{Key, Param, Rows};
use crate::settings::Settings;
use crate::text::cosine;
use crate::vectorizer::Profile;

/// The least cosine of two vectors that one model made of one text. Servers differ in their last digits, and `halfvec`
/// has three of them; another model, or another prompt, differs by far more.
const COSINE_MIN: f32 = 0.99;

/// See the module.
pub(super) struct Verify {
    profile: Arc<Profile>,
    sampled: Vec<Sampled>,
    question: Option<Question>,
}

struct Sampled {
    key: Key,
    chunk_seq: String,
    vector: Vec<f32>,
}

/// What comes after an answer.
pub(super) enum Verified {
    Ask(Ask),
    /// They are the same. In words.
    Same(String),
}

impl Verify {
    /// The vectors of this vectorizer, and the statement that chooses the sample.
    pub(super) fn begin(profile: Profile, sample: u16) -> Result<(Self, Ask), String> {
        let transfer = profile.plan.transfer.as_ref().ok_or_else(|| {
            format!(
                "the vectorizer {} writes to a column of its source, which keeps no chunks: --verify has nothing to \
                 embed",
                profile.name
            )
        })?;
        let ask = Ask::query(transfer.sample.clone(), vec![Param::Int(i64::from(sample))]);
        let verify = Self {
            profile: Arc::new(profile),
            sampled: vec![],
            question: None,
        };
        Ok((verify, ask))
    }

    pub(super) fn next(&mut self, answer: Answer, settings: &Settings) -> Result<Verified, String> {
        match (answer, &mut self.question) {
            (Answer::Reply(reply), Some(question)) => match question.answered(reply)? {
                Next::Call(call) => Ok(Verified::Ask(call.into())),
                Next::Vectors(embedded) => self.compare(&embedded),
            },
            (answer, _) => self.embed(&answer.rows()?, settings),
        }
    }

    fn embed(&mut self, rows: &Rows, settings: &Settings) -> Result<Verified, String> {
        let columns = self.profile.plan.key_columns;
        let mut texts: Vec<Arc<str>> = vec![];
        for row in rows {
            texts.push(field(row, columns + 1).into());
            let key = (0..columns).map(|at| field(row, at).to_owned());
            self.sampled.push(Sampled {
                key: Key(key.collect()),
                chunk_seq: field(row, columns).to_owned(),
                vector: components(field(row, columns + 2)),
            });
        }
        if texts.is_empty() {
            return Ok(Verified::Same("no vector is stored".to_owned()));
        }
        let profile = Arc::clone(&self.profile);
        let times = (settings.request_timeout(), settings.wall_start);
        let question = Question::of(profile, texts, Purpose::Document, times);
        let ask = question.call().into();
        self.question = Some(question);
        Ok(Verified::Ask(ask))
    }

    fn compare(&self, embedded: &Embedded) -> Result<Verified, String> {
        let mut least = 1.0_f32;
        let mut differing = 0_u32;
        let mut worst = None;
        for (sampled, vector) in self.sampled.iter().zip(&embedded.vectors) {
            let cosine = cosine(&sampled.vector, vector);
            differing += u32::from(cosine < COSINE_MIN);
            if worst.is_none() || cosine < least {
                least = cosine;
                worst = Some(sampled);
            }
        }
        let count = self.sampled.len();
        let Some(worst) = worst.filter(|_| differing > 0) else {
            return Ok(Verified::Same(format!(
                "{count} stored vectors are those of the provider: their cosine is at least {least:.4}"
            )));
        };
        let provider = &self.profile.provider;
        Err(format!(
            "{differing} of {count} stored vectors are not what {}, model {:?}, makes of their chunks: the cosine is \
             {least:.4} for chunk {} of the row {}, and at least {COSINE_MIN} is wanted. Nothing was compared. Give \
             the vectorizer the embedding that made its vectors, or embed all rows anew with select \
             ai.reembed_vectorizer('{}')",
            provider.account().provider,
            provider.model,
            worst.chunk_seq,
            key::text(&worst.key.0),
            self.profile.name
        ))
    }
}

/// The components of a vector as pgvector writes it.
fn components(text: &str) -> Vec<f32> {
    let inner = text.trim_start_matches('[').trim_end_matches(']');
    inner.split(',').filter_map(|it| it.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_is_that_of_the_directions() {
        assert!((cosine(&components("[1,2]"), &[2.0, 4.0]) - 1.0).abs() < 1e-9);
        assert!(cosine(&components("[1,0]"), &[0.0, 1.0]).abs() < 1e-9);
        assert!(cosine(&components("[0,0]"), &[0.0, 1.0]).abs() < 1e-9);
        assert!(cosine(&components("[1,0,0]"), &[0.0, 1.0]).abs() < 1e-9);
    }
}
