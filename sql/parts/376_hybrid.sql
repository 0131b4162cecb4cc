-- ai.enable_hybrid and ai.disable_hybrid: search by words beside search by vectors.

-- Writes into the configuration of a vectorizer or a generation what its text index is; null: it has none. (The guard of
-- the row checks the privileges.)
create or replace function ai._text_configure(v ai.vectorizer, entry jsonb) returns ai.vectorizer
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    path text[] = '{destination,hybrid}';
begin
    update ai.vectorizer x
    set config = case when entry is null then x.config #- path else jsonb_set(x.config, path, entry) end
    where x.id = v.id;
    update ai.vectorizer_generation x
    set config = case when entry is null then x.config #- path else jsonb_set(x.config, path, entry) end
    where x.id = v.id;
    select x.* into strict v from ai._vectorizers() x where x.id = v.id;
    return v;
end
$$;

-- One attempt, for a vectorizer or a generation. The text index of a small store is filled at once; otherwise a worker
-- fills it.
drop function if exists ai._text_enable(int, text, float8, float8);

create or replace function ai._text_enable(vectorizer_id int, language text, k1 float8, b float8, method text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    target record;
    made regclass[];
    is_small boolean;
    present jsonb;
    entry jsonb;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    select t.* into target from ai._text_target(v) t;
    present = v.config #> '{destination,hybrid}';
    method = ai._text_method(v, method, k1);
    entry = jsonb_build_object('language', language, 'k1', k1, 'b', b)
        || case method when 'own' then '{}' else jsonb_build_object('method', method) end;
    if method <> 'own' then
        perform ai._textsearch_enable(v, target.relation, present, entry);
        return;
    end if;
    if not has_schema_privilege(v.queue_schema, 'CREATE') then
        raise exception 'the text index of the vectorizer % is created in the schema %, where you cannot create', v.name, v.queue_schema
            using errcode = 'insufficient_privilege', hint = 'A superuser can, or the role that created the vectorizer.';
    end if;
    if present is not null then
        if ai._text_is_own(v.config -> 'destination') and present ->> 'language' = language then
            v = ai._text_configure(v, entry);
            perform ai._text_grant(v.id);
            return;
        end if;
        perform ai._text_disable(v.id);
    end if;
    perform ai._lock_tables(array[target.relation::text], 'share row exclusive');
    perform ai._vectorizer_check_creator(target.source, array[v.queue_schema]);
    execute format('create table %I.%I (%s, _chunk_seq int not null, _words int[] not null, _counts int2[] not null, '
        '_length int not null, primary key (%s, _chunk_seq))', v.queue_schema, ai._text_table(v)
        , (select string_agg(format('%I %s not null', k.name, k.definition), ', ' order by k.pknum)
           from ai._vectorizer_key(target.source) k)
        , ai._vectorizer_key_list(target.source));
    execute format('create table %I.%I (word int primary key, chunks bigint not null)', v.queue_schema, ai._text_count_table(v));
    made = array[ai._vectorizer_relation(v.queue_schema, ai._text_table(v))
        , ai._vectorizer_relation(v.queue_schema, ai._text_count_table(v))];
    execute format('select count(*) <= 10000 from (select from %s limit 10001) x', target.relation) into is_small;
    if is_small then
        execute replace(ai._text_gin_sql(v), ' concurrently', '');
    end if;
    perform ai._vectorizer_revoke_defaults(target.source, made);
    perform ai._vectorizer_hand_over(target.source, made);
    v = ai._text_configure(v, entry);
    perform ai._text_create_trigger(target.source, v.id, v.trigger_name, v.queue_schema, v.config -> 'destination'
        , (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = target.source));
    insert into ai.vectorizer_text (vectorizer_id) values (v.id) on conflict do nothing;
    perform ai._text_secure(v);
    perform ai._text_grant(v.id);
    if is_small then
        perform ai._text_fill(v, p.part, 0, p.pages) from ai._text_parts(v) p;
        perform ai._text_count(v);
    end if;
end
$$;

create or replace function ai._text_drop_trigger(v ai.vectorizer, target regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    function_name text = format('%I.%I()', v.queue_schema, v.trigger_name || '_text');
begin
    if to_regprocedure(function_name) is not null then
        execute format('drop trigger if exists %I on %s', v.trigger_name || '_text', target);
        execute format('drop trigger if exists %I on %s', v.trigger_name || '_text_truncate', target);
        execute format('drop function %s', function_name);
    end if;
end
$$;

create or replace function ai._text_disable(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    target record;
    owner oid;
    relation regclass;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    if not (v.config -> 'destination') ? 'hybrid' then
        return;
    end if;
    select t.* into target from ai._text_target(v) t;
    owner = (select c.relowner from pg_class c where c.oid = target.source);
    relation = ai._vectorizer_relation(v.queue_schema, ai._text_table(v));
    -- The row first: its guard checks the privileges.
    perform ai._text_configure(v, null);
    delete from ai.vectorizer_text x where x.vectorizer_id = v.id;
    if not ai._text_is_own(v.config -> 'destination') then
        perform ai._lock_tables(array[target.relation::text], 'access exclusive');
        perform ai._textsearch_drop(v);
        return;
    end if;
    perform ai._lock_tables(array[target.relation::text], 'access exclusive', array[relation::text]);
    perform ai._text_drop_trigger(v, target.relation);
    perform ai._vectorizer_drop_part('text index', 'r', v.queue_schema, ai._text_table(v), owner);
    perform ai._vectorizer_drop_part('text index', 'r', v.queue_schema, ai._text_count_table(v), owner);
end
$$;

-- Gives text indexes to a vectorizer and, while it changes to another model, to its other generation; or drops them if
-- there is no language. (The lock: a switch exchanges the two.)
create or replace function ai._text_set(vectorizer_id int, language text, k1 float8, b float8, method text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one int;
begin
    perform from ai.vectorizer x where x.id = vectorizer_id for no key update;
    for one in select x.id from ai._vectorizers() x where ai._vectorizer_whole(x.id) = vectorizer_id order by x.id loop
        if language is null then
            perform ai._text_disable(one);
        else
            perform ai._text_enable(one, language, k1, b, method);
        end if;
    end loop;
end
$$;

-- (Older versions had no second parameter.)
drop function if exists ai._searched(int);

-- The vectorizer with this id, or its generation with this number; an error if there is none.
create or replace function ai._searched(id int, generation int default null) returns ai.vectorizer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
begin
    select x.* into v from ai.vectorizer x where x.id = _searched.id;
    if not found then
        raise exception 'there is no vectorizer with the id %', id
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    if generation <> ai._vectorizer_number(v.id, v.queue_failed_table) then
        select x.* into v
        from ai.vectorizer_generation g
        cross join lateral ai._generation_as_vectorizer(g, v) x
        where g.vectorizer_id = v.id and ai._vectorizer_number(g.id, g.queue_failed_table) = generation;
        if v.id is null then
            raise exception 'the vectorizer with the id % has no generation %', id, generation
                using errcode = 'no_data_found', hint = 'It was dropped by ai.finish_change or ai.cancel_change.';
        end if;
    end if;
    return v;
end
$$;

-- (Older versions had no fifth parameter.)
drop function if exists ai.enable_hybrid(text, regconfig, float8, float8);

create or replace function ai.enable_hybrid
( name text
, language regconfig default 'pg_catalog.simple'
, k1 float8 default 1.2
, b float8 default 0.75
, method text default null
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer = ai._searched(ai._vectorizer_named(name));
begin
    if language is null or k1 is null or b is null or not (k1 >= 0 and k1 <= 1000 and b >= 0 and b <= 1) then
        raise exception 'a language is needed, k1 from 0 to 1000, and b from 0 to 1'
            using errcode = 'invalid_parameter_value';
    end if;
    if method not in ('auto', 'own', 'pg_textsearch') then
        raise exception 'there is no method % for a text index', quote_literal(method)
            using errcode = 'invalid_parameter_value'
                , hint = 'auto, own or pg_textsearch; without one, a text index stays what it is, and a new one is own.';
    end if;
    perform ai._with_locks(
        format('select ai._text_set(%s, %L, %L, %L, %L)', v.id, (
            select format('%I.%I', n.nspname, c.cfgname)
            from pg_ts_config c join pg_namespace n on n.oid = c.cfgnamespace
            where c.oid = language), k1, b, method)
        , format('cannot create the text index of the vectorizer %s', name));
end
$$;
comment on function ai.enable_hybrid is
    'Gives a vectorizer a text index, so that ai.hybrid_search finds chunks by their words, too. A worker fills that of a large store.';

create or replace function ai.disable_hybrid(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer = ai._searched(ai._vectorizer_named(name));
begin
    perform ai._with_locks(format('select ai._text_set(%s, null, null, null, null)', v.id)
        , format('cannot drop the text index of the vectorizer %s', name));
end
$$;
comment on function ai.disable_hybrid is 'Drops the text index of a vectorizer.';

-- (Older versions named them by the id.)
drop function if exists ai._text_table(int), ai._text_count_table(int), ai._text_gin(int);
