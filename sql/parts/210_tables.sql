-- The tables of one vectorizer: store and view for readers, queue, failed and lease tables for workers.
-- Each function creates its objects or raises an error. Nothing is left behind, because all run in one
-- transaction.

-- A type of the extension vector, `vector` or `halfvec`, with its dimensions.
create or replace function ai._stored_type(storage text, dimensions int) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    vector_schema name = (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'vector');
begin
    if vector_schema is null then
        raise exception 'the extension vector is not installed'
            using hint = 'Run: create extension vector';
    end if;
    if to_regtype(format('%I.%I', vector_schema, storage)) is null then
        raise exception 'the installed version of the extension vector has no type %', storage
            using errcode = 'undefined_object', hint = 'Run: alter extension vector update';
    end if;
    return format('%I.%I(%s)', vector_schema, storage, dimensions);
end
$$;

create or replace function ai._vector_type(dimensions int) returns text
language sql stable
begin atomic
    select ai._stored_type('vector', dimensions);
end;

create or replace function ai._vectorizer_create_store
( source regclass
, destination jsonb
, dimensions int
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    store text = format('%I.%I', destination ->> 'target_schema', destination ->> 'target_table');
begin
    execute format
    ( 'create %s table %s (embedding_uuid uuid not null primary key default gen_random_uuid(), %s, '
      'chunk_seq int not null, chunk text not null, embedding %s not null%s, unique (%s, chunk_seq))'
    -- After a crash an unlogged source is empty, so its store must be empty, too.
    , (select case c.relpersistence when 'u' then 'unlogged' else '' end from pg_class c where c.oid = source)
    , store, ai._vectorizer_key_definitions(source)
    , ai._stored_type(coalesce(destination ->> 'storage', 'vector'), dimensions)
    , case when (destination ->> 'location')::boolean then ', location jsonb' else '' end
    , ai._vectorizer_key_list(source)
    );
    execute format('alter table %s alter column embedding set storage main', store);
end
$$;

-- The view for readers: each chunk with its source row.
create or replace function ai._vectorizer_create_view(source regclass, destination jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    columns text = (
        select string_agg(format('%s.%I', case when k.name is null then 's' else 't' end, a.name), ', ' order by a.place)
        from ai._destination_view_columns(source, destination) with ordinality a(name, place)
        left join ai._vectorizer_key(source) k on k.name = a.name);
begin
    execute format
    ( 'create view %I.%I with (security_invoker = %s) as select t.embedding_uuid, t.chunk_seq, t.chunk, t.embedding, %s%s '
      'from %I.%I t left outer join %s s on %s%s'
    , destination ->> 'view_schema', destination ->> 'view_name'
    , (select c.relrowsecurity from pg_class c where c.oid = source)
    , columns, case when (destination ->> 'location')::boolean then ', t.location' else '' end
    , destination ->> 'target_schema', destination ->> 'target_table', source
    , ai._vectorizer_key_equals(source, 't', 's')
    , ai._vectorizer_view_condition(source)
    );
end
$$;

-- Adds the column for the vectors, or uses an existing one that fits. A vectorizer cannot read the column that
-- it writes.
create or replace function ai._vectorizer_create_column
( source regclass
, destination jsonb
, dimensions int
, watched name[]
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    wanted name = destination ->> 'embedding_column';
    type_name text;
    is_taken boolean;
    other name = (
        select v.name from ai._vectorizers() v
        where ai._vectorizer_relation(v.source_schema, v.source_table) = source
        and v.config #>> '{destination,embedding_column}' = wanted
        limit 1);
begin
    if other is not null then
        raise exception 'the vectorizer "%" writes to the column "%" already', other, wanted
            using errcode = 'duplicate_object', hint = 'Give another name to ai.destination_column.';
    end if;
    if wanted = any (watched) then
        raise exception 'the column "%" cannot be both read and written by a vectorizer', wanted
            using errcode = 'invalid_parameter_value', hint = 'Give another name to ai.destination_column.';
    end if;
    select format_type(a.atttypid, a.atttypmod)
        , a.attgenerated <> '' or exists (select from ai._vectorizer_key(source) k where k.attnum = a.attnum)
    into type_name, is_taken
    from pg_attribute a where a.attrelid = source and a.attname = wanted and a.attnum > 0 and not a.attisdropped;
    if type_name is null then
        execute format('alter table %s add column %I %s', source, wanted, ai._vector_type(dimensions));
        execute format('alter table %s alter column %I set storage main', source, wanted);
        return;
    end if;
    if is_taken or not exists (
        select from pg_attribute a
        where a.attrelid = source and a.attname = wanted and a.atttypmod in (-1, dimensions)
        and a.atttypid = to_regtype(ai._vector_type(dimensions)))
    then
        raise exception 'the column "%" of % is there and cannot hold the vectors: it is %', wanted, source, type_name
            using errcode = 'datatype_mismatch',
                  hint = format('It must be an ordinary column of type vector(%s). Give another name to ai.destination_column.', dimensions);
    end if;
    raise notice 'embedding column % already exists in % skipping creation', wanted, source;
end
$$;

create or replace function ai._vectorizer_create_lease
( source regclass
, vectorizer_id int
, queue_schema name
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    lease text = format('%I.%I', queue_schema, '_vectorizer_lease_' || vectorizer_id);
    bell text = format('%I.%I', queue_schema, '_vectorizer_bell_' || vectorizer_id);
begin
    -- Leases need not survive a crash: then everything is claimable again.
    execute format
    ( 'create unlogged table %s (%s, _claim bigint not null, _until timestamptz not null, '
      '_attempts int not null, _failures int not null default 0, _generation bigint not null default 0, '
      'primary key (%s))'
    , lease, ai._vectorizer_key_definitions(source), ai._vectorizer_key_list(source)
    );
    execute format('comment on table %s is %L', lease, format('Which keys of %s a worker is on, and until when.', source));
    execute format('create sequence %s as bigint minvalue 0 start 0', bell);
    execute format('comment on sequence %s is %L', bell
        , 'Until when (ms since 1970) a worker looks at the queue by itself: no notification is needed.');
end
$$;

create or replace function ai._vectorizer_create_queue
( source regclass
, vectorizer_id int
, queue_schema name
, queue_table name
, queue_failed_table name
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    queue text = format('%I.%I', queue_schema, queue_table);
    failed text = format('%I.%I', queue_schema, queue_failed_table);
    definitions text = ai._vectorizer_key_definitions(source);
    keys text = ai._vectorizer_key_list(source);
begin
    -- One item for each key, whatever happens to its row; workers claim in the order of queued_at. (Primary
    -- keys rather than unique ones: a publication of all tables needs a replica identity.) Half of each page
    -- stays free, so that a change of a queued row touches no index: a third less for a bulk update.
    execute format
    ( 'create table %s (%s, queued_at timestamptz not null default now(), '
      'loading_retries int4 not null default 0, loading_retry_after timestamptz, '
      '_generation bigint not null default nextval(''ai._generation''), primary key (%s)) with (fillfactor = 50)'
    , queue, definitions, keys
    );
    execute format('create index on %s (queued_at)', queue);
    execute format('comment on table %s is %L', queue, format('Keys of %s whose rows have changed.', source));
    execute format
    ( 'create table %s (%s, created_at timestamptz not null default now(), '
      'failure_step text not null default '''', failure_reason text not null default '''', primary key (%s))'
    , failed, definitions, keys
    );
    execute format('comment on table %s is %L', failed, format('Keys of %s that were given up, and why.', source));
    perform ai._vectorizer_create_lease(source, ai._vectorizer_number(vectorizer_id, queue_failed_table), queue_schema);
end
$$;
