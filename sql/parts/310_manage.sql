-- Managing vectorizers: dropping them, disabling them, and showing their state. An unknown id
-- is an error, an unknown name is not, as in pgai.

-- The source may have been renamed or dropped: triggers are found by their functions. With an owner, only triggers
-- whose functions belong to it.
create or replace function ai._vectorizer_drop_triggers(queue_schema name, trigger_name name, owner oid) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    functions regprocedure[] = array(
        select p.oid::regprocedure
        from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = queue_schema
        and p.proname = any (ai._vectorizer_trigger_functions(trigger_name))
        and p.prorettype = 'trigger'::regtype
        and (owner is null or p.proowner = owner));
    one regprocedure;
    attached record;
begin
    for attached in
        select t.tgname, t.tgrelid::regclass as source
        from pg_trigger t
        where t.tgfoid = any (functions)
        and t.tgparentid = 0
    loop
        execute format('drop trigger %I on %s', attached.tgname, attached.source);
    end loop;
    foreach one in array functions loop
        execute format('drop function %s', one);
    end loop;
end
$$;

create or replace function ai._vectorizer_drop_triggers(queue_schema name, trigger_name name) returns void
language sql volatile
begin atomic
    select ai._vectorizer_drop_triggers(queue_schema, trigger_name, null);
end;

-- Jobs that pgai created with TimescaleDB are changed together with the vectorizer. (No new jobs are created.)
-- `change` is a call of a function of TimescaleDB on `job_id`; a missing job is ignored.
create or replace function ai._vectorizer_change_job(config jsonb, change text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    timescaledb name = (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'timescaledb');
begin
    if timescaledb is not null and config #>> '{scheduling,job_id}' is not null then
        execute format('select %I.%s from timescaledb_information.jobs where job_id = $1', timescaledb, change)
            using (config #>> '{scheduling,job_id}')::int;
    end if;
end
$$;

-- Drops one relation of a vectorizer, if it is of the expected kind and belongs to `owner`: a row of older versions
-- may name anything.
create or replace function ai._vectorizer_drop_part(part text, kinds text, schema name, name name, owner oid) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    relation text = format('%I.%I', schema, name);
    there record;
begin
    for attempt in 1..2 loop
        select c.oid, c.relowner = owner as is_ours, position(c.relkind::text in kinds) > 0 as is_right into there
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = schema and c.relname = name;
        if there.oid is null then
            return;
        end if;
        if not there.is_right or not there.is_ours then
            raise warning '% stays: it is not the % of this vectorizer, or belongs to another role than its queue', relation, part
                using hint = 'Drop it yourself if nobody needs it.';
            return;
        end if;
        -- Checked again after the lock, when no session can change it any more. (Locking a view locks
        -- the tables that it reads.)
        exit when kinds in ('S', 'v');
        execute format('lock table %s in access exclusive mode', relation);
    end loop;
    execute format('drop %s %s', case kinds when 'S' then 'sequence' when 'v' then 'view' else 'table' end, relation);
end
$$;

-- The owner of what belongs to a vectorizer: that of its queue.
create or replace function ai._vectorizer_holder(v ai.vectorizer) returns oid
language sql stable
set search_path = pg_catalog, pg_temp
return coalesce
( (select c.relowner from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = v.queue_schema and c.relname = v.queue_table)
, (select c.relowner from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = v.source_schema and c.relname = v.source_table)
, (select r.oid from pg_roles r where r.rolname = current_user));

-- Drops the objects of a vectorizer or of a generation, if they belong to this role.
create or replace function ai._vectorizer_drop_objects(v ai.vectorizer, owner oid, drop_all boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- All relations that are dropped or lose triggers, if they belong to this vectorizer: the source may have been
    -- renamed.
    perform ai._lock_tables('{}', '', array(
        select c.oid::regclass::text
        from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
        join pg_namespace n on n.nspname = p.schema
        join pg_class c on c.relnamespace = n.oid and c.relname = p.name
        where c.relowner = owner and c.relkind in ('r', 'p', 'v') and position(c.relkind::text in p.kinds) > 0
        and (drop_all or p.part not in ('store', 'view'))
        union
        select x.target::text from ai._textsearch_index(v) x where x.name is not null and not drop_all
        union
        select t.tgrelid::regclass::text
        from pg_trigger t join pg_proc f on f.oid = t.tgfoid join pg_namespace n on n.oid = f.pronamespace
        where n.nspname = v.queue_schema and f.proname = any (ai._vectorizer_trigger_functions(v.trigger_name))
        and f.proowner = owner and t.tgparentid = 0));
    perform ai._vectorizer_drop_triggers(v.queue_schema, v.trigger_name, owner);
    perform ai._textsearch_drop(v);
    perform ai._vectorizer_drop_part(p.part, p.kinds, p.schema, p.name, owner)
    from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
    where drop_all or p.part not in ('store', 'view')
    -- The view reads the store.
    order by p.part <> 'view';
end
$$;

-- One attempt to drop a vectorizer.
create or replace function ai._vectorizer_drop(vectorizer_id int, drop_all boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    owner oid;
begin
    -- A change ends: its other generation is of no use without the vectorizer.
    perform ai._change_drop(g.id) from ai.vectorizer_generation g where g.vectorizer_id = _vectorizer_drop.vectorizer_id;
    -- The row first: its guard checks the privileges.
    delete from ai.vectorizer x where x.id = vectorizer_id returning x.* into strict v;
    owner = ai._vectorizer_holder(v);
    perform ai._vectorizer_change_job(v.config, 'delete_job(job_id)');
    perform ai._vectorizer_drop_objects(v, owner, drop_all);
end
$$;

create or replace function ai.drop_vectorizer(vectorizer_id int, drop_all boolean default false) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id;
    perform ai._with_locks(format('select ai._vectorizer_drop(%s, %L)', v.id, drop_all)
        , format('cannot drop the vectorizer %s', v.name));
end
$$;
comment on function ai.drop_vectorizer(int, boolean) is
    'Drops a vectorizer with its triggers and queue; with drop_all its store and view, too.';

create or replace function ai.drop_vectorizer(name text, drop_all boolean default false) returns void
language sql volatile
begin atomic
    select ai.drop_vectorizer(v.id, drop_vectorizer.drop_all)
    from ai.vectorizer v
    where v.name = drop_vectorizer.name;
end;
comment on function ai.drop_vectorizer(text, boolean) is 'The same, by name.';

create or replace function ai.disable_vectorizer_schedule(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    config jsonb;
begin
    update ai.vectorizer v set disabled = true where v.id = vectorizer_id returning v.config into strict config;
    perform ai._vectorizer_change_job(config, 'alter_job(job_id, scheduled => false)');
end
$$;
comment on function ai.disable_vectorizer_schedule(int) is 'Workers leave the vectorizer alone; its changes are queued still.';

create or replace function ai.disable_vectorizer_schedule(name text) returns void
language sql volatile
begin atomic
    select ai._vectorizer_warn(disable_vectorizer_schedule.name);
    select ai.disable_vectorizer_schedule(v.id) from ai.vectorizer v where v.name = disable_vectorizer_schedule.name;
end;
comment on function ai.disable_vectorizer_schedule(text) is 'The same, by name.';

create or replace function ai.enable_vectorizer_schedule(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    config jsonb;
begin
    update ai.vectorizer v set disabled = false where v.id = vectorizer_id returning v.config into strict config;
    perform ai._vectorizer_change_job(config, 'alter_job(job_id, scheduled => true)');
end
$$;
comment on function ai.enable_vectorizer_schedule(int) is 'Workers take up the vectorizer again.';

create or replace function ai.enable_vectorizer_schedule(name text) returns void
language sql volatile
begin atomic
    select ai._vectorizer_warn(enable_vectorizer_schedule.name);
    select ai.enable_vectorizer_schedule(v.id) from ai.vectorizer v where v.name = enable_vectorizer_schedule.name;
end;
comment on function ai.enable_vectorizer_schedule(text) is 'The same, by name.';

create or replace function ai.vectorizer_queue_pending(vectorizer_id int, exact_count boolean default false)
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    queue text;
    is_table boolean;
    pending bigint;
begin
    select format('%I.%I', v.queue_schema, v.queue_table), c.relkind = 'r' into queue, is_table
    from ai.vectorizer v
    left join pg_class c on c.oid = ai._vectorizer_relation(v.queue_schema, v.queue_table)
    where v.id = vectorizer_id and v.queue_table is not null;
    if queue is null then
        raise exception 'vectorizer has no queue table';
    end if;
    if not is_table then
        raise exception '% is no table', queue
            using errcode = 'wrong_object_type';
    end if;
    if exact_count then
        execute format('select count(*) from %s', queue) into pending;
    else
        execute format('select count(*) from (select from %s limit 10001) q', queue) into pending;
        if pending = 10001 then
            pending = 9223372036854775807;
        end if;
    end if;
    return pending;
end
$$;
comment on function ai.vectorizer_queue_pending(int, boolean) is
    'How many rows wait; beyond 10,000 the largest bigint, unless the exact count is asked for.';

create or replace function ai.vectorizer_queue_pending(name text, exact_count boolean default false) returns bigint
language sql stable
begin atomic
    select ai.vectorizer_queue_pending(v.id, vectorizer_queue_pending.exact_count)
    from ai.vectorizer v
    where v.name = vectorizer_queue_pending.name;
end;
comment on function ai.vectorizer_queue_pending(text, boolean) is 'The same, by name.';

-- The count for the status view; null if the queue does not exist or cannot be read.
create or replace function ai._vectorizer_pending_if_readable(vectorizer_id int, queue_schema name, queue_table name)
returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    queue regclass = (
        select c.oid
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = queue_schema and c.relname = queue_table and c.relkind = 'r' and has_schema_privilege(n.oid, 'usage'));
    pending bigint;
begin
    if queue is null or not has_table_privilege(queue, 'select') then
        return null;
    end if;
    execute format('select count(*) from (select from %s limit 10001) q', queue) into pending;
    return case when pending > 10000 then 9223372036854775807 else pending end;
exception when undefined_table or object_not_in_prerequisite_state then
    -- Dropped or replaced between the check and the count.
    return null;
end
$$;
