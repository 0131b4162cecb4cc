//! `errors`: shows the rows that failed, and the latest recorded errors.

use serde_json::{Value, json};

use super::retry::key_sql;
use super::table::{short, table};
use super::{Answer, Ask, Steps, field, named};
use crate::query::{Param, Rows};
use crate::sql::quoted;
use crate::vectorizer::Definition;

/// The arguments of `errors`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ErrorsArgs {
    /// Only those of the vectorizer of this name or id
    name: Option<String>,

    /// How many errors, and how many failed rows of each vectorizer
    #[arg(long, default_value = "20", value_name = "N")]
    limit: u32,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

const ERRORS: &str = "\
select e.recorded::text, coalesce(v.name, e.id::text), e.message,
  coalesce(e.details ->> 'error_reason', ''),
  coalesce(case when jsonb_typeof(e.details -> 'key') = 'array'
      and jsonb_array_length(e.details -> 'key') = 1
    then e.details -> 'key' ->> 0 else e.details ->> 'key' end, ''),
  e.details::text
from ai._vectorizer_errors e
left join ai.vectorizer v on v.id = e.id
where $1::bigint is null or e.id = $1::bigint
order by e.recorded desc
limit $2::bigint";

#[derive(Debug)]
pub(super) struct Errors {
    args: ErrorsArgs,
    /// The name that the program was started with.
    program: String,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Vectorizers,
    Failed,
    Errors(Rows),
}

impl Errors {
    pub(super) const fn new(args: ErrorsArgs, program: String) -> Self {
        Self {
            args,
            program,
            step: Step::Vectorizers,
        }
    }

    /// The failed rows of these vectorizers.
    fn failed(&self, definitions: &[Definition]) -> Ask {
        let mut parts = vec!["select null, null, null, null, null where false".to_owned()];
        for definition in definitions {
            parts.extend(failed_sql(definition, self.args.limit));
        }
        Ask::query(parts.join("\nunion all\n"), vec![])
    }

    fn report(&self, failed: &Rows, errors: &Rows) -> String {
        if self.args.json {
            let named = |names: &[&str], row: &[Option<String>]| {
                let pairs = names.iter().enumerate();
                pairs
                    .map(|(at, name)| ((*name).to_owned(), field(row, at).into()))
                    .collect::<serde_json::Map<String, Value>>()
            };
            let failed: Vec<_> = failed
                .iter()
                .map(|row| named(&["failed", "vectorizer", "key", "step", "reason"], row))
                .collect();
            let errors: Vec<_> = errors
                .iter()
                .map(|row| {
                    let mut error = named(&["recorded", "vectorizer", "message"], row);
                    let details = serde_json::from_str(field(row, 5)).unwrap_or(Value::Null);
                    error.insert("details".to_owned(), details);
                    error
                })
                .collect();
            return json!({"failed_rows": failed, "errors": errors}).to_string();
        }
        let mut parts = vec![];
        if failed.is_empty() {
            parts.push("no failed rows".to_owned());
        } else {
            let rows: Vec<_> = failed
                .iter()
                .map(|row| {
                    vec![
                        second(field(row, 0)),
                        field(row, 1).to_owned(),
                        field(row, 2).to_owned(),
                        field(row, 3).to_owned(),
                        short(field(row, 4), 120),
                    ]
                })
                .collect();
            let head = ["failed at", "vectorizer", "key", "step", "reason"];
            parts.push(table(&head, &rows));
            parts.push(format!(
                "put them back to the queue: {} retry NAME [--key KEY]",
                self.program
            ));
        }
        if errors.is_empty() {
            parts.push("no errors recorded".to_owned());
        } else {
            let rows: Vec<_> = errors
                .iter()
                .map(|row| {
                    vec![
                        second(field(row, 0)),
                        field(row, 1).to_owned(),
                        field(row, 2).to_owned(),
                        field(row, 4).to_owned(),
                        short(field(row, 3), 120),
                    ]
                })
                .collect();
            let head = ["recorded at", "vectorizer", "error", "key", "reason"];
            parts.push(table(&head, &rows));
        }
        parts.join("\n\n")
    }
}

impl Steps for Errors {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin) {
            return Ok(named::ask());
        }
        let rows = answer.rows()?;
        match std::mem::replace(&mut self.step, Step::Failed) {
            Step::Vectorizers => {
                let definitions = match &self.args.name {
                    Some(name) => vec![named::find(&rows, name)?],
                    None => named::all(&rows),
                };
                // The id alone is needed from now on.
                if let (Some(name), [definition]) = (&mut self.args.name, definitions.as_slice()) {
                    *name = definition.id.to_string();
                }
                Ok(self.failed(&definitions))
            }
            Step::Failed => {
                self.step = Step::Errors(rows);
                let id = self.args.name.as_ref().and_then(|id| id.parse().ok());
                let id = Param::Ints(vec![id]);
                let limit = Param::Int(self.args.limit.into());
                let sql = ERRORS.replace("$1::bigint", "($1::bigint[])[1]");
                Ok(Ask::query(sql, vec![id, limit]))
            }
            Step::Errors(failed) => Ok(Ask::done(self.report(&failed, &rows))),
        }
    }
}

/// The latest failed rows of a vectorizer, if it has a table for them.
fn failed_sql(definition: &Definition, limit: u32) -> Option<String> {
    let (_, failed) = definition.queues()?;
    let names: Vec<String> = definition.key().map(quoted).collect();
    Some(format!(
        "(select f.created_at::text, v.name::text, ai._readable({}), f.failure_step, f.failure_reason \
         from {failed} f, ai.vectorizer v where v.id = {} \
         order by f.created_at desc limit {limit})",
        key_sql("f", &names),
        definition.id,
    ))
}

/// A timestamp without fractions of a second and time zone.
fn second(timestamp: &str) -> String {
    timestamp.chars().take(19).collect()
}
