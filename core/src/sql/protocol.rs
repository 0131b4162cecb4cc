//! The queue protocol's statements, with `{names}` that [`Plan`](super::Plan) replaces.
//!
//! Every statement takes locks in this order: source, queue item, lease, store. No statement waits
//! for a row that an application has locked: items and leases use `skip locked`. Table locks are
//! taken in the order in which a statement's text names the tables, so a statement that uses the
//! source names it first.
//!
//! A statement with `for update` sees the newest version of a row that changed after the
//! snapshot, but plain scans use the snapshot. Therefore a claim does not read the source.

/// Parameters: claim, lease in ms, low-water mark, promise in ms (0: do not set the bell), whether
/// suspects may be claimed (0: no).
///
/// An item whose lease has expired twice may have killed its workers. It is a suspect: it is skipped
/// while other items are due, here and in the other queues, and is then claimed alone. A claim that
/// is sent again (its answer was lost) gets its own items again and counts no attempt.
///
/// A lease of claim 0 belongs to no worker. It delays a failed item, and stores the generation that
/// failed and the number of its failures. A changed item is due at once, and its failures are
/// reset. So is an item whose retry time is further away than the longest backoff: then the clock
/// was set back. A worker with an old configuration gets nothing: the digests of the current one
/// are recorded in the database. There is always a row, because the bell is set in any case; if
/// there is no item, its keys are null.
///
/// `offset 0` prevents the planner from turning the lookup into a join, which may read the whole lease
/// table.
pub(super) const CLAIM: &str = "\
with due as materialized (
  select {q.keys}, q._generation, q.queued_at, q.loading_retries
  from {queue} q
  where (q.loading_retry_after is null or q.loading_retry_after <= now()
      or q.loading_retry_after > now() + interval '{backoff_max} seconds')
    and ($3::text is null or q.queued_at >= $3::text::timestamptz)
    and not exists (
      select from {lease} l
      where {l=q} and l._claim <> $1::bigint
        and (l._attempts >= 2 and l._generation = q._generation
          or l._until > now()
            and (l._claim <> 0 or l._generation = q._generation
              and l._until <= now() + interval '{backoff_max} seconds'))
      offset 0)
    and exists (
      select from ai.vectorizer_made_by m
      where m.vectorizer_id = {id}
        and m.vectors = {made_by vectors} and m.texts = {made_by texts})
  order by q.queued_at
  limit {rows}
  for update of q skip locked
), {unreadable}suspect as materialized (
  select {q.keys}, q._generation, q.queued_at, q.loading_retries
  from {queue} q
  where $5::bigint <> 0 and not exists (select from due)
    and (q.loading_retry_after is null or q.loading_retry_after <= now()
      or q.loading_retry_after > now() + interval '{backoff_max} seconds')
    and exists (
      select from {lease} l
      where {l=q} and l._claim <> $1::bigint and l._attempts >= 2
        and l._generation = q._generation
        and (l._until <= now()
          or l._claim = 0 and l._until > now() + interval '{backoff_max} seconds')
      offset 0)
    and exists (
      select from ai.vectorizer_made_by m
      where m.vectorizer_id = {id}
        and m.vectors = {made_by vectors} and m.texts = {made_by texts})
  order by q.queued_at
  limit 1
  for update of q skip locked
), chosen as materialized (
  select d.* from due d{only readable} union all select * from suspect
), taken as (
  insert into {lease} as l ({keys}, _claim, _until, _attempts, _generation)
  select {c.keys}, $1::bigint, now() + $2::bigint * interval '1 millisecond', 1, c._generation
  from chosen c
  on conflict ({keys}) do update
  set _claim = excluded._claim, _until = excluded._until, _generation = excluded._generation,
    _attempts = case
      when l._generation <> excluded._generation then 1
      when l._claim = excluded._claim then l._attempts
      else l._attempts + 1 end,
    _failures = case when l._generation = excluded._generation then l._failures else 0 end
  where l._until <= now() or l._claim = excluded._claim
    or l._claim = 0 and (l._generation <> excluded._generation
      or l._until > now() + interval '{backoff_max} seconds')
  returning {l.keys}, l._attempts, l._failures
)
select {t.keys as text}, c._generation::text, (c.loading_retries + t._failures + t._attempts)::text,
  t._attempts::text, c.queued_at::text, rung.until::text{how many unreadable}
from (
  select case when $4::bigint > 0 then setval(E'{bell}', {now_ms} + $4::bigint) end as until
) rung
left join (chosen c join taken t on {t=c}) on true
order by c.queued_at";

/// The changes to [`CLAIM`] if the database's encoding is not UTF-8. A key may contain characters that
/// UTF-8 lacks, or return as another key. Such a row goes to the failed table at once, and its key is
/// not sent to the worker.
pub(super) const UNREADABLE: &str = "\
unreadable as materialized (
  select d.* from due d where not ({d.readable})
), given_up as (
  insert into {failed} ({keys}, failure_step, failure_reason)
  select {u.keys}, 'loading', '{unreadable reason}' from unreadable u
  on conflict ({keys}) do update
  set created_at = now(), failure_step = excluded.failure_step,
    failure_reason = excluded.failure_reason
), removed as (
  delete from {queue} q using unreadable u where {q=u}
), let_go as (
  delete from {lease} l using unreadable u where {l=u}
), noted as (
  insert into ai._vectorizer_errors (id, message, details)
  select {id}, 'vectorizer failed with unexpected error', jsonb_build_object(
    'error_reason', '{unreadable reason}', 'step', 'loading', 'is_retryable', false,
    'key', jsonb_build_array({u.keys readable}))
  from unreadable u
), ";

/// The failure reason of these rows.
pub(crate) const UNREADABLE_REASON: &str =
    "the key has characters that UTF-8 lacks, or that do not come back from it as they were";

/// Parameters: bytes, keys. Returns rows in the order of the keys until the bytes are used up;
/// the other rows are left out. A key without a source row is returned without a text, so that
/// its chunks are deleted. (A key of a composite type with a null in it is not "not null", but
/// distinct from it.) A row above the size limit is returned without its texts, and as `long`.
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
  {read loading}{read columns},
  (select string_agg(
      t.chunk_seq || ':' || encode(sha256(convert_to(t.chunk, 'UTF8')), 'hex'){hash of t.location}, ','
      order by t.chunk_seq)
    from {store} t where {t=z} and t.chunk_seq between 0 and {row bytes} / 64){read document}
from sized z left join {source} s on {s=z}{document joined}
where z.bytes_before < $1::bigint
order by z.n";

/// Parameters: claim, keys, generations, chunk counts, and for each chunk: the row's number, its position, its text
/// (null: keep the stored chunk), the position whose vector it reuses (null: it has a new one), the hash of the text
/// there, its new vector, and its location if the store has a column for that. (Stored chunks are looked up one by one: worker sessions use index joins only, and two
/// lists of a row with many chunks would be compared pair by pair.)
///
/// Each row is returned with one of these outcomes:
///
/// * `done`;
/// * `changed`: the row has changed. The chunks are written if the source row still exists, and the item stays as it
///   is;
/// * `edited`: another session wrote to the store. Nothing is written, and the lease is released;
/// * `unwritten`: a trigger on the store returned NULL for some chunks, which were not written or not deleted. Item
///   and lease stay;
/// * `busy`: a transaction has locked the item. Repeat the statement;
/// * `lost`: this claim has no lease.
pub(super) const COMMIT: &str = "\
with own as materialized (
  select case when current_setting('restrict_nonsystem_relation_kind', true) <> '' then
    set_config('restrict_nonsystem_relation_kind', '', true) end as setting
), input as materialized (
  select i.n, {i.keys typed}, i.generation, i.chunks, own.setting
  from unnest({key params 2}, ${generations}::bigint[], ${chunks}::bigint[])
    with ordinality as i({input keys}, generation, chunks, n), own
), present as materialized (
  select i.n from {source} s join input i on {s=i}
), item as materialized (
  select i.n, q._generation = i.generation as same
  from {queue} q join input i on {q=i}
  for update of q skip locked
), held as materialized (
  select i.n, m.same
  from item m join input i on i.n = m.n join {lease} l on {l=i}
  where l._claim = $1::bigint
  for update of l skip locked
), piece as materialized (
  select *
  from unnest(${c.row}::bigint[], ${c.place}::bigint[], ${c.text}::text[], ${c.origin}::bigint[],
    ${c.hash}::text[], ${c.vector}::{vector}[]{c.location array})
    as p(n, place, text, origin, hash, vector{location column})
), edited as materialized (
  select distinct p.n
  from piece p join held h on h.n = p.n join input i on i.n = p.n
  where p.origin is not null
    and not exists (
      select from {store} t
      where {t=i} and t.chunk_seq = p.origin
        and encode(sha256(convert_to(t.chunk, 'UTF8')), 'hex') = p.hash)
), good as materialized (
  select h.n, h.same from held h
  where not exists (select from edited e where e.n = h.n)
    and (h.same or exists (select from present r where r.n = h.n))
), written as (
  insert into {store} ({keys}, chunk_seq, chunk, embedding{location column})
  select {i.keys}, p.place, p.text,
    coalesce(p.vector::{stored}({dimensions}), t.embedding){p.location}
  from piece p join good g on g.n = p.n join input i on i.n = p.n
  left join {store} t on {t=i} and t.chunk_seq = p.origin
  where p.text is not null
  order by p.n, p.place
  on conflict ({keys}, chunk_seq) do update
  set chunk = excluded.chunk, embedding = excluded.embedding{excluded.location}
  returning {keys}, chunk_seq
), trimmed as (
  delete from {store} t using good g join input i on i.n = g.n
  where {t=i} and t.chunk_seq >= i.chunks
  returning {t.keys}
), unwritten as materialized (
  select p.n
  from piece p join good g on g.n = p.n join input i on i.n = p.n
  where (select count(*) from written) < (
      select count(*) from piece p join good g on g.n = p.n where p.text is not null)
    and g.same and p.text is not null
    and not exists (select from written w where {w=i} and w.chunk_seq = p.place)
    and not exists (
      select from {store} t where {t=i} and t.chunk_seq = p.place and t.chunk = p.text)
  union
  select i.n
  from good g join input i on i.n = g.n
  where g.same
    and (select count(*) from {store} t where {t=i} and t.chunk_seq >= i.chunks)
      > (select count(*) from trimmed d where {d=i})
), whole as materialized (
  select g.n from good g where g.same and not exists (select from unwritten u where u.n = g.n)
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
    when e.n is not null then 'edited'
    when u.n is not null then 'unwritten'
    when h.same then 'done'
    else 'changed'
  end
from input i left join held h on h.n = i.n left join edited e on e.n = i.n
  left join unwritten u on u.n = i.n
order by i.n";

/// Parameters: claim, keys, generations, and for each row: ms until the next attempt (null: none,
/// the key goes to the failed table), step, reason, and the message and details of the error. The
/// lease of a row that has changed since is only released. The outcomes are those of a commit.
///
/// The retry time is stored in the lease, not in the item. An UPDATE of the item would make an
/// application in REPEATABLE READ fail (40001), if it writes to the row later with an older
/// snapshot.
pub(super) const FAIL: &str = "\
with input as materialized (
  select i.n, {i.keys typed}, i.generation, i.retry, i.step, i.reason, i.message, i.details
  from unnest({key params 2}, ${generations}::bigint[], ${f.retry}::bigint[], ${f.step}::text[],
      ${f.reason}::text[], ${f.message}::text[], ${f.details}::text[])
    with ordinality as i({input keys}, generation, retry, step, reason, message, details, n)
), {items}, held as materialized (
  select i.n, m.same, m.found, l._attempts
  from item m join input i on i.n = m.n join {lease} l on {l=i}
  where l._claim = $1::bigint
  for update of l skip locked
), given_up as (
  insert into {failed} ({keys}, failure_step, failure_reason)
  select {i.keys}, i.step, i.reason from held h join input i on i.n = h.n
  where h.same and i.retry is null
  on conflict ({keys}) do update
  set created_at = now(), failure_step = excluded.failure_step,
    failure_reason = excluded.failure_reason
), gone as (
  delete from {queue} q using held h join input i on i.n = h.n
  where h.same and i.retry is null and {q=i}
), put_off as (
  update {lease} l
  set _claim = 0, _until = now() + i.retry * interval '1 millisecond',
    _failures = l._failures + h._attempts, _attempts = 0
  from held h join input i on i.n = h.n
  where h.same and i.retry is not null and {l=i}
), freed as (
  delete from {lease} l using held h join input i on i.n = h.n
  where not (h.same and i.retry is not null) and {l=i}
), {cleared}{given up documents}noted as (
  insert into ai._vectorizer_errors (id, message, details)
  select {id}, i.message, i.details::jsonb from held h join input i on i.n = h.n
  where h.same
)
select i.n::text, case
    when h.n is null then case when exists (
        select from {lease} l join {queue} q on {q=l} where {l=i} and l._claim = $1::bigint)
      then 'busy' else 'lost' end
    when h.same then 'done'
    else 'changed'
  end
from input i left join held h on h.n = i.n
order by i.n";

/// `{items}` of [`FAIL`]: the rows that it locks.
pub(super) const FAIL_ITEMS: &str = "\
item as materialized (
  select i.n, q._generation = i.generation as same, false as found
  from {queue} q join input i on {q=i}
  for update of q skip locked
)";

/// Parameters: claim, keys. The attempt that the claim counted is subtracted again.
pub(super) const RELEASE: &str = "\
with input as materialized (
  select {i.keys typed} from unnest({key params 2}) as i({input keys})
), mine as materialized (
  select {l.keys aliased}, l._attempts, l._failures
  from {lease} l join input i on {l=i}
  where l._claim = $1::bigint
  for update of l skip locked
), kept as (
  update {lease} l set _claim = 0, _until = now(), _attempts = l._attempts - 1
  from mine i where {l=i} and (i._attempts > 1 or i._failures > 0)
), gone as (
  delete from {lease} l using mine i where {l=i} and i._attempts <= 1 and i._failures = 0
)
select count(*)::text from mine";

/// Parameters: claim, lease in ms, keys. Returns the numbers of the keys that are still held.
pub(super) const EXTEND: &str = "\
with input as materialized (
  select i.n, {i.keys typed} from unnest({key params 3}) with ordinality as i({input keys}, n)
), mine as materialized (
  select i.*
  from {lease} l join input i on {l=i}
  where l._claim = $1::bigint
  for update of l skip locked
)
update {lease} l set _until = now() + $2::bigint * interval '1 millisecond'
from mine i where {l=i}
returning i.n::text";

/// Parameter: promise in ms.
pub(super) const BELL: &str = "select setval(E'{bell}', {now_ms} + $1::bigint)::text";

pub(super) const WAITING: &str = "select count(*)::text from {queue}";
