-- Vector indexes: what one looks like, whether a vectorizer has one and should have one. A worker builds it with `create
-- index concurrently`, which a function cannot run: see 367_build_index.sql. (pgai's job calls
-- ai._vectorizer_create_vector_index, which locks the table.)

-- The column that holds the vectors of a vectorizer. No row if there is none.
create or replace function ai._vector_column
( v ai.vectorizer
, out relation oid
, out attnum int2
, out type_name name
, out dimensions int
) returns setof record
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select a.attrelid, a.attnum, t.typname, nullif(a.atttypmod, -1)
    from (select v.config -> 'destination', v.config #>> '{destination,implementation}' = 'column') d(config, is_column)
    join pg_namespace n on n.nspname = case when d.is_column then v.source_schema else d.config ->> 'target_schema' end
    join pg_class c on c.relnamespace = n.oid
        and c.relname = case when d.is_column then v.source_table else d.config ->> 'target_table' end
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and a.attname = case when d.is_column then d.config ->> 'embedding_column' else 'embedding' end
    join pg_type t on t.oid = a.atttypid;
end;

-- What follows `create index ... on <table>`: the kind, the column or an expression of it, and the options. A vector of
-- more than 2,000 dimensions is indexed as a halfvec. Without `lists` an ivfflat index has as many as pgvector's manual
-- recommends for this number of rows.
create or replace function ai._vector_index_definition(relation oid, attnum int2, indexing jsonb, row_count bigint default 0)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    implementation text = indexing ->> 'implementation';
    opclass text = coalesce(indexing ->> 'opclass', 'vector_cosine_ops');
    vector_schema name = (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
    indexed record;
    target text;
    options text;
begin
    select quote_ident(a.attname) as name, t.typname = 'halfvec' as is_half, a.atttypmod as dimensions
    into strict indexed
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = relation and a.attnum = _vector_index_definition.attnum;
    if implementation = 'diskann' then
        target = indexed.name;
    elsif indexed.is_half then
        target = format('%s %I.%I', indexed.name, vector_schema, replace(opclass, 'vector_', 'halfvec_'));
    elsif indexed.dimensions > 2000 then
        target = format('(%s::%I.halfvec(%s)) %2$I.%4$I'
            , indexed.name, vector_schema, indexed.dimensions, replace(opclass, 'vector_', 'halfvec_'));
    else
        target = format('%s %I.%I', indexed.name, vector_schema, opclass);
    end if;
    if implementation = 'ivfflat' and not indexing ? 'lists' then
        indexing = indexing || jsonb_build_object('lists', least(32768, greatest(10, case
            when row_count > 1000000 then sqrt(row_count)::int else row_count / 1000 end)));
    end if;
    select string_agg(format('%I = %L', o.key, o.value), ', ' order by o.key) into options
    from jsonb_each_text(indexing) o
    where o.key in ('m', 'ef_construction', 'lists', 'storage_layout', 'num_neighbors', 'search_list_size', 'max_alpha'
        , 'num_dimensions', 'num_bits_per_dimension');
    return format('using %I (%s) %s', implementation, target, coalesce('with (' || options || ')', ''));
end
$$;

-- The valid index of this kind on a column or on an expression of it; null if there is none.
create or replace function ai._vector_index(relation oid, attnum int2, implementation text) returns regclass
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select x.indexrelid::regclass
    from pg_index x
    join pg_class c on c.oid = x.indexrelid
    join pg_am m on m.oid = c.relam
    where x.indrelid = relation
    and m.amname = implementation
    and x.indisvalid
    and (x.indkey[0] = attnum or x.indkey[0] = 0 and exists (
        select from pg_depend d
        where d.classid = 'pg_class'::regclass and d.objid = x.indexrelid
        and d.refclassid = 'pg_class'::regclass and d.refobjid = relation and d.refobjsubid = attnum))
    limit 1;
end;

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
    if coalesce(indexing ->> 'implementation', '') not in ('diskann', 'hnsw', 'ivfflat') then
        raise exception 'unrecognized index implementation: %', indexing ->> 'implementation';
    end if;
    return exists (
        select from pg_attribute a
        where a.attrelid = ai._vectorizer_relation(target_schema, target_table) and a.attname = column_name
        and ai._vector_index(a.attrelid, a.attnum, indexing ->> 'implementation') is not null);
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
begin
    if not pg_try_advisory_xact_lock(1982010642, target::oid::int) then
        raise warning 'another process is already building a vector index on %.%', target_schema, target_table;
        return;
    end if;
    if ai._vectorizer_vector_index_exists(target_schema, target_table, indexing, column_name) then
        raise notice 'the vector index on %.% already exists', target_schema, target_table;
        return;
    end if;
    execute (
        select format('create index on %s %s', target, ai._vector_index_definition(a.attrelid, a.attnum, indexing))
        from pg_attribute a
        where a.attrelid = target and a.attname = column_name);
end
$$;
