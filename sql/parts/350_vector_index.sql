-- Vector indexes, as in pgai's job: whether a vectorizer has one, whether it should have one, and creating
-- it. Creating it locks the table; create index concurrently, which a function cannot run, does not.

create or replace function ai._vectorizer_vector_index_exists
( target_schema name
, target_table name
, indexing jsonb
, column_name name default 'embedding'
) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(indexing ->> 'implementation', '') not in ('diskann', 'hnsw') then
        raise exception 'unrecognized index implementation: %', indexing ->> 'implementation';
    end if;
    return exists (
        select
        from pg_index x
        join pg_class c on c.oid = x.indexrelid
        join pg_am m on m.oid = c.relam
        join pg_attribute a on a.attrelid = x.indrelid and a.attnum = x.indkey[0]
        where x.indrelid = to_regclass(format('%I.%I', target_schema, target_table))
        and a.attname = column_name
        and m.amname = indexing ->> 'implementation');
end
$$;

create or replace function ai._vectorizer_should_create_vector_index(vectorizer ai.vectorizer) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    indexing jsonb = vectorizer.config -> 'indexing';
    destination jsonb = vectorizer.config -> 'destination';
    is_column boolean = destination ->> 'implementation' = 'column';
    target_schema name = case when is_column then vectorizer.source_schema else (destination ->> 'target_schema')::name end;
    target_table name = case when is_column then vectorizer.source_table else (destination ->> 'target_table')::name end;
    target_column name = case when is_column then (destination ->> 'embedding_column')::name else 'embedding' end;
    min_rows bigint = coalesce((indexing ->> 'min_rows')::bigint, 0);
    counted bigint;
begin
    if coalesce(indexing ->> 'implementation', 'none') = 'none'
        or ai._vectorizer_vector_index_exists(target_schema, target_table, indexing, target_column)
    then
        return false;
    end if;
    if coalesce((indexing ->> 'create_when_queue_empty')::boolean, true) then
        execute format('select count(*) from (select from %I.%I limit 1) q', vectorizer.queue_schema, vectorizer.queue_table)
        into counted;
        if counted > 0 then
            raise notice 'queue for %.% is not empty. skipping vector index creation', target_schema, target_table;
            return false;
        end if;
    end if;
    execute format('select count(*) from (select from %I.%I where %I is not null limit %s) t'
        , target_schema, target_table, target_column, min_rows)
    into counted;
    return counted >= min_rows;
end
$$;

create or replace function ai._vectorizer_create_vector_index
( target_schema name
, target_table name
, indexing jsonb
, column_name name default 'embedding'
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    target regclass = format('%I.%I', target_schema, target_table)::regclass;
    options text;
    vector_schema name = (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
begin
    if not pg_try_advisory_xact_lock(1982010642, target::oid::int) then
        raise warning 'another process is already building a vector index on %.%', target_schema, target_table;
        return;
    end if;
    if ai._vectorizer_vector_index_exists(target_schema, target_table, indexing, column_name) then
        raise notice 'the vector index on %.% already exists', target_schema, target_table;
        return;
    end if;
    select string_agg(format('%I = %L', o.key, o.value), ', ' order by o.key) into options
    from jsonb_each_text(indexing) o
    where o.key in ('m', 'ef_construction', 'storage_layout', 'num_neighbors', 'search_list_size', 'max_alpha'
        , 'num_dimensions', 'num_bits_per_dimension');
    execute format('create index on %s using %I (%I %s) %s'
        , target
        , indexing ->> 'implementation'
        , column_name
        , case indexing ->> 'implementation' when 'hnsw' then
            format('%I.%I', vector_schema, coalesce(indexing ->> 'opclass', 'vector_cosine_ops')) else '' end
        , coalesce('with (' || options || ')', ''));
end
$$;
