-- How much a vectorizer has to do. Rows are counted up to a bound, and estimated above it, so that the answer comes soon
-- from a queue of any length.

-- Whether views may be read in this transaction: workers' sessions may not read any, because another role may replace a
-- table by one. Returns the setting as it was; null if this server has no such setting.
create or replace function ai._allow_views(setting text) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    was text = current_setting('restrict_nonsystem_relation_kind', true);
begin
    if was is not null and setting is not null and setting <> was then
        perform set_config('restrict_nonsystem_relation_kind', setting, true);
    end if;
    return was;
end
$$;

create or replace function ai._allow_views(allowed boolean) returns text
language sql volatile
return ai._allow_views(case when allowed then '' else 'view, foreign-table' end);

-- The rows of a table and of those that inherit from it, as the planner estimates them: the present size, and how many
-- rows a page had when the table was last analyzed. A table that was never analyzed is assumed to be like its first rows.
create or replace function ai._rows_estimated(relation regclass, with_children boolean) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = on
set jit = off
as $$
declare
    unknown float8 = 0;
    known float8;
    density float8;
begin
    with recursive tree(oid) as (
        select relation::oid
        union
        select i.inhrelid from pg_inherits i join tree t on t.oid = i.inhparent where with_children
    ), sized as (
        select c.reltuples / nullif(c.relpages, 0) as density
            , pg_relation_size(c.oid)::float8 / current_setting('block_size')::int as pages
        from pg_class c
        where c.oid in (select t.oid from tree t) and c.relkind = 'r'
    )
    select coalesce(sum(x.pages * x.density) filter (where x.density >= 0), 0)
        , coalesce(sum(x.pages) filter (where x.density is null or x.density < 0), 0)
    into known, unknown
    from sized x;
    if unknown > 0 then
        execute format('select count(*)::float8 / nullif(count(distinct q.page), 0) from ('
            'select (x.tableoid::bigint, (x.ctid::text::point)[0]) as page from %s x limit 10000) q', relation) into density;
    end if;
    return (known + unknown * coalesce(density, 0))::bigint;
end
$$;

-- The rows of a table: counted up to `bound`, estimated above it. `with_children`: also those of tables that inherit
-- from it.
create or replace function ai._rows_up_to
( relation regclass
, bound int
, with_children boolean
, out rows bigint
, out is_estimated boolean
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set row_security = off
set enable_seqscan = on
set jit = off
as $$
declare
    allowed text = ai._allow_views(false);
begin
    execute format('select count(*) from (select from %s%s limit %s) q'
        , case when with_children then '' else 'only ' end, relation, bound + 1) into rows;
    perform ai._allow_views(allowed);
    is_estimated = rows > bound;
    if is_estimated then
        rows = greatest(rows, ai._rows_estimated(relation, with_children));
    end if;
end
$$;

-- The table of this name, if it can be read; else null.
create or replace function ai._readable_table(schema name, name name, kinds text default 'r') returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select c.oid::regclass
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = schema and c.relname = name
    and position(c.relkind::text in kinds) > 0
    and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select');
end;

-- Each is null if its table does not exist or cannot be read. Rows whose last attempt failed have a lease without a
-- worker, until their next attempt.
create or replace function ai._vectorizer_measured
( v ai.vectorizer
, out pending bigint
, out pending_is_estimated boolean
, out oldest timestamptz
, out leased bigint
, out retrying bigint
, out attempts int
, out next_retry timestamptz
, out failed bigint
, out total bigint
, out total_is_estimated boolean
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    queue regclass = ai._readable_table(v.queue_schema, v.queue_table);
    lease regclass = ai._readable_table(v.queue_schema, ('_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table))::name);
    given_up regclass = ai._readable_table(v.queue_schema, v.queue_failed_table);
    source regclass = ai._readable_table(v.source_schema, v.source_table, 'rp');
    allowed text = ai._allow_views(false);
begin
    if queue is not null then
        select r.rows, r.is_estimated into pending, pending_is_estimated from ai._rows_up_to(queue, 100000, false) r;
        execute format('select min(q.queued_at) from only %s q', queue) into oldest;
    end if;
    if lease is not null then
        execute format('select count(*) filter (where l._claim <> 0 and l._until > now()), '
            'count(*) filter (where l._claim = 0 and l._failures > 0), '
            'max(l._failures) filter (where l._claim = 0), min(l._until) filter (where l._claim = 0 and l._failures > 0) '
            'from (select _claim, _until, _failures from only %s limit 100000) l', lease)
            into leased, retrying, attempts, next_retry;
    end if;
    if given_up is not null then
        failed = (ai._rows_up_to(given_up, 100000, false)).rows;
    end if;
    if source is not null then
        select r.rows, r.is_estimated into total, total_is_estimated from ai._rows_up_to(source, 10000, true) r;
    end if;
    perform ai._allow_views(allowed);
exception when undefined_table or undefined_column or insufficient_privilege or object_not_in_prerequisite_state or lock_not_available then
    -- Dropped or replaced between the check and the count, or made by an older version.
    perform ai._allow_views(allowed);
end
$$;
