-- Vectorizers that Python pgai created get the queue protocol of this version; stores, pending work and failed
-- rows stay. Those of an older version of ours get its tables and triggers. One that cannot be upgraded is recorded
-- with the reason, and the others go on.

-- What older versions of ours had under other names or with other parameters.
do $$
declare
    old regprocedure;
begin
    foreach old in array array
        [ to_regprocedure('ai._validate_source_names(regclass)')
        , to_regprocedure('ai._vectorizer_default_name(jsonb)')
        , to_regprocedure('ai._vectorizer_renew_triggers(int)')
        , to_regprocedure('ai._vectorizer_trigger_body(int, text, text, text)')
        , to_regprocedure('ai._vectorizer_trigger_body(int, text, text, text, boolean)')
        , to_regprocedure('ai._vectorizer_trigger_version()')
        , to_regprocedure('ai._vectorizer_create_trigger_function(text, text, text)')
        ] loop
        if old is not null then
            execute format('drop function %s', old);
        end if;
    end loop;
end
$$;

create or replace function ai._vectorizer_upgrade(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    source regclass;
    queue text;
    failed text;
    keys text;
    folded text;
    owner name;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id;
    source = to_regclass(format('%I.%I', v.source_schema, v.source_table));
    if source is null then
        raise exception 'its source table is gone' using hint = 'Drop it with ai.drop_vectorizer.';
    end if;
    -- The source first: the other order makes writers deadlock.
    execute format('lock table %s in share row exclusive mode', source);
    queue = format('%I.%I', v.queue_schema, v.queue_table);
    execute format('lock table %s in access exclusive mode', queue);
    keys = ai._vectorizer_key_list(source);
    folded = 'delete from %1$s q where q.ctid in (select x.ctid from (select d.ctid, '
        'row_number() over (partition by %2$s order by %3$I) as copy from %1$s d) x where x.copy > 1)';

    execute format('alter table %s add column if not exists loading_retries int4 not null default 0, '
        'add column if not exists loading_retry_after timestamptz, '
        'add column _generation bigint not null default nextval(''ai._generation''), '
        'set (fillfactor = 50)', queue);
    execute format(folded, queue, keys, 'queued_at');
    execute format('alter table %s add primary key (%s)', queue, keys);
    execute format('create index on %s (queued_at)', queue);

    v.queue_failed_table = coalesce(v.queue_failed_table, ('_vectorizer_q_failed_' || v.id)::name);
    failed = format('%I.%I', v.queue_schema, v.queue_failed_table);
    execute format('create table if not exists %s (%s, created_at timestamptz not null default now(), '
        'failure_step text not null default '''')', failed, ai._vectorizer_key_definitions(source));
    execute format('alter table %s add column failure_reason text not null default ''''', failed);
    execute format(folded, failed, keys, 'created_at');
    execute format('alter table %s add primary key (%s)', failed, keys);

    perform ai._vectorizer_create_lease(source, v.id, v.queue_schema);
    -- Who could drop the vectorizer, and run its worker, still can.
    owner = (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = to_regclass(queue));
    if owner <> current_user then
        execute format('alter table %s owner to %I', failed, owner);
        execute format('alter table %I.%I owner to %I', v.queue_schema, '_vectorizer_lease_' || v.id, owner);
        execute format('alter sequence %I.%I owner to %I', v.queue_schema, '_vectorizer_bell_' || v.id, owner);
    end if;
    perform ai._vectorizer_drop_triggers(v.queue_schema, v.trigger_name);
    perform ai._vectorizer_create_triggers
    ( source, v.id, v.trigger_name, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination'
    , ai._formatting_columns(v.config -> 'formatting') || (v.config #>> '{loading,column_name}')::name
    );
    update ai.vectorizer x
    set queue_failed_table = v.queue_failed_table, trigger_name = x.trigger_name
    where x.id = v.id;
end
$$;

-- Gives the queue, failed and lease tables that an older version of ours made what this one's have. Workers of
-- that version go on with them.
create or replace function ai._vectorizer_renew_tables(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    queue text = format('%I.%I', v.queue_schema, v.queue_table);
    made regclass;
    old_index record;
begin
    execute format('lock table %s in access exclusive mode', queue);
    execute format('alter table %s set (fillfactor = 50), alter column queued_at set default now()', queue);
    execute format('alter table %I.%I add column if not exists _failures int not null default 0, '
        'add column if not exists _generation bigint not null default 0'
        , v.queue_schema, '_vectorizer_lease_' || v.id);
    foreach made in array array[queue, format('%I.%I', v.queue_schema, v.queue_failed_table)]::regclass[] loop
        continue when exists (select from pg_index i where i.indrelid = made and i.indisprimary);
        for old_index in
            select i.indexrelid::regclass as name, c.conname
            from pg_index i
            left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = made
            where i.indrelid = made and pg_get_indexdef(i.indexrelid, 1, true) <> 'queued_at'
        loop
            if old_index.conname is null then
                execute format('drop index %s', old_index.name);
            else
                execute format('alter table %s drop constraint %I', made, old_index.conname);
            end if;
        end loop;
        execute format('alter table %s add primary key (%s)', made
            , (select string_agg(format('%I', k ->> 'attname'), ', ') from jsonb_array_elements(v.source_pk) k));
    end loop;
end
$$;

-- Brings a vectorizer of an older version of ours to this one. (Its columns may have other names by now: then its
-- triggers stay as they are.)
create or replace function ai._vectorizer_renew(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    source regclass;
    watched name[];
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id;
    source = to_regclass(format('%I.%I', v.source_schema, v.source_table));
    if source is null then
        return;
    end if;
    -- The source first: the other order makes writers deadlock.
    execute format('lock table %s in share row exclusive mode', source);
    perform ai._vectorizer_renew_tables(v);
    watched = ai._formatting_columns(v.config -> 'formatting') || (v.config #>> '{loading,column_name}')::name;
    if exists (
            select from unnest(watched) w(name)
            where not exists (select from pg_attribute a where a.attrelid = source and a.attname = w.name))
        or (select jsonb_agg(k ->> 'attname') from jsonb_array_elements(v.source_pk) k)
            is distinct from (select jsonb_agg(k.name order by k.pknum) from ai._vectorizer_key(source) k)
    then
        return;
    end if;
    perform ai._vectorizer_drop_triggers(v.queue_schema, v.trigger_name);
    perform ai._vectorizer_create_triggers
    ( source, v.id, v.trigger_name, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination'
    , watched);
    -- (Notes the version.)
    update ai.vectorizer x set trigger_name = x.trigger_name where x.id = v.id;
end
$$;

do $$
declare
    v record;
begin
    for v in
        select x.id
            , ai._vectorizer_relation(x.queue_schema, ('_vectorizer_lease_' || x.id)::name) is null as is_of_pgai
            , not exists (
                select from ai._vectorizer_build b
                where b.id = x.id and b.version = ai._vectorizer_version()) as is_old
        from ai.vectorizer x
        where x.queue_table is not null
        order by x.id
    loop
        begin
            if v.is_of_pgai then
                perform ai._vectorizer_upgrade(v.id);
            elsif v.is_old then
                perform ai._vectorizer_renew(v.id);
            end if;
        exception when others then
            insert into ai._vectorizer_errors (id, message, details)
            values (v.id, 'upgrade failed', jsonb_build_object('error_reason', sqlerrm));
            raise warning 'vectorizer % cannot be upgraded, %', v.id, sqlerrm;
        end;
    end loop;
end
$$;

-- Workers' roles get what workers of this version need. (Older versions of ours marked them by this right, which
-- their administrators have besides others.)
do $$
declare
    worker name;
begin
    for worker in
        select r.name from ai._worker_roles() r(name)
        union
        select r.rolname
        from pg_class c
        cross join aclexplode(c.relacl) a
        join pg_roles r on r.oid = a.grantee
        where c.oid = 'ai.vectorizer_worker_process'::regclass
        and a.grantee <> c.relowner
        group by r.rolname
        having bool_or(a.privilege_type = 'INSERT') and not bool_or(a.privilege_type = 'DELETE')
    loop
        perform ai.grant_worker_usage(worker);
    end loop;
end
$$;
