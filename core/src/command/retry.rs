//! `retry`: puts rows that failed back into the queue.

use super::table::grouped;
use super::{Answer, Ask, Steps, field, key, named};
use crate::query::Param;
use crate::sql::{fill, quoted};
use crate::vectorizer::Definition;

/// The arguments of `retry`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RetryArgs {
    /// The vectorizer's name or id; without it, all of them
    name: Option<String>,

    /// Only the row with this key, as `errors` prints it (may be given again)
    #[arg(long, requires = "name", value_name = "KEY")]
    key: Vec<String>,
}

/// Rows that one statement moves: it holds their locks until it ends.
const PIECE: usize = 1000;

/// Parameters: keys, and 0 if all are wanted.
const RETRY: &str = "\
with gone as (
  delete from {failed} f
  where f.ctid = any (array(
    select d.ctid from {failed} d
    where $2::bigint = 0 or ai._readable({key}) = any ($1::text[])
    order by {keys}
    limit {piece}
    for update skip locked))
  returning {keys}
), queued as (
  insert into {queue} ({keys})
  select {keys} from gone order by {keys}
  on conflict ({keys}) do update
  set _generation = nextval('ai._generation'), loading_retries = 0, loading_retry_after = null
  returning 1
)
select count(*)::text, case when count(*) > 0 then pg_notify('ai_vectorizer', '{id}')::text end
from queued";

#[derive(Debug)]
pub(super) struct Retry {
    args: RetryArgs,
    /// The vectorizers that are not finished; the last one is in progress.
    left: Option<Vec<Definition>>,
    moved: u64,
    moved_of_this: u64,
    lines: Vec<String>,
}

impl Retry {
    pub(super) const fn new(args: RetryArgs) -> Self {
        Self {
            args,
            left: None,
            moved: 0,
            moved_of_this: 0,
            lines: vec![],
        }
    }

    fn ask(&mut self) -> Result<Ask, String> {
        let Some(definition) = self.left.as_ref().and_then(|left| left.last()) else {
            if self.moved == 0 && !self.args.key.is_empty() {
                return Err("no failed row has such a key: see `errors`".to_owned());
            }
            self.lines
                .push(format!("{} rows back in the queue", grouped(self.moved)));
            return Ok(Ask::done(self.lines.join("\n")));
        };
        let Some((queue, failed)) = definition.queues() else {
            self.left.as_mut().and_then(Vec::pop);
            return self.ask();
        };
        let columns: Vec<&str> = definition.key().collect();
        let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let mut wanted = vec![];
        for text in &self.args.key {
            wanted.push(Some(key::text(&key::parse(text, &columns)?)));
        }
        let values = [
            ("id", definition.id.to_string()),
            ("piece", PIECE.to_string()),
            ("key", key_sql("d", &names)),
            ("queue", queue),
            ("failed", failed),
            ("keys", names.join(", ")),
        ];
        let sql = fill(
            RETRY,
            &values.map(|(name, value)| (name.to_owned(), value)).into(),
        );
        let is_picky = Param::Int(i64::from(!wanted.is_empty()));
        let params = vec![Param::Texts(wanted), is_picky];
        Ok(Ask::query(sql, params))
    }
}

impl Steps for Retry {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin) {
            return Ok(named::ask());
        }
        let rows = answer.rows()?;
        let Some(left) = &mut self.left else {
            let mut left = match &self.args.name {
                Some(name) => vec![named::find(&rows, name)?],
                None => named::all(&rows),
            };
            left.reverse();
            self.left = Some(left);
            return self.ask();
        };
        let moved = rows.first().map_or("0", |row| field(row, 0));
        let moved: u64 = moved.parse().unwrap_or_default();
        self.moved += moved;
        self.moved_of_this += moved;
        if moved < PIECE as u64
            && let Some(definition) = left.pop()
        {
            let count = grouped(std::mem::take(&mut self.moved_of_this));
            self.lines.push(format!("{}: {count}", definition.name));
        }
        self.ask()
    }
}

/// The key of a row of `alias` as [`key::text`] writes it, in SQL. `names` are quoted.
pub(super) fn key_sql(alias: &str, names: &[String]) -> String {
    let parts: Vec<String> = names
        .iter()
        .map(|name| format!("{alias}.{name}::text"))
        .collect();
    match parts.as_slice() {
        [only] => only.clone(),
        parts => format!("array_to_json(array[{}])::text", parts.join(", ")),
    }
}
