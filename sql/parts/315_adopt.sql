-- ai.adopt_vectorizer: after a source table has got a new owner, gives all objects of its vectorizers to that
-- owner. This never happens automatically: objects that the old owner made would run with the new owner's
-- privileges.

-- One attempt.
create or replace function ai._vectorizer_adopt(vectorizer_id int, adopt boolean) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    source regclass;
    holder oid;
    misfit text;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id;
    source = ai._vectorizer_relation(v.source_schema, v.source_table);
    if source is null then
        raise exception 'its source table %.% is gone', v.source_schema, v.source_table
            using errcode = 'undefined_table', hint = format('select ai.drop_vectorizer(%s)', v.id);
    end if;
    if exists (select from ai.vectorizer_generation g where g.vectorizer_id = v.id) then
        raise exception 'the vectorizer % changes to another model', v.name
            using errcode = 'object_in_use',
                  hint = format('As a superuser, end that first: ai.cancel_change(%L) or ai.finish_change(%1$L).', v.name);
    end if;
    select c.relowner into holder
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = v.queue_schema and c.relname = v.queue_table;
    perform ai._lock_tables(array[source::text], 'access exclusive', ai._vectorizer_to_lock(v));
    misfit = ai._vectorizer_misfit(v, source);
    if misfit is not null then
        raise exception '%', misfit
            using errcode = 'undefined_column'
                , hint = 'Undo that, or drop the vectorizer with ai.drop_vectorizer and create it anew.';
    end if;
    -- Functions of the old owner are replaced, not given away: their content is not trusted.
    perform ai._vectorizer_drop_triggers(v.queue_schema, v.trigger_name, holder);
    perform ai._vectorizer_hand_over(source, array(
        select c.oid::regclass
        from ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination') p
        join pg_namespace n on n.nspname = p.schema
        join pg_class c on c.relnamespace = n.oid and c.relname = p.name and position(c.relkind::text in p.kinds) > 0), adopt);
    perform ai._vectorizer_create_triggers
    ( source, v.id, v.trigger_name, v.queue_schema, v.queue_table, v.queue_failed_table, v.config -> 'destination'
    , ai._vectorizer_watched(v.config));
    update ai.vectorizer x set trigger_name = v.trigger_name where x.id = v.id;
    perform ai._vectorizer_secure_rows(v.id);
end
$$;

create or replace function ai.adopt_vectorizer(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    id int;
    problem text;
begin
    select v.id into id from ai.vectorizer v where v.name = adopt_vectorizer.name;
    if id is null then
        raise exception 'there is no vectorizer %', name
            using errcode = 'undefined_object';
    end if;
    perform ai._with_locks(format('select ai._vectorizer_adopt(%s, true)', id), format('cannot hand the vectorizer %s over', name));
    select ai._vectorizer_problem(v) into problem from ai.vectorizer v where v.name = adopt_vectorizer.name;
    if problem is not null then
        raise exception 'the vectorizer % cannot be handed over: %', name, problem
            using errcode = 'object_not_in_prerequisite_state';
    end if;
end
$$;
comment on function ai.adopt_vectorizer is
    'Hands everything of a vectorizer over to the owner of its source table, after that has changed hands.';
