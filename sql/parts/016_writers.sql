-- What roles can do with a new table follows from what they can do with an older one.

-- Grants privileges on these tables to every role that can update one of the others.
create or replace function ai._grant_to_writers(others regclass[], privileges text, tables text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    writer text;
begin
    for writer in
        select distinct case a.grantee when 0 then 'public' else quote_ident(r.rolname) end
        from pg_class c
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where c.oid = any (others)
        and a.privilege_type = 'UPDATE' and a.grantee <> c.relowner and (a.grantee = 0 or r.oid is not null)
    loop
        execute format('grant %s on %s to %s', privileges, tables, writer);
    end loop;
end
$$;
