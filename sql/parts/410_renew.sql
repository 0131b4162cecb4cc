-- Vectorizers of an older version get the tables and triggers of this version.

-- Adds to the queue, failed and lease tables of an older version what this version needs. Workers of that
-- version still work with them.
create or replace function ai._vectorizer_renew_tables(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    queue text = format('%I.%I', v.queue_schema, v.queue_table);
    made regclass;
    old_index record;
begin
    execute format('alter table %s set (fillfactor = 50), alter column queued_at set default now()', queue);
    execute format('alter table %I.%I add column if not exists _failures int not null default 0, '
        'add column if not exists _generation bigint not null default 0'
        , v.queue_schema, '_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table));
    foreach made in array array[queue, format('%I.%I', v.queue_schema, v.queue_failed_table)]::regclass[] loop
        continue when exists (select from pg_index i where i.indrelid = made and i.indisprimary);
        for old_index in
            select i.indexrelid::regclass as name, c.conname
            from pg_index i
            left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = made
            where i.indrelid = made and pg_get_indexdef(i.indexrelid, 1, true) <> 'queued_at'
        loop
            if old_index.conname is null then
                execute format('drop index %s', old_index.name);
            else
                execute format('alter table %s drop constraint %I', made, old_index.conname);
            end if;
        end loop;
        execute format('alter table %s add primary key (%s)', made
            , (select string_agg(format('%I', k ->> 'attname'), ', ') from jsonb_array_elements(v.source_pk) k));
    end loop;
end
$$;

-- Older versions named a text index by the id of its vectorizer, which is not the number of a generation that has come
-- to serve by a change.
create or replace function ai._text_rename(v ai.vectorizer, source regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
    is_renamed boolean = false;
begin
    for one in
        select c.oid::regclass as relation, case c.relkind when 'i' then 'index' else 'table' end as kind, x.name
        from (values
            ('_vectorizer_text_', ai._text_table(v)),
            ('_vectorizer_words_', ai._text_count_table(v)),
            ('_vectorizer_text_idx_', ai._text_gin(v))) x(stem, name)
        join pg_class c on c.relname = x.stem || v.id
        left join pg_index i on i.indexrelid = c.oid
        where (v.config -> 'destination') ? 'hybrid' and c.relname <> x.name
        and (c.relkind = 'r' and c.relnamespace = (select n.oid from pg_namespace n where n.nspname = v.queue_schema)
            or i.indrelid in (
                select ai._vectorizer_relation(v.queue_schema, ('_vectorizer_text_' || v.id)::name)
                union all
                select t.relation from ai._text_target(v) t))
        order by c.relkind
    loop
        execute format('alter %s %s rename to %I', one.kind, one.relation, one.name);
        is_renamed = true;
    end loop;
    if is_renamed then
        perform ai._text_drop_trigger(v, t.relation) from ai._text_target(v) t;
        perform ai._text_create_trigger(source, v.id, v.trigger_name, v.queue_schema, v.config -> 'destination'
            , (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = source));
    end if;
end
$$;

-- Upgrades a vectorizer of an older version to this one. (Its columns may have been renamed: then its triggers
-- stay as they are.)
create or replace function ai._vectorizer_renew(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    source regclass;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id for update;
    source = to_regclass(format('%I.%I', v.source_schema, v.source_table));
    if source is null then
        return;
    end if;
    perform ai._lock_tables(array[source::text], 'share row exclusive', ai._vectorizer_to_lock(v));
    perform ai._vectorizer_renew_tables(v);
    perform ai._text_rename(v, source);
    if ai._vectorizer_misfit(v, source) is not null then
        return;
    end if;
    perform ai._vectorizer_exchange_triggers(v, source, ai._vectorizer_watched(v.config));
    -- (Records the version.)
    update ai.vectorizer x set trigger_name = x.trigger_name where x.id = v.id;
end
$$;

-- The same for the triggers of a generation that does not serve.
create or replace function ai._generation_renew(generation int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    source regclass;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = generation;
    source = ai._vectorizer_relation(v.source_schema, v.source_table);
    if source is null or ai._vectorizer_misfit(v, source) is not null then
        return;
    end if;
    perform ai._lock_tables(array[source::text], 'share row exclusive', ai._vectorizer_to_lock(v));
    perform ai._vectorizer_renew_tables(v);
    perform ai._vectorizer_exchange_triggers(v, source, ai._vectorizer_watched(v.config));
    update ai.vectorizer_generation g set _build = ai._vectorizer_version() where g.id = generation;
end
$$;
