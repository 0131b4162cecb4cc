//! `retry`: puts rows that failed back into the queue.

use std::time::Duration;

use super::table::grouped;
use super::{Answer, Ask, Steps, field, key, named};
use crate::options::duration;
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

    /// Only rows that failed in this step, as `errors` prints it
    #[arg(long, value_name = "STEP")]
    step: Option<String>,

    /// Only rows whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,

    /// Only rows that failed at least this long ago: seconds, or 30m, 12h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
}

/// Rows that the first statement moves. Each following one moves twice as many: if the reason is still
/// there, workers meet it with few rows at first.
const PIECE_FIRST: usize = 100;
/// The most rows that one statement moves: it holds their locks until it ends.
const PIECE_MAX: usize = 3200;

/// Parameters: keys, 0 if all are wanted, step, text of the reason, least age in milliseconds.
const RETRY: &str = "\
with gone as (
  delete from {failed} f
  where f.ctid = any (array(
    select d.ctid from {failed} d
    where ($2::bigint = 0 or ai._readable({key}) = any ($1::text[]))
      and ($3::text is null or d.failure_step = $3::text)
      and ($4::text is null or position(lower($4::text) in lower(d.failure_reason)) > 0)
      and ($5::bigint = 0 or d.created_at <= now() - $5::bigint * interval '1 ms')
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
    piece: usize,
    lines: Vec<String>,
}

impl Retry {
    pub(super) const fn new(args: RetryArgs) -> Self {
        Self {
            args,
            left: None,
            moved: 0,
            moved_of_this: 0,
            piece: PIECE_FIRST,
            lines: vec![],
        }
    }

    const fn is_filtered(&self) -> bool {
        self.args.step.is_some() || self.args.message.is_some() || self.args.older_than.is_some()
    }

    fn ask(&mut self) -> Result<Ask, String> {
        let Some(definition) = self.left.as_ref().and_then(|left| left.last()) else {
            if self.moved == 0 && !self.args.key.is_empty() {
                return Err("no failed row has such a key: see `errors --rows`".to_owned());
            }
            if self.moved == 0 && self.is_filtered() {
                return Err("no failed row is of this kind: see `errors`".to_owned());
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
            ("piece", self.piece.to_string()),
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
        let age = self.args.older_than.map_or(0, |age| age.as_millis());
        let params = vec![
            Param::Texts(wanted),
            is_picky,
            Param::Text(self.args.step.clone()),
            Param::Text(self.args.message.clone()),
            Param::Int(i64::try_from(age).unwrap_or(i64::MAX)),
        ];
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
        let is_last = moved < self.piece as u64;
        self.piece = (self.piece * 2).min(PIECE_MAX);
        if is_last && let Some(definition) = left.pop() {
            let count = grouped(std::mem::take(&mut self.moved_of_this));
            self.piece = PIECE_FIRST;
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
