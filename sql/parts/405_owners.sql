-- Vectorizers of pgai and of older versions get the owners and privileges of this version, as far as the role that
-- runs setup.sql can change them. Each part goes to the owner of the source, if its present owner had that owner's
-- privileges anyway. For the others the reason is recorded, and workers do not serve them until ai.adopt_vectorizer
-- is called.

-- Revokes write privileges of grant_to: in older versions readers could write to the store and to the
-- queue.
create or replace function ai._vectorizer_revoke_writes(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
begin
    for one in
        select c.oid::regclass as name, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
            , string_agg(distinct a.privilege_type, ', ') as rights
        from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
        join pg_namespace n on n.nspname = p.schema
        join pg_class c on c.relnamespace = n.oid and c.relname = p.name
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where p.part in ('queue', 'failed table', 'store')
        and a.grantee <> c.relowner
        and a.privilege_type <> 'SELECT'
        and not coalesce(r.rolname in (select w.name from ai._worker_roles() w(name)), false)
        group by 1, 2
    loop
        execute format('revoke %s on %s from %s cascade', one.rights, one.name, one.grantee);
    end loop;
end
$$;

-- Makes the view of a source without row-level security show nothing as soon as the source has it. Views that a user
-- has changed are left alone.
create or replace function ai._vectorizer_close_view(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    source regclass = ai._vectorizer_relation(v.source_schema, v.source_table);
    view regclass = ai._vectorizer_relation((v.config #>> '{destination,view_schema}')::name, (v.config #>> '{destination,view_name}')::name);
    definition text;
    options text;
begin
    -- Views of this version are marked. (Nothing is locked if there is nothing to do.)
    if view is null or exists (
        select from pg_class c cross join unnest(c.reloptions) x where c.oid = view and x ~ '^security_invoker')
    then
        return;
    end if;
    definition = rtrim(pg_get_viewdef(view), ';');
    if definition !~ E'FROM \\(.+ (LEFT )?JOIN .+ ON \\(.+\\)\\)$' or definition ~ E'\\)\\s+WHERE \\('
        or (select c.relrowsecurity from pg_class c where c.oid = source)
    then
        return;
    end if;
    options = (
        select string_agg(o.option, ', ')
        from (
            select 'security_invoker = false'
            union all
            select x from pg_class c cross join unnest(c.reloptions) x where c.oid = view
            ) o(option));
    execute format('create or replace view %s with (%s) as %s%s'
        , view, options, definition, ai._vectorizer_view_condition(source));
end
$$;

-- All these steps for one vectorizer.
create or replace function ai._vectorizer_settle(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id;
    if (ai._vectorizer_defect(v)).is_foreign then
        perform ai._vectorizer_adopt(v.id, false);
    end if;
    if ai._vectorizer_problem(v) is null then
        perform ai._vectorizer_revoke_writes(v);
        perform ai._vectorizer_close_view(v);
        perform ai.secure_vectorizer(v.id);
    end if;
end
$$;
