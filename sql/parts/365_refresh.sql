-- ai.refresh_vectorizer: adapts a vectorizer to the current definition of its source: the types of the key, triggers
-- for the kind of table, new partitions, the view. Then it requests a resync.

-- Gives the key columns of queue, failed table, lease and store the types that the source has.
create or replace function ai._vectorizer_follow_key(v ai.vectorizer, source regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
begin
    for one in
        select c.oid::regclass as name
             , string_agg(format('alter column %I type %s using %1$I::%2$s', a.attname, k.type), ', ' order by k.pknum) as changes
        from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
        join pg_class c on c.oid = ai._vectorizer_relation(p.schema, p.name) and c.relkind = 'r'
        cross join lateral (
            select x.pknum, x.name, ai._vectorizer_key_type(source, x.attnum) as type from ai._vectorizer_key(source) x
            ) k
        join pg_attribute a on a.attrelid = c.oid and a.attname = k.name
        where format_type(a.atttypid, a.atttypmod) <> k.type
        and c.oid <> source
        group by c.oid
    loop
        execute format('alter table %s %s', one.name, one.changes);
    end loop;
end
$$;

-- The key column that has another type in the source than in the queue, so that keys may not fit; null if there
-- is none.
create or replace function ai._vectorizer_outgrown_key(v ai.vectorizer) returns text
language sql stable
begin atomic
    select format('its key column %I is %s now, and %s in its queue', k.name, format_type(s.atttypid, s.atttypmod)
        , format_type(q.atttypid, q.atttypmod))
    from ai._vectorizer_key(ai._vectorizer_relation(v.source_schema, v.source_table)) k
    join pg_attribute s on s.attrelid = ai._vectorizer_relation(v.source_schema, v.source_table) and s.attnum = k.attnum
    join pg_attribute q on q.attrelid = ai._vectorizer_relation(v.queue_schema, v.queue_table) and q.attname = k.name
    where q.atttypid <> s.atttypid or q.atttypmod not in (-1, s.atttypmod)
    limit 1;
end;

-- One attempt.
create or replace function ai._vectorizer_refresh(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    one ai.vectorizer;
    source regclass;
    misfit text;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id for update;
    source = ai._vectorizer_relation(v.source_schema, v.source_table);
    if source is null then
        raise exception 'the source table %.% of the vectorizer "%" is gone', v.source_schema, v.source_table, v.name
            using errcode = 'undefined_table', hint = 'Rename it back, or drop the vectorizer with ai.drop_vectorizer.';
    end if;
    misfit = ai._vectorizer_misfit(v, source);
    if misfit is not null then
        raise exception '%', misfit
            using errcode = 'undefined_column'
                , hint = 'Undo that, or drop the vectorizer with ai.drop_vectorizer and create it anew.';
    end if;
    perform ai._lock_tables(array[source::text], 'share row exclusive', array(
        select c.oid::regclass::text
        from ai._vectorizers() x
        cross join lateral ai._vectorizer_parts(x.id, x.queue_schema, x.queue_table, x.queue_failed_table, x.config -> 'destination')
            with ordinality p(part, kinds, schema, name, place)
        join pg_class c on c.oid = ai._vectorizer_relation(p.schema, p.name) and c.relkind in ('r', 'v')
        where ai._vectorizer_whole(x.id) = v.id and c.oid <> source
        order by x.id, p.place));
    update ai.vectorizer x set source_pk = ai._vectorizer_source_pk(source) where x.id = v.id;
    -- (While it changes to another model, there is a second generation.)
    for one in select x.* from ai._vectorizers() x where ai._vectorizer_whole(x.id) = v.id order by x.id loop
        perform ai._vectorizer_follow_key(one, source);
        perform ai._vectorizer_exchange_triggers(one, source, ai._vectorizer_watched(one.config));
        if one.config #>> '{destination,implementation}' = 'table' then
            perform ai._vectorizer_recreate_view(one.id);
        end if;
        perform ai._request_resync(one.id);
    end loop;
end
$$;

create or replace function ai.refresh_vectorizer(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    id int = (select v.id from ai.vectorizer v where v.name = refresh_vectorizer.name::name);
begin
    if id is null then
        raise exception 'there is no vectorizer %', name
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    perform ai._with_locks(format('select ai._vectorizer_refresh(%s)', id), format('cannot refresh the vectorizer %s', name));
end
$$;
comment on function ai.refresh_vectorizer is
    'Brings queue, store, triggers and view in line with the source as it is now: after a change of the key''s type, or of what the table is.';
