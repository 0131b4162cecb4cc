//! The statements. Static ones are here. Those of a vectorizer are planned in [`plan`] from the texts
//! of `protocol` (the worker), `column` (the differences if a column of the source holds the vectors),
//! `resync` (comparing a source with its store) and `commands` (the operator's commands).
//!
//! Every statement is one transaction, every value is a parameter, and every column of an answer
//! is `text`.

mod column;
mod commands;
mod documents;
mod plan;
mod protocol;
mod resync;
mod searched;
mod transfer;

pub use plan::Plan;
pub(crate) use plan::{
    Destination, KeyColumn, PlanInput, RENDERED_FACTOR, TemplateColumn, VectorTypes, fill, literal,
    qualified, quoted,
};
pub(crate) use protocol::UNREADABLE_REASON;
pub use resync::Depth;
pub(crate) use resync::{BARRIER, SAVE, TAKE};
pub(crate) use searched::Searched;

/// The settings, as statements: `$set` begins each, and `$is_local` says whether they end with the
/// transaction.
macro_rules! settings {
    ($set:literal, $is_local:literal) => {
        concat!(
            $set,
            "synchronous_commit = off;\n",
            $set,
            "row_security = off;\n",
            $set,
            "statement_timeout = '60s';\n",
            $set,
            "idle_in_transaction_session_timeout = '60s';\n",
            $set,
            "search_path = pg_catalog, pg_temp;\n",
            $set,
            "client_encoding = 'UTF8';\n",
            $set,
            "standard_conforming_strings = on;\n",
            $set,
            "datestyle = 'ISO, YMD';\n",
            $set,
            "intervalstyle = 'postgres';\n",
            $set,
            "bytea_output = 'hex';\n",
            $set,
            "extra_float_digits = 1;\n",
            $set,
            "plan_cache_mode = force_custom_plan;\n",
            $set,
            "jit = off;\n",
            $set,
            "enable_hashjoin = off;\n",
            $set,
            "enable_material = off;\n",
            $set,
            "enable_mergejoin = off;\n",
            $set,
            "enable_seqscan = off;\n",
            $set,
            "cursor_tuple_fraction = 1;\n",
            "select set_config(name, 'view, foreign-table', ",
            $is_local,
            ")\n",
            "from pg_settings where name = 'restrict_nonsystem_relation_kind';\n",
            "select set_config('lock_timeout', (setting::bigint / 2)::text, ",
            $is_local,
            ")\n",
            "from pg_settings where name = 'deadlock_timeout';\n",
        )
    };
}

/// The settings of every session of a worker. They fix the text form of keys and values, and prevent
/// long waits.
///
/// * `synchronous_commit = off`: queue and store commit together, so a crash loses both or neither.
/// * `lock_timeout` is half of `deadlock_timeout`: in a deadlock with an application, the worker
///   fails before PostgreSQL cancels a session.
/// * `tcp_user_timeout` and `client_connection_check_interval`: if the worker's machine is gone or
///   frozen, the server ends the session within half a minute. Not every system can detect that a
///   client has closed its connection.
/// * `enable_…`: every statement looks up a few keys by index. The planner would instead read whole
///   tables that its statistics call empty. Queue and lease table look empty when they are analyzed
///   at rest, but contain many dead rows while a transaction holds the xmin horizon. (`equality` in
///   `plan` and the claim's `offset 0` prevent the remaining bad plans.)
pub(crate) const SESSION: &str = concat!(
    settings!("set ", "false"),
    "\
set default_transaction_isolation = 'read committed';
set default_transaction_read_only = off;
select set_config(v.name, v.value, false)
from (values ('tcp_user_timeout', '30s'), ('client_connection_check_interval', '10s')) v(name, value)
join pg_settings g on g.name = v.name and g.context = 'user'
where v.name = 'tcp_user_timeout' or version() ~ 'linux|darwin|bsd'"
);

/// Begins a transaction with the same settings for it alone: behind a pooler, which gives the session to
/// others afterwards.
pub(crate) const TRANSACTION: &str = concat!(
    "begin isolation level read committed read write;\n",
    settings!("set local ", "true")
);

/// Declares a cursor for a query whose answer may be large. The server computes the whole result,
/// releases its locks, and only then sends the rows: a worker that stops reading holds no locks.
pub(crate) const HOLD: &str = "declare pgai_answer no scroll cursor with hold for ";

/// The rows of that cursor, as one simple query.
pub(crate) const FETCH: &str = "fetch all from pgai_answer; close pgai_answer";

/// Returns pgai's version and the version of our schema; fails with 3F000 or 42P01 if nothing is
/// installed.
pub(crate) const CHECK_SCHEMA: &str = "\
select max(version) filter (where name = 'ai'), max(version) filter (where name = 'setup.sql')
from ai.pgai_lib_version";

pub(crate) const START_WORKER: &str = "\
select ai._worker_start($1::text, $2::bigint * interval '1 millisecond')::text";

/// Progress of dropped vectorizers is ignored.
pub(crate) const HEARTBEAT: &str = "\
select
  ai._worker_heartbeat($1::text::uuid, $2::bigint::int, $3::bigint::int, $4::text)::text,
  (select count(ai._worker_progress($1::text::uuid, p.id::int, p.successes::int, p.message))
   from unnest($5::bigint[], $6::bigint[], $7::text[]) as p(id, successes, message)
   where exists (select from ai.vectorizer v where v.id = p.id))::text";

/// Parameters: id, the digests of what makes its vectors and its texts. Returns whether they are
/// recorded now.
pub(crate) const ACCEPT_TEXTS: &str = "\
select ai._vectorizer_accept_texts($1::bigint::int, $2::text, $3::text)::text";

/// Parameter: the generation that does not serve.
pub(crate) const CHANGE: &str = "select coalesce(ai._change_advance($1::bigint::int), '')";

/// Parameters: the number of the addition, and for each entry: vectorizer, model, days since 1970, requests, tokens, the
/// estimated part of them. What a generation uses is its vectorizer's. What was added under this number already is not added again, and usage of dropped
/// vectorizers is ignored.
pub(crate) const ADD_USAGE: &str = "\
with added as (
  insert into ai.vectorizer_usage as u
    (vectorizer_id, model, day, requests, tokens, estimated_tokens, _write)
  select w.id, e.model, date '1970-01-01' + e.day::int, sum(e.requests)::bigint, sum(e.tokens)::bigint,
    sum(e.estimated)::bigint, $1::bigint
  from unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
    as e(id, model, day, requests, tokens, estimated)
  cross join lateral ai._vectorizer_whole(e.id::int) as w(id)
  where exists (select from ai.vectorizer v where v.id = w.id)
  group by w.id, e.model, e.day
  order by w.id, e.model, e.day
  on conflict (vectorizer_id, model, day) do update
  set requests = u.requests + excluded.requests, tokens = u.tokens + excluded.tokens,
    estimated_tokens = u.estimated_tokens + excluded.estimated_tokens, _write = excluded._write
  where u._write <> excluded._write
  returning 1
)
select count(*)::text from added";

/// A generation takes of the ceiling of its vectorizer. Parameters: the scope, its vectorizer (0: none), days since 1970, the ceiling, how much is wanted.
pub(crate) const TAKE_BUDGET: &str = "\
select t.granted::text, t.is_news::text
from ai._vectorizer_whole(nullif($2::bigint, 0)::int) as w(id)
cross join lateral ai._vectorizer_budget_take(
  case when w.id = $2::bigint or w.id is null then $1::text else 'vectorizer ' || w.id end, w.id,
  date '1970-01-01' + $3::bigint::int, $4::bigint, $5::bigint) t";

/// The settings of a session that builds an index: the build takes as long as it takes, and waits for open transactions.
/// If its worker is gone, the server ends it soon.
pub(crate) const BUILD_SETTINGS: &str = "\
set statement_timeout = 0;
set lock_timeout = 0;
set idle_in_transaction_session_timeout = 0;
select set_config(g.name, '3s', false) from pg_settings g
where g.name = 'client_connection_check_interval' and version() ~ 'linux|darwin|bsd'";

/// Parameters: claim, lease in ms, ids. Returns a statement to run, if an index is to be built now, and problems.
pub(crate) const INDEX_TAKE: &str = "\
select t.vectorizer_id::text, t.statement, t.failures::text, t.memory_needed::text, t.memory_given::text, t.problem
from ai._vector_index_take($1::bigint, $2::bigint, $3::bigint[]) t";

/// Parameters: vectorizer, claim, lease in ms, whether the statement is cancelled (0: no). Returns the progress and
/// whether the build is in the way of another session. No row means that the lease is lost.
pub(crate) const INDEX_WATCH: &str = "\
select t.progress, t.is_in_the_way::text
from ai._vector_index_watch($1::bigint::int, $2::bigint, $3::bigint, $4::bigint <> 0) t";

/// Parameters: vectorizer, claim, ms until the next attempt, the reason of a failure. Returns whether there is a valid
/// index. No row means that the lease was lost.
pub(crate) const INDEX_END: &str = "\
select t.is_built::text
from ai._vector_index_end($1::bigint::int, $2::bigint, $3::bigint, $4::text) as t(is_built)";

pub(crate) const RECORD_ERRORS: &str = "\
with recorded as (
  insert into ai._vectorizer_errors (id, message, details)
  select e.id::int, e.message, e.details::jsonb
  from unnest($1::bigint[], $2::text[], $3::text[]) as e(id, message, details)
  where exists (select from ai._vectorizers() v where v.id = e.id)
  returning 1
)
select count(*)::text from recorded";

/// Returns an id and a JSON object for each vectorizer, and for each generation that does not serve. Types and equality operators of the key
/// come from the current catalog, not from the vectorizer's row: a role that can write that row
/// must not be able to inject SQL, and a plain `=` may be another operator for types of
/// extensions. `standing` says who owns the objects that the row names.
///
/// An error in one vectorizer must not prevent loading the others. So names are looked up in the
/// catalog (`to_regclass` fails if this role has no USAGE on a schema), and the object is null if a
/// definition is unreasonably large.
pub(crate) const LOAD_VECTORIZERS: &str = "\
select
  d.id::text,
  case when getdatabaseencoding() = 'UTF8' then d.definition::text
    else ai._readable(d.definition::text) end
from (
select
  v.id,
  case when u.is_readable then json_build_object(
    'id', v.id,
    'number', ai._vectorizer_number(v.id, v.queue_failed_table),
    'is_generation', exists (select from ai.vectorizer_generation g where g.id = v.id),
    'name', v.name,
    'disabled', v.disabled or ai._is_paused(v),
    'paused', ai._is_paused(v),
    'source_schema', v.source_schema,
    'source_table', v.source_table,
    'source_pk', v.source_pk,
    'queue_schema', v.queue_schema,
    'queue_table', v.queue_table,
    'queue_failed_table', v.queue_failed_table,
    'config', v.config,
    'made_by', (
      select json_build_object('vectors', n.vectors, 'texts', n.texts, 'recorded', (
        select json_build_object('vectors', m.vectors, 'texts', m.texts, 'embedding', m.embedding)
        from ai.vectorizer_made_by m where m.vectorizer_id = v.id))
      from ai._made_by(v.config) n
    ),
    'stored_dimensions', ai._vectorizer_stored_dimensions(
      v.source_schema, v.source_table, v.config -> 'destination'),
    'stored_type', (select f.type_name from ai._vector_column(v) f),
    'time_zone', current_setting('TimeZone'),
    'encoding', getdatabaseencoding(),
    'vector', (
      select json_build_object(
        'schema', n.nspname, 'oid', t.oid::bigint, 'array_oid', t.typarray::bigint)
      from pg_extension e
      join pg_namespace n on n.oid = e.extnamespace
      join pg_type t on t.typnamespace = n.oid and t.typname = 'vector'
      where e.extname = 'vector'
    ),
    'standing', ai._vectorizer_standing(v) || jsonb_build_object('is_sole', (
      select count(distinct c.relowner) = 1
      from ai.vectorizer x
      join pg_namespace n on n.nspname = x.source_schema
      join pg_class c on c.relnamespace = n.oid and c.relname = x.source_table)),
    'lease_found', ai._vectorizer_relation(
      v.queue_schema,
      ('_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table))::name) is not null,
    'queue_found', ai._vectorizer_relation(v.queue_schema, v.queue_table) is not null,
    'closed_schema', (
      select min(n.nspname::text) from pg_namespace n
      where n.nspname::text in (
          v.source_schema, v.queue_schema, v.config -> 'destination' ->> 'target_schema')
        and not has_schema_privilege(n.oid, 'usage')),
    'columns', (
      select json_agg(
        json_build_object(
          'name', a.attname,
          'type', format_type(a.atttypid, a.atttypmod),
          'base', format_type(
            case when t.typtype = 'd' then t.typbasetype else t.oid end, null),
          'equals', k.equals,
          'after', k.after,
          'at_most', k.at_most,
          'fits_in_array', t.typcategory <> 'A' and t.typarray <> 0
        ) order by a.attnum)
      from pg_attribute a
      join pg_type t on t.oid = a.atttypid
      left join lateral (
        select
          max(format('operator(%I.%s)', n.nspname, o.oprname)) filter (where m.amopstrategy = 3) as equals,
          max(format('operator(%I.%s)', n.nspname, o.oprname)) filter (where m.amopstrategy = 5) as after,
          max(format('operator(%I.%s)', n.nspname, o.oprname)) filter (where m.amopstrategy = 2) as at_most
        from pg_index x
        cross join generate_series(0, x.indnkeyatts - 1) as place
        join pg_opclass c on c.oid = x.indclass[place]
        join pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy in (2, 3, 5)
          and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
        join pg_operator o on o.oid = m.amopopr
        join pg_namespace n on n.oid = o.oprnamespace
        where x.indrelid = s.oid and x.indisprimary and x.indkey[place] = a.attnum
      ) k on true
      where a.attrelid = s.oid and a.attnum > 0 and not a.attisdropped
    )
  ) end as definition
from ai._vectorizers() v
cross join lateral (
  select case
    when pg_column_size(v.config) + pg_column_size(v.source_pk) > 1000000 then false
    else octet_length(v.config::text) + octet_length(v.source_pk::text) <= 1000000
  end as is_readable
) u
left join lateral (
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = v.source_schema and c.relname = v.source_table
) s on true
where cardinality($1::bigint[]) = 0 or ai._vectorizer_whole(v.id) = any ($1::bigint[])
) d
order by d.id";
