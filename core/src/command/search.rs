//! `search`: shows the chunks nearest in meaning to some words, or best by meaning and words.

use std::sync::Arc;

use serde_json::json;

use super::found::{self, Arm};
use super::place::place;
use super::question::{Next, Question};
use super::rerank::{After, Reranking, candidates};
use super::table::short;
use super::{Answer, Ask, Steps, field, key, named};
use crate::call::Reply;
use crate::provider::{Purpose, Reranker, order};
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

    /// Let a reranker read what was found, and show what it finds best: cohere/MODEL, jina_ai/MODEL, voyage/MODEL,
    /// tei/URL, or a cross-encoder that runs in this process
    #[arg(long, value_name = "MODEL")]
    rerank: Option<String>,

    /// Show which part of the search found a chunk, and how long the database took
    #[arg(long)]
    explain: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The number of characters of a chunk's text that a terminal shows.
const SHOWN: usize = 300;

/// Where a chunk comes from. (The functions of an older schema have no such column.)
const LOCATION: &str = "to_jsonb(found) ->> 'location'";

#[derive(Debug)]
pub(super) struct Search {
    args: SearchArgs,
    settings: Settings,
    question: Option<Question>,
    reranker: Option<Arc<Reranker>>,
    /// What was found, on its way through the reranker.
    reranking: Option<(Reranking, Rows)>,
    /// The names of the key's columns.
    key: Vec<String>,
    /// The statement of a plain search in a store. (It also works with an older schema.) Without it, the functions of
    /// the schema are asked.
    plain: Option<String>,
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
    rerank_score: Option<f64>,
    /// Where it comes from, if that is stored.
    location: serde_json::Value,
}

impl Search {
    pub(super) const fn new(args: SearchArgs, settings: Settings) -> Self {
        Self {
            args,
            settings,
            question: None,
            reranker: None,
            reranking: None,
            key: vec![],
            plain: None,
        }
    }

    /// Whether more is wanted than a plain search gives.
    const fn is_plain(&self) -> bool {
        !self.args.hybrid && !self.args.explain && self.args.condition.is_none()
    }

    fn embed(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        definition.check_vectors()?;
        let profile = Profile::new(&definition, &self.settings)?;
        let reranker = self.args.rerank.as_deref();
        let reranker = reranker.map(|name| Reranker::new(name, &self.settings));
        self.reranker = reranker.transpose()?.map(Arc::new);
        let words = self.args.words.join(" ");
        if words.trim().is_empty() {
            return Err("there are no words to look for".to_owned());
        }
        self.key = definition.key().map(str::to_owned).collect();
        self.plain = profile.plan.search.clone().filter(|_| self.is_plain());
        let profile = Arc::new(profile);
        let question = Question::new(profile, &words, Purpose::Query, &self.settings);
        let ask = question.call().into();
        self.question = Some(question);
        Ok(ask)
    }

    /// How many chunks are to be found.
    const fn count(&self) -> u32 {
        match self.reranker {
            Some(_) => candidates(self.args.k),
            None => self.args.k,
        }
    }

    /// Lets the reranker read what was found.
    fn rerank(&mut self, columns: usize, rows: Rows) -> Ask {
        let Some(reranker) = self.reranker.clone().filter(|_| !rows.is_empty()) else {
            return Ask::done(self.report(columns, &rows, &[]));
        };
        let texts = rows.iter().map(|row| Arc::from(field(row, columns + 2)));
        let times = (self.settings.request_timeout(), self.settings.wall_start);
        let words = self.args.words.join(" ");
        let reranking = Reranking::new(reranker, &words, texts.collect(), times);
        let ask = reranking.call().into();
        self.reranking = Some((reranking, rows));
        ask
    }

    fn reranked(&mut self, reply: Reply, columns: usize) -> Result<Ask, String> {
        let Some((mut reranking, rows)) = self.reranking.take() else {
            return Err("no reranker was asked".to_owned());
        };
        match reranking.answered(reply)? {
            After::Call(call) => {
                self.reranking = Some((reranking, rows));
                Ok(call.into())
            }
            After::Scores(scores) => {
                let best = order(&scores).into_iter().take(self.args.k as usize);
                let best: Vec<usize> = best.collect();
                let rows = best.iter().map(|&at| rows[at].clone()).collect();
                let scores: Vec<f64> = best.iter().map(|&at| scores[at]).collect();
                Ok(Ask::done(self.report(columns, &rows, &scores)))
            }
        }
    }

    fn look_up(&self, profile: &Profile, vector: &[f32]) -> Ask {
        let Some(plain) = &self.plain else {
            return self.look_up_by_function(profile, vector);
        };
        let vector = Param::Text(Some(found::vector(vector)));
        Ask::query(plain.clone(), vec![vector, Param::Int(self.count().into())])
    }

    fn look_up_by_function(&self, profile: &Profile, vector: &[f32]) -> Ask {
        let (arm, numbers) = if self.args.hybrid {
            let numbers = "found.score::text, found.vector_rank::text, found.text_rank::text, \
                           found.text_score::text";
            (Arm::Hybrid, numbers)
        } else {
            (Arm::Vector, "null, null, null, null")
        };
        let condition = self.args.condition.as_deref().unwrap_or_default();
        let options = format!(", condition => {}", found::text(condition));
        let words = self.args.words.join(" ");
        let call = found::call(
            arm,
            profile.searched(),
            &words,
            vector,
            self.count(),
            &options,
        );
        let statement = format!(
            "select array[{}, found.chunk_seq::text, found.distance::text, found.chunk, {numbers}, \
             (1000 * extract(epoch from clock_timestamp() - statement_timestamp()))::text, {LOCATION}] from {call} found",
            found::key(&self.key),
        );
        found::ask(&statement, self.key.len() + 9)
    }

    fn read<'a>(&self, columns: usize, rows: &'a Rows, scores: &[f64]) -> Vec<Found<'a>> {
        let rows = rows.iter().enumerate().map(|(place, row)| {
            let number = |at: usize| field(row, columns + at).parse::<f64>().ok();
            // (Without the functions it stands where their numbers begin.)
            let location = columns + if self.plain.is_none() { 8 } else { 3 };
            Found {
                key: (0..columns).map(|at| field(row, at).to_owned()).collect(),
                chunk_seq: field(row, columns),
                distance: number(1),
                chunk: field(row, columns + 2),
                numbers: std::array::from_fn(|at| number(at + 3)),
                rerank_score: scores.get(place).copied(),
                location: serde_json::from_str(field(row, location)).unwrap_or_default(),
            }
        });
        rows.collect()
    }

    fn report(&self, columns: usize, rows: &Rows, scores: &[f64]) -> String {
        let found = self.read(columns, rows, scores);
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
        if !found.location.is_null() {
            value["location"] = found.location.clone();
        }
        if let Some(score) = found.rerank_score {
            value["rerank_score"] = json!(score);
        }
        if self.args.explain {
            value["took_ms"] = json!(took);
        }
        value
    }

    fn line(&self, found: &Found<'_>) -> String {
        let [score, vector_rank, text_rank, text_score, _] = found.numbers;
        let distance = found.distance.unwrap_or(f64::NAN);
        let score = score.filter(|_| self.args.hybrid).unwrap_or(distance);
        let first = found.rerank_score.unwrap_or(score);
        let mut why = vec![];
        if self.args.explain {
            if let Some(rank) = vector_rank {
                why.push(format!("vector {rank}. ({distance:.4})"));
            }
            if let (Some(rank), Some(score)) = (text_rank, text_score) {
                why.push(format!("words {rank}. ({score:.3})"));
            }
        }
        let place = place(&found.location);
        if !place.is_empty() {
            why.push(place);
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
            (Answer::Reply(reply), Some(question)) if self.reranking.is_some() => {
                let columns = question.profile.plan.key_columns;
                self.reranked(reply, columns)
            }
            (Answer::Reply(reply), Some(question)) => match question.answered(reply)? {
                Next::Call(call) => Ok(call.into()),
                Next::Vectors(embedded) => {
                    let profile = Arc::clone(&question.profile);
                    Ok(self.look_up(&profile, &embedded.one()?))
                }
            },
            (answer, Some(question)) => {
                let columns = question.profile.plan.key_columns;
                Ok(self.rerank(columns, answer.rows()?))
            }
            (answer, None) => self.embed(&answer.rows()?),
        }
    }
}
