-- ai.create_vectorizer: everything is checked first. Then the source is locked, and what may have changed until then
-- is checked again. Then everything is created, and the existing rows are queued. Signature, order of checks,
-- messages and SQLSTATEs are pgai's.

-- (Older versions had one parameter less; that of pgai is the same.)
drop function if exists ai.create_vectorizer(regclass, text, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb
    , name, name, name[], boolean, boolean);

create or replace function ai.create_vectorizer
( source regclass
, name text default null
, destination jsonb default ai.destination_table()
, loading jsonb default null
, parsing jsonb default ai.parsing_auto()
, embedding jsonb default null
, chunking jsonb default ai.chunking_recursive_character_text_splitter()
, indexing jsonb default ai.indexing_default()
, formatting jsonb default ai.formatting_python_template()
, scheduling jsonb default ai.scheduling_default()
, processing jsonb default ai.processing_default()
, queue_schema name default null
, queue_table name default null
, grant_to name[] default ai.grant_to()
, enqueue_existing boolean default true
, if_not_exists boolean default false
, adopt boolean default false
) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- If a policy hides rows from the owner, they would have no embeddings, so this is an error.
set row_security = off
as $$
declare
    source_schema name;
    source_name name;
    is_temporary boolean;
    source_pk jsonb;
    roles name[];
    id int;
    existing int;
    existing_source regclass;
    parts regclass[];
    trigger_name name;
    failed_table name;
    watched name[];
    config jsonb;
begin
    roles = ai._existing_roles(grant_to);
    if embedding is null then
        raise exception 'embedding configuration is required'
            using hint = 'For example: embedding => ai.embedding_ollama(''embeddinggemma:300m'', 768)';
    end if;
    if loading is null then
        raise exception 'loading configuration is required'
            using hint = 'For example: loading => ai.loading_column(''body'')';
    end if;

    select n.nspname, c.relname, c.relpersistence = 't'
    into source_schema, source_name, is_temporary
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = source;
    if source_name is null then
        raise exception 'source table is required'
            using errcode = 'undefined_table';
    end if;
    if is_temporary then
        raise exception 'source table must not be temporary'
            using errcode = 'feature_not_supported',
                  hint = 'A worker cannot see the temporary tables of another session.';
    end if;
    perform ai._vectorizer_check_creator(source);
    if embedding ->> 'dimensions' is null then
        raise exception 'dimensions argument is required';
    end if;
    source_pk = ai._vectorizer_source_pk(source);
    if source_pk is null then
        raise exception 'source table must have a primary key constraint'
            using hint = format('For example: alter table %s add primary key (id)', source);
    end if;

    id = nextval('ai.vectorizer_id_seq');
    trigger_name = '_vectorizer_src_trg_' || id;
    queue_schema = coalesce(queue_schema
        , ai._vectorizer_queue_schema(source, coalesce(destination ->> 'target_schema', source_schema)::name));
    queue_table = coalesce(queue_table, ('_vectorizer_q_' || id)::name);
    failed_table = '_vectorizer_q_failed_' || id;
    if to_regclass(format('%I.%I', queue_schema, queue_table)) is not null then
        raise exception 'an object named %.% already exists. specify an alternate queue_table explicitly'
            , queue_schema, queue_table
            using errcode = 'duplicate_object';
    end if;

    perform ai._validate_loading(loading, source_schema, source_name);
    perform ai._validate_parsing(parsing, loading, source_schema, source_name);
    perform ai._validate_destination(destination, chunking);
    perform ai._validate_embedding(embedding);
    perform ai._validate_chunking(chunking);
    if indexing ->> 'implementation' = 'default' then
        indexing = ai._resolve_indexing_default();
    end if;
    perform ai._validate_indexing(indexing);
    perform ai._validate_formatting(formatting, source_schema, source_name);
    if scheduling ->> 'implementation' = 'default' then
        scheduling = ai._resolve_scheduling_default();
    end if;
    perform ai._validate_scheduling(scheduling);
    perform ai._validate_processing(processing);
    perform ai._validate_jobs(scheduling, indexing);
    perform ai._validate_indexing_fits
    (indexing, coalesce(destination ->> 'storage', 'vector'), (embedding ->> 'dimensions')::int);
    -- (A store that is adopted has the column only if that is said.)
    if not adopt then
        destination = ai._destination_with_location(destination, loading, source);
    end if;
    perform ai._validate_source_names(source, destination);

    destination = ai._evaluate_destination(destination, source_schema, source_name);
    name = coalesce(name, ai._vectorizer_default_name(destination, source_schema, source_name));
    if name !~ '^[a-z][a-z_0-9]*$' then
        raise exception 'invalid vectorizer name: "%"', name
            using errcode = 'check_violation', constraint = 'vectorizer_name_check',
                  hint = 'A name begins with a lower-case letter and has lower-case letters, digits and underscores.';
    end if;
    -- If two sessions create the same name at the same time, one waits here, and then sees the other's
    -- vectorizer.
    perform pg_advisory_xact_lock(hashtextextended('ai.vectorizer ' || name, 0));
    select v.id, ai._vectorizer_relation(v.source_schema, v.source_table) into existing, existing_source
    from ai.vectorizer v where v.name = create_vectorizer.name::name;
    if existing is not null then
        if not if_not_exists then
            raise exception 'a vectorizer named % already exists.', name
                using errcode = 'duplicate_object';
        end if;
        if existing_source is distinct from source then
            raise exception 'a vectorizer named % already exists, and it does not read %', name, source
                using errcode = 'duplicate_object', hint = 'Give this one another name.';
        end if;
        raise notice 'a vectorizer named % already exists, skipping', name;
        return existing;
    end if;
    perform ai._advise_prompts(embedding);
    perform ai._require_current_snapshot(source);
    perform ai._validate_destination_is_free(source, destination, (embedding ->> 'dimensions')::int, adopt);
    perform ai._vectorizer_check_creator(source, array(
        select distinct x.name::name
        from unnest(array[queue_schema, destination ->> 'target_schema', destination ->> 'view_schema']) x(name)
        where x.name is not null));

    -- No session may change rows after the triggers are created and before the existing rows
    -- are queued.
    perform ai._with_locks(
        format('select ai._lock_tables(array[%L], %L)', source, ai._vectorizer_create_lock(source, destination)),
        format('cannot create a vectorizer on %s', source));
    perform ai._validate_locked_source(source, source_schema, source_name, loading, parsing, formatting, destination
        , (embedding ->> 'dimensions')::int, adopt);
    source_pk = ai._vectorizer_source_pk(source);
    -- The owner cannot change any more, either.
    perform ai._vectorizer_check_creator(source);
    perform ai._validate_heirs(source);
    watched = ai._formatting_columns(formatting) || (loading ->> 'column_name')::name;
    if destination ->> 'implementation' = 'column' then
        perform ai._vectorizer_create_column(source, destination, (embedding ->> 'dimensions')::int, watched);
    elsif not adopt then
        perform ai._vectorizer_create_store(source, destination, (embedding ->> 'dimensions')::int);
        perform ai._vectorizer_create_view(source, destination);
    end if;
    perform ai._vectorizer_create_queue(source, id, queue_schema, queue_table, failed_table);
    parts = array(
        select ai._vectorizer_relation(p.schema, p.name)
        from ai._vectorizer_parts(id, queue_schema, queue_table, failed_table, destination) p);
    perform ai._vectorizer_revoke_defaults(source, parts);
    perform ai._vectorizer_hand_over(source, parts);
    -- The trigger functions are given to the queue's owner when they are created.
    perform ai._vectorizer_create_triggers
    (source, id, trigger_name, queue_schema, queue_table, failed_table, destination, watched);
    perform ai._vectorizer_revoke_execute(queue_schema, trigger_name);
    config = jsonb_build_object
    ( 'version', '0.12.1'
    , 'loading', loading
    , 'parsing', parsing
    , 'embedding', embedding
    , 'chunking', chunking
    , 'indexing', indexing
    , 'formatting', formatting
    , 'scheduling', scheduling
    , 'processing', processing
    , 'destination', destination
    );
    insert into ai.vectorizer
    ( id, source_schema, source_table, source_pk, trigger_name, queue_schema, queue_table, config
    , queue_failed_table, name )
    values
    ( id, source_schema, source_name, source_pk, trigger_name, queue_schema, queue_table, config
    , failed_table, name );
    if adopt and destination ->> 'implementation' = 'table' then
        perform ai._vectorizer_recreate_view(id);
    end if;
    perform ai._vectorizer_secure_rows(id);
    perform ai._vectorizer_grant(source, id, roles);
    perform ai._vectorizer_grant_to_worker(id, r.name) from ai._worker_roles() r(name);
    if adopt then
        -- Which model made the vectors is the caller's word.
        update ai.vectorizer_made_by m set assumed = true where m.vectorizer_id = id;
    end if;
    if adopt and enqueue_existing then
        perform ai._request_resync(id, destination ->> 'implementation' = 'table');
    elsif enqueue_existing then
        -- Each item has its own time, so that a claim can start after the last one that it has
        -- seen.
        execute format('insert into %I.%I (%3$s, queued_at) select %3$s, clock_timestamp() from %4$s'
            , queue_schema, queue_table, ai._vectorizer_key_list(source), source);
    end if;
    return id;
end
$$;
comment on function ai.create_vectorizer is 'Gives a table embeddings that stay in sync with its rows.';

-- The existing ones of these roles; null if there are none.
create or replace function ai._existing_roles(roles name[]) returns name[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    missing name[] = (
        select array_agg(r.name) from unnest(roles) r(name)
        where r.name <> 'public' and not exists (select from pg_roles x where x.rolname = r.name));
begin
    if missing is not null then
        raise warning 'one or more grant_to roles do not exist: %', missing;
    end if;
    return (
        select array_agg(r.name) from unnest(roles) r(name)
        where r.name = 'public' or exists (select from pg_roles x where x.rolname = r.name));
end
$$;

-- The strongest lock that the creation needs, so that it need not upgrade it later: triggers lock out writers, a new
-- column also readers.
create or replace function ai._vectorizer_create_lock(source regclass, destination jsonb) returns text
language sql stable
begin atomic
    select case
        when destination ->> 'implementation' = 'column' and not exists (
            select from pg_attribute a
            where a.attrelid = source and a.attname = destination ->> 'embedding_column' and not a.attisdropped)
        then 'access exclusive'
        else 'share row exclusive' end;
end;

-- (Older versions had two parameters less.)
drop function if exists ai._validate_locked_source(regclass, name, name, jsonb, jsonb, jsonb, jsonb);

-- The table may have changed while its lock was awaited.
create or replace function ai._validate_locked_source
( source regclass
, source_schema name
, source_name name
, loading jsonb
, parsing jsonb
, formatting jsonb
, destination jsonb
, dimensions int
, adopt boolean
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass(format('%I.%I', source_schema, source_name)) is distinct from source::oid
        or not exists (select from pg_class c where c.oid = source and c.relkind in ('r', 'p'))
        or ai._vectorizer_source_pk(source) is null
    then
        raise exception 'the source table %.% was changed while its lock was waited for', source_schema, source_name
            using errcode = 'object_in_use', hint = 'Try again.';
    end if;
    perform ai._validate_loading(loading, source_schema, source_name);
    perform ai._validate_parsing(parsing, loading, source_schema, source_name);
    perform ai._validate_formatting(formatting, source_schema, source_name);
    perform ai._validate_source_names(source, destination);
    perform ai._validate_destination_is_free(source, destination, dimensions, adopt);
end
$$;

-- (Older versions refused documents with it.)
drop function if exists ai._validate_supported(jsonb, jsonb, name, name);

-- pgai's default name, changed to a legal one if the table's name is not.
create or replace function ai._vectorizer_default_name(destination jsonb, source_schema name, source_table name)
returns text
language sql immutable
return regexp_replace
( regexp_replace(lower(coalesce
    ( (destination ->> 'target_schema') || '_' || (destination ->> 'target_table')
    , source_schema || '_' || source_table || '_' || (destination ->> 'embedding_column'))), '[^a-z0-9_]', '_', 'g')
, '^(?=[^a-z])', 'v');

-- Readers can only read: the store's texts are taken for the source's, so they must not write it, nor the
-- queue.
create or replace function ai._vectorizer_grant(source regclass, vectorizer_id int, roles name[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    d jsonb;
    grantees text = (
        select string_agg(case r.name when 'public' then 'public' else quote_ident(r.name) end, ', ')
        from unnest(roles) r(name));
begin
    if grantees is null then
        return;
    end if;
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    d = v.config -> 'destination';
    execute format('grant usage on schema %I, %I, ai to %s', v.source_schema, v.queue_schema, grantees);
    execute format('grant select on %s, ai.vectorizer to %s', source, grantees);
    if d ->> 'implementation' = 'table' then
        execute format('grant usage on schema %I, %I to %s', d ->> 'target_schema', d ->> 'view_schema', grantees);
        execute format('grant select on %I.%I to %s', d ->> 'view_schema', d ->> 'view_name', grantees);
        execute format('grant select on %I.%I to %s', d ->> 'target_schema', d ->> 'target_table', grantees);
    end if;
    -- (The queue contains keys, so not all readers may see it if rows are hidden from some.)
    if not (select c.relrowsecurity from pg_class c where c.oid = source) then
        execute format('grant select on %1$I.%2$I, %1$I.%3$I to %4$s'
            , v.queue_schema, v.queue_table, v.queue_failed_table, grantees);
    end if;
end
$$;
