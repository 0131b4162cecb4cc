-- ai.alter_vectorizer: changes the configuration of a vectorizer. What makes neither other texts nor other vectors
-- changes at once. For other texts the rows are compared with their texts, in the same store. For another model, and for
-- other texts of vectors in a column, a second generation is made (387_change.sql).

-- Checks the parts that are given, as ai.create_vectorizer does, and returns the new configuration.
create or replace function ai._altered_config
( v ai.vectorizer
, given jsonb
) returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    job jsonb = v.config #> '{scheduling,job_id}';
    c jsonb;
begin
    if given #>> '{indexing,implementation}' = 'default' then
        given = given || jsonb_build_object('indexing', ai._resolve_indexing_default());
    end if;
    if given #>> '{scheduling,implementation}' = 'default' then
        given = given || jsonb_build_object('scheduling', ai._resolve_scheduling_default());
    end if;
    c = v.config || given;
    if given ? 'loading' then
        perform ai._validate_loading(c -> 'loading', v.source_schema, v.source_table);
    end if;
    if given ?| array['loading', 'parsing'] then
        perform ai._validate_parsing(c -> 'parsing', c -> 'loading', v.source_schema, v.source_table);
    end if;
    if given ? 'embedding' then
        if given #>> '{embedding,dimensions}' is null then
            raise exception 'dimensions argument is required';
        end if;
        perform ai._validate_embedding(c -> 'embedding');
        perform ai._advise_prompts(c -> 'embedding');
    end if;
    if given ? 'chunking' then
        perform ai._validate_chunking(c -> 'chunking');
        perform ai._validate_destination(c -> 'destination', c -> 'chunking');
    end if;
    if given ? 'formatting' then
        perform ai._validate_formatting(c -> 'formatting', v.source_schema, v.source_table);
    end if;
    if given ? 'scheduling' then
        perform ai._validate_scheduling(c -> 'scheduling');
        if job is not null then
            c = jsonb_set(c, '{scheduling,job_id}', job);
        end if;
    end if;
    if given ? 'processing' then
        perform ai._validate_processing(c -> 'processing');
    end if;
    if given ? 'indexing' then
        perform ai._validate_indexing(c -> 'indexing');
        perform ai._validate_jobs(c -> 'scheduling', c -> 'indexing');
    end if;
    if given ?| array['embedding', 'indexing'] then
        perform ai._validate_indexing_fits
        (c -> 'indexing', coalesce(c #>> '{destination,storage}', 'vector'), (c #>> '{embedding,dimensions}')::int);
    end if;
    return c;
end
$$;

create or replace function ai.alter_vectorizer
( vectorizer_id int
, loading jsonb default null
, parsing jsonb default null
, embedding jsonb default null
, chunking jsonb default null
, indexing jsonb default null
, formatting jsonb default null
, scheduling jsonb default null
, processing jsonb default null
, switches boolean default true
) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    -- (An inner null is a value.)
    given jsonb = (
        select coalesce(jsonb_object_agg(x.key, x.value), '{}')
        from (values ('loading', loading), ('parsing', parsing), ('embedding', embedding), ('chunking', chunking), ('indexing', indexing)
            , ('formatting', formatting), ('scheduling', scheduling), ('processing', processing)) x(key, value)
        where x.value is not null);
    v ai.vectorizer;
    c jsonb;
    source regclass;
    old record;
    new record;
    recorded ai.vectorizer_made_by;
    is_column boolean;
begin
    select x.* into v from ai.vectorizer x where x.id = vectorizer_id;
    if not found then
        raise exception 'there is no vectorizer %', vectorizer_id
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    source = ai._vectorizer_relation(v.source_schema, v.source_table);
    if source is null then
        raise exception 'the source table %.% of the vectorizer % is gone', v.source_schema, v.source_table, v.name
            using errcode = 'undefined_table', hint = 'Rename it back, or drop the vectorizer with ai.drop_vectorizer.';
    end if;
    is_column = v.config #>> '{destination,implementation}' = 'column';
    c = ai._altered_config(v, given);
    old = ai._made_by(v.config);
    new = ai._made_by(c);
    select m.* into recorded from ai.vectorizer_made_by m where m.vectorizer_id = v.id;
    if recorded.vectors <> old.vectors and new.vectors <> recorded.vectors then
        raise exception 'the embedding of the vectorizer % was edited, and is not what made its vectors', v.name
            using errcode = 'object_not_in_prerequisite_state',
                  hint = format('First put it back: select ai.revert_embedding(%L)', v.name);
    end if;
    if c = v.config then
        return 'unchanged';
    elsif new.vectors = coalesce(recorded.vectors, old.vectors) and new.texts = old.texts then
        perform ai._alter_at_once(v, c, given);
        return 'done';
    elsif exists (select from ai.vectorizer_generation g where g.vectorizer_id = v.id) then
        raise exception 'the vectorizer % is changing already', v.name
            using errcode = 'object_in_use',
                  hint = format('End that change with ai.finish_change(%L) or ai.cancel_change(%1$L) first.', v.name);
    elsif new.vectors = coalesce(recorded.vectors, old.vectors) and not is_column then
        perform ai._alter_texts(v, source, c);
        return 'refilling';
    end if;
    perform ai._change_check(v, source);
    perform ai._require_current_snapshot(source);
    perform ai._vectorizer_check_creator(source, array(
        select distinct x.name::name
        from unnest(array[v.queue_schema, v.config #>> '{destination,target_schema}', v.config #>> '{destination,view_schema}']) x(name)));
    -- Changes that others have not committed yet are neither compared nor queued: the lock waits for them.
    perform ai._with_locks(format('select ai._lock_tables(array[%L], %L)', source
            , case when is_column then 'access exclusive' else 'share row exclusive' end)
        , format('cannot change the vectorizer %s', v.name));
    -- What may have changed meanwhile.
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id for no key update;
    perform ai._change_check(v, source);
    perform ai._change_start(v, source, ai._altered_config(v, given), coalesce(switches, true));
    return 'filling';
end
$$;
comment on function ai.alter_vectorizer(int, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, boolean) is
    'Changes parts of the configuration of a vectorizer: at once (done), with all texts made anew (refilling), or with a second generation for another model (filling).';

create or replace function ai.alter_vectorizer
( name text
, loading jsonb default null
, parsing jsonb default null
, embedding jsonb default null
, chunking jsonb default null
, indexing jsonb default null
, formatting jsonb default null
, scheduling jsonb default null
, processing jsonb default null
, switches boolean default true
) returns text
language sql volatile
return ai.alter_vectorizer(ai._vectorizer_named(name), loading, parsing, embedding, chunking, indexing, formatting, scheduling
    , processing, switches);
comment on function ai.alter_vectorizer(text, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, boolean) is 'The same, by name.';

-- Neither texts nor vectors are concerned. While the vectorizer changes, the other generation gets the same, except
-- for its model. If documents are checked again from now on, a resync finds
-- that nothing is known of their versions, and has them loaded once more.
create or replace function ai._alter_at_once(v ai.vectorizer, config jsonb, given jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    update ai.vectorizer x set config = _alter_at_once.config where x.id = v.id;
    update ai.vectorizer_generation g
    set config = g.config || (
        select coalesce(jsonb_object_agg(k, _alter_at_once.config -> k), '{}')
        from jsonb_object_keys(given) k where k in ('indexing', 'scheduling', 'processing'))
    where g.vectorizer_id = v.id;
    update ai.vectorizer_generation g
    set config = jsonb_set(g.config, '{loading}', jsonb_strip_nulls(g.config -> 'loading'
        || jsonb_build_object('refresh', _alter_at_once.config #> '{loading,refresh}')))
    where g.vectorizer_id = v.id and given ? 'loading'
    and g.config #>> '{loading,implementation}' = 'uri';
    if _alter_at_once.config #> '{loading,refresh}' is not null and v.config #> '{loading,refresh}' is null then
        perform ai._request_resync(x.id)
        from ai._vectorizers() x
        where ai._vectorizer_whole(x.id) = v.id and x.config #> '{loading,refresh}' is not null;
    end if;
end
$$;

-- The texts are made differently, and the vectors of equal texts stay. A worker notices the new configuration, and
-- has all rows compared with their texts.
create or replace function ai._alter_texts(v ai.vectorizer, source regclass, config jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    watched name[] = ai._vectorizer_watched(config);
begin
    if array(select distinct w from unnest(watched) w order by w)
        <> array(select distinct w from unnest(ai._vectorizer_watched(v.config)) w order by w)
    then
        perform ai._vectorizer_check_creator(source, array[v.queue_schema]);
        perform ai._with_locks(format('select ai._lock_tables(array[%L], %L)', source, 'share row exclusive')
            , format('cannot change the vectorizer %s', v.name));
        perform ai._vectorizer_exchange_triggers(v, source, watched);
    end if;
    update ai.vectorizer x set config = _alter_texts.config where x.id = v.id;
end
$$;
