-- Adds what tables and views of the catalog lack in a database of pgai or of an older version, and recreates dropped
-- views of vectorizers.

create or replace function ai._vectorizer_errors_add_key() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ai._lock_tables(array['ai._vectorizer_errors'], 'access exclusive');
    alter table ai._vectorizer_errors
        add column entry bigint generated always as identity,
        add constraint _vectorizer_errors_pkey primary key (entry);
end
$$;

do $$
declare
    view_name name;
begin
    if not exists (
        select from pg_index x where x.indrelid = 'ai._vectorizer_errors'::regclass and x.indisprimary)
    then
        perform ai._with_locks('select ai._vectorizer_errors_add_key()', 'ai._vectorizer_errors cannot be changed');
    end if;
    foreach view_name in array array['vectorizer_errors', 'vectorizer_status', 'vectorizer_progress'] loop
        if to_regclass('ai.' || view_name) is null then
            execute format('alter view ai.%I rename to %I', '_next_' || view_name, view_name);
        elsif ai._view_differs(view_name) then
            perform ai._with_locks(format('select ai._replace_view(%L)', view_name)
                , format('the view ai.%s cannot be replaced', view_name));
        else
            execute format('drop view ai.%I', '_next_' || view_name);
        end if;
    end loop;
end
$$;

-- Who may read the state of the vectorizers may read their progress, too.
do $$
declare
    reader text;
begin
    for reader in
        select distinct case a.grantee when 0 then 'public' else quote_ident(r.rolname) end
        from pg_class c
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where c.oid = 'ai.vectorizer_status'::regclass
        and a.privilege_type = 'SELECT' and a.grantee <> c.relowner and (a.grantee = 0 or r.oid is not null)
    loop
        execute format('grant select on ai.vectorizer_progress, ai._live_worker to %s', reader);
    end loop;
end
$$;

do $$
declare
    v record;
begin
    for v in
        select x.id, x.name
        from ai.vectorizer x
        cross join lateral (select x.config -> 'destination' as d) c
        join pg_class t on t.oid = ai._vectorizer_relation(x.source_schema, x.source_table) and pg_has_role(t.relowner, 'usage')
        where c.d ->> 'implementation' = 'table'
        and ai._vectorizer_relation((c.d ->> 'view_schema')::name, (c.d ->> 'view_name')::name) is null
        and ai._vectorizer_relation((c.d ->> 'target_schema')::name, (c.d ->> 'target_table')::name) is not null
        order by x.id
    loop
        begin
            perform ai._vectorizer_recreate_view(v.id);
        exception when others then
            raise warning 'the view of the vectorizer % is gone, and cannot be made again: %', v.name, sqlerrm;
        end;
    end loop;
end
$$;

-- Workers' roles get the privileges that workers of this version need. (Older versions marked these roles by
-- this privilege, which their administrators have, too.)
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
