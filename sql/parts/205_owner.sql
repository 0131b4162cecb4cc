-- The owner of the parts of a vectorizer is the owner of its source table, even if another role created them. So an
-- owner's code (triggers, policies, checks of domains) runs with the privileges of that owner.

-- Fails with advice if the current role cannot create parts of a vectorizer of `source` in these schemas and give
-- them to the owner of `source`. (Membership has two parts: INHERIT gives a role's privileges, SET allows giving
-- objects to it. A superuser needs neither, and then the owner needs no CREATE.)
create or replace function ai._vectorizer_check_creator(source regclass, schemas name[] default '{}') returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    me oid = (select r.oid from pg_roles r where r.rolname = current_user);
    owner oid = (select c.relowner from pg_class c where c.oid = source);
    -- Before version 16 every member of a role could give objects to it.
    can_give boolean = pg_has_role(me, owner
        , case when current_setting('server_version_num')::int < 160000 then 'MEMBER' else 'SET' end);
    membership text = format('grant %s to %s%s', owner::regrole, me::regrole
        , case when current_setting('server_version_num')::int < 160000 then '' else ' with inherit true, set true' end);
    schema name;
begin
    if owner = me or (select r.rolsuper from pg_roles r where r.oid = me) then
        return;
    end if;
    if not pg_has_role(me, owner, 'MEMBER') then
        raise exception 'only a superuser or the owner of the source table may create a vectorizer on it'
            using hint = format('%s belongs to %s. As an administrator: %s', source, owner::regrole, membership);
    end if;
    if not pg_has_role(me, owner, 'USAGE') then
        raise exception 'the role % does not have the rights of %, the owner of the source table'
            , me::regrole, owner::regrole
            using errcode = 'insufficient_privilege', hint = case when can_give
                then format('First: set role %s', owner::regrole)
                else format('As an administrator: %s', membership) end;
    end if;
    if not can_give then
        raise exception 'the role % cannot give what it creates to %, the owner of the source table'
            , me::regrole, owner::regrole
            using errcode = 'insufficient_privilege', hint = format('As an administrator: %s', membership);
    end if;
    foreach schema in array schemas loop
        if not has_schema_privilege(owner, schema, 'create') then
            raise exception 'the owner of the source table, %, may not create in the schema %', owner::regrole, schema
                using errcode = 'insufficient_privilege',
                      hint = format('grant create on schema %I to %s, or let a superuser do this', schema, owner::regrole);
        end if;
    end loop;
end
$$;

-- Code that would run when a role reads or writes one of these relations, and that belongs neither to `owner` nor to
-- a superuser nor to the owner of schema ai; null if there is none. A view that reads other relations than these and
-- the source counts, too: a view of `owner` reads them with the privileges of `owner`.
create or replace function ai._vectorizer_foreign_code(source regclass, relations regclass[], owner oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    with trusted as (
        select r.oid from pg_roles r where r.rolsuper or r.oid = owner
        union
        select n.nspowner from pg_namespace n where n.nspname = 'ai'
    ), attached(kind, classid, objid, relid) as (
        select 'a column', 'pg_class'::regclass, r.oid, r.oid from unnest(relations) r(oid)
        union all
        select 'an index', 'pg_class'::regclass, x.indexrelid, x.indrelid from pg_index x where x.indrelid = any (relations)
        union all
        select 'a default', 'pg_attrdef'::regclass, d.oid, d.adrelid from pg_attrdef d where d.adrelid = any (relations)
        union all
        select 'a constraint', 'pg_constraint'::regclass, c.oid, c.conrelid from pg_constraint c where c.conrelid = any (relations)
        union all
        select 'a policy', 'pg_policy'::regclass, p.oid, p.polrelid from pg_policy p where p.polrelid = any (relations)
        union all
        select 'a trigger', 'pg_trigger'::regclass, t.oid, t.tgrelid from pg_trigger t where t.tgrelid = any (relations)
        union all
        select 'a rule', 'pg_rewrite'::regclass, w.oid, w.ev_class from pg_rewrite w where w.ev_class = any (relations)
    ), found as (
        select format('%s of %s calls %s', a.kind, a.relid::regclass, p.oid::regprocedure) as what
        from attached a
        join pg_depend d on d.classid = a.classid and d.objid = a.objid and d.refclassid = 'pg_proc'::regclass
        join pg_proc p on p.oid = d.refobjid
        where p.proowner not in (select t.oid from trusted t)
        union all
        select format('%s of %s calls %s', a.kind, a.relid::regclass, o.oid::regoperator)
        from attached a
        join pg_depend d on d.classid = a.classid and d.objid = a.objid and d.refclassid = 'pg_operator'::regclass
        join pg_operator o on o.oid = d.refobjid
        join pg_proc p on p.oid = o.oprcode
        where p.proowner not in (select t.oid from trusted t)
        union all
        -- The key's types are those of the source, which its owner chose.
        select format('%s of %s has the type %s', a.kind, a.relid::regclass, y.oid::regtype)
        from attached a
        join pg_depend d on d.classid = a.classid and d.objid = a.objid and d.refclassid = 'pg_type'::regclass
        join pg_type y on y.oid = d.refobjid and y.typtype = 'd'
        where y.typowner not in (select t.oid from trusted t)
        and not exists (select from pg_attribute s where s.attrelid = source and s.atttypid = y.oid and s.attnum > 0)
        union all
        select format('%s of %s reads %s', a.kind, a.relid::regclass, c.oid::regclass)
        from attached a
        join pg_depend d on d.classid = a.classid and d.objid = a.objid and d.refclassid = 'pg_class'::regclass
        join pg_class c on c.oid = d.refobjid and c.relkind in ('r', 'p', 'v', 'm', 'f')
        where c.oid <> source and c.oid <> all (relations)
        union all
        select format('%s has the rule %I', w.ev_class::regclass, w.rulename)
        from pg_rewrite w
        where w.ev_class = any (relations) and w.ev_type <> '1'
        union all
        select format('%s inherits from %s', i.inhrelid::regclass, i.inhparent::regclass)
        from pg_inherits i
        join pg_class c on c.oid = i.inhrelid and c.relkind in ('r', 'p', 'f')
        where i.inhparent = any (relations) and c.relowner <> owner
    )
    select min(f.what) from found f;
end;

-- Gives relations to the owner of `source`, with `alter ... owner to` as the current role (never as another one: code
-- of the owner could switch back to the old role). Relations of that owner are not changed. It fails for relations
-- with code of another role, and, without `adopt`, for relations of a role that does not have the owner's privileges
-- anyway.
create or replace function ai._vectorizer_hand_over(source regclass, relations regclass[], adopt boolean default false)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    owner oid = (select c.relowner from pg_class c where c.oid = source);
    given regclass[] = array(
        select c.oid from pg_class c where c.oid = any (relations) and c.relowner <> owner order by c.oid);
    schemas name[] = array(
        select distinct n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = any (given));
    one record;
    code text;
begin
    if cardinality(given) = 0 then
        return;
    end if;
    perform ai._vectorizer_check_creator(source, schemas);
    for one in
        select c.oid::regclass as name, c.relowner::regrole as holder
        from pg_class c join pg_roles r on r.oid = c.relowner
        where not adopt and c.oid = any (given) and not r.rolsuper and not pg_has_role(c.relowner, owner, 'usage')
    loop
        raise exception '% belongs to %, who does not have the rights of %, the owner of %'
            , one.name, one.holder, owner::regrole, source
            using errcode = 'insufficient_privilege',
                  hint = 'Look through what it holds, and hand it over with ai.adopt_vectorizer.';
    end loop;
    code = ai._vectorizer_foreign_code(source, array_remove(relations, null), owner);
    if code is not null then
        raise exception 'what belongs to somebody else would run with the rights of %: %', owner::regrole, code
            using errcode = 'insufficient_privilege', hint = 'Drop it first, or drop the vectorizer and create it anew.';
    end if;
    for one in
        select n.nspname from pg_namespace n
        where n.nspname = any (schemas) and not has_schema_privilege(owner, n.oid, 'usage')
    loop
        execute format('grant usage on schema %I to %s', one.nspname, owner::regrole);
    end loop;
    for one in select g.name from unnest(given) g(name) loop
        execute format('alter table %s owner to %s', one.name, owner::regrole);
    end loop;
end
$$;

-- Revokes the privileges, except SELECT, that default privileges of the current role granted on relations that it
-- has just created for another role.
create or replace function ai._vectorizer_revoke_defaults(source regclass, relations regclass[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
begin
    for one in
        select c.oid::regclass as name, case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
            , string_agg(distinct a.privilege_type, ', ') as rights
            , case c.relkind when 'S' then 'sequence' else 'table' end as kind
        from pg_class c
        cross join aclexplode(c.relacl) a
        where c.oid = any (relations)
        and c.relowner <> (select s.relowner from pg_class s where s.oid = source)
        and a.grantee <> c.relowner
        and a.privilege_type <> 'SELECT'
        group by c.oid, c.relkind, a.grantee
    loop
        execute format('revoke %s on %s %s from %s', one.rights, one.kind, one.name, one.grantee);
    end loop;
end
$$;

-- The same for its trigger functions, so that no other role can use them on another table.
create or replace function ai._vectorizer_revoke_execute(queue_schema name, trigger_name name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
begin
    for one in
        select distinct p.oid::regprocedure as name
            , case a.grantee when 0 then 'public' else a.grantee::regrole::text end as grantee
        from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        cross join aclexplode(p.proacl) a
        where n.nspname = queue_schema
        and p.proname = any (ai._vectorizer_trigger_functions(trigger_name))
        and p.prorettype = 'trigger'::regtype
        and a.grantee <> p.proowner
    loop
        execute format('revoke all on function %s from %s', one.name, one.grantee);
    end loop;
end
$$;

-- The relation of this name; null if there is none, with any search_path and privileges.
create or replace function ai._vectorizer_relation(schema name, name name) returns regclass
language sql stable
begin atomic
    select c.oid::regclass
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = schema and c.relname = name;
end;

-- The schema of queue, failed table, lease, bell and trigger functions, unless the caller names one: schema ai if
-- caller and owner can create there, or if the caller is a superuser; else the schema of the store.
create or replace function ai._vectorizer_queue_schema(source regclass, store_schema name) returns name
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case
        when r.rolsuper then 'ai'
        when has_schema_privilege('ai', 'create') and has_schema_privilege(c.relowner, 'ai', 'create') then 'ai'
        else store_schema end
    from pg_class c, pg_roles r
    where c.oid = source and r.rolname = current_user;
end;

-- Whether a vectorizer with this destination has a text index in tables of ours. (The other kind is an index of
-- pg_textsearch on the store: it has no tables, and belongs to whom the store belongs to.)
create or replace function ai._text_is_own(destination jsonb) returns boolean
language sql immutable
return destination ? 'hybrid' and coalesce(destination #>> '{hybrid,method}', 'own') = 'own';

-- The tables of such a text index: the words of each chunk, and in how many chunks each word occurs.
create or replace function ai._text_table(v ai.vectorizer) returns name
language sql immutable
return ('_vectorizer_text_' || ai._vectorizer_number(v.id, v.queue_failed_table))::name;

create or replace function ai._text_count_table(v ai.vectorizer) returns name
language sql immutable
return ('_vectorizer_words_' || ai._vectorizer_number(v.id, v.queue_failed_table))::name;

-- The relations of a vectorizer, except its source, with the allowed relation kinds of each.
create or replace function ai._vectorizer_parts
( vectorizer_id int
, queue_schema name
, queue_table name
, queue_failed_table name
, destination jsonb
) returns table (part text, kinds text, schema name, name name)
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
    select x.part, x.kinds, x.schema, x.name
    from (values
        ('queue', 'r', queue_schema, queue_table, true),
        ('failed table', 'r', queue_schema, queue_failed_table, true),
        ('lease table', 'r', queue_schema, ('_vectorizer_lease_' || ai._vectorizer_number(vectorizer_id, queue_failed_table))::name, true),
        ('bell', 'S', queue_schema, ('_vectorizer_bell_' || ai._vectorizer_number(vectorizer_id, queue_failed_table))::name, true),
        ('store', 'rp', (destination ->> 'target_schema')::name, (destination ->> 'target_table')::name, false),
        ('view', 'v', (destination ->> 'view_schema')::name, (destination ->> 'view_name')::name, false)
        ) x(part, kinds, schema, name, is_always)
    where x.is_always or destination ->> 'implementation' is distinct from 'column'
    union all
    select 'text index', 'r', queue_schema, (x.name || ai._vectorizer_number(vectorizer_id, queue_failed_table))::name
    from (values ('_vectorizer_text_'), ('_vectorizer_words_')) x(name)
    where ai._text_is_own(destination);
end;

-- The names of the functions of a vectorizer's triggers, in the schema of its queue.
create or replace function ai._vectorizer_trigger_functions(trigger_name name) returns name[]
language sql immutable
return array
[ trigger_name, (trigger_name || '_update')::name, (trigger_name || '_delete')::name, (trigger_name || '_truncate')::name
, (trigger_name || '_truncate_part')::name, (trigger_name || '_row')::name, (trigger_name || '_text')::name];
