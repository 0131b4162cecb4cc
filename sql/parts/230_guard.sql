-- ai.vectorizer names tables, and workers read and write them. So a row may name only objects that belong to the
-- owner of its source, and only a role with that owner's privileges can write the row. Workers check the same when
-- they load it.

-- The problem of the relations and functions that a row names, and whether it is that something belongs to another
-- role, which ai.adopt_vectorizer solves; nulls if there is none. Names are looked up in the catalogs, without
-- search_path and pg_temp.
create or replace function ai._vectorizer_defect(v ai.vectorizer, out is_foreign boolean, out problem text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with named as (
        select 'source table' as part, 'rp' as kinds, v.source_schema as schema, v.source_table as name
        union all
        select p.part, p.kinds, p.schema, p.name
        from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
    ), found as (
        select n.*, c.oid, c.relkind, c.relowner, c.relpersistence
        from named n
        left join pg_namespace s on s.nspname = n.schema
        left join pg_class c on c.relnamespace = s.oid and c.relname = n.name
    ), source as (
        select f.relowner from found f where f.part = 'source table'
    ), functions as (
        select p.oid::regprocedure as name, p.proowner
        from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = v.queue_schema
        and p.proname = any (ai._vectorizer_trigger_functions(v.trigger_name))
        and p.pronargs = 0
    )
    select x.is_foreign, x.problem
    from (values
    -- (The view is only for readers: without it the vectorizer still works.)
      (1, false, (select case when f.schema is null or f.name is null then format('its configuration names no %s', f.part)
           else format('its %s %I.%I is missing', f.part, f.schema, f.name) end
       from found f
       where f.oid is null and f.part <> 'view' limit 1))
    , (2, false, (select format('%I.%I cannot be its %s', f.schema, f.name, f.part) from found f
       where f.relpersistence = 't' or position(f.relkind::text in f.kinds) = 0 limit 1))
    , (3, true, (select format('its %s %I.%I belongs to %s, its source table to %s', f.part, f.schema, f.name
           , f.relowner::regrole, s.relowner::regrole)
       from found f, source s where f.relowner <> s.relowner limit 1))
    , (4, true, (select format('its trigger function %s belongs to %s, its source table to %s', t.name
           , t.proowner::regrole, s.relowner::regrole)
       from functions t, source s where t.proowner <> s.relowner limit 1))
    , (5, false, (select format('%I.%I is named twice', min(f.schema), min(f.name)) from found f
       where f.oid is not null group by f.oid having count(*) > 1 limit 1))
    ) x(place, is_foreign, problem)
    where x.problem is not null
    order by x.place
    limit 1;
end;

-- The same, without its kind.
create or replace function ai._vectorizer_problem(v ai.vectorizer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return (select d.problem from ai._vectorizer_defect(v) d);

create or replace function ai._vectorizer_guard() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    holder oid;
    problem text;
begin
    if (select r.rolsuper from pg_roles r where r.rolname = current_user) then
        return coalesce(new, old);
    end if;
    if tg_op <> 'INSERT' then
        select c.relowner into holder
        from (values (1, old.queue_schema, old.queue_table), (2, old.source_schema, old.source_table)) x(place, schema, name)
        join pg_namespace n on n.nspname = x.schema
        join pg_class c on c.relnamespace = n.oid and c.relname = x.name
        order by x.place
        limit 1;
        if not pg_has_role(current_user, holder, 'usage') then
            raise exception 'the vectorizer % belongs to %', old.name, holder::regrole
                using errcode = 'insufficient_privilege',
                      hint = format('Only that role, its members and superusers change it: set role %s', holder::regrole);
        end if;
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    if tg_op = 'UPDATE' and
        (new.id, new.source_schema, new.source_table, new.source_pk, new.trigger_name, new.queue_schema, new.queue_table
            , new.queue_failed_table, new.config -> 'destination', new.config #> '{scheduling,job_id}')
        is not distinct from
        (old.id, old.source_schema, old.source_table, old.source_pk, old.trigger_name, old.queue_schema, old.queue_table
            , old.queue_failed_table, old.config -> 'destination', old.config #> '{scheduling,job_id}')
    then
        return new;
    end if;
    -- (What workers record is under its id.)
    problem = case when tg_op = 'UPDATE' and new.id <> old.id then 'its id cannot change' else ai._vectorizer_problem(new) end;
    if problem is not null then
        raise exception 'the vectorizer % is refused: %', new.name, problem
            using errcode = 'insufficient_privilege', hint = 'Everything that it names must belong to one owner.';
    end if;
    select c.relowner into holder
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = new.source_schema and c.relname = new.source_table;
    if not pg_has_role(current_user, holder, 'usage') then
        raise exception 'the vectorizer % is refused: its source table belongs to %', new.name, holder::regrole
            using errcode = 'insufficient_privilege', hint = format('First: set role %s', holder::regrole);
    end if;
    return new;
end
$$;

create or replace trigger vectorizer_guard
    before insert or update or delete on ai.vectorizer
    for each row execute function ai._vectorizer_guard();

create or replace function ai._vectorizer_guard_truncate() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if not (select r.rolsuper from pg_roles r where r.rolname = current_user) then
        raise exception 'ai.vectorizer must not be truncated: it holds the vectorizers of others'
            using errcode = 'insufficient_privilege', hint = 'select ai.drop_vectorizer(id) for each of your own.';
    end if;
    return null;
end
$$;

create or replace trigger vectorizer_guard_truncate
    before truncate on ai.vectorizer
    for each statement execute function ai._vectorizer_guard_truncate();

-- The part that a vectorizer needs and its source no longer has: its key, or a column that it reads; null if it has
-- all.
create or replace function ai._vectorizer_misfit(v ai.vectorizer, source regclass) returns text
language sql stable
begin atomic
    select case when (select jsonb_agg(k ->> 'attname') from jsonb_array_elements(v.source_pk) k)
            is distinct from (select jsonb_agg(k.name order by k.pknum) from ai._vectorizer_key(source) k)
        then format('the primary key of %s has other columns than when the vectorizer "%s" was created', source, v.name)
        else (
            select format('the column "%s" of %s, which the vectorizer "%s" reads, was renamed or dropped', min(w.name), source, v.name)
            from unnest(ai._vectorizer_watched(v.config)) w(name)
            where not exists (
                select from pg_attribute a where a.attrelid = source and a.attname = w.name and a.attnum > 0 and not a.attisdropped)
            having count(*) > 0)
        end;
end;
