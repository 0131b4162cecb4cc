//! The statements of a resync. They compare a source with what is stored for it, piece by piece in
//! key order, and queue the keys that differ.
//!
//! The bounds of a piece are two keys that are known when its statement is planned, so the planner
//! can estimate the number of rows. There is one text for a piece with both bounds, and others for
//! the first, the last and the only piece. A text with `$1 is null or …` would read the whole table
//! for every piece.

use std::collections::BTreeMap;

use super::plan::as_text;
use super::{Destination, KeyColumn, PlanInput, fill, qualified, quoted};

/// Takes a request that waits, or whose worker's lease has expired. Parameters: claim, lease in ms,
/// ids. Returns the vectorizer, whether texts are compared, the key to continue after, the counts
/// so far, and the number of this transaction: transactions that wrote before it may still be open.
pub(crate) const TAKE: &str = "\
with due as materialized (
  select r.vectorizer_id, r.state = 'waiting' as is_new
  from ai.vectorizer_resync r
  where (r.state = 'waiting' or r.state = 'running' and (r._until <= now() or r._claim = $1::bigint))
    and r.vectorizer_id = any ($3::bigint[])
  order by r.requested_at
  limit 1
  for update skip locked
)
update ai.vectorizer_resync r
set state = 'running', _claim = $1::bigint, _until = now() + $2::bigint * interval '1 millisecond',
  taken = case when d.is_new then r.requests else r.taken end,
  verifies_text = case when d.is_new then r.verify_text else r.verifies_text end,
  verify_text = not d.is_new and r.verify_text,
  started_at = case when d.is_new then now() else r.started_at end,
  finished_at = case when d.is_new then null else r.finished_at end,
  rows_compared = case when d.is_new then 0 else r.rows_compared end,
  missing = case when d.is_new then 0 else r.missing end,
  orphans = case when d.is_new then 0 else r.orphans end,
  stale = case when d.is_new then 0 else r.stale end,
  reason = case when d.is_new then null else r.reason end,
  _cursor = case when d.is_new then null else r._cursor end,
  rows_expected = case when d.is_new then (
    select sum(greatest(c.reltuples, 0))::bigint
    from ai.vectorizer v
    join pg_namespace n on n.nspname = v.source_schema
    join pg_class s on s.relnamespace = n.oid and s.relname = v.source_table
    join pg_class c on c.oid = s.oid or c.oid in (
      select p.relid from pg_partition_tree(s.oid) p where p.isleaf)
    where v.id = r.vectorizer_id and c.relkind <> 'p') else r.rows_expected end
from due d
where r.vectorizer_id = d.vectorizer_id
returning r.vectorizer_id::text, r.verifies_text::text, r._cursor::text, r.rows_compared::text,
  r.missing::text, r.orphans::text, r.stale::text, r.reason, pg_current_xact_id()::text";

/// Parameter: a transaction's number. Returns whether all transactions up to it have ended.
pub(crate) const BARRIER: &str =
    "select (pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8)::text";

/// Parameters: vectorizer, claim, lease in ms (0 releases the request), the key to continue after,
/// counts, the state, the reason. A request that arrived since is processed next. No row means
/// that another claim holds the request.
pub(crate) const SAVE: &str = "\
update ai.vectorizer_resync r
set _until = case when $9::text = 'running' then now() + $3::bigint * interval '1 millisecond'
    else '-infinity' end, _cursor = $4::text::jsonb,
  rows_compared = $5::bigint, missing = $6::bigint, orphans = $7::bigint, stale = $8::bigint,
  state = case when $9::text <> 'running' and r.requests > r.taken then 'waiting' else $9::text end,
  served = case when $9::text <> 'running' then r.taken else r.served end,
  finished_at = case when $9::text <> 'running' then now() end,
  _claim = case when $9::text = 'running' and $3::bigint > 0 then r._claim else 0 end,
  reason = $10::text
where r.vectorizer_id = $1::bigint and r._claim = $2::bigint
returning r.vectorizer_id::text";

/// Parameters: rows, chunks, and the key to continue after, if there is one. Returns the last key of
/// the next piece, or no row if it is the last piece.
const BOUND: &str = "\
select {x.keys as text}
from (
  (select {s.keys as k} from {source} s where {s range}
    order by {s.keys} offset $1::bigint limit 1)
  union all
  (select {t.keys as k} from {store} t where {t range}
    order by {t.keys}, t.chunk_seq offset $2::bigint limit 1)
) x
order by {x.keys}
limit 1";

/// The same if a column of the source holds the vectors: there are no chunks, and no parameter for
/// them.
const BOUND_OF_COLUMN: &str = "\
select {s.keys as text}
from {source} s where {s range}
order by {s.keys}
offset $1::bigint
limit 1";

/// Parameter: how many keys from the end. Returns keys after which to compare a sample of a table: near
/// the end of both tables, and at random places in the source.
const STARTS: &str = "\
(select {s.keys as text} from {source} s order by {s.keys desc} offset $1::bigint limit 1)
union all
(select {t.keys as text} from {store} t order by {t.keys desc} offset $1::bigint limit 1)
union all
(select {s.keys as text} from {source} s tablesample system (1) order by random() limit 3)";

const STARTS_OF_COLUMN: &str = "\
(select {s.keys as text} from {source} s order by {s.keys desc} offset $1::bigint limit 1)
union all
(select {s.keys as text} from {source} s tablesample system (1) order by random() limit 3)";

/// Parameters: the bounds of the piece. Returns the differences in key order: the reason, the key,
/// and in each row the number of compared source rows. There is always a row. Keys in the queue and
/// in the failed table are left out. (A composite key with nulls in it "is null", so each side has a
/// flag of its own.)
const COMPARE: &str = "\
with compared as materialized (
  select {coalesced keys}, a.there is not null as in_source, {why} as why
  from (
    select {s.keys as k}, true as there,
      {s.has text} as has_text{s.hash}
    from {source} s where {s range}
  ) a
  full join (
    select {t.keys as k}, true as there,
      count(*) <> max(t.chunk_seq) + 1 or min(t.chunk_seq) < 0 as has_gap, count(*) > 1 as has_many{t.hash}
    from {store} t where {t range}
    group by {t.keys}
  ) b on {a=b}
), found as (
  select d.*
  from compared d
  where d.why is not null
    and not exists (select from {queue} q where {q=d} offset 0)
    and not (d.in_source and exists (select from {failed} f where {f=d} offset 0))
)
select f.why, {f.keys as text}, c.count::text
from (select count(*) filter (where in_source) as count from compared) c
left join found f on true
order by {f.keys}";

/// The same if a column of the source holds the vectors: only the existence of a vector can be
/// compared.
const COMPARE_COLUMN: &str = "\
with compared as materialized (
  select {s.keys as k}, true as in_source,
    case when s.{column} is null and octet_length({s.loading}) > 0 then 'missing'
      when s.{column} is not null and coalesce(octet_length({s.loading}), 0) = 0 then 'orphan' end as why
  from {source} s where {s range}
), found as (
  select d.*
  from compared d
  where d.why is not null
    and not exists (select from {queue} q where {q=d} offset 0)
    and not exists (select from {failed} f where {f=d} offset 0)
)
select f.why, {f.keys as text}, c.count::text
from (select count(*) as count from compared) c
left join found f on true
order by {f.keys}";

/// The reason if the caller reads the rows itself.
const WHY_LISTED: &str = "case when a.there is null then 'orphan' else 'unread' end";

/// Why a key differs; null if it does not.
const WHY: &str = "case
    when b.there is null then case when a.has_text then 'missing' end
    when a.there is null then 'orphan'
    when not a.has_text then 'stale'
    when b.has_gap then 'missing'{more}
  end";

/// Each side has one text: their hashes are compared.
const WHY_HASHES: &str = "\n    when b.has_many or a.hash <> b.hash then 'stale'";

/// Gives claimed items a new generation, so that their rows are read again. A worker may have read a
/// row before the resync began, and its commit would overwrite newer chunks. (A locked item is being
/// committed, and is compared afterwards; or it is being changed, and gets a new generation.)
pub(super) const RENEW: &str = "\
with item as materialized (
  select {l.keys aliased}
  from {lease} l join {queue} q on {q=l}
  where l._claim <> 0
  for update of q skip locked
), renewed as (
  update {queue} q set _generation = nextval('ai._generation')
  from item i where {q=i}
  returning 1
)
select count(*)::text from renewed";

/// Parameters: keys. They are queued in key order, so that two statements that queue the same keys
/// cannot deadlock. Keys in the queue stay as they are.
pub(super) const QUEUE: &str = "\
with input as materialized (
  select i.n, {i.keys typed} from unnest({key params 1}) with ordinality as i({input keys}, n)
), queued as (
  insert into {queue} ({keys}, queued_at)
  select {i.keys}, clock_timestamp() from input i order by {i.keys}
  on conflict ({keys}) do nothing
  returning 1
)
select count(*)::text, case when count(*) > 0 then pg_notify('ai_vectorizer', '{id}')::text end
from queued";

/// Parameters: keys. Returns the numbers of those that are still in the queue.
pub(super) const QUEUED: &str = "\
with input as materialized (
  select i.n, {i.keys typed} from unnest({key params 1}) with ordinality as i({input keys}, n)
)
select i.n::text from input i
where exists (select from {queue} q where {q=i} offset 0)";

/// How source and store are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// The server compares hashes of texts: a row's text is its only chunk.
    Hashes,
    /// Only the existence of keys, and whether chunks are missing.
    Keys,
    /// Only keys without a row. All rows of the source are also returned, as `unread`; no text is
    /// read.
    Listed,
}

/// The inputs for the statements of a resync.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ResyncPlan {
    values: BTreeMap<String, String>,
    key: Vec<Ordered>,
    is_column: bool,
    /// Whether the text of a row is its only chunk, so that the server can compare them.
    pub(crate) has_plain_texts: bool,
}

/// A key column and its operators.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Ordered {
    name: String,
    type_name: String,
    after: String,
    at_most: String,
    equals: String,
}

impl ResyncPlan {
    pub(super) fn new(input: &PlanInput<'_>) -> Self {
        Self {
            values: values(input),
            key: input.key.iter().map(Ordered::new).collect(),
            is_column: matches!(input.destination, Destination::Column(_)),
            has_plain_texts: input.has_plain_texts,
        }
    }

    /// Whether the store has texts to compare.
    pub(crate) const fn stores_texts(&self) -> bool {
        !self.is_column
    }

    /// The statement that finds the end of a piece, after a key or from the beginning.
    pub(crate) fn bound(&self, is_first: bool) -> String {
        let template = if self.is_column {
            BOUND_OF_COLUMN
        } else {
            BOUND
        };
        let after = (!is_first).then_some(if self.is_column { 2 } else { 3 });
        fill(template, &self.with_range(after, None))
    }

    /// The statement that chooses where a sample is compared.
    pub(crate) fn starts(&self) -> String {
        let template = if self.is_column {
            STARTS_OF_COLUMN
        } else {
            STARTS
        };
        fill(template, &self.values)
    }

    /// The statement that compares a piece, between its bounds.
    pub(crate) fn compare(&self, depth: Depth, is_first: bool, is_last: bool) -> String {
        let after = (!is_first).then_some(1);
        let to = (!is_last).then(|| 1 + if is_first { 0 } else { self.key.len() });
        let mut values = self.with_range(after, to);
        if self.is_column {
            return fill(COMPARE_COLUMN, &values);
        }
        let why = match depth {
            Depth::Hashes => WHY.replace("{more}", WHY_HASHES),
            Depth::Keys => WHY.replace("{more}", ""),
            Depth::Listed => WHY_LISTED.to_owned(),
        };
        values.insert("why".to_owned(), why);
        if depth == Depth::Listed {
            values.insert("s.has text".to_owned(), "true".to_owned());
        }
        let is_hashed = depth == Depth::Hashes;
        for name in ["s.hash", "t.hash"] {
            let hash = values.remove(&format!("{name} if wanted"));
            let hash = hash.filter(|_| is_hashed).unwrap_or_default();
            values.insert(name.to_owned(), hash);
        }
        fill(COMPARE, &values)
    }

    /// The values, and the conditions of a piece. A bound is named by its first parameter.
    fn with_range(&self, after: Option<usize>, to: Option<usize>) -> BTreeMap<String, String> {
        let mut values = self.values.clone();
        for alias in ["s", "t"] {
            let after = after.map(|first| self.after(alias, first));
            let to = to.map(|first| self.at_most(alias, first));
            let terms: Vec<_> = after.into_iter().chain(to).collect();
            let range = if terms.is_empty() {
                "true".to_owned()
            } else {
                terms.join(" and ")
            };
            values.insert(format!("{alias} range"), range);
        }
        values
    }

    /// That the key of `alias` comes after the key in the parameters from `first` on.
    fn after(&self, alias: &str, first: usize) -> String {
        self.as_rows(alias, first, |part| &part.after)
            .unwrap_or_else(|| {
                let mut condition = "false".to_owned();
                for (column, value, part) in self.parts(alias, first).rev() {
                    let (after, equals) = (&part.after, &part.equals);
                    condition = format!(
                        "({column} {after} {value} or {column} {equals} {value} and {condition})"
                    );
                }
                condition
            })
    }

    /// That it is that key, or comes before it.
    fn at_most(&self, alias: &str, first: usize) -> String {
        self.as_rows(alias, first, |part| &part.at_most).unwrap_or_else(|| {
            let mut condition = "true".to_owned();
            for (column, value, part) in self.parts(alias, first).rev() {
                let (at_most, equals) = (&part.at_most, &part.equals);
                condition = format!(
                    "({column} {at_most} {value} and (not {column} {equals} {value} or {condition}))"
                );
            }
            condition
        })
    }

    /// A row comparison, which can use a multicolumn index. It has one operator, so it is not possible
    /// for types whose operators are in different schemas.
    fn as_rows(&self, alias: &str, first: usize, of: fn(&Ordered) -> &String) -> Option<String> {
        let operator = of(self.key.first()?);
        if self.key.iter().any(|part| of(part) != operator) {
            return None;
        }
        let (columns, values): (Vec<_>, Vec<_>) = self
            .parts(alias, first)
            .map(|(column, value, _)| (column, value))
            .unzip();
        Some(match (columns.as_slice(), values.as_slice()) {
            ([column], [value]) => format!("{column} {operator} {value}"),
            _ => format!(
                "({}) {operator} ({})",
                columns.join(", "),
                values.join(", ")
            ),
        })
    }

    fn parts<'a>(
        &'a self,
        alias: &'a str,
        first: usize,
    ) -> impl DoubleEndedIterator<Item = (String, String, &'a Ordered)> {
        let parts = self.key.iter().enumerate();
        parts.map(move |(at, part)| {
            let column = format!("{alias}.{}", part.name);
            let value = format!("${}::text::{}", first + at, part.type_name);
            (column, value, part)
        })
    }
}

impl Ordered {
    fn new(column: &KeyColumn) -> Self {
        Self {
            name: quoted(&column.name),
            type_name: column.type_name.clone(),
            after: column.after.clone(),
            at_most: column.at_most.clone(),
            equals: column.equals.clone(),
        }
    }
}

fn values(input: &PlanInput<'_>) -> BTreeMap<String, String> {
    let key = input.key;
    let each = |of: &dyn Fn(usize, &str) -> String| {
        let parts = key.iter().zip(1..);
        let parts = parts.map(|(column, at)| of(at, &quoted(&column.name)));
        parts.collect::<Vec<_>>().join(", ")
    };
    let queue = |table: &str| qualified(input.queue_schema, table);
    let loading = as_text(input.loading);
    let mut values = BTreeMap::from(
        [
            ("source", qualified(input.source.0, input.source.1)),
            ("queue", queue(input.queue_table)),
            ("failed", queue(input.failed_table)),
            ("s.keys", each(&|_, name| format!("s.{name}"))),
            (
                "s.keys as k",
                each(&|at, name| format!("s.{name} as k{at}")),
            ),
            ("s.keys as text", each(&|_, name| format!("s.{name}::text"))),
            ("t.keys as text", each(&|_, name| format!("t.{name}::text"))),
            ("s.keys desc", each(&|_, name| format!("s.{name} desc"))),
            ("t.keys desc", each(&|_, name| format!("t.{name} desc"))),
            ("t.keys", each(&|_, name| format!("t.{name}"))),
            (
                "t.keys as k",
                each(&|at, name| format!("t.{name} as k{at}")),
            ),
            ("x.keys", each(&|at, _| format!("x.k{at}"))),
            ("x.keys as text", each(&|at, _| format!("x.k{at}::text"))),
            ("f.keys", each(&|at, _| format!("f.k{at}"))),
            ("f.keys as text", each(&|at, _| format!("f.k{at}::text"))),
            (
                "coalesced keys",
                each(&|at, _| format!("coalesce(a.k{at}, b.k{at}) as k{at}")),
            ),
            ("s.loading", format!("s.{}", quoted(&input.loading.name))),
            (
                "s.hash if wanted",
                format!(", sha256(convert_to({loading}, 'UTF8')) as hash"),
            ),
            (
                "t.hash if wanted",
                ", (array_agg(sha256(convert_to(t.chunk, 'UTF8'))))[1] as hash".to_owned(),
            ),
            (
                "s.has text",
                format!(
                    "coalesce(octet_length(s.{}) > 0, false)",
                    quoted(&input.loading.name)
                ),
            ),
            ("q=d", lookup(key, "q")),
            ("f=d", lookup(key, "f")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let sides = key.iter().zip(1..);
    let sides = sides.map(|(column, at)| format!("a.k{at} {} b.k{at}", column.equals));
    let sides: Vec<_> = sides.collect();
    values.insert("a=b".to_owned(), sides.join(" and "));
    match input.destination {
        Destination::Column(name) => values.insert("column".to_owned(), quoted(name)),
        Destination::Table(schema, name) => {
            values.insert("store".to_owned(), qualified(schema, name))
        }
    };
    values
}

/// That the key of `alias` is that of `d`, as the protocol's lookups are written.
fn lookup(key: &[KeyColumn], alias: &str) -> String {
    let terms = key.iter().zip(1..).map(|(column, at)| {
        let name = quoted(&column.name);
        let other = if at == 1 && column.fits_in_array {
            format!("any (array[d.k{at}])")
        } else {
            format!("d.k{at}")
        };
        format!("{alias}.{name} {} {other}", column.equals)
    });
    terms.collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(operators: [&str; 2]) -> ResyncPlan {
        let parts = [("a", operators[0]), ("b", operators[1])];
        let key = parts.map(|(name, schema)| Ordered {
            name: quoted(name),
            type_name: "text".to_owned(),
            after: format!("operator({schema}.>)"),
            at_most: format!("operator({schema}.<=)"),
            equals: format!("operator({schema}.=)"),
        });
        ResyncPlan {
            values: BTreeMap::new(),
            key: key.to_vec(),
            is_column: false,
            has_plain_texts: true,
        }
    }

    #[test]
    fn a_key_of_several_columns_is_compared_as_a_row_where_one_operator_does() {
        let plan = plan(["pg_catalog", "pg_catalog"]);
        assert_eq!(
            plan.with_range(Some(1), Some(3))["s range"],
            "(s.\"a\", s.\"b\") operator(pg_catalog.>) ($1::text::text, $2::text::text) \
             and (s.\"a\", s.\"b\") operator(pg_catalog.<=) ($3::text::text, $4::text::text)"
        );
        assert_eq!(plan.with_range(None, None)["t range"], "true");
    }

    #[test]
    fn and_else_column_by_column() {
        let plan = plan(["p", "q"]);
        assert_eq!(
            plan.after("s", 1),
            "(s.\"a\" operator(p.>) $1::text::text or s.\"a\" operator(p.=) $1::text::text and \
             (s.\"b\" operator(q.>) $2::text::text or s.\"b\" operator(q.=) $2::text::text and false))"
        );
        assert_eq!(
            plan.at_most("s", 1),
            "(s.\"a\" operator(p.<=) $1::text::text and (not s.\"a\" operator(p.=) $1::text::text or \
             (s.\"b\" operator(q.<=) $2::text::text and (not s.\"b\" operator(q.=) $2::text::text or true))))"
        );
    }
}
