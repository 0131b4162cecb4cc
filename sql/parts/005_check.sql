-- Checks the existing objects before anything is built on them. A role that can create objects in this database could
-- have put one where this script uses it. It would then run with the privileges of the installing role, and of every
-- user of a vectorizer. So the script stops, and names the objects that belong neither to the installing role nor to
-- a superuser.

do $$
declare
    callers_path text = pg_catalog.current_setting('search_path');
    me oid = (select r.oid from pg_catalog.pg_roles r where r.rolname operator(pg_catalog.=) current_user);
    schema oid = pg_catalog.to_regnamespace('ai');
    trusted oid[];
    excepted name[] = '{}';
    found text;
begin
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    trusted = array(select r.oid from pg_roles r where r.rolsuper or r.oid = me);
    if schema is not null and not exists (select from pg_namespace n where n.oid = schema and n.nspowner = any (trusted)) then
        raise exception 'the schema ai belongs to %', (select n.nspowner::regrole from pg_namespace n where n.oid = schema)
            using errcode = 'insufficient_privilege',
                  hint = 'Run setup.sql as that role; or look through the schema, and as a superuser: alter schema ai owner to '
                      || me::regrole;
    end if;
    -- Objects of a vectorizer belong to the owner of its source, and are checked against that role. ai.vectorizer is
    -- read only if it is a table of ours.
    if exists (
        select from pg_class c
        where c.relnamespace = schema and c.relname = 'vectorizer' and c.relkind = 'r' and c.relowner = any (trusted))
    then
        execute $q$ select array_agg(x.name)
            from ai.vectorizer v
            cross join lateral (values
                (v.queue_schema, v.queue_table),
                ((v.config #>> '{destination,target_schema}')::name, (v.config #>> '{destination,target_table}')::name),
                ((v.config #>> '{destination,view_schema}')::name, (v.config #>> '{destination,view_name}')::name)
                ) x(schema, name)
            where x.schema = 'ai' and x.name !~ '^(vectorizer|pgai_lib|_vectorizer_errors|_generation)' $q$
        into excepted;
    end if;
    select string_agg(x.what, ', ' order by x.what) into found
    from (
        select format('function %s', p.oid::regprocedure) as what
        from pg_proc p
        where p.pronamespace = schema and p.proowner <> all (trusted)
        and not (p.prorettype = 'trigger'::regtype and p.proname ~ '^_vectorizer_src_trg_[0-9]+')
        -- (Workers call it only if it belongs to the owner of the source.)
        and not (p.pronargs = 0 and p.proname ~ '^_vectorizer_step_[0-9]+$')
        union all
        select format('operator %s', o.oid::regoperator)
        from pg_operator o
        where o.oprnamespace = schema and o.oprowner <> all (trusted)
        union all
        select format('type %s', t.oid::regtype)
        from pg_type t
        where t.typnamespace = schema and t.typowner <> all (trusted) and t.typrelid = 0 and t.typelem = 0
        union all
        select format('relation %s', c.oid::regclass)
        from pg_class c
        where c.relnamespace = schema and c.relowner <> all (trusted)
        and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        and c.relname !~ '^_vectorizer_(q|q_failed|lease|bell|text|words)_[0-9]+$'
        and c.relname <> all (coalesce(excepted, '{}'))
        -- Objects attached to the tables of ours.
        union all
        select format('trigger %I on %s', t.tgname, t.tgrelid::regclass)
        from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
        where c.relnamespace = schema and c.relowner = any (trusted) and not t.tgisinternal and p.proowner <> all (trusted)
        union all
        select format('rule %I on %s', r.rulename, r.ev_class::regclass)
        from pg_rewrite r join pg_class c on c.oid = r.ev_class
        where c.relnamespace = schema and c.relkind in ('r', 'p') and c.relowner = any (trusted)
        union all
        select format('%s on %s calls %s'
            , case d.classid when 'pg_attrdef'::regclass then 'a default' when 'pg_policy'::regclass then 'a policy'
                else 'a constraint' end
            , c.oid::regclass, p.oid::regprocedure)
        from pg_depend d
        join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid and p.proowner <> all (trusted)
        left join pg_attrdef a on d.classid = 'pg_attrdef'::regclass and a.oid = d.objid
        left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
        left join pg_policy q on d.classid = 'pg_policy'::regclass and q.oid = d.objid
        join pg_class c on c.oid = coalesce(a.adrelid, k.conrelid, q.polrelid)
        where c.relnamespace = schema and c.relowner = any (trusted)
        union all
        select format('%s inherits from %s', i.inhrelid::regclass, i.inhparent::regclass)
        from pg_inherits i
        join pg_class c on c.oid = i.inhparent
        join pg_class h on h.oid = i.inhrelid
        where c.relnamespace = schema and c.relowner = any (trusted) and h.relowner <> all (trusted)
        -- Objects outside of schema ai that this script uses.
        union all
        select format('extension vector of %s', e.extowner::regrole)
        from pg_extension e
        where e.extname = 'vector' and e.extowner <> all (trusted)
        and not exists (
            select from pg_database b where b.datname = current_database() and pg_has_role(e.extowner, b.datdba, 'usage'))
        union all
        select format('cast from %s to %s with %s', k.castsource::regtype, k.casttarget::regtype, p.oid::regprocedure)
        from pg_cast k join pg_proc p on p.oid = k.castfunc
        where k.oid >= 16384 and k.castsource < 16384 and k.casttarget < 16384 and p.proowner <> all (trusted)
        union all
        select format('event trigger %I runs %s', v.evtname, p.oid::regprocedure)
        from pg_event_trigger v join pg_proc p on p.oid = v.evtfoid
        where v.evtenabled <> 'D' and p.proowner <> all (trusted)
    ) x;
    if found is not null then
        raise exception 'setup.sql does not build on what others own: %', found
            using errcode = 'insufficient_privilege',
                  hint = 'Drop these things; or look through them, and give them to the role that runs setup.sql.';
    end if;
    -- For the last part: the relations that existed before.
    perform pg_catalog.set_config('ai.setup_tables_before'
        , coalesce((select string_agg(c.relname, ' ') from pg_class c where c.relnamespace = schema
            -- (A first run that was interrupted has created some of them.)
            and exists (select from pg_class k where k.relnamespace = schema and k.relname = 'vectorizer_status')), '')
        , false);
    perform pg_catalog.set_config('search_path', callers_path, true);
end
$$;
