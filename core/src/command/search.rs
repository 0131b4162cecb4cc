//! `search`: shows the chunks nearest in meaning to some words.

use std::sync::Arc;

use serde_json::json;

use super::question::{Next, Question};
use super::table::short;
use super::{Answer, Ask, Steps, field, key, named};
use crate::provider::Purpose;
use crate::query::{Param, Rows};
use crate::settings::Settings;
use crate::vectorizer::Profile;

/// The arguments of `search`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SearchArgs {
    /// The vectorizer's name or id
    name: String,

    /// What to look for: the rest of the line
    #[arg(required = true, num_args = 1..)]
    words: Vec<String>,

    /// How many chunks
    #[arg(short, default_value = "5", value_name = "K")]
    k: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The number of characters of a chunk's text that a terminal shows.
const SHOWN: usize = 300;

#[derive(Debug)]
pub(super) struct Search {
    args: SearchArgs,
    settings: Settings,
    question: Option<Question>,
}

impl Search {
    pub(super) const fn new(args: SearchArgs, settings: Settings) -> Self {
        Self {
            args,
            settings,
            question: None,
        }
    }

    fn embed(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        definition.check_vectors()?;
        let profile = Profile::new(&definition, &self.settings)?;
        let words = self.args.words.join(" ");
        if words.trim().is_empty() {
            return Err("there are no words to look for".to_owned());
        }
        let profile = Arc::new(profile);
        let question = Question::new(profile, &words, Purpose::Query, &self.settings);
        let ask = question.call().into();
        self.question = Some(question);
        Ok(ask)
    }

    fn look_up(&self, profile: &Profile, vector: &[f32]) -> Ask {
        let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
        let vector = Param::Text(Some(format!("[{}]", numbers.join(","))));
        let sql = profile.plan.search.clone();
        Ask::query(sql, vec![vector, Param::Int(self.args.k.into())])
    }

    fn report(&self, columns: usize, rows: &Rows) -> String {
        let found = rows.iter().map(|row| {
            let key: Vec<String> = (0..columns).map(|at| field(row, at).to_owned()).collect();
            let distance: f64 = field(row, columns + 1).parse().unwrap_or(f64::NAN);
            (key, field(row, columns), distance, field(row, columns + 2))
        });
        if self.args.json {
            let found = found.map(|(key, place, distance, chunk)| {
                json!({"key": key, "chunk_seq": place.parse::<i64>().ok(), "distance": distance,
                    "chunk": chunk})
            });
            return serde_json::Value::from_iter(found).to_string();
        }
        let lines: Vec<String> = found
            .map(|(key, _, distance, chunk)| {
                format!(
                    "{distance:.4}  {}  {}",
                    key::text(&key),
                    short(chunk, SHOWN)
                )
            })
            .collect();
        if lines.is_empty() {
            "nothing is embedded yet: run the worker".to_owned()
        } else {
            lines.join("\n")
        }
    }
}

impl Steps for Search {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        match (answer, &mut self.question) {
            (Answer::Begin, _) => Ok(named::ask()),
            (Answer::Reply(reply), Some(question)) => match question.answered(reply)? {
                Next::Call(call) => Ok(call.into()),
                Next::Vector(vector) => {
                    let profile = Arc::clone(&question.profile);
                    Ok(self.look_up(&profile, &vector))
                }
            },
            (answer, Some(question)) => {
                let columns = question.profile.plan.key_columns;
                Ok(Ask::done(self.report(columns, &answer.rows()?)))
            }
            (answer, None) => self.embed(&answer.rows()?),
        }
    }
}
