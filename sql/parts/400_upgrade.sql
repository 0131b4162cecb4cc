-- Vectorizers that Python pgai or pgai-rs created get the queue protocol of this version; stores, views, pending work
-- and failed rows stay. Only new tables are written to: another role's trigger or rule on an old queue would run with
-- the privileges of the role that runs setup.sql.

-- Objects of older versions with other names or other parameters.
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

-- Renames a queue or a failed table, and returns it; null if there is none.
create or replace function ai._vectorizer_set_aside(table_schema name, table_name name, aside name) returns regclass
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regclass(format('%I.%I', table_schema, table_name)) is null then
        return null;
    end if;
    execute format('alter table %I.%I rename to %I', table_schema, table_name, aside);
    return format('%I.%I', table_schema, aside)::regclass;
end
$$;

-- Fills a new queue or failed table from the old one, each key once and with its oldest time, and drops the old one.
create or replace function ai._vectorizer_take_over(old regclass, fresh regclass, keys text, columns text, oldest name)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format('insert into %s (%s, %s) select distinct on (%2$s) %2$s, %3$s from only %4$s order by %2$s, %5$I'
        , fresh, keys, columns, old, oldest);
    perform ai._copy_grants(old, fresh);
    execute format('drop table %s', old);
end
$$;

-- Grants the privileges on one relation on another one, too.
create or replace function ai._copy_grants(old regclass, fresh regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    command text;
begin
    for command in
        select format('grant %s on %s to %s%s', string_agg(a.privilege_type, ', '), fresh
            , case a.grantee when 0 then 'public' else quote_ident(r.rolname) end
            , case when a.is_grantable then ' with grant option' else '' end)
        from pg_class c
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where c.oid = old and a.grantee <> c.relowner and (a.grantee = 0 or r.oid is not null)
        group by a.grantee, r.rolname, a.is_grantable
    loop
        execute command;
    end loop;
end
$$;

-- The types of the key in an old queue must be those of the source, or both must be types of PostgreSQL: a conversion
-- between others may call a user's function.
create or replace function ai._vectorizer_check_old_key(source regclass, queue regclass, source_pk jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    other name;
begin
    if (select jsonb_agg(k ->> 'attname' order by (k ->> 'pknum')::int) from jsonb_array_elements(source_pk) k)
        is distinct from (select jsonb_agg(k.name order by k.pknum) from ai._vectorizer_key(source) k)
    then
        raise exception 'the primary key of % is another one than when it was created', source
            using hint = 'Give the table its key back, or drop the vectorizer with ai.drop_vectorizer.';
    end if;
    select k.name into other
    from ai._vectorizer_key(source) k
    join pg_attribute s on s.attrelid = source and s.attname = k.name
    left join pg_attribute q on q.attrelid = queue and q.attname = k.name and not q.attisdropped
    where q.attnum is null or q.atttypid <> s.atttypid and (q.atttypid >= 16384 or s.atttypid >= 16384)
    limit 1;
    if other is not null then
        raise exception 'the key column "%" of % has another type than in its queue', other, source
            using hint = 'Give the column its type back, or drop the vectorizer with ai.drop_vectorizer.';
    end if;
end
$$;

-- Replaces older triggers with those of this version. Triggers of the same name are replaced: this makes writers wait
-- for a moment, and unlike dropping them does not block readers. Trigger functions must be new: the old ones are
-- renamed first, and dropped at the end. (pgai-rs may have its functions in any schema: they are found by their
-- triggers.)
create or replace function ai._vectorizer_exchange_triggers(v ai.vectorizer, source regclass, watched name[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    old_functions oid[] = array(
        select p.oid
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = v.queue_schema and p.proname = any (ai._vectorizer_trigger_functions(v.trigger_name))
        and p.pronargs = 0
        union
        select t.tgfoid
        from pg_trigger t
        where t.tgrelid = source and not t.tgisinternal and t.tgparentid = 0
        and t.tgname in (v.trigger_name, v.trigger_name || '_truncate'));
    one record;
begin
    for one in select p.oid::regprocedure as name, p.proname from pg_proc p where p.oid = any (old_functions) loop
        execute format('alter function %s rename to %I', one.name, one.proname || '_of_old');
    end loop;
    perform ai._vectorizer_create_triggers
    (source, v.id, v.trigger_name, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination', watched);
    for one in
        select t.tgname, t.tgrelid::regclass as relation
        from pg_trigger t
        where t.tgfoid = any (old_functions) and t.tgparentid = 0
        and (t.tgname = any (ai._vectorizer_trigger_functions(v.trigger_name)) or t.tgrelid = source)
    loop
        execute format('drop trigger %I on %s', one.tgname, one.relation);
    end loop;
    for one in
        select p.oid::regprocedure as name
        from pg_proc p
        where p.oid = any (old_functions) and not exists (select from pg_trigger t where t.tgfoid = p.oid)
    loop
        execute format('drop function %s', one.name);
    end loop;
end
$$;

-- The relations that are locked exclusively during the upgrade of a vectorizer (its source is locked against
-- writers): the tables that workers write to, its view, and relations whose owner or policies change.
create or replace function ai._vectorizer_to_lock(v ai.vectorizer) returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with source as (
        select c.oid, c.relowner, c.relrowsecurity from pg_class c
        where c.oid = ai._vectorizer_relation(v.source_schema, v.source_table)
    )
    select coalesce(array_agg(c.oid::regclass::text order by p.part, p.name), '{}')
    from (
        select x.part, x.kinds, x.schema, x.name
        from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table
            , coalesce(v.queue_failed_table, ('_vectorizer_q_failed_' || v.id)::name), v.config -> 'destination') x
        union all
        select 'source table', 'rp', v.source_schema, v.source_table
        ) p
    join pg_namespace n on n.nspname = p.schema
    join pg_class c on c.relnamespace = n.oid and c.relname = p.name
        and c.relkind in ('r', 'p', 'v') and position(c.relkind::text in p.kinds) > 0
    where case p.part
        when 'source table' then exists (
            select from pg_class q where q.oid = ai._vectorizer_relation(v.queue_schema, v.queue_table)
            and q.relowner <> c.relowner)
        when 'store' then exists (select from source s where s.relrowsecurity or s.relowner <> c.relowner)
        else true end;
end;

create or replace function ai._vectorizer_upgrade(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    d jsonb;
    source regclass;
    queue text;
    failed text;
    keys text;
    old_queue regclass;
    old_failed regclass;
    holder regrole;
    one record;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id for update;
    d = v.config -> 'destination';
    source = format('%I.%I', v.source_schema, v.source_table)::regclass;
    v.queue_failed_table = coalesce(v.queue_failed_table, ('_vectorizer_q_failed_' || v.id)::name);
    queue = format('%I.%I', v.queue_schema, v.queue_table);
    failed = format('%I.%I', v.queue_schema, v.queue_failed_table);
    -- The source first: in the other order writers would wait for each other.
    perform ai._lock_tables(array[source::text], 'share row exclusive', ai._vectorizer_to_lock(v));
    if exists (select from pg_class c where c.oid in (queue::regclass, to_regclass(failed)) and c.relkind <> 'r') then
        raise exception 'its queue or its failed table is none, but something that was put in its place'
            using errcode = 'wrong_object_type', hint = 'Drop it with ai.drop_vectorizer.';
    end if;
    perform ai._vectorizer_check_old_key(source, queue::regclass, v.source_pk);
    keys = ai._vectorizer_key_list(source);
    -- New objects belong to the owner of the old queue. ai._vectorizer_settle gives them to the owner of the source.
    holder = (select c.relowner::regrole from pg_class c where c.oid = queue::regclass);
    old_queue = ai._vectorizer_set_aside(v.queue_schema, v.queue_table, ('_vectorizer_q_of_old_' || v.id)::name);
    old_failed = ai._vectorizer_set_aside(v.queue_schema, v.queue_failed_table, ('_vectorizer_f_of_old_' || v.id)::name);
    perform ai._vectorizer_create_queue(source, v.id, v.queue_schema, v.queue_table, v.queue_failed_table);
    perform ai._vectorizer_take_over(old_queue, queue::regclass, keys, 'queued_at', 'queued_at');
    if old_failed is not null then
        perform ai._vectorizer_take_over(old_failed, failed::regclass, keys, 'created_at, failure_step', 'created_at');
    end if;
    if holder::oid <> (select r.oid from pg_roles r where r.rolname = current_user) then
        for one in
            select c.oid::regclass as name
            from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, d) p
            cross join ai._vectorizer_relation(p.schema, p.name) c(oid)
            where p.part not in ('store', 'view') and c.oid is not null
        loop
            execute format('alter table %s owner to %s', one.name, holder);
        end loop;
    end if;
    perform ai._vectorizer_exchange_triggers(v, source
        , ai._vectorizer_watched(v.config));
    -- (Records the version, too.)
    update ai.vectorizer x
    set queue_failed_table = v.queue_failed_table, trigger_name = x.trigger_name
    where x.id = v.id;
end
$$;
