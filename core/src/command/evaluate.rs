//! `evaluate`: how well a search finds the rows that are known to answer some questions.

mod judged;
mod scores;

use std::sync::Arc;

use serde_json::json;

use super::found::{self, Arm};
use super::question::{Next, Question};
use super::rerank::{After, Reranking, candidates};
use super::table::table;
use super::{Answer, Ask, Steps, field, key, named};
use crate::call::Reply;
use crate::provider::{Purpose, Reranker, order};
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

    /// Measure also what this reranker makes of the last of the other searches: see `search --rerank`
    #[arg(long, value_name = "MODEL")]
    rerank: Option<String>,

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
    /// Whether a reranker reads what it finds.
    is_reranked: bool,
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
    reranker: Option<Arc<Reranker>>,
    /// The answers to the present question, on their way through the reranker.
    reranking: Option<(Reranking, Rows)>,
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
            reranker: None,
            reranking: None,
        }
    }

    fn begin(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        definition.check_vectors()?;
        let [queries, qrels] = self.files.as_slice() else {
            return Err("the files were not read".to_owned());
        };
        self.judged = judged::read(queries, qrels)?;
        let reranker = self.args.rerank.as_deref();
        let reranker = reranker.map(|name| Reranker::new(name, &self.settings));
        self.reranker = reranker.transpose()?.map(Arc::new);
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
            is_reranked: false,
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
        if let (Some(_), Some(last)) = (&self.reranker, ways.last()) {
            ways.push(Way {
                name: format!("{}, reranked", last.name),
                is_reranked: true,
                scores: Scores::default(),
                ..*last
            });
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
            let (k, chunk) = if way.is_reranked {
                (candidates(self.args.k), ", found.chunk")
            } else {
                (self.args.k, "")
            };
            let call = found::call(way.arm, profile.searched(), text, vector, k, &options);
            let order = if way.arm == Arm::Vector {
                "distance"
            } else {
                "score desc"
            };
            format!(
                "select {at} as way, row_number() over (order by found.{order}) as place, array['{at}', {}{chunk}] as fields \
                 from {call} found",
                found::key(&self.key),
            )
        });
        let ways: Vec<String> = ways.collect();
        let statement = format!(
            "select x.fields from ({}) x order by x.way, x.place",
            ways.join(" union all ")
        );
        found::ask(&statement, self.key.len() + 2)
    }

    /// Lets the reranker read what was found for it.
    fn rerank(&mut self, rows: Rows) -> Result<Ask, String> {
        let last = self.ways.len().saturating_sub(1);
        let mine = rows.iter().filter(|row| field(row, 0).parse() == Ok(last));
        let chunk = self.key.len() + 1;
        let texts: Vec<Arc<str>> = mine.map(|row| Arc::from(field(row, chunk))).collect();
        let Some(reranker) = self.reranker.clone().filter(|_| !texts.is_empty()) else {
            self.count(&rows, &[]);
            return self.embed();
        };
        let times = (self.settings.request_timeout(), self.settings.wall_start);
        let reranking = Reranking::new(reranker, &self.judged[self.at].text, texts, times);
        let ask = reranking.call().into();
        self.reranking = Some((reranking, rows));
        Ok(ask)
    }

    fn reranked(&mut self, reply: Reply) -> Result<Ask, String> {
        let Some((mut reranking, rows)) = self.reranking.take() else {
            return Err("no reranker was asked".to_owned());
        };
        match reranking.answered(reply)? {
            After::Call(call) => {
                self.reranking = Some((reranking, rows));
                Ok(call.into())
            }
            After::Scores(scores) => {
                self.count(&rows, &scores);
                self.embed()
            }
        }
    }

    /// Counts what was found. `rerank_scores` are those of the rows of the last way.
    fn count(&mut self, rows: &Rows, rerank_scores: &[f64]) {
        let judged = &self.judged[self.at];
        for (at, way) in self.ways.iter_mut().enumerate() {
            let mine = rows.iter().filter(|row| field(row, 0).parse() == Ok(at));
            let mut mine: Vec<_> = mine.collect();
            if way.is_reranked && mine.len() == rerank_scores.len() {
                mine = order(rerank_scores)
                    .into_iter()
                    .map(|at| mine[at])
                    .collect();
                mine.truncate(self.args.k as usize);
            }
            let keys = mine.into_iter().map(|row| {
                let parts = 1..=self.key.len();
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
            (Answer::Reply(reply), Some(_)) if self.reranking.is_some() => self.reranked(reply),
            (Answer::Reply(reply), Some(question)) => match question.answered(reply)? {
                Next::Call(call) => Ok(call.into()),
                Next::Vectors(embedded) => {
                    let profile = Arc::clone(&question.profile);
                    Ok(self.look_up(&profile, &embedded.one()?))
                }
            },
            (answer, Some(_)) => self.rerank(answer.rows()?),
            (answer, None) => self.begin(&answer.rows()?),
        }
    }
}
