-- Changing a vectorizer to another model: a second generation is made beside the one that serves, workers fill it and
-- build its index, and then the view shows it. The old one is kept, and follows the source, until
-- ai.finish_change drops it.

-- Only roles with the privileges of the owner of the source write here, and a generation may name only objects of that
-- owner, as in ai.vectorizer.
create or replace function ai._generation_guard() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    g ai.vectorizer_generation = case tg_op when 'DELETE' then old else new end;
    problem text;
begin
    select x.* into v from ai.vectorizer x where x.id = g.vectorizer_id;
    -- (With the vectorizer its generations go.)
    if v.id is null or (select r.rolsuper from pg_roles r where r.rolname = current_user) then
        return g;
    end if;
    if not pg_has_role(current_user, ai._vectorizer_holder(v), 'usage')
        or tg_op = 'UPDATE' and (new.id, new.vectorizer_id) is distinct from (old.id, old.vectorizer_id)
    then
        raise exception 'the vectorizer % belongs to %', v.name, ai._vectorizer_holder(v)::regrole
            using errcode = 'insufficient_privilege',
                  hint = format('Only that role, its members and superusers change it: set role %s', ai._vectorizer_holder(v)::regrole);
    end if;
    if tg_op = 'DELETE' then
        return g;
    end if;
    problem = ai._vectorizer_problem(ai._generation_as_vectorizer(new, v));
    if problem is not null then
        raise exception 'the change of the vectorizer % is refused: %', v.name, problem
            using errcode = 'insufficient_privilege', hint = 'Everything that it names must belong to one owner.';
    end if;
    return new;
end
$$;

create or replace trigger vectorizer_generation_guard
    before insert or update or delete on ai.vectorizer_generation
    for each row execute function ai._generation_guard();

-- A name with the number of a generation, short enough for PostgreSQL. (The number of an older change is replaced.)
create or replace function ai._generation_name(base name, old_number int, number int) returns name
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    stem text = case when old_number is null then base else regexp_replace(base, format('_%s$', old_number), '') end;
begin
    while octet_length(stem || '_' || number) > 63 loop
        stem = left(stem, -1);
    end loop;
    return stem || '_' || number;
end
$$;

-- The view that shows one generation all the time, while a change is under way.
create or replace function ai._generation_view(view_name text, number int) returns name
language sql immutable
return ai._generation_name(view_name::name, null, number);

-- What depends on the view or the store of a vectorizer and would go on reading the old generation after the switch;
-- null if nothing does.
create or replace function ai._change_dependants(v ai.vectorizer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with number as (
        select ai._vectorizer_number(v.id, v.queue_failed_table) as n, v.config -> 'destination' as d
    ), ours as (
        -- (`attnum`: the column, if it is not the whole relation.)
        select r.oid, 0::int2 as attnum, r.place
        from number
        cross join lateral (values
            (ai._vectorizer_relation((d ->> 'target_schema')::name, (d ->> 'target_table')::name), 1),
            (ai._vectorizer_relation((d ->> 'view_schema')::name, (d ->> 'view_name')::name), 2),
            (ai._vectorizer_relation((d ->> 'view_schema')::name, ai._generation_view(d ->> 'view_name', n)), 3)
            ) r(oid, place)
        where r.oid is not null and d ->> 'implementation' is distinct from 'column'
        union all
        select a.attrelid, a.attnum, 1
        from number
        join pg_attribute a on a.attrelid = ai._vectorizer_relation(v.source_schema, v.source_table)
            and a.attname = (d ->> 'embedding_column')::name and not a.attisdropped
        where d ->> 'implementation' = 'column'
    ), found as (
        select format('the %s %s', case c.relkind when 'm' then 'materialized view' else 'view' end, c.oid::regclass) as what
        from ours o
        join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = o.oid and d.classid = 'pg_rewrite'::regclass
            and (o.attnum = 0 or d.refobjsubid = o.attnum)
        join pg_rewrite w on w.oid = d.objid
        join pg_class c on c.oid = w.ev_class
        where c.oid not in (select x.oid from ours x) and o.place < 3
        union
        select format('the function %s', d.objid::regprocedure)
        from ours o
        join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = o.oid and d.classid = 'pg_proc'::regclass
            and (o.attnum = 0 or d.refobjsubid = o.attnum)
        where o.place < 3
        union
        select format('the policy %I on %s', p.polname, p.polrelid::regclass)
        from ours o
        join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = o.oid and d.classid = 'pg_policy'::regclass
            and (o.attnum = 0 or d.refobjsubid = o.attnum)
        join pg_policy p on p.oid = d.objid
        where (p.polrelid <> o.oid or o.attnum > 0) and o.place < 3
        union
        select format('the generated column %I', a.attname)
        from ours o
        join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = o.oid and d.classid = 'pg_attrdef'::regclass
            and d.refobjsubid = o.attnum
        join pg_attrdef e on e.oid = d.objid and (e.adrelid, e.adnum) <> (o.oid, o.attnum)
        join pg_attribute a on a.attrelid = e.adrelid and a.attnum = e.adnum
        where o.attnum > 0
        union
        select format('the foreign key %I of %s', k.conname, k.conrelid::regclass)
        from ours o join pg_constraint k on k.confrelid = o.oid and k.contype = 'f' and o.attnum = 0
        union
        select format('the trigger %I on %s', t.tgname, t.tgrelid::regclass)
        from ours o join pg_trigger t on t.tgrelid = o.oid and not t.tgisinternal
        where o.place < 3 and (o.attnum = 0 or o.attnum = any (t.tgattr::int2[])) and t.tgname not in (v.trigger_name || '_text', v.trigger_name || '_text_truncate')
    )
    select string_agg(f.what, ', ' order by f.what) from found f;
end;

-- Copies policies of a store, except ours.
create or replace function ai._copy_policies(old regclass, fresh regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
begin
    for one in
        select p.polname as name, p.polpermissive as is_permissive, p.polroles as roles
            , case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end as command
            , pg_get_expr(p.polqual, p.polrelid) as using_, pg_get_expr(p.polwithcheck, p.polrelid) as with_check
        from pg_policy p
        where p.polrelid = old and p.polname <> '_vectorizer_rls'
    loop
        execute format('create policy %I on %s as %s for %s to %s%s%s', one.name, fresh
            , case when one.is_permissive then 'permissive' else 'restrictive' end, one.command
            , (select string_agg(case r.oid when 0 then 'public' else r.oid::regrole::text end, ', ') from unnest(one.roles) r(oid))
            , ' using (' || one.using_ || ')', ' with check (' || one.with_check || ')');
    end loop;
    if (select c.relrowsecurity from pg_class c where c.oid = old) then
        execute format('alter table %s enable row level security', fresh);
    end if;
    if (select c.relforcerowsecurity from pg_class c where c.oid = old) then
        execute format('alter table %s force row level security', fresh);
    end if;
end
$$;

-- Refuses what cannot be changed, before anything is created.
create or replace function ai._change_check(v ai.vectorizer, source regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    d jsonb = v.config -> 'destination';
    problem text = ai._vectorizer_problem(v);
    owner regrole = (select c.relowner::regrole from pg_class c where c.oid = source);
    dependants text;
begin
    if problem is not null then
        raise exception 'the vectorizer % cannot be changed: %', v.name, problem
            using errcode = 'object_not_in_prerequisite_state', hint = format('select ai.adopt_vectorizer(%L)', v.name);
    end if;
    dependants = ai._change_dependants(v);
    if dependants is not null then
        raise exception 'these objects would go on reading the old vectors of the vectorizer %: %', v.name, dependants
            using errcode = 'dependent_objects_still_exist', hint = 'Drop them, and make them again after the change.';
    end if;
    if d ->> 'implementation' <> 'column' and not has_schema_privilege(owner, d ->> 'view_schema', 'create') then
        raise exception 'the owner of the source table, %, may not create in the schema %', owner, d ->> 'view_schema'
            using errcode = 'insufficient_privilege',
                  hint = format('grant create on schema %I to %s: workers make the view anew at the switch', d ->> 'view_schema', owner);
    end if;
    if not has_table_privilege(owner, 'ai.vectorizer', 'update')
        or not has_table_privilege(owner, 'ai.vectorizer_generation', 'update')
        or not has_table_privilege(owner, 'ai.vectorizer_index', 'update')
    then
        raise exception 'the owner of the source table, %, may not use vectorizers', owner
            using errcode = 'insufficient_privilege', hint = format('select ai.grant_vectorizer_usage(%L)', owner);
    end if;
end
$$;

-- Creates a second generation with this configuration, and returns its id. The source is locked against writers.
create or replace function ai._change_start(v ai.vectorizer, source regclass, config jsonb, switches boolean) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    old_number int = ai._vectorizer_number(v.id, v.queue_failed_table);
    number int = nextval('ai.vectorizer_id_seq');
    d jsonb = v.config -> 'destination';
    hybrid jsonb = d -> 'hybrid';
    is_column boolean = d ->> 'implementation' = 'column';
    fresh jsonb = d - 'hybrid' || case when is_column
        then jsonb_build_object('embedding_column', ai._generation_name((d ->> 'embedding_column')::name, null, number))
        else jsonb_build_object
            ( 'target_table', ai._generation_name((d ->> 'target_table')::name, old_number, number)
            , 'view_name', ai._generation_view(d ->> 'view_name', number))
        end;
    old_view jsonb = d || jsonb_build_object('view_name', ai._generation_view(d ->> 'view_name', old_number));
    g ai.vectorizer_generation;
    views regclass[];
    parts regclass[];
    old_store regclass = ai._vectorizer_relation((d ->> 'target_schema')::name, (d ->> 'target_table')::name);
    serving regclass = ai._vectorizer_relation((d ->> 'view_schema')::name, (d ->> 'view_name')::name);
    store regclass;
begin
    perform ai._validate_destination_can_create_objects(fresh);
    perform ai._validate_destination_can_create_objects(old_view || jsonb_build_object('target_table', fresh ->> 'target_table'));
    g.id = number;
    g.vectorizer_id = v.id;
    g.state = 'filling';
    g.config = config || jsonb_build_object('destination', fresh);
    g.trigger_name = '_vectorizer_src_trg_' || number;
    g.queue_table = '_vectorizer_q_' || number;
    g.queue_failed_table = '_vectorizer_q_failed_' || number;
    g.switches = switches;
    g.started_at = now();
    g._build = ai._vectorizer_version();
    if is_column then
        perform ai._change_add_column(v, source, fresh, (config #>> '{embedding,dimensions}')::int, ai._vectorizer_watched(config));
    else
        perform ai._vectorizer_create_store(source, fresh, (config #>> '{embedding,dimensions}')::int);
        perform ai._vectorizer_create_view(source, fresh);
        perform ai._vectorizer_create_view(source, old_view);
    end if;
    perform ai._vectorizer_create_queue(source, number, v.queue_schema, g.queue_table, g.queue_failed_table);
    store = ai._vectorizer_relation((fresh ->> 'target_schema')::name, (fresh ->> 'target_table')::name);
    if not is_column then
        views = array
            [ ai._vectorizer_relation((d ->> 'view_schema')::name, (fresh ->> 'view_name')::name)
            , ai._vectorizer_relation((d ->> 'view_schema')::name, (old_view ->> 'view_name')::name)];
    end if;
    parts = views || array(
        select ai._vectorizer_relation(p.schema, p.name)
        from ai._vectorizer_parts(number, v.queue_schema, g.queue_table, g.queue_failed_table, fresh) p where p.part <> 'view');
    perform ai._vectorizer_revoke_defaults(source, parts);
    perform ai._vectorizer_hand_over(source, parts);
    if not is_column then
        perform ai._copy_grants(old_store, store);
        perform ai._copy_policies(old_store, store);
    end if;
    perform ai._copy_grants(coalesce(serving, old_store), x.name) from unnest(views) x(name);
    perform ai._copy_grants(ai._vectorizer_relation(v.queue_schema, v.queue_table), ai._vectorizer_relation(v.queue_schema, g.queue_table));
    perform ai._copy_grants(ai._vectorizer_relation(v.queue_schema, v.queue_failed_table)
        , ai._vectorizer_relation(v.queue_schema, g.queue_failed_table));
    perform ai._vectorizer_create_triggers
    ( source, number, g.trigger_name, v.queue_schema, g.queue_table, g.queue_failed_table, fresh
    , ai._vectorizer_watched(g.config));
    perform ai._vectorizer_revoke_execute(v.queue_schema, g.trigger_name);
    insert into ai.vectorizer_generation select g.*;
    insert into ai.vectorizer_made_by (vectorizer_id, vectors, texts, embedding, assumed)
    select number, m.vectors, m.texts, ai._made_by_embedding(g.config), false from ai._made_by(g.config) m;
    if hybrid is not null then
        perform ai._text_enable(number, hybrid ->> 'language', (hybrid ->> 'k1')::float8, (hybrid ->> 'b')::float8
            , coalesce(hybrid ->> 'method', 'own'));
    end if;
    perform ai._vectorizer_secure_rows(number);
    perform ai._change_create_step(v, source, number);
    perform ai._vectorizer_grant_to_worker(number, r.name) from ai._worker_roles() r(name);
    perform ai._request_resync(number);
    return number;
end
$$;

-- The function by which a worker takes the next step, with the privileges of the owner of the source. (A worker's role
-- need not be that owner, and cannot create objects for it.)
create or replace function ai._change_create_step(v ai.vectorizer, source regclass, number int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    name text = format('%I.%I', v.queue_schema, '_vectorizer_step_' || number);
    owner regrole = (select c.relowner::regrole from pg_class c where c.oid = source);
begin
    execute format('create function %s() returns text language sql volatile security definer '
        'set search_path = pg_catalog, pg_temp as %L', name, format('select ai._change_step(%s)', number));
    execute format('revoke all on function %s() from public', name);
    if owner::oid <> (select r.oid from pg_roles r where r.rolname = current_user) then
        execute format('alter function %s() owner to %s', name, owner);
    end if;
end
$$;

-- Drops the generation that does not serve, with all that came with the change.
create or replace function ai._change_drop(generation int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    g ai.vectorizer_generation;
    v ai.vectorizer;
    other ai.vectorizer;
    owner oid;
    function_name text;
    d jsonb;
begin
    select x.* into strict g from ai.vectorizer_generation x where x.id = generation;
    select x.* into strict v from ai.vectorizer x where x.id = g.vectorizer_id;
    other = ai._generation_as_vectorizer(g, v);
    owner = ai._vectorizer_holder(v);
    d = v.config -> 'destination';
    -- The row first: its guard checks the privileges.
    delete from ai.vectorizer_generation x where x.id = generation;
    perform ai._vectorizer_drop_objects(other, owner, true);
    if d ->> 'implementation' = 'column' then
        perform ai._change_drop_column(other, owner);
    else
        -- The other view with a number: it shows the generation that stays.
        perform ai._vectorizer_drop_part('view', 'v', (d ->> 'view_schema')::name
            , ai._generation_view(d ->> 'view_name', ai._vectorizer_number(v.id, v.queue_failed_table)), owner);
    end if;
    for function_name in
        select p.oid::regprocedure::text
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = v.queue_schema and p.proowner = owner and p.pronargs = 0 and p.prosecdef
        and p.proname = '_vectorizer_step_' || generation
    loop
        execute format('drop function %s', function_name);
    end loop;
exception when dependent_objects_still_exist then
    raise exception 'something depends on the views or stores of the change of %: %', v.name, sqlerrm
        using errcode = 'dependent_objects_still_exist', hint = 'Drop it first. See docs/changing-a-vectorizer.md.';
end
$$;
