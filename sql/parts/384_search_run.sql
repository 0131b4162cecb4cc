-- ai.search: the statement, and the functions that run it.

-- The statement. Parameters: the question's vector, how many. `near` asks the vector index. What it leaves out (an
-- index finds no more than it is told to look at) is no loss if there are enough: else `far` compares every vector
-- that passes. ("+ 0" keeps it from the index.) Its condition on the number of hits is evaluated once, before it
-- reads anything.
create or replace function ai._search_sql
( v ai.vectorizer
, filter jsonb
, condition text
, best_per_row boolean
, neighbours int
, columns name[]
) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    p record;
    chunks text;
begin
    select x.* into p from ai._search_pieces(v, filter, condition, neighbours, columns) x;
    chunks = format('select %s, %s as _seq, (%s)::pg_catalog.float8 as _distance from %s _pgai where %s'
        , (select string_agg(format('_pgai.%I', k.name), ', ' order by k.pknum) from ai._vectorizer_key(p.source) k)
        , p.seq, p.distance, p.target, p.passes);
    return format(
'with near as materialized (
  %1$s
  order by %2$s limit $2::pg_catalog.int8%3$s
), picked as materialized (
  %4$s
), far as materialized (
  %5$s
)
select %6$s, _hit._seq, %7$s, _hit._distance, %8$s, %9$s, %10$s, %14$s
from (select * from far union all select * from picked where not exists (select from far)) _hit
join %11$s _pgai on %12$s
order by _hit._distance, %13$s'
        , chunks, p.distance
        , case when best_per_row then ' operator(pg_catalog.*) 10' end
        , case when best_per_row then format(
            'select * from (select distinct on (%1$s) * from near order by %1$s, _distance) x order by _distance limit $2::pg_catalog.int8', p.key_columns)
          else 'select * from near' end
        , format(case when best_per_row then
            'select * from (select distinct on (%1$s) x.* from (%2$s and (select pg_catalog.count(*) from picked) operator(pg_catalog.<) $2::pg_catalog.int8) x
     order by %1$s, _distance) y order by _distance limit $2::pg_catalog.int8'
          else
            '%2$s and (select pg_catalog.count(*) from picked) operator(pg_catalog.<) $2::pg_catalog.int8
  order by (%3$s) operator(pg_catalog.+) 0::pg_catalog.float8 limit $2::pg_catalog.int8' end, p.key_columns, chunks, p.distance)
        , p.key_json, p.body, p.before, p.after, p.source_row, p.target, p.hit_is_target
        , (select string_agg(format('_hit.%I', k.name), ', ' order by k.pknum) || ', _hit._seq' from ai._vectorizer_key(p.source) k)
        , p.location);
end
$$;

-- Settings of pgvector for a search of so many chunks, until the end of the transaction: an index scan continues until
-- enough chunks pass the filter, within pgvector's limits. Returns the settings that were in effect before.
create or replace function ai._search_begin(k bigint) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    before jsonb = '{}';
    one record;
begin
    for one in
        select s.name, s.value
        from pg_extension e
        cross join lateral (values
            ('hnsw.ef_search', greatest(coalesce(nullif(current_setting('hnsw.ef_search', true), ''), '40')::int, least(k, 1000))::text, array[0, 5]),
            ('hnsw.iterative_scan', 'relaxed_order', array[0, 8]),
            ('ivfflat.iterative_scan', 'relaxed_order', array[0, 8]),
            -- (The part that is rarely executed makes the estimate high enough for a compilation.)
            ('jit', 'off', array[0])
            ) s(name, value, since)
        where e.extname = 'vector' and string_to_array(e.extversion, '.')::int[] >= s.since
        and current_setting(s.name, true) is distinct from s.value
    loop
        before = before || jsonb_build_object(one.name, coalesce(current_setting(one.name, true), ''));
        perform set_config(one.name, one.value, true);
    end loop;
    return before;
end
$$;

create or replace function ai._search_end(before jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config(s.key, coalesce(nullif(s.value, '')
        , case s.key when 'hnsw.ef_search' then '40' else 'off' end), true)
    from jsonb_each_text(before) s;
end
$$;

-- Checks the numbers of a search.
create or replace function ai._search_check(k int, neighbours int) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if k is null or k < 0 then
        raise exception 'k is the number of chunks, 0 or more' using errcode = 'invalid_parameter_value';
    end if;
    if neighbours is null or neighbours < 0 then
        raise exception 'neighbours is a number of chunks, 0 or more' using errcode = 'invalid_parameter_value';
    end if;
end
$$;

-- (Older versions had one parameter.)
drop function if exists ai._search_drop(text);

-- Drops a function of an older version, which lacks this parameter or column.
create or replace function ai._search_drop(signature text, lacking name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from pg_proc p where p.oid = to_regprocedure(signature) and not lacking = any (p.proargnames)) then
        execute format('drop function %s', signature);
    end if;
exception when dependent_objects_still_exist then
    raise exception '% has a new parameter or column, %, and something of yours depends on the function', signature, lacking
        using errcode = 'dependent_objects_still_exist'
            , hint = 'Drop your views and functions that use it, execute this again, and create them again.';
end
$$;

-- The functions. (They have no setting of search_path: the condition is the caller's, and means what it means there.)
do $do$
declare
    vector_type text = (
        select format('%I.vector', n.nspname)
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'vector');
    one record;
begin
    for one in select * from (values
        ('vectorizer_id int', 'ai._searched(vectorizer_id, search.generation)'),
        ('name text', 'ai._searched(ai._vectorizer_named(name), search.generation)')) x(parameter, of)
    loop
        -- (Older versions had one parameter, and then one column less.)
        execute format('drop function if exists ai.search(%s, %s, int, jsonb, text, boolean, int, name[])'
            , split_part(one.parameter, ' ', 2), vector_type);
        perform ai._search_drop(format('ai.search(%s, %s, int, jsonb, text, boolean, int, name[], int)'
            , split_part(one.parameter, ' ', 2), vector_type), 'location');
        execute format($f$
create or replace function ai.search
( %1$s
, embedding %2$s
, k int default 10
, filter jsonb default null
, condition text default null
, best_per_row boolean default false
, neighbours int default 0
, columns name[] default null
, generation int default null
) returns table
( key jsonb
, chunk_seq int
, chunk text
, distance float8
, chunks_before text[]
, chunks_after text[]
, source jsonb
, location jsonb
) language plpgsql stable rows 10
as $$
#variable_conflict use_column
declare
    statement pg_catalog.text;
    before pg_catalog.jsonb;
begin
    perform ai._search_check(search.k, search.neighbours);
    statement = ai._search_sql(%3$s, search.filter, search.condition, search.best_per_row, search.neighbours, search.columns);
    if search.embedding is null then
        return;
    end if;
    before = ai._search_begin(search.k);
    return query execute statement using search.embedding, search.k;
    perform ai._search_end(before);
end
$$ $f$, one.parameter, vector_type, replace(replace(one.of, 'vectorizer_id', 'search.vectorizer_id'), '(name)', '(search.name)'));
    end loop;
    execute format('comment on function ai.search(text, %s, int, jsonb, text, boolean, int, name[], int) is %L', vector_type
        , 'The chunks of a vectorizer that are nearest to a vector, as far as the caller may see them; always k if so many pass the filter.');
    execute format('comment on function ai.search(int, %s, int, jsonb, text, boolean, int, name[], int) is %L', vector_type
        , 'The same, by id.');
end
$do$;
