-- Row-level security of a source also applies to its chunks: a policy on the store shows the chunks of the rows that
-- the current role can see, and the view is a security invoker. Without row-level security on the source, the view
-- reads with its owner's privileges. If the source gets it later, the view shows nothing until the store has the
-- policy.

-- The tables and the condition of a vectorizer's view.
create or replace function ai._vectorizer_view_condition(source regclass) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case when c.relrowsecurity then ''
        else format(' where not pg_catalog.row_security_active(%L::pg_catalog.regclass)', source) end
    from pg_class c
    where c.oid = source;
end;

-- Creates the policy on the store, if the source has row-level security. (offset 0: otherwise the planner hashes the
-- whole source for each search.) Readers of the queue can see keys, so their privilege is revoked.
create or replace function ai._vectorizer_secure_rows(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    source regclass;
    store regclass;
    view regclass;
    problem text;
    options text;
    one record;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    source = ai._vectorizer_relation(v.source_schema, v.source_table);
    store = ai._vectorizer_relation((v.config #>> '{destination,target_schema}')::name, (v.config #>> '{destination,target_table}')::name);
    view = ai._vectorizer_relation((v.config #>> '{destination,view_schema}')::name, (v.config #>> '{destination,view_name}')::name);
    if not (select c.relrowsecurity from pg_class c where c.oid = source) then
        return;
    end if;
    problem = ai._vectorizer_problem(v);
    if problem is not null then
        raise exception 'the vectorizer % cannot be secured: %', v.name, problem
            using errcode = 'object_not_in_prerequisite_state', hint = format('select ai.adopt_vectorizer(%L)', v.name);
    end if;
    for one in
        select distinct q.name, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
        from unnest(array[v.queue_table, v.queue_failed_table]) t(name)
        cross join lateral ai._vectorizer_relation(v.queue_schema, t.name) q(name)
        join pg_class c on c.oid = q.name
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where a.grantee <> c.relowner
        and not coalesce(r.rolbypassrls or r.rolname in (select w.name from ai._worker_roles() w(name)), false)
    loop
        execute format('revoke all on %s from %s cascade', one.name, one.grantee);
    end loop;
    perform ai._text_secure(v);
    if v.config #>> '{destination,implementation}' = 'column' then
        return;
    end if;
    execute format('lock table %s in access exclusive mode', store);
    if exists (select from pg_policy p where p.polrelid = store and p.polname = '_vectorizer_rls') then
        execute format('drop policy _vectorizer_rls on %s', store);
    end if;
    execute format('create policy _vectorizer_rls on %s for select using (exists (select from %s s where %s offset 0))'
        , store, source, ai._vectorizer_key_equals(source, 's', store::text));
    execute format('alter table %s enable row level security', store);
    if (select c.relforcerowsecurity from pg_class c where c.oid = source) then
        execute format('alter table %s force row level security', store);
    end if;
    -- A replacement of the view loses options that it does not repeat.
    options = (
        select string_agg(o.option, ', ')
        from (
            select 'security_invoker = true'
            union all
            select x from pg_class c cross join unnest(c.reloptions) x where c.oid = view and x !~ '^security_invoker'
            ) o(option));
    execute format('create or replace view %s with (%s) as %s', view, options
        , regexp_replace(pg_get_viewdef(view), E'\\s+WHERE \\(NOT row_security_active\\(\\(.*''::regclass\\)::oid\\)\\);$', ''));
end
$$;

-- The same for one vectorizer, by its id, for users (`worker doctor` names it). True if there was
-- something to do.
create or replace function ai.secure_vectorizer(vectorizer_id int) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    if not ai._vectorizer_is_open(v) then
        return false;
    end if;
    perform ai._vectorizer_secure_rows(vectorizer_id);
    return true;
end
$$;
comment on function ai.secure_vectorizer is
    'Where the source table has got row-level security: puts it on the chunks, too. A worker does this by itself where it may.';

-- Whether the source has row-level security, and the store or the text index does not.
create or replace function ai._vectorizer_is_open(v ai.vectorizer) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select exists (
        select
        from pg_class s
        join pg_namespace sn on sn.oid = s.relnamespace
        , pg_class t
        join pg_namespace tn on tn.oid = t.relnamespace
        where sn.nspname = v.source_schema and s.relname = v.source_table and s.relrowsecurity
        and tn.nspname = v.config #>> '{destination,target_schema}' and t.relname = v.config #>> '{destination,target_table}'
        and (not t.relrowsecurity or s.relforcerowsecurity and not t.relforcerowsecurity)
        and v.config #>> '{destination,implementation}' is distinct from 'column'
        union all
        select
        from pg_class s, pg_class t
        where s.oid = ai._vectorizer_relation(v.source_schema, v.source_table) and s.relrowsecurity
        and t.oid = ai._vectorizer_relation(v.queue_schema, ai._text_table(v))
        and (v.config -> 'destination') ? 'hybrid'
        and (not t.relrowsecurity or s.relforcerowsecurity and not t.relforcerowsecurity));
end;
