//! The statements that take embeddings out of a store, and into one.

use std::collections::BTreeMap;

use super::plan::fill;
use super::resync::ResyncPlan;

/// The statements of one vectorizer that are always the same.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Transfer {
    /// Parameters: how many, the last `chunk_seq`, the key. Returns what follows of the same row.
    pub(crate) rest: String,
    /// Parameters: the key's columns, chunks, embeddings and locations, all of them arrays. Returns whether the
    /// vectorizer still has the model that the statement was planned for, how many chunks have a row, how many
    /// were written, and of how many rows.
    pub(crate) import: String,
    /// Parameter: how many. Returns chunks at random: the key, `chunk_seq`, the chunk and its embedding.
    pub(crate) sample: String,
}

impl Transfer {
    pub(super) fn new(values: &BTreeMap<String, String>, key_columns: usize) -> Self {
        let mut values = values.clone();
        for (name, at) in ["x.chunk", "x.embedding", "x.location"]
            .into_iter()
            .zip(key_columns + 1..)
        {
            values.insert(name.to_owned(), format!("${at}::text[]"));
        }
        let has_location = values
            .get("location column")
            .is_some_and(|it| !it.is_empty());
        let location = if has_location {
            ", i.location::jsonb"
        } else {
            ""
        };
        values.insert("i.location".to_owned(), location.to_owned());
        Self {
            rest: fill(REST, &values),
            import: fill(IMPORT, &values),
            sample: fill(SAMPLE, &values),
        }
    }
}

impl ResyncPlan {
    /// The statement that returns chunks in the order of their keys, from the beginning or after a key. Parameters:
    /// how many, and the key.
    pub(crate) fn exported(&self, is_first: bool, has_location: bool) -> String {
        let mut values = self.with_range((!is_first).then_some(2), None);
        let location = if has_location {
            ", t.location::text"
        } else {
            ""
        };
        values.insert("t.location".to_owned(), location.to_owned());
        fill(PAGE, &values)
    }
}

const PAGE: &str = "\
select {t.keys as text}, t.chunk_seq::text, t.chunk, t.embedding::text{t.location}
from {store} t
where {t range}
order by {t.keys}, t.chunk_seq
limit $1::bigint";

const REST: &str = "\
with input as materialized (
  select {i.keys typed} from unnest({key params 3}) as i({input keys})
)
select {t.keys as text}, t.chunk_seq::text, t.chunk, t.embedding::text{t.location}
from input i join {store} t on {t=i}
where t.chunk_seq > $2::bigint
order by t.chunk_seq
limit $1::bigint";

/// Of pages that have about fifty times as many chunks as are wanted: a large store is not read as a whole. Where the
/// statistics are too old, so that these pages have none, it is.
const SAMPLE: &str = "\
with size as materialized (
  select least(100, 5000.0 * $1::bigint / greatest(c.reltuples, 1)) as percent
  from pg_class c
  where c.oid = (select t.tableoid from {store} t limit 1)
), sampled as materialized (
  select {t.keys}, t.chunk_seq, t.chunk, t.embedding
  from {store} t tablesample system (coalesce((select percent from size), 100))
  where t.embedding is not null and t.chunk <> ''
  order by random()
  limit $1::bigint
), whole as (
  select {t.keys}, t.chunk_seq, t.chunk, t.embedding
  from {store} t
  where not exists (select from sampled) and t.embedding is not null and t.chunk <> ''
  order by random()
  limit $1::bigint
)
select {t.keys as text}, t.chunk_seq::text, t.chunk, t.embedding::text
from (table sampled union all table whole) t";

/// Chunks are added to those of their rows, and the rows are queued, in one statement: whatever happens next, a worker
/// compares each of these rows with its chunks, keeps what is of its text, and deletes the rest. (A chunk that is
/// there already is left out: a worker takes the vector of an equal text from any place of the row.)
///
/// Items are locked before chunks are written, as in every statement. The lock of the leases keeps the statement
/// apart from a change of what is recorded of the model.
const IMPORT: &str = "\
with fence as (
  select from {lease} l where false for key share
), input as materialized (
  select i.n, {i.keys typed}, i.chunk, i.embedding, i.location
  from unnest({key params 1}, {x.chunk}, {x.embedding}, {x.location})
    with ordinality as i({input keys}, chunk, embedding, location, n)
), model as materialized (
  select exists (
    select from ai.vectorizer_made_by m
    where m.vectorizer_id = {id} and m.vectors = {made_by vectors}) as is_same
), known as materialized (
  select i.* from input i join {source} s on {s=i}
), wanted as materialized (
  select distinct on ({i.keys}, i.chunk) i.*
  from known i
  where (select is_same from model)
    and not exists (select from {store} t where {t=i} and t.chunk = i.chunk offset 0)
  order by {i.keys}, i.chunk, i.n
), queued as (
  insert into {queue} as q ({keys}, queued_at)
  select {i.keys}, clock_timestamp() from (select distinct {i.keys} from wanted i) i order by {i.keys}
  on conflict ({keys}) do update
  set _generation = nextval('ai._generation'), loading_retries = 0, loading_retry_after = null
  returning {q.keys}
), stored as (
  insert into {store} ({keys}, chunk_seq, chunk, embedding{location column})
  select {i.keys}, coalesce((select max(t.chunk_seq) from {store} t where {t=i}), -1)
      + row_number() over (partition by {i.keys} order by i.n),
    i.chunk, i.embedding::{vector}{i.location}
  from wanted i
  where exists (select from queued q where {q=i})
  on conflict do nothing
  returning 1
)
select m.is_same::text, (select count(*) from known)::text, (select count(*) from stored)::text,
  (select count(*) from queued)::text,
  case when exists (select from queued) then pg_notify('ai_vectorizer', '{id}')::text end
from model m";
