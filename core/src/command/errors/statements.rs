//! The statements of `errors`.

use crate::command::retry::key_sql;
use crate::sql::quoted;
use crate::vectorizer::Definition;

/// Parameters: the vectorizer's id in an array (null: all), the limit.
pub(super) const ERRORS: &str = "\
select e.recorded::text, coalesce(v.name, e.id::text), e.message,
  coalesce(e.details ->> 'error_reason', ''),
  coalesce(case when jsonb_typeof(e.details -> 'key') = 'array'
      and jsonb_array_length(e.details -> 'key') = 1
    then e.details -> 'key' ->> 0 else e.details ->> 'key' end, ''),
  e.details::text
from ai._vectorizer_errors e
left join ai.vectorizer v on v.id = e.id
where ($1::bigint[])[1] is null or e.id = ($1::bigint[])[1]
order by e.recorded desc
limit $2::bigint";

/// The same, grouped: reasons that differ in numbers only are one.
pub(super) const ERROR_GROUPS: &str = "\
select coalesce(v.name, g.id::text), g.message, g.errors::text, g.key, g.first::text, g.last::text,
  g.reason
from (
  select e.id, e.message, count(*) as errors, min(e.key) as key, min(e.recorded) as first,
    max(e.recorded) as last, min(e.reason) as reason
  from (
    select e.id, e.message, e.recorded, coalesce(e.details ->> 'error_reason', '') as reason,
      case when jsonb_typeof(e.details -> 'key') = 'array'
          and jsonb_array_length(e.details -> 'key') = 1
        then e.details -> 'key' ->> 0 else e.details ->> 'key' end as key
    from ai._vectorizer_errors e
    where ($1::bigint[])[1] is null or e.id = ($1::bigint[])[1]
  ) e
  group by e.id, e.message, regexp_replace(e.reason, '[0-9]+', '0', 'g')
) g
left join ai.vectorizer v on v.id = g.id
order by g.last desc
limit $2::bigint";

/// All rows of these queries, which have so many columns.
pub(super) fn union(queries: impl Iterator<Item = String>, columns: usize) -> String {
    let none = format!("select {} where false", vec!["null"; columns].join(", "));
    let all: Vec<String> = std::iter::once(none).chain(queries).collect();
    all.join("\nunion all\n")
}

/// The latest failed rows of a vectorizer, if it has a table for them.
pub(super) fn failed_sql(definition: &Definition, limit: u32) -> Option<String> {
    let (_, failed) = definition.queues()?;
    Some(format!(
        "(select f.created_at::text, v.name::text, ai._readable({}), f.failure_step, f.failure_reason \
         from {failed} f, ai.vectorizer v where v.id = {} \
         order by f.created_at desc limit {limit})",
        key(definition),
        definition.id,
    ))
}

/// The failed rows of a vectorizer, grouped like [`ERROR_GROUPS`].
pub(super) fn failed_groups_sql(definition: &Definition, limit: u32) -> Option<String> {
    let (_, failed) = definition.queues()?;
    Some(format!(
        "(select max(v.name::text), f.failure_step, count(*)::text, min(ai._readable({})), \
         min(f.created_at)::text, max(f.created_at)::text, min(f.failure_reason) \
         from {failed} f, ai.vectorizer v where v.id = {} \
         group by f.failure_step, regexp_replace(f.failure_reason, '[0-9]+', '0', 'g') \
         order by count(*) desc, f.failure_step limit {limit})",
        key(definition),
        definition.id,
    ))
}

fn key(definition: &Definition) -> String {
    let names: Vec<String> = definition.key().map(quoted).collect();
    key_sql("f", &names)
}
