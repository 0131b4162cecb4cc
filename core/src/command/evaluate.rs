//! `evaluate`: how well a search finds the rows that are known to answer some questions.

mod judged;
mod scores;

use std::sync::Arc;

use serde_json::json;

use super::found::{self, Arm};
use super::question::{Next, Question};
use super::table::table;
use super::{Answer, Ask, Steps, field, key, named};
use crate::provider::Purpose;
use crate::query::Rows;
use crate::settings::Settings;
use crate::vectorizer::Profile;
use judged::Judged;
use scores::Scores;

/// The arguments of `evaluate`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    /// The vectorizer's name or id
    name: String,

    /// The questions: lines of JSON with "id" and "text", or of an id, a tab and a text
    #[arg(long, value_name = "FILE")]
    queries: String,

    /// Which rows answer a question: lines of a question's id, a row's key and a grade, with tabs between; a
    /// grade above 0 is an answer. TREC's four columns work, too
    #[arg(long, value_name = "FILE")]
    qrels: String,

    /// How many rows of each answer count
    #[arg(short, default_value = "10", value_name = "K")]
    k: u32,

    /// The weight of the words in a hybrid search, where that of the vector is 1; may be repeated
    #[arg(long, value_name = "WEIGHT", default_values_t = [1.0])]
    text_weight: Vec<f64>,

    /// Only rows for which this SQL condition on the columns of the source is true
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl EvaluateArgs {
    pub(super) fn files(&self) -> [&str; 2] {
        [&self.queries, &self.qrels]
    }
}

/// A way to search, and how well it did.
#[derive(Debug)]
struct Way {
    name: String,
    arm: Arm,
    text_weight: f64,
    scores: Scores,
}

pub(super) struct Evaluate {
    args: EvaluateArgs,
    settings: Settings,
    files: Vec<String>,
    judged: Vec<Judged>,
    /// The place of the present question.
    at: usize,
    ways: Vec<Way>,
    key: Vec<String>,
    profile: Option<Arc<Profile>>,
    question: Option<Question>,
}

impl Evaluate {
    pub(super) const fn new(args: EvaluateArgs, settings: Settings, files: Vec<String>) -> Self {
        Self {
            args,
            settings,
            files,
            judged: vec![],
            at: 0,
            ways: vec![],
            key: vec![],
            profile: None,
            question: None,
        }
    }

    fn begin(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        definition.check_vectors()?;
        let [queries, qrels] = self.files.as_slice() else {
            return Err("the files were not read".to_owned());
        };
        self.judged = judged::read(queries, qrels)?;
        self.key = definition.key().map(str::to_owned).collect();
        self.profile = Some(Arc::new(Profile::new(&definition, &self.settings)?));
        self.ways = self.ways(definition.has_text_index())?;
        self.embed()
    }

    fn ways(&self, has_text_index: bool) -> Result<Vec<Way>, String> {
        let way = |name: &str, arm, text_weight| Way {
            name: name.to_owned(),
            arm,
            text_weight,
            scores: Scores::default(),
        };
        let mut ways = vec![way("vector", Arm::Vector, 1.0)];
        if has_text_index {
            ways.push(way("text", Arm::Text, 1.0));
            for &weight in &self.args.text_weight {
                if !(0.0..=1e6).contains(&weight) {
                    return Err(format!("--text-weight {weight} is not from 0 to 1,000,000"));
                }
                let name = if self.args.text_weight.len() == 1 {
                    "hybrid".to_owned()
                } else {
                    format!("hybrid, text weight {weight}")
                };
                ways.push(way(&name, Arm::Hybrid, weight));
            }
        }
        Ok(ways)
    }

    /// Lets the present question be embedded.
    fn embed(&mut self) -> Result<Ask, String> {
        let (Some(judged), Some(profile)) = (self.judged.get(self.at), &self.profile) else {
            return Ok(Ask::done(self.report()));
        };
        let question = Question::new(
            Arc::clone(profile),
            &judged.text,
            Purpose::Query,
            &self.settings,
        );
        let ask = question.call().into();
        self.question = Some(question);
        Ok(ask)
    }

    /// One statement with the answers of all ways.
    fn look_up(&self, profile: &Profile, vector: &[f32]) -> Ask {
        let text = &self.judged[self.at].text;
        let condition = self.args.condition.as_deref().unwrap_or_default();
        let options = format!(
            ", best_per_row => true, condition => {}",
            found::text(condition)
        );
        let ways = self.ways.iter().enumerate().map(|(at, way)| {
            let weight = match way.arm {
                Arm::Hybrid => format!(", text_weight => {}", way.text_weight),
                Arm::Text | Arm::Vector => String::new(),
            };
            let options = format!("{options}{weight}");
            let call = found::call(way.arm, profile.id, text, vector, self.args.k, &options);
            let order = if way.arm == Arm::Vector {
                "distance"
            } else {
                "score desc"
            };
            format!(
                "select {at} as way, row_number() over (order by found.{order}) as place, array['{at}', {}] as fields \
                 from {call} found",
                found::key(&self.key),
            )
        });
        let ways: Vec<String> = ways.collect();
        let statement = format!(
            "select x.fields from ({}) x order by x.way, x.place",
            ways.join(" union all ")
        );
        found::ask(&statement, self.key.len() + 1)
    }

    fn count(&mut self, rows: &Rows) {
        let judged = &self.judged[self.at];
        for (at, way) in self.ways.iter_mut().enumerate() {
            let mine = rows.iter().filter(|row| field(row, 0).parse() == Ok(at));
            let keys = mine.map(|row| {
                let parts = 1..row.len();
                key::text(
                    &parts
                        .map(|part| field(row, part).to_owned())
                        .collect::<Vec<_>>(),
                )
            });
            way.scores
                .add(&keys.collect::<Vec<_>>(), &judged.answers, self.args.k);
        }
        self.at += 1;
    }

    fn report(&self) -> String {
        let (k, questions) = (self.args.k, self.judged.len());
        if self.args.json {
            let ways = self.ways.iter().map(|way| {
                let [ndcg, recall, reciprocal] = way.scores.means();
                json!({"search": way.name, "ndcg": ndcg, "recall": recall, "mrr": reciprocal})
            });
            return json!({"k": k, "questions": questions, "searches": ways.collect::<Vec<_>>()})
                .to_string();
        }
        let rows: Vec<Vec<String>> = self
            .ways
            .iter()
            .map(|way| {
                let means = way.scores.means().map(|mean| format!("{mean:.4}"));
                std::iter::once(way.name.clone()).chain(means).collect()
            })
            .collect();
        let head = [
            "search",
            &format!("nDCG@{k}"),
            &format!("recall@{k}"),
            &format!("MRR@{k}"),
        ];
        let mut lines = vec![table(&head, &rows), format!("{questions} questions")];
        if self.ways.len() == 1 {
            lines.push(format!(
                "without words: select ai.enable_hybrid({})",
                found::text(&self.args.name)
            ));
        }
        lines.join("\n")
    }
}

impl Steps for Evaluate {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        match (answer, &mut self.question) {
            (Answer::Begin, _) => Ok(named::ask()),
            (Answer::Reply(reply), Some(question)) => match question.answered(reply)? {
                Next::Call(call) => Ok(call.into()),
                Next::Vectors(embedded) => {
                    let profile = Arc::clone(&question.profile);
                    Ok(self.look_up(&profile, &*embedded.one()?))
                }
            },
            (answer, Some(_)) => {
                self.count(&answer.rows()?);
                self.embed()
            }
            (answer, None) => self.begin(&answer.rows()?),
        }
    }
}
