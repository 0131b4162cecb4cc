//! The statements that differ if a column of the source itself holds the vectors: one vector for each
//! row, of a text that is stored only in the row's own columns.
//!
//! So it is unknown whether a vector belongs to the current text, and a claimed row is always
//! embedded. Worker and application write the same rows. The worker locks source row and item
//! together with `skip locked`, and writes only rows for which it got both locks.

/// Like the protocol's `READ`, without stored chunks to compare.
pub(super) const READ: &str = "\
with input as materialized (
  select i.n, {i.keys typed}
  from unnest({key params 2}) with ordinality as i({input keys}, n)
), sized as materialized (
  select i.*, {s.first} is distinct from null as found, {s.size} > {row bytes} as long,
    sum(coalesce(octet_length({s.loading}), 0)) over (order by i.n)
      - coalesce(octet_length({s.loading}), 0) as bytes_before
  from input i left join {source} s on {s=i}
)
select z.n::text, case when z.long then 'long' else z.found::text end,
  {read loading}{read columns}, null::text{read document}
from sized z left join {source} s on {s=z}{document joined}
where z.bytes_before < $1::bigint
order by z.n";

/// Parameters and answers are those of the protocol's `COMMIT`. A row has one chunk, whose vector
/// is written, or none, and the column becomes null.
///
/// If a row has changed since it was read, it is not written: its vector was made from the old
/// text, and its item stays in the queue. `ai.own_write` tells our triggers on the source not to
/// queue this write, even if a trigger of the application sets another column. Otherwise, if the
/// template names that column, every write would queue the next. Changes of such a trigger to other
/// tables are queued. The trigger runs with the normal settings of the worker's role, not with the
/// worker's session settings; this statement was parsed and planned with the latter.
pub(super) const COMMIT: &str = "\
with own as materialized (
  select count(set_config(p.name, p.value, true)) as settings
  from (
    select name, reset_val from pg_settings where name in ('row_security', 'search_path')
    union all
    select name, '' from pg_settings where name = 'restrict_nonsystem_relation_kind'
    union all
    values ('ai.own_write', '{number}')) p(name, value)
), input as materialized (
  select i.n, {i.keys typed}, i.generation, i.chunks, own.settings
  from unnest({key params 2}, ${generations}::bigint[], ${chunks}::bigint[])
    with ordinality as i({input keys}, generation, chunks, n), own
), live as materialized (
  select i.n, q._generation = i.generation as same, true as found
  from input i join {source} s on {s=i} join {queue} q on {q=i}
  for no key update of s skip locked for update of q skip locked
), gone as materialized (
  select i.n, q._generation = i.generation as same, false as found
  from input i join {queue} q on {q=i}
  where not exists (select from {source} s where {s=i})
  for update of q skip locked
), held as materialized (
  select i.n, m.same, m.found
  from (select * from live union all select * from gone) m
  join input i on i.n = m.n join {lease} l on {l=i}
  where l._claim = $1::bigint
  for update of l skip locked
), piece as materialized (
  select *
  from unnest(${c.row}::bigint[], ${c.place}::bigint[], ${c.text}::text[], ${c.origin}::bigint[],
    ${c.hash}::text[], ${c.vector}::{vector}[]) as p(n, place, text, origin, hash, vector)
), written as (
  update {source} s
  set {column} = (select p.vector::{stored}({dimensions})
    from piece p where p.n = h.n and p.place = 0)
  from held h join input i on i.n = h.n
  where h.same and h.found and {s=i}
    and (i.chunks > 0 or s.{column} is not null)
  returning {s.keys}
), unwritten as materialized (
  select i.n
  from held h join input i on i.n = h.n join {source} s on {s=i}
  where h.same and h.found
    and not exists (select from written w where {w=i})
    and row(s.{column})::record operator(pg_catalog.*<>) row((
      select p.vector::{stored}({dimensions})
      from piece p where p.n = h.n and p.place = 0))::record
), whole as materialized (
  select h.n from held h where h.same and not exists (select from unwritten u where u.n = h.n)
), finished as (
  delete from {queue} q using whole w join input i on i.n = w.n
  where {q=i}
), recovered as (
  delete from {failed} f using whole w join input i on i.n = w.n
  where {f=i}
), freed as (
  delete from {lease} l using held h join input i on i.n = h.n
  where {l=i} and not exists (select from unwritten u where u.n = h.n)
){checked}
select i.n::text, case
    when h.n is null then case when exists (
        select from {lease} l join {queue} q on {q=l} where {l=i} and l._claim = $1::bigint)
      then 'busy' else 'lost' end
    when u.n is not null then 'unwritten'
    when h.same then 'done'
    else 'changed'
  end
from input i left join held h on h.n = i.n left join unwritten u on u.n = i.n
order by i.n";

/// `{items}` of the protocol's `FAIL`, if rows that move to the failed table lose their vectors: the
/// vector would not match the text. For these rows the source row is locked, too.
pub(super) const FAIL_ITEMS: &str = "\
own as materialized (
  select count(set_config(p.name, p.value, true)) as settings
  from (
    select name, reset_val from pg_settings where name in ('row_security', 'search_path')
    union all values ('ai.own_write', '{number}')) p(name, value)
), live as materialized (
  select i.n, q._generation = i.generation as same, true as found
  from own, input i join {source} s on {s=i} join {queue} q on {q=i}
  where i.retry is null
  for no key update of s skip locked for update of q skip locked
), others as materialized (
  select i.n, q._generation = i.generation as same, false as found
  from input i join {queue} q on {q=i}
  where i.retry is not null or not exists (select from {source} s where {s=i})
  for update of q skip locked
), item as materialized (
  select * from live union all select * from others
)";

/// `{cleared}` of the protocol's `FAIL`.
pub(super) const FAIL_CLEARED: &str = "\
cleared as (
  update {source} s set {column} = null
  from held h join input i on i.n = h.n
  where h.same and h.found and {s=i} and s.{column} is not null
), ";
