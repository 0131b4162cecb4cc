-- Converts a database of pgai-rs, an earlier successor of pgai in Rust, to the form that the next parts expect.
-- Vectorizers, stores, pending work, views, names and configurations stay; 400_upgrade.sql creates the queues of the
-- vectorizers.

-- A catalog whose tables the next parts change, while the application may be reading them.
create or replace function ai._is_of_pgai_rs() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select to_regclass('ai.vectorizer') is not null and to_regclass('ai.pgai_lib_migration') is null;
end;

-- In one transaction the locks of all vectorizers are taken first, while nothing else is locked: see 420_run.sql.
-- (pgai 0.10 had its errors in a table that 040_errors.sql renames.)
do $$
declare
    sources text[];
    queues text[];
begin
    if coalesce(current_setting('ai.setup_in_transaction', true), '') <> 'yes'
        or not ai._is_of_pgai_rs() and (select c.relkind from pg_class c where c.oid = to_regclass('ai.vectorizer_errors'))
            is distinct from 'r'
    then
        return;
    end if;
    execute $q$
        select array_agg(to_regclass(format('%I.%I', v.source_schema, v.source_table))::text order by v.id)
            , array_agg(to_regclass(format('%I.%I', v.queue_schema, v.queue_table))::text order by v.id)
        from ai.vectorizer v
        where v.queue_table is not null $q$ into sources, queues;
    perform ai._with_locks(format('select ai._lock_tables(%L, %L, %L)', sources, 'share row exclusive'
            , queues || array['ai.vectorizer', to_regclass('ai.vectorizer_errors')::text])
        , 'cannot upgrade the schema ai');
end
$$;

-- Objects of an extension (pgai-rs could be installed as one) are moved to the schema. An extension without objects
-- is dropped.
do $$
declare
    member record;
begin
    if not ai._is_of_pgai_rs() then
        return;
    end if;
    for member in
        select e.extname, i.type, i.identity
        from pg_depend d
        join pg_extension e on e.oid = d.refobjid
        cross join pg_identify_object(d.classid, d.objid, d.objsubid) i
        where d.refclassid = 'pg_extension'::regclass
        and d.deptype = 'e'
        and (i.schema = 'ai' or i.type = 'schema' and i.identity = 'ai')
        order by d.classid = 'pg_type'::regclass
    loop
        begin
            execute format('alter extension %I drop %s %s', member.extname, member.type, member.identity);
        exception when object_not_in_prerequisite_state then
            -- The row type of a table is dropped with its table.
            null;
        end;
    end loop;
    for member in
        select e.extname from pg_extension e
        where e.extname in ('ai', 'pgai', 'pgai_rs', 'pg_rust_ai')
        and not exists (
            select from pg_depend d
            where d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid and d.deptype = 'e')
    loop
        execute format('drop extension %I', member.extname);
    end loop;
end
$$;

-- Drops its functions, which would exist beside those of the same names with other parameters, and the triggers that
-- call them.
do $$
declare
    function_name regprocedure;
    dropped int;
begin
    if not ai._is_of_pgai_rs() then
        return;
    end if;
    loop
        dropped = 0;
        for function_name in
            select p.oid
            from pg_proc p
            where p.pronamespace = 'ai'::regnamespace
            and p.proname ~ '^_|^(create|drop|enable|disable|execute)_vectorizer|^vectorizer_|^set_scheduling$|^(loading|parsing|embedding|chunking|formatting|processing|destination|indexing|scheduling|grant)_'
            and p.proname not in ('_is_of_pgai_rs', '_lock_patience', '_lock_command', '_lock_tables', '_lock_holders'
                , '_with_locks', '_require_current_snapshot')
            and not exists (select from pg_trigger t where t.tgfoid = p.oid)
        loop
            begin
                execute format('drop routine %s', function_name);
                dropped = dropped + 1;
            exception when dependent_objects_still_exist then
                -- Another function uses it in a default: the next round can drop it.
                null;
            end;
        end loop;
        exit when dropped = 0;
    end loop;
end
$$;

create or replace function ai._convert_catalogue_of_pgai_rs() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    column_name name;
begin
    lock table ai.vectorizer in access exclusive mode;
    update ai.vectorizer v set name = 'vectorizer_' || v.id where v.name is null;
    foreach column_name in array array
        [ 'source_schema', 'source_table', 'trigger_name', 'queue_schema', 'queue_table', 'queue_failed_table', 'name'] loop
        if (select a.atttypid from pg_attribute a where a.attrelid = 'ai.vectorizer'::regclass and a.attname = column_name)
            <> 'name'::regtype
        then
            execute format('alter table ai.vectorizer alter column %I type name', column_name);
        end if;
    end loop;
    alter table ai.vectorizer alter column name set not null, alter column trigger_name set not null
        , alter column disabled set default false;
    -- Existing names stay, legal or not.
    if not exists (
            select from pg_constraint c where c.conrelid = 'ai.vectorizer'::regclass and c.conname = 'vectorizer_name_check')
        and not exists (select from ai.vectorizer v where v.name !~ '^[a-z][a-z_0-9]*$')
    then
        alter table ai.vectorizer add constraint vectorizer_name_check check (name ~ '^[a-z][a-z_0-9]*$');
    end if;
end
$$;

do $$
begin
    if ai._is_of_pgai_rs() then
        perform ai._with_locks('select ai._convert_catalogue_of_pgai_rs()', 'cannot upgrade the catalogue of pgai-rs');
    end if;
end
$$;
drop function ai._convert_catalogue_of_pgai_rs();
drop function ai._is_of_pgai_rs();
