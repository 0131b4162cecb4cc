-- ai.recreate_view: recreates the view of a vectorizer, after a migration of its source or because the view was
-- dropped.

-- One attempt. Owner, options and privileges stay. A missing view gets the owner of the source, and the readers of
-- the store can read it.
create or replace function ai._vectorizer_recreate_view(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    d jsonb;
    source regclass;
    store regclass;
    old regclass;
    fresh regclass;
    aside name = '_vectorizer_view_of_old_' || vectorizer_id;
    grantees text;
    options text;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    d = v.config -> 'destination';
    if d ->> 'implementation' <> 'table' then
        raise exception 'the vectorizer "%" writes to a column of its source: it has no view', v.name
            using errcode = 'wrong_object_type';
    end if;
    source = format('%I.%I', v.source_schema, v.source_table)::regclass;
    store = format('%I.%I', d ->> 'target_schema', d ->> 'target_table')::regclass;
    old = to_regclass(format('%I.%I', d ->> 'view_schema', d ->> 'view_name'));
    if old is not null then
        if (select c.relkind from pg_class c where c.oid = old) <> 'v' then
            raise exception '% is no view', old
                using errcode = 'wrong_object_type', hint = 'Give the name of the view back: rename it.';
        end if;
        execute format('alter view %s rename to %I', old, aside);
    end if;
    perform ai._vectorizer_create_view(source, d);
    fresh = format('%I.%I', d ->> 'view_schema', d ->> 'view_name')::regclass;
    if old is null then
        select string_agg(distinct case a.grantee when 0 then 'public' else quote_ident(r.rolname) end, ', ') into grantees
        from pg_class c
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where c.oid = store and a.privilege_type = 'SELECT' and a.grantee <> c.relowner and (a.grantee = 0 or r.oid is not null);
        if grantees is not null then
            execute format('grant select on %s to %s', fresh, grantees);
        end if;
        perform ai._vectorizer_hand_over(source, array[fresh]);
    else
        perform ai._copy_grants(old, fresh);
        if (select c.relowner from pg_class c where c.oid = fresh) <> (select c.relowner from pg_class c where c.oid = old) then
            execute format('alter view %s owner to %s', fresh, (
                select c.relowner::regrole from pg_class c where c.oid = old));
        end if;
        -- (security_invoker is what the source requires now, or stricter.)
        options = (
            select string_agg(o.option, ', ')
            from pg_class c cross join unnest(c.reloptions) o(option)
            where c.oid = old and o.option !~ '^security_invoker=(f|n|of|0)');
        if options is not null then
            execute format('alter view %s set (%s)', fresh, options);
        end if;
        execute format('drop view %s', old);
    end if;
exception when dependent_objects_still_exist then
    raise exception 'the view of the vectorizer "%" cannot be made anew: something depends on it', v.name
        using errcode = 'dependent_objects_still_exist',
              hint = format('See what: drop view %I.%I', d ->> 'view_schema', d ->> 'view_name');
end
$$;

create or replace function ai.recreate_view(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    id int = (select v.id from ai.vectorizer v where v.name = recreate_view.name::name);
begin
    if id is null then
        raise exception 'there is no vectorizer %', name
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    perform ai._with_locks(format('select ai._vectorizer_recreate_view(%s)', id)
        , format('cannot make the view of the vectorizer %s anew', name));
end
$$;
comment on function ai.recreate_view is
    'Makes the view of a vectorizer anew, with the columns that its source has now: after a migration, or where it is gone.';
