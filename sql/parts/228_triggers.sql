-- The triggers that queue changed rows. A change of a queued row gives its item a new generation. A deleted key is
-- queued, too (a tombstone), so that a worker that is processing it leaves no chunks behind.
--
-- Ordinary tables have statement-level triggers with transition tables: for many rows they cost a fourth of what
-- row-level triggers cost. Changes that replication applies fire only row-level triggers, and only in replica mode.
-- So such tables also have a row-level trigger for replica mode.

-- Creates one trigger function without EXECUTE for any role. It must be new: the owner of an existing function
-- could replace it at any time, and their code would run with the privileges of every writer to the source. It
-- belongs to the queue's owner, even if another role runs setup.sql.
create or replace function ai._vectorizer_create_trigger_function(function_name text, body text, settings text, owner name)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format
    ( 'create function %s() returns trigger language plpgsql volatile security definer '
      'set search_path = pg_catalog, pg_temp %s as %L'
    , function_name, settings, body
    );
    execute format('revoke all on function %s() from public', function_name);
    if owner <> current_user then
        execute format('alter function %s() owner to %I', function_name, owner);
    end if;
end
$$;

create or replace function ai._vectorizer_is_hypertable(source regclass) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    answer boolean = false;
begin
    if exists (select from pg_extension e where e.extname = 'timescaledb') then
        execute 'select exists (select from _timescaledb_catalog.hypertable h
            where format(''%I.%I'', h.schema_name, h.table_name)::regclass = $1)' into answer using source;
    end if;
    return answer;
end
$$;

-- The tables that inherit from this one, at any distance: their rows are part of it. (Not partitions and chunks of
-- hypertables: those get the triggers of their table automatically.)
create or replace function ai._vectorizer_heirs(source regclass) returns setof regclass
language sql stable
begin atomic
    with recursive heir as (
        select i.inhrelid
        from pg_inherits i join pg_class c on c.oid = i.inhparent
        where i.inhparent = source and c.relkind = 'r' and not ai._vectorizer_is_hypertable(source)
        union
        select i.inhrelid from heir h join pg_inherits i on i.inhparent = h.inhrelid
    )
    select h.inhrelid::regclass from heir h;
end;

-- Whether the table needs row-level triggers: rows can be written without a statement on the table itself.
-- That is so for partitioned tables, partitions, tables in an inheritance tree, and hypertables.
create or replace function ai._vectorizer_per_row(source regclass) returns boolean
language sql stable
return exists (select from pg_class c where c.oid = source and c.relkind = 'p')
    or exists (select from pg_inherits i where source in (i.inhrelid, i.inhparent))
    or ai._vectorizer_is_hypertable(source);

-- A digest of the functions that make tables and triggers in this version: setup.sql recreates those made by
-- others.
create or replace function ai._vectorizer_version() returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select md5(string_agg(pg_get_functiondef(p.oid), '' order by p.proname, p.oid::regprocedure::text))
    from pg_proc p
    where p.pronamespace = 'ai'::regnamespace
    and p.proname in
        ( '_text_create_trigger', '_text_trigger_body', '_text_words_sql', '_vectorizer_changed_sql', '_vectorizer_changes_sql', '_vectorizer_conflict_sql', '_vectorizer_create_lease', '_vectorizer_create_queue'
        , '_vectorizer_create_trigger_function', '_vectorizer_create_triggers', '_vectorizer_enqueue_all_sql'
        , '_vectorizer_enqueue_one_sql', '_vectorizer_heirs', '_vectorizer_image_columns', '_vectorizer_image_keys'
        , '_vectorizer_image_sql', '_vectorizer_is_hypertable', '_vectorizer_key_fits_sql'
        , '_vectorizer_key_type', '_vectorizer_many_sql', '_vectorizer_per_row', '_vectorizer_row_body', '_vectorizer_single_sql'
        , '_vectorizer_stored_key_sql', '_vectorizer_trigger_body', '_vectorizer_trigger_frame'
        , '_vectorizer_truncate_body', '_vectorizer_truncate_part_body', '_vectorizer_truncate_parts'
        , '_vectorizer_usable_sql', '_vectorizer_variables');
end;

-- Partitions, and tables of an inheritance tree, that can be truncated separately and have no
-- trigger for it yet.
create or replace function ai._vectorizer_truncate_parts(source regclass, function_name name) returns setof regclass
language sql stable
begin atomic
    select p.relid
    from (
        select t.relid from pg_partition_tree(source) t where t.level > 0
        union all
        select source where exists (select from ai._vectorizer_heirs(source))
        union all
        select h from ai._vectorizer_heirs(source) h
    ) p(relid)
    where not exists (
        select from pg_trigger t join pg_proc f on f.oid = t.tgfoid
        where t.tgrelid = p.relid and f.proname = function_name);
end;

create or replace function ai._vectorizer_create_triggers
( source regclass
, vectorizer_id int
, trigger_name name
, queue_schema name
, queue_table name
, queue_failed_table name
, destination jsonb
, watched name[]
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    per_row boolean = ai._vectorizer_per_row(source);
    has_store boolean = destination ->> 'implementation' = 'table';
    names jsonb = jsonb_build_object
    ( 'vectorizer_id', vectorizer_id
    , 'queue_schema', queue_schema
    , 'queue_table', queue_table
    , 'queue_failed_table', queue_failed_table
    , 'bell', format('%I.%I', queue_schema, '_vectorizer_bell_' || ai._vectorizer_number(vectorizer_id, queue_failed_table))
    , 'lease', format('%I.%I', queue_schema, '_vectorizer_lease_' || ai._vectorizer_number(vectorizer_id, queue_failed_table))
    , 'store_schema', case when has_store then destination ->> 'target_schema' end
    , 'store_table', case when has_store then destination ->> 'target_table' end
    );
    owner name = (
        select pg_get_userbyid(c.relowner) from pg_class c
        where c.oid = to_regclass(format('%I.%I', queue_schema, queue_table)));
    event text;
    suffix text;
    member regclass;
begin
    watched = array(select distinct w.name from unnest(watched) w(name) order by w.name);
    if not per_row then
        foreach event in array array['insert', 'update', 'delete'] loop
            suffix = case event when 'insert' then '' else '_' || event end;
            -- The plans that clean the store are kept from the first call, when the store may have been small.
            perform ai._vectorizer_create_trigger_function
            ( format('%I.%I', queue_schema, trigger_name || suffix)
            , ai._vectorizer_trigger_frame(source, names, ai._vectorizer_trigger_body(source, names, watched, event, false))
            , case when event = 'insert' or not has_store then ''
              when event = 'update' then 'set enable_seqscan = off'
              else 'set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off' end
            , owner
            );
            execute format
            ( 'create or replace trigger %I after %s on %s referencing %s %s for each statement execute function %I.%1$I()'
            , trigger_name || suffix
            , event
            , source
            , case when event <> 'insert' then 'old table as old_rows' end
            , case when event <> 'delete' then 'new table as new_rows' end
            , queue_schema
            );
        end loop;
    end if;
    suffix = case when per_row then '' else '_row' end;
    perform ai._vectorizer_create_trigger_function
    ( format('%I.%I', queue_schema, trigger_name || suffix)
    , ai._vectorizer_trigger_frame(source, names, ai._vectorizer_row_body(source, names, watched))
    , case when has_store then 'set enable_seqscan = off' else '' end
    , owner
    );
    for member in select source union all select h from ai._vectorizer_heirs(source) h loop
        execute format('create or replace trigger %I after insert or update or delete on %s for each row execute function %I.%1$I()'
            , trigger_name || suffix, member, queue_schema);
        execute format('alter table %s enable %s trigger %I', member
            , case when per_row then 'always' else 'replica' end, trigger_name || suffix);
    end loop;
    perform ai._vectorizer_create_truncate_triggers(source, trigger_name, names, owner);
    perform ai._text_create_trigger(source, vectorizer_id, trigger_name, queue_schema, destination, owner);
end
$$;

-- No statement truncates all tables of an inheritance tree: each table has its own trigger.
create or replace function ai._vectorizer_create_truncate_triggers
( source regclass
, trigger_name name
, names jsonb
, owner name
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    schema_name name = names ->> 'queue_schema';
    member regclass;
begin
    if not exists (select from ai._vectorizer_heirs(source)) then
        perform ai._vectorizer_create_trigger_function
        ( format('%I.%I', schema_name, trigger_name || '_truncate')
        , ai._vectorizer_truncate_body(names)
        , ''
        , owner
        );
        execute format('create or replace trigger %I after truncate on %s for each statement execute function %I.%1$I()'
            , trigger_name || '_truncate', source, schema_name);
        execute format('alter table %s enable always trigger %I', source, trigger_name || '_truncate');
    end if;
    if names ->> 'store_table' is null
        or not exists (select from ai._vectorizer_truncate_parts(source, trigger_name || '_truncate_part'))
    then
        return;
    end if;
    perform ai._vectorizer_create_trigger_function
    ( format('%I.%I', schema_name, trigger_name || '_truncate_part')
    , ai._vectorizer_truncate_part_body(source, names)
    , ''
    , owner
    );
    for member in select ai._vectorizer_truncate_parts(source, trigger_name || '_truncate_part') loop
        execute format('create or replace trigger %I after truncate on %s for each statement execute function %I.%1$I()'
            , trigger_name || '_truncate_part', member, schema_name);
    end loop;
end
$$;
