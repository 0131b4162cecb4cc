//! `errors`: shows the rows that failed, and the latest recorded errors, grouped by reason or one by
//! one.

mod statements;

use serde_json::{Map, Value, json};

use super::table::{WIDTH, grouped, second, short, table, wrapped};
use super::{Answer, Ask, Steps, field, named};
use crate::query::{Param, Rows};
use statements::{ERROR_GROUPS, ERRORS, failed_groups_sql, failed_sql, union};

/// The arguments of `errors`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ErrorsArgs {
    /// Only those of the vectorizer of this name or id
    name: Option<String>,

    /// Show single rows and errors, instead of groups of the same step and reason
    #[arg(long)]
    rows: bool,

    /// How many errors, and how many groups or failed rows of each vectorizer
    #[arg(long, default_value = "20", value_name = "N")]
    limit: u32,

    /// Print JSON: both groups and single rows
    #[arg(long)]
    json: bool,
}

#[derive(Debug)]
pub(super) struct Errors {
    args: ErrorsArgs,
    /// The name that the program was started with.
    program: String,
    /// The vectorizer that was asked for.
    id: Option<i64>,
    /// Statements to run, the last one first.
    left: Vec<(Of, Ask)>,
    /// The part whose answer is next; `None`: the list of vectorizers.
    asked: Option<Of>,
    found: Found,
}

/// A part of the report.
#[derive(Clone, Copy, Debug)]
enum Of {
    Errors,
    ErrorGroups,
    Failed,
    FailedGroups,
}

#[derive(Debug, Default)]
struct Found {
    errors: Rows,
    error_groups: Rows,
    failed: Rows,
    failed_groups: Rows,
}

const FAILED_GROUP: [&str; 7] = [
    "vectorizer",
    "step",
    "rows",
    "key",
    "first",
    "last",
    "reason",
];
const ERROR_GROUP: [&str; 7] = [
    "vectorizer",
    "message",
    "errors",
    "key",
    "first",
    "last",
    "reason",
];

impl Errors {
    pub(super) const fn new(args: ErrorsArgs, program: String) -> Self {
        Self {
            args,
            program,
            id: None,
            left: vec![],
            asked: None,
            found: Found {
                errors: vec![],
                error_groups: vec![],
                failed: vec![],
                failed_groups: vec![],
            },
        }
    }

    /// The statements, now that the vectorizers are known.
    fn plan(&mut self, rows: &Rows) -> Result<(), String> {
        let definitions = match &self.args.name {
            Some(name) => vec![named::find(rows, name)?],
            None => named::all(rows),
        };
        if let (Some(_), [definition]) = (&self.args.name, definitions.as_slice()) {
            self.id = Some(definition.id);
        }
        let limit = self.args.limit;
        let (groups, single) = (
            self.args.json || !self.args.rows,
            self.args.json || self.args.rows,
        );
        let params = || vec![Param::Ints(vec![self.id]), Param::Int(limit.into())];
        let of_all = |of: &dyn Fn(&_, u32) -> Option<String>, columns| {
            let each = definitions
                .iter()
                .filter_map(|definition| of(definition, limit));
            Ask::query(union(each, columns), vec![])
        };
        if single {
            self.left.push((Of::Errors, Ask::query(ERRORS, params())));
            self.left.push((Of::Failed, of_all(&failed_sql, 5)));
        }
        if groups {
            let errors = Ask::query(ERROR_GROUPS, params());
            self.left.push((Of::ErrorGroups, errors));
            let failed = of_all(&failed_groups_sql, 7);
            self.left.push((Of::FailedGroups, failed));
        }
        Ok(())
    }

    fn report(&self) -> String {
        if self.args.json {
            return self.found.json();
        }
        let retry = format!("put them back: {} retry NAME", self.program);
        let parts = if self.args.rows {
            [
                self.found.failed_rows(&format!("{retry} [--key KEY]")),
                self.found.single_errors(),
            ]
        } else {
            [
                groups(&self.found.failed_groups, "no failed rows", |rows| {
                    format!("{rows} failed")
                })
                .map(|text| {
                    format!(
                        "{text}\n{retry} [--step STEP] [--message TEXT]\n\
                         one by one: {} errors --rows",
                        self.program
                    )
                }),
                groups(&self.found.error_groups, "no errors recorded", |errors| {
                    format!("{errors} recorded")
                }),
            ]
        };
        parts
            .map(|part| part.unwrap_or_else(|none| none))
            .join("\n\n")
    }
}

/// The groups, one paragraph each; `Err` if there are none.
fn groups(rows: &Rows, none: &str, count: impl Fn(String) -> String) -> Result<String, String> {
    if rows.is_empty() {
        return Err(none.to_owned());
    }
    let paragraphs = rows.iter().map(|row| {
        let number = grouped(field(row, 2).parse().unwrap_or_default());
        let (first, last) = (second(field(row, 4)), second(field(row, 5)));
        let time = if first == last {
            first
        } else {
            format!("{first} to {last}")
        };
        let mut head = format!(
            "{}: {}, {}, {time}",
            field(row, 0),
            count(number),
            field(row, 1)
        );
        if !field(row, 3).is_empty() {
            head += &format!(", such as {}", short(field(row, 3), 40));
        }
        let mut lines = wrapped(&head, "", WIDTH);
        lines.extend(wrapped(&short(field(row, 6), 300), "    ", WIDTH));
        lines.join("\n")
    });
    Ok(paragraphs.collect::<Vec<_>>().join("\n"))
}

impl Found {
    fn json(&self) -> String {
        let failed = self
            .failed
            .iter()
            .map(|row| object(&["failed", "vectorizer", "key", "step", "reason"], row));
        let errors = self.errors.iter().map(|row| {
            let mut error = object(&["recorded", "vectorizer", "message"], row);
            let details = serde_json::from_str(field(row, 5)).unwrap_or(Value::Null);
            error.insert("details".to_owned(), details);
            error
        });
        let group = |names: &[&str], row: &[Option<String>]| {
            let mut group = object(names, row);
            let count = field(row, 2).parse::<u64>().unwrap_or_default();
            group.insert(names[2].to_owned(), count.into());
            group
        };
        let failed_groups = self.failed_groups.iter();
        let error_groups = self.error_groups.iter();
        json!({
            "failed_groups": Vec::from_iter(failed_groups.map(|row| group(&FAILED_GROUP, row))),
            "error_groups": Vec::from_iter(error_groups.map(|row| group(&ERROR_GROUP, row))),
            "failed_rows": Vec::from_iter(failed),
            "errors": Vec::from_iter(errors),
        })
        .to_string()
    }

    fn failed_rows(&self, advice: &str) -> Result<String, String> {
        if self.failed.is_empty() {
            return Err("no failed rows".to_owned());
        }
        let cells = |row: &Vec<Option<String>>| {
            vec![
                second(field(row, 0)),
                field(row, 1).to_owned(),
                field(row, 2).to_owned(),
                field(row, 3).to_owned(),
                short(field(row, 4), 120),
            ]
        };
        let rows: Vec<_> = self.failed.iter().map(cells).collect();
        let head = ["failed at", "vectorizer", "key", "step", "reason"];
        Ok(format!("{}\n\n{advice}", table(&head, &rows)))
    }

    fn single_errors(&self) -> Result<String, String> {
        if self.errors.is_empty() {
            return Err("no errors recorded".to_owned());
        }
        let cells = |row: &Vec<Option<String>>| {
            vec![
                second(field(row, 0)),
                field(row, 1).to_owned(),
                field(row, 2).to_owned(),
                field(row, 4).to_owned(),
                short(field(row, 3), 120),
            ]
        };
        let rows: Vec<_> = self.errors.iter().map(cells).collect();
        let head = ["recorded at", "vectorizer", "error", "key", "reason"];
        Ok(table(&head, &rows))
    }
}

fn object(names: &[&str], row: &[Option<String>]) -> Map<String, Value> {
    let pairs = names.iter().enumerate();
    pairs
        .map(|(at, name)| ((*name).to_owned(), field(row, at).into()))
        .collect()
}

impl Steps for Errors {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin) {
            return Ok(named::ask());
        }
        let rows = answer.rows()?;
        match self.asked.take() {
            None => self.plan(&rows)?,
            Some(Of::Errors) => self.found.errors = rows,
            Some(Of::ErrorGroups) => self.found.error_groups = rows,
            Some(Of::Failed) => self.found.failed = rows,
            Some(Of::FailedGroups) => self.found.failed_groups = rows,
        }
        let Some((of, ask)) = self.left.pop() else {
            return Ok(Ask::done(self.report()));
        };
        self.asked = Some(of);
        Ok(ask)
    }
}
