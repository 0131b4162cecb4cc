-- Revokes privileges in schema ai that only its owner may have, from roles that got them from pgai or from an older
-- version. If another role can create objects here, or a trigger on a table of ours, its code runs with the
-- privileges of every user.

do $$
declare
    one record;
begin
    for one in
        select distinct case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
        from pg_namespace n
        cross join aclexplode(n.nspacl) a
        where n.nspname = 'ai' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
    loop
        execute format('revoke create on schema ai from %s cascade', one.grantee);
    end loop;
    for one in
        select c.relkind, c.oid::regclass as name
            , case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
            , string_agg(distinct a.privilege_type, ', ') as rights
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        cross join aclexplode(c.relacl) a
        where n.nspname = 'ai'
        and c.relkind in ('r', 'p', 'v', 'S')
        and a.grantee <> c.relowner
        and pg_has_role(c.relowner, 'usage')
        and not exists (
            select from ai._vectorizers() v
            cross join lateral ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
            where p.schema = 'ai' and p.name = c.relname)
        and a.privilege_type = any (case c.relkind when 'S' then array['UPDATE'] else array['TRIGGER', 'TRUNCATE', 'REFERENCES', 'MAINTAIN'] end)
        group by 1, 2, 3
    loop
        execute format('revoke %s on %s %s from %s cascade'
            , one.rights, case one.relkind when 'S' then 'sequence' else 'table' end, one.name, one.grantee);
    end loop;
end
$$;

-- Trigger functions that run with the privileges of this schema's owner may be used by its own
-- tables only.
do $$
declare
    one record;
begin
    for one in
        select p.oid::regprocedure as name, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
        from pg_proc p
        cross join aclexplode(p.proacl) a
        where p.pronamespace = 'ai'::regnamespace
        and p.prosecdef and p.prorettype = 'trigger'::regtype
        and a.grantee <> p.proowner
        and pg_has_role(p.proowner, 'usage')
    loop
        execute format('revoke all on function %s from %s cascade', one.name, one.grantee);
    end loop;
end
$$;

-- Default privileges of the installing role grant privileges on new objects. Those on tables created in this run are
-- revoked, except SELECT: the grant functions grant what a role needs.
do $$
declare
    before text[] = string_to_array(coalesce(current_setting('ai.setup_tables_before', true), ''), ' ');
    one record;
begin
    for one in
        select c.relkind, c.oid::regclass as name
            , case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
            , string_agg(distinct a.privilege_type, ', ') as rights
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        cross join aclexplode(c.relacl) a
        where n.nspname = 'ai'
        and c.relkind in ('r', 'p', 'S')
        and c.relname <> all (before)
        and a.grantee <> c.relowner
        and a.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
        and exists (
            select from pg_default_acl d
            cross join aclexplode(d.defaclacl) g
            where d.defaclrole = c.relowner
            and d.defaclnamespace in (0, n.oid)
            and d.defaclobjtype = case c.relkind when 'S' then 'S' else 'r' end::"char"
            and g.grantee = a.grantee and g.privilege_type = a.privilege_type)
        and not exists (
            select from ai._vectorizers() v
            cross join lateral ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
            where p.schema = 'ai' and p.name = c.relname)
        group by 1, 2, 3
    loop
        execute format('revoke %s on %s %s from %s'
            , one.rights, case one.relkind when 'S' then 'sequence' else 'table' end, one.name, one.grantee);
    end loop;
end
$$;
