//! The statements of a resync, as templates.

/// Takes a request that waits, or whose worker's lease has expired. Parameters: claim, lease in ms,
/// ids. Returns the vectorizer, whether texts are compared, the key to continue after, the counts
/// so far, the number of this transaction: transactions that wrote before it may still be open; and whether its
/// documents are checked again.
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
    from ai._vectorizers() v
    join pg_namespace n on n.nspname = v.source_schema
    join pg_class s on s.relnamespace = n.oid and s.relname = v.source_table
    join pg_class c on c.oid = s.oid or c.oid in (
      select p.relid from pg_partition_tree(s.oid) p where p.isleaf)
    where v.id = r.vectorizer_id and c.relkind <> 'p') else r.rows_expected end
from due d
where r.vectorizer_id = d.vectorizer_id
returning r.vectorizer_id::text, r.verifies_text::text, r._cursor::text, r.rows_compared::text,
  r.missing::text, r.orphans::text, r.stale::text, r.reason, pg_current_xact_id()::text,
  (select v.config #>> '{loading,refresh}' from ai._vectorizers() v where v.id = r.vectorizer_id)";

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
pub(in crate::sql) const BOUND: &str = "\
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
pub(in crate::sql) const BOUND_OF_COLUMN: &str = "\
select {s.keys as text}
from {source} s where {s range}
order by {s.keys}
offset $1::bigint
limit 1";

/// Parameter: how many keys from the end. Returns keys after which to compare a sample of a table: near
/// the end of both tables, and at random places in the source.
pub(in crate::sql) const STARTS: &str = "\
(select {s.keys as text} from {source} s order by {s.keys desc} offset $1::bigint limit 1)
union all
(select {t.keys as text} from {store} t order by {t.keys desc} offset $1::bigint limit 1)
union all
(select {s.keys as text} from {source} s tablesample system (1) order by random() limit 3)";

pub(in crate::sql) const STARTS_OF_COLUMN: &str = "\
(select {s.keys as text} from {source} s order by {s.keys desc} offset $1::bigint limit 1)
union all
(select {s.keys as text} from {source} s tablesample system (1) order by random() limit 3)";

/// Parameters: the bounds of the piece. Returns the differences in key order: the reason, the key,
/// and in each row the number of compared source rows. There is always a row. Keys in the queue and
/// in the failed table are left out. (A composite key with nulls in it "is null", so each side has a
/// flag of its own.)
pub(in crate::sql) const COMPARE: &str = "\
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
pub(in crate::sql) const COMPARE_COLUMN: &str = "\
with compared as materialized (
  select {s.keys as k}, true as in_source,
    case when s.{column} is null and octet_length({s.loading}) > 0 then 'missing'
      when s.{column} is not null and coalesce(octet_length({s.loading}), 0) = 0 then 'orphan'{unchecked} end as why
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
pub(in crate::sql) const WHY_LISTED: &str =
    "case when a.there is null then 'orphan' else 'unread' end";

/// Why a key differs; null if it does not.
pub(in crate::sql) const WHY: &str = "case
    when b.there is null then case when a.has_text then 'missing' end
    when a.there is null then 'orphan'
    when not a.has_text then 'stale'
    when b.has_gap then 'missing'{more}{unchecked}
  end";

/// Each side has one text: their hashes are compared.
pub(in crate::sql) const WHY_HASHES: &str =
    "\n    when b.has_many or a.hash <> b.hash then 'stale'";

/// Gives claimed items a new generation, so that their rows are read again. A worker may have read a
/// row before the resync began, and its commit would overwrite newer chunks. (A locked item is being
/// committed, and is compared afterwards; or it is being changed, and gets a new generation.)
pub(in crate::sql) const RENEW: &str = "\
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
pub(in crate::sql) const QUEUE: &str = "\
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
pub(in crate::sql) const QUEUED: &str = "\
with input as materialized (
  select i.n, {i.keys typed} from unnest({key params 1}) with ordinality as i({input keys}, n)
)
select i.n::text from input i
where exists (select from {queue} q where {q=i} offset 0)";
