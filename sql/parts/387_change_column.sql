-- Changing the model of a vectorizer whose vectors are in a column of the source: the new generation writes another
-- column, `COLUMN_N`, and the switch exchanges the names.

-- Adds the column of a new generation, with the privileges of the one that serves. The source is locked exclusively.
create or replace function ai._change_add_column(v ai.vectorizer, source regclass, fresh jsonb, dimensions int, watched name[]) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    serving name = v.config #>> '{destination,embedding_column}';
    added name = fresh ->> 'embedding_column';
    spare name = ai._generation_name(serving, null, ai._vectorizer_number(v.id, v.queue_failed_table));
    taken name = (
        select a.attname from pg_attribute a
        where a.attrelid = source and a.attname in (added, spare) and a.attnum > 0 and not a.attisdropped
        limit 1);
    command text;
begin
    if taken is not null then
        raise exception 'the change needs the name % for a column of %, which has such a column', taken, source
            using errcode = 'duplicate_column', hint = 'Rename that column, or drop it.';
    end if;
    perform ai._vectorizer_create_column(source, fresh, dimensions, watched);
    for command in
        select format('grant %s (%I) on %s to %s', string_agg(x.privilege_type, format(' (%I), ', added)), added, source
            , case x.grantee when 0 then 'public' else quote_ident(r.rolname) end)
        from pg_attribute a
        cross join aclexplode(a.attacl) x
        left join pg_roles r on r.oid = x.grantee
        where a.attrelid = source and a.attname = serving and (x.grantee = 0 or r.oid is not null)
        group by x.grantee, r.rolname
    loop
        execute command;
    end loop;
end
$$;

-- Gives the column of the generation that serves another name, and its name to that of the other one. Statements that
-- workers have planned name the columns: without a lease they write nothing.
create or replace function ai._change_exchange_columns(v ai.vectorizer, g ai.vectorizer_generation, source regclass, aside name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    serving name = v.config #>> '{destination,embedding_column}';
    lease text;
begin
    for lease in
        select format('%I.%I', v.queue_schema, '_vectorizer_lease_' || ai._vectorizer_number(x.id, x.queue_failed_table))
        from (values (v.id, v.queue_failed_table), (g.id, g.queue_failed_table)) x(id, queue_failed_table)
    loop
        execute format('lock table %s in exclusive mode', lease);
        execute format('delete from %s', lease);
    end loop;
    execute format('alter table %s rename column %I to %I', source, serving, aside);
    execute format('alter table %s rename column %I to %I', source, g.config #>> '{destination,embedding_column}', serving);
end
$$;

-- After that: the triggers of text indexes name the columns, too.
create or replace function ai._change_renew_text_triggers(vectorizer_id int, source regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    owner name = (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = source);
    v ai.vectorizer;
begin
    for v in select x.* from ai._vectorizers() x where ai._vectorizer_whole(x.id) = vectorizer_id order by x.id loop
        perform ai._text_drop_trigger(v, source);
        perform ai._text_create_trigger(source, v.id, v.trigger_name, v.queue_schema, v.config -> 'destination', owner);
    end loop;
end
$$;

-- Drops the column of a generation that was dropped.
create or replace function ai._change_drop_column(other ai.vectorizer, owner oid) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    source regclass = ai._vectorizer_relation(other.source_schema, other.source_table);
begin
    if source is null or not exists (select from pg_class c where c.oid = source and c.relowner = owner) then
        return;
    end if;
    execute format('alter table %s drop column if exists %I', source, other.config #>> '{destination,embedding_column}');
end
$$;
