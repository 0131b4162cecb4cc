//! `search`: shows the chunks nearest in meaning to some words, or best by meaning and words.

use std::sync::Arc;

use serde_json::json;

use super::found::{self, Arm};
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

    /// Find chunks by their words, too (needs ai.enable_hybrid)
    #[arg(long)]
    hybrid: bool,

    /// Only rows for which this SQL condition on the columns of the source is true, such as "lang = 'en'"; it
    /// runs with the rights of the database's user: never take it from somebody else
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,

    /// Show which part of the search found a chunk, and how long the database took
    #[arg(long)]
    explain: bool,

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
    /// The names of the key's columns.
    key: Vec<String>,
}

/// One chunk that was found.
struct Found<'a> {
    key: Vec<String>,
    chunk_seq: &'a str,
    chunk: &'a str,
    distance: Option<f64>,
    /// Score, the ranks by vector and by words, the score by words, milliseconds: with `ai.search` and without
    /// `--hybrid` or `--explain` there are none.
    numbers: [Option<f64>; 5],
}

impl Search {
    pub(super) const fn new(args: SearchArgs, settings: Settings) -> Self {
        Self {
            args,
            settings,
            question: None,
            key: vec![],
        }
    }

    /// Whether the functions of the schema are asked. (A plain search also works with an older schema.)
    const fn asks_functions(&self) -> bool {
        self.args.hybrid || self.args.explain || self.args.condition.is_some()
    }

    fn embed(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        definition.check_vectors()?;
        let profile = Profile::new(&definition, &self.settings)?;
        let words = self.args.words.join(" ");
        if words.trim().is_empty() {
            return Err("there are no words to look for".to_owned());
        }
        self.key = definition.key().map(str::to_owned).collect();
        let profile = Arc::new(profile);
        let question = Question::new(profile, &words, Purpose::Query, &self.settings);
        let ask = question.call().into();
        self.question = Some(question);
        Ok(ask)
    }

    fn look_up(&self, profile: &Profile, vector: &[f32]) -> Ask {
        if self.asks_functions() {
            return self.look_up_by_function(profile, vector);
        }
        let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
        let vector = Param::Text(Some(format!("[{}]", numbers.join(","))));
        let sql = profile.plan.search.clone();
        Ask::query(sql, vec![vector, Param::Int(self.args.k.into())])
    }

    fn look_up_by_function(&self, profile: &Profile, vector: &[f32]) -> Ask {
        // The vectors of the generation whose model has embedded the question. (With a text index there is no other.)
        let mut options = String::new();
        let (arm, numbers) = if self.args.hybrid {
            let numbers = "found.score::text, found.vector_rank::text, found.text_rank::text, \
                           found.text_score::text";
            (Arm::Hybrid, numbers)
        } else {
            options = format!(", generation => {}", profile.plan.number);
            (Arm::Vector, "null, null, null, null")
        };
        let condition = self.args.condition.as_deref().unwrap_or_default();
        options += &format!(", condition => {}", found::text(condition));
        let words = self.args.words.join(" ");
        let call = found::call(arm, profile.id, &words, vector, self.args.k, &options);
        let statement = format!(
            "select array[{}, found.chunk_seq::text, found.distance::text, found.chunk, {numbers}, \
             (1000 * extract(epoch from clock_timestamp() - statement_timestamp()))::text] from {call} found",
            found::key(&self.key),
        );
        found::ask(&statement, self.key.len() + 8)
    }

    fn read<'a>(&self, columns: usize, rows: &'a Rows) -> Vec<Found<'a>> {
        let rows = rows.iter().map(|row| {
            let number = |at: usize| field(row, columns + at).parse::<f64>().ok();
            Found {
                key: (0..columns).map(|at| field(row, at).to_owned()).collect(),
                chunk_seq: field(row, columns),
                distance: number(1),
                chunk: field(row, columns + 2),
                numbers: std::array::from_fn(|at| number(at + 3)),
            }
        });
        rows.collect()
    }

    fn report(&self, columns: usize, rows: &Rows) -> String {
        let found = self.read(columns, rows);
        if self.args.json {
            let found = found.iter().map(|found| self.json(found));
            return serde_json::Value::from_iter(found).to_string();
        }
        let mut lines: Vec<String> = found.iter().map(|found| self.line(found)).collect();
        if lines.is_empty() {
            return match &self.args.condition {
                Some(condition) => format!("nothing is embedded of the rows where {condition}"),
                None => "nothing is embedded yet: run the worker".to_owned(),
            };
        }
        if let (true, Some(took)) = (self.args.explain, found[0].numbers[4]) {
            lines.push(format!("the database took {took:.1} ms"));
        }
        lines.join("\n")
    }

    fn json(&self, found: &Found<'_>) -> serde_json::Value {
        let mut value = json!({"key": found.key, "chunk_seq": found.chunk_seq.parse::<i64>().ok(),
            "distance": found.distance, "chunk": found.chunk});
        let [score, vector_rank, text_rank, text_score, took] = found.numbers;
        if self.args.hybrid {
            value["score"] = json!(score);
            value["vector_rank"] = json!(vector_rank.map(|rank| rank as u64));
            value["text_rank"] = json!(text_rank.map(|rank| rank as u64));
            value["text_score"] = json!(text_score);
        }
        if self.args.explain {
            value["took_ms"] = json!(took);
        }
        value
    }

    fn line(&self, found: &Found<'_>) -> String {
        let [score, vector_rank, text_rank, text_score, _] = found.numbers;
        let distance = found.distance.unwrap_or(f64::NAN);
        let first = score.filter(|_| self.args.hybrid).unwrap_or(distance);
        let mut why = vec![];
        if self.args.explain {
            if let Some(rank) = vector_rank {
                why.push(format!("vector {rank}. ({distance:.4})"));
            }
            if let (Some(rank), Some(score)) = (text_rank, text_score) {
                why.push(format!("words {rank}. ({score:.3})"));
            }
        }
        let why = if why.is_empty() {
            String::new()
        } else {
            format!("[{}]  ", why.join(", "))
        };
        format!(
            "{first:.4}  {}  {why}{}",
            key::text(&found.key),
            short(found.chunk, SHOWN)
        )
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
