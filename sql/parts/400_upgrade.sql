-- Vectorizers that Python pgai created get the queue protocol of this version; stores, pending work and failed
-- rows stay. Those of an older version of ours get its triggers. One that cannot be upgraded is recorded with the
-- reason, and the others go on.

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
    perform ai._vectorizer_drop_triggers(v.queue_schema, v.trigger_name);
    perform ai._vectorizer_create_triggers
    ( source, v.id, v.trigger_name, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination'
    , ai._formatting_columns(v.config -> 'formatting') || (v.config #>> '{loading,column_name}')::name
    );
    update ai.vectorizer x set queue_failed_table = v.queue_failed_table where x.id = v.id;
end
$$;

-- Replaces the triggers of a vectorizer. (Its columns may have other names by now: then they stay as they are.)
create or replace function ai._vectorizer_renew_triggers(vectorizer_id int) returns void
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
    watched = ai._formatting_columns(v.config -> 'formatting') || (v.config #>> '{loading,column_name}')::name;
    if source is null
        or exists (
            select from unnest(watched) w(name)
            where not exists (select from pg_attribute a where a.attrelid = source and a.attname = w.name))
        or (select jsonb_agg(k ->> 'attname') from jsonb_array_elements(v.source_pk) k)
            is distinct from (select jsonb_agg(k.name order by k.pknum) from ai._vectorizer_key(source) k)
    then
        return;
    end if;
    execute format('lock table %s in share row exclusive mode', source);
    perform ai._vectorizer_drop_triggers(v.queue_schema, v.trigger_name);
    perform ai._vectorizer_create_triggers
    ( source, v.id, v.trigger_name, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination'
    , watched);
end
$$;

do $$
declare
    v record;
begin
    for v in
        select x.id
            , to_regclass(format('%I.%I', x.queue_schema, '_vectorizer_lease_' || x.id)) is null as is_of_pgai
            , obj_description(to_regprocedure(format('%I.%I()', x.queue_schema, x.trigger_name)), 'pg_proc')
                is distinct from 'triggers ' || ai._vectorizer_trigger_version() as is_old
        from ai.vectorizer x
        where x.queue_table is not null
        order by x.id
    loop
        begin
            if v.is_of_pgai then
                perform ai._vectorizer_upgrade(v.id);
            elsif v.is_old then
                perform ai._vectorizer_renew_triggers(v.id);
            end if;
        exception when others then
            insert into ai._vectorizer_errors (id, message, details)
            values (v.id, 'upgrade failed', jsonb_build_object('error_reason', sqlerrm));
            raise warning 'vectorizer % cannot be upgraded, %', v.id, sqlerrm;
        end;
    end loop;
end
$$;
