//! What the statements say in addition if a vectorizer checks its documents again and again: see
//! `ai.vectorizer_document`, which every statement locks last.

/// Puts documents whose check is due into the queue, at most [`CHECKED_AT_ONCE`] and only while few
/// items wait, so that changes of rows are not delayed. Their next check is an interval later, if this one comes to
/// nothing. Returns how many were queued, and whether there may be more.
///
/// A key in the queue stays as it is: its row has changed, and is loaded anyway. (`not exists` so that this waits for no
/// worker that is deleting the item.) A row that was given up for its text waits for somebody, like all such rows.
pub(super) const REFRESH: &str = "\
with room as materialized (
  select count(*) < {waiting max} as is_there from (select from {queue} limit {waiting max}) w
), due as materialized (
  select d.key
  from room r, ai.vectorizer_document d
  where r.is_there and d.number = {number}
    and d._counted_from <= now() - interval '{refresh} seconds'
  order by d._counted_from
  limit {checked at once}
), input as materialized (
  select d.key, {d.key typed} from due d
), queued as (
  insert into {queue} ({keys}, queued_at)
  select {i.keys}, clock_timestamp() from input i
  where not exists (select from {queue} q where {q=i} offset 0)
    and not exists (
      select from {failed} f
      where {f=i} and f.failure_step not in ('loading', 'parsing') offset 0)
  order by {i.keys}
  on conflict ({keys}) do nothing
  returning {keys}, _generation
), counted as (
  update ai.vectorizer_document d
  set _counted_from = now(),
    _generation = coalesce((select u._generation from queued u where {u=i}), d._generation)
  from input i
  where d.number = {number} and d.key = i.key
  returning 1
)
select (select count(*) from queued)::text,
  (not r.is_there or (select count(*) from counted) >= {checked at once})::text,
  case when (select count(*) from queued) > 0 then pg_notify('ai_vectorizer', '{number}')::text end
from room r";

/// So many documents are queued at a time.
pub(super) const CHECKED_AT_ONCE: usize = 100;
/// And none while so many items wait.
pub(super) const WAITING_MAX: usize = 1000;

/// `{read document}` of `READ`: what is known of the document of a row.
pub(super) const READ_DOCUMENT: &str = ",
  d.source, d.validator, d.chunks::text, d._generation::text";
pub(super) const DOCUMENT_JOINED: &str = " left join ai.vectorizer_document d on d.number = {number} and d.key = array[{z.keys as text}]";

/// `{checked}` of `COMMIT`: the documents of finished rows have been checked now. The first check after that comes at a
/// random time within an interval, because many rows are loaded at the same time; later ones have a little of that.
pub(super) const CHECKED: &str = ", document as materialized (
  select w.n, array[{i.keys as text}] as key, d.source, d.validator, i.chunks
  from whole w join input i on i.n = w.n
  join unnest(${d.source}::text[], ${d.validator}::text[]) with ordinality as d(source, validator, n)
    on d.n = w.n
), checked as (
  insert into ai.vectorizer_document as d (number, key, source, validator, chunks, _counted_from)
  select {number}, o.key, o.source, o.validator, o.chunks, now() - random() * interval '{refresh} seconds'
  from document o where o.source is not null
  order by o.key
  on conflict (number, key) do update
  set source = excluded.source, validator = excluded.validator, chunks = excluded.chunks, checked_at = now(), _generation = null,
    _counted_from = now() - random() * 0.1 * interval '{refresh} seconds'
), unchecked as (
  delete from ai.vectorizer_document d using document o
  where o.source is null and d.number = {number} and d.key = o.key
)";

/// `{given up documents}` of `FAIL`: a document that could not be loaded may come.
pub(super) const GIVEN_UP: &str = "checked as (
  insert into ai.vectorizer_document as d (number, key)
  select {number}, array[{i.keys as text}] from held h join input i on i.n = h.n
  where h.same and i.retry is null
  order by 2
  on conflict (number, key) do update set _counted_from = now()
), ";

/// `{unchecked}` of a resync's comparison: the time of the next check is not known.
pub(super) const UNCHECKED: &str = "\n    when {has text}not exists (
      select from ai.vectorizer_document d where d.number = {number} and d.key = array[{keys}] offset 0)
      then 'missing'";
