//! Read-only statements of the operator's commands on one vectorizer, with `{names}` that
//! [`Plan`](super::Plan) replaces.

/// Parameter: how many. Returns keys of random rows that have a text.
pub(super) const SAMPLE: &str = "\
select {s.keys as text}
from {source} s
where octet_length({s.loading}) > 0
order by random()
limit $1::bigint";

/// Parameters: a vector as pgvector writes it, how many. Returns the nearest chunks by the distance of the
/// vectorizer's index, or by cosine distance, with the expression that the index is on.
pub(super) const SEARCH: &str = "\
select array[{t.keys as text}, t.chunk_seq::text,
  (t.embedding{as compared} {distance} $1::text::{compared})::text, t.chunk{t.location}]
from {store} t
order by t.embedding{as compared} {distance} $1::text::{compared}
limit $2::bigint";

/// Returns the number of rows, of rows with a text, and the bytes of their texts.
pub(super) const SIZE: &str = "\
select count(*)::text, count(*) filter (where octet_length({s.loading}) > 0)::text,
  coalesce(sum(octet_length({s.loading})), 0)::text
from {source} s";
