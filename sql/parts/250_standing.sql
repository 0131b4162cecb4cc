-- The information that a worker needs before it uses a vectorizer's objects: the owner, problems, and whether this
-- role can see all rows. The function changes two things if this role can: a store gets the row-level security of its
-- source, and changes of the source that fire no trigger are recorded (370_follow.sql).

create or replace function ai._vectorizer_standing(v ai.vectorizer) returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    me pg_roles;
    source oid = ai._vectorizer_relation(v.source_schema, v.source_table);
    store oid = ai._vectorizer_relation((v.config #>> '{destination,target_schema}')::name, (v.config #>> '{destination,target_table}')::name);
    owner pg_roles;
    problem text;
    is_foreign boolean;
    is_open boolean = ai._vectorizer_is_open(v);
    strangers jsonb;
begin
    select d.problem, d.is_foreign into problem, is_foreign from ai._vectorizer_defect(v) d;
    select r.* into strict me from pg_roles r where r.rolname = current_user;
    select r.* into owner from pg_class c join pg_roles r on r.oid = c.relowner where c.oid = source;
    if is_open and problem is null
        and (me.rolsuper or pg_has_role(me.oid, owner.oid, 'usage'))
        and current_setting('transaction_read_only') = 'off'
    then
        begin
            perform ai._vectorizer_secure_rows(v.id);
            is_open = false;
        exception when others then
            -- Another session uses the store now: try again next time.
            null;
        end;
    end if;
    if problem is null and source is not null and current_setting('transaction_read_only') = 'off' then
        begin
            perform ai._vectorizer_follow_source(v);
        exception when others then
            -- This role has no privilege, or another session is changing a table now: try again
            -- next time.
            null;
        end;
    end if;
    -- The owner of a schema can put another table there under the same name. (Schema ai contains the functions that
    -- a worker calls anyway.)
    select jsonb_agg(distinct jsonb_build_object('schema', n.nspname, 'owner', r.rolname)) into strangers
    from (
        select v.source_schema as name
        union all
        select p.schema
        from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
        ) s
    join pg_namespace n on n.nspname = s.name
    join pg_roles r on r.oid = n.nspowner
    where n.nspname <> 'ai'
    and not (r.rolsuper or r.oid in (owner.oid, me.oid) or r.rolname = 'pg_database_owner'
        or not me.rolsuper and pg_has_role(me.oid, r.oid, 'usage'));
    return jsonb_build_object
    ( 'role', me.rolname
    , 'owner', owner.rolname
    -- (A superuser has the privileges of all roles; that does not put all of them into one
    -- trust domain.)
    , 'is_trusted', coalesce(owner.oid = me.oid or owner.rolsuper
        or not me.rolsuper and pg_has_role(me.oid, owner.oid, 'usage'), false)
    , 'problem', problem
    , 'is_foreign', coalesce(is_foreign, false)
    , 'outgrown_key', case when problem is null then ai._vectorizer_outgrown_key(v) end
    , 'schemas', coalesce(strangers, '[]')
    , 'is_open', is_open
    , 'hides_rows', coalesce(source is not null and row_security_active(source), false)
        or coalesce(store is not null and row_security_active(store), false)
    , 'is_forced', coalesce((select c.relforcerowsecurity from pg_class c where c.oid = source), false)
    );
end
$$;
