-- Privileges: roles that create vectorizers, and roles that only run the worker. Names are quoted. A
-- worker's role gets its privileges on existing vectorizers here, and on future ones from
-- ai.create_vectorizer.

create or replace function ai.grant_vectorizer_usage(to_user name, admin boolean default false) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if admin then
        -- (Not CREATE on the schema, TRIGGER or REFERENCES: an administrator's trigger on ai.vectorizer would run
        -- with the privileges of every role that creates a vectorizer.)
        execute format('grant usage on schema ai to %I', to_user);
        execute format
        ( 'grant select, insert, update, delete on ai.pgai_lib_migration, ai.pgai_lib_version, ai.pgai_lib_feature_flag, ai.vectorizer, '
          'ai._vectorizer_errors, ai.vectorizer_errors, ai.vectorizer_status, ai.vectorizer_progress, ai._live_worker, '
          'ai.vectorizer_worker_process, ai.vectorizer_worker_progress, ai.vectorizer_resync, '
          'ai.vectorizer_made_by, ai.vectorizer_usage, ai.vectorizer_budget, ai.vectorizer_index, ai.vectorizer_pause, ai.vectorizer_text, '
          'ai.vectorizer_generation, ai.vectorizer_document to %I'
        , to_user);
        execute format('grant select, usage on sequence ai.vectorizer_id_seq, ai._generation to %I', to_user);
        return;
    end if;
    execute format('grant usage on schema ai to %I', to_user);
    execute format('grant select, insert, update, delete on ai.vectorizer, ai.vectorizer_pause, ai.vectorizer_text, '
        'ai.vectorizer_generation to %I', to_user);
    execute format('grant select, insert, update on ai.vectorizer_resync, ai.vectorizer_made_by, ai.vectorizer_index to %I', to_user);
    execute format('grant select on ai._vectorizer_errors, ai.vectorizer_errors, ai.vectorizer_status, ai.vectorizer_progress, '
        'ai._live_worker to %I', to_user);
    execute format('grant select, usage on sequence ai.vectorizer_id_seq to %I', to_user);
end
$$;
comment on function ai.grant_vectorizer_usage is
    'Lets a role create vectorizers on its tables; as admin it also reads and writes the tables of schema ai.';

-- The worker's privileges on one vectorizer. If the caller cannot grant one, there is a warning. (Existing
-- privileges are not granted again: a grant waits for sessions that truncate or alter the table, and fails
-- after them.)
create or replace function ai._vectorizer_grant_to_worker(vectorizer_id int, worker name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    d jsonb;
    command text;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    d = v.config -> 'destination';
    for command in
        select format('grant usage on schema %I to %I', s.name, worker)
        from (
            select unnest(array[v.source_schema::text, v.queue_schema, d ->> 'target_schema'])
            -- The worker's statements name the types of the key and their operators.
            union
            select unnest(array[tn.nspname, op.nspname])
            from pg_index x
            join pg_attribute a on a.attrelid = x.indrelid and a.attnum = any (x.indkey::int2[])
            join pg_type t on t.oid = a.atttypid
            join pg_namespace tn on tn.oid = t.typnamespace
            left join pg_opclass c on c.oid = any (x.indclass::oid[])
            left join pg_namespace op on op.oid = c.opcnamespace
            where x.indrelid = ai._vectorizer_relation(v.source_schema, v.source_table) and x.indisprimary
            ) s(name)
        join pg_namespace n on n.nspname = s.name
        where not has_schema_privilege(worker, n.oid, 'usage')
        union all
        select format('grant %s on %s %I.%I to %I', array_to_string(g.rights, ', '), g.kind, g.schema, g.name, worker)
        from (values
            ('table', v.source_schema::text, v.source_table::text, array['select']),
            ('table', v.queue_schema, v.queue_table, array['select', 'insert', 'update', 'delete']),
            ('table', v.queue_schema, v.queue_failed_table, array['select', 'insert', 'update', 'delete']),
            ('table', v.queue_schema, '_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table), array['select', 'insert', 'update', 'delete']),
            ('table', v.queue_schema, case when ai._text_is_own(d) then ai._text_table(v) end, array['select', 'insert', 'update', 'delete']),
            ('table', v.queue_schema, case when ai._text_is_own(d) then ai._text_count_table(v) end, array['select', 'insert', 'update', 'delete']),
            ('sequence', v.queue_schema, '_vectorizer_bell_' || ai._vectorizer_number(v.id, v.queue_failed_table), array['select', 'usage', 'update']),
            ('table', d ->> 'target_schema', d ->> 'target_table', array['select', 'insert', 'update', 'delete'])
            ) g(kind, schema, name, rights)
        cross join lateral ai._vectorizer_relation(g.schema::name, g.name::name) there
        where g.name is not null
        and not coalesce((
            select bool_and(case g.kind when 'table' then has_table_privilege(worker, there, r)
                else has_sequence_privilege(worker, there, r) end)
            from unnest(g.rights) r), false)
        union all
        -- The function that takes the steps of a change.
        select format('grant execute on function %s to %I', p.oid::regprocedure, worker)
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = v.queue_schema and p.proname = '_vectorizer_step_' || v.id and p.pronargs = 0
        and not has_function_privilege(worker, p.oid, 'execute')
        union all
        select format('grant update (%I) on %I.%I to %I', d ->> 'embedding_column', v.source_schema, v.source_table, worker)
        where d ->> 'implementation' = 'column'
        and not coalesce((
            select has_column_privilege(worker, a.attrelid, a.attnum, 'update')
            from pg_attribute a
            where a.attrelid = ai._vectorizer_relation(v.source_schema, v.source_table)
            and a.attname = d ->> 'embedding_column'), false)
    loop
        begin
            execute command;
        exception when insufficient_privilege or undefined_table or undefined_column or invalid_schema_name then
            raise warning 'vectorizer %: %', v.name, sqlerrm using hint = format('Needed: %s', command);
        end;
    end loop;
end
$$;

-- The privileges of every worker, except those on its vectorizers.
create or replace function ai._grant_worker_tables(worker name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    vector_schema name;
begin
    execute format('grant usage on schema ai to %I', worker);
    for vector_schema in
        select n.nspname
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'vector' and not has_schema_privilege(worker, n.oid, 'usage')
    loop
        execute format('grant usage on schema %I to %I', vector_schema, worker);
    end loop;
    execute format('grant select on ai.vectorizer, ai.vectorizer_generation, ai.vectorizer_errors, ai.vectorizer_status, ai.vectorizer_progress, ai._live_worker, '
        'ai.pgai_lib_version to %I', worker);
    execute format('grant select, insert on ai._vectorizer_errors to %I', worker);
    execute format('grant select, insert, update on ai.vectorizer_worker_process, ai.vectorizer_worker_progress, '
        'ai.vectorizer_resync, ai.vectorizer_made_by, ai.vectorizer_usage, ai.vectorizer_budget, ai.vectorizer_index, ai.vectorizer_text to %I', worker);
    execute format('grant select, insert, update, delete on ai.vectorizer_document to %I', worker);
end
$$;

create or replace function ai.grant_worker_usage(worker name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    id int;
begin
    perform ai._grant_worker_tables(worker);
    -- Every role has this privilege; granting it by name marks a worker's role for future
    -- vectorizers.
    execute format('grant execute on function ai._worker_start(text, interval) to %I', worker);
    for id in select v.id from ai._vectorizers() v order by v.id loop
        perform ai._vectorizer_grant_to_worker(id, worker);
    end loop;
end
$$;
comment on function ai.grant_worker_usage(name) is 'Lets a role run the worker for all vectorizers, and do nothing else.';

-- For the vectorizers of one owner the worker's role becomes a member of that owner. It has the owner's privileges,
-- also on future vectorizers, and no others. So code of other owners never runs in its sessions.
create or replace function ai.grant_worker_usage(worker name, owner name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ai._grant_worker_tables(worker);
    execute format('grant %I to %I%s', owner, worker
        , case when current_setting('server_version_num')::int < 160000 then '' else ' with inherit true, set false' end);
end
$$;
comment on function ai.grant_worker_usage(name, name) is 'Lets a role run the worker for the vectorizers of one owner.';

-- The roles for which ai.grant_worker_usage was called for all vectorizers.
create or replace function ai._worker_roles() returns setof name
language sql stable
begin atomic
    select r.rolname
    from pg_proc p
    cross join aclexplode(p.proacl) a
    join pg_roles r on r.oid = a.grantee
    where p.oid = 'ai._worker_start(text, interval)'::regprocedure
    and a.grantee <> p.proowner;
end;
