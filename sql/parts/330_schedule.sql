-- The parts of pgai's scheduling that need no scheduler in the database: the settings can be changed, and a
-- run can be requested.

create or replace function ai.set_scheduling
( vectorizer_id int
, scheduling jsonb default ai.scheduling_default()
, indexing jsonb default ai.indexing_default()
) returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    written jsonb;
begin
    perform ai._vectorizer_change_job(v.config, 'delete_job(job_id)') from ai.vectorizer v where v.id = vectorizer_id;
    if indexing ->> 'implementation' = 'default' then
        indexing = ai._resolve_indexing_default();
    end if;
    perform ai._validate_indexing(indexing);
    if scheduling ->> 'implementation' = 'default' then
        scheduling = ai._resolve_scheduling_default();
    end if;
    perform ai._validate_scheduling(scheduling);
    perform ai._validate_jobs(scheduling, indexing);
    perform ai._validate_indexing_fits(indexing, f.type_name, f.dimensions)
    from ai.vectorizer v cross join lateral ai._vector_column(v) f
    where v.id = vectorizer_id;
    update ai.vectorizer v
    set config = v.config || jsonb_build_object('scheduling', scheduling, 'indexing', indexing)
    where v.id = vectorizer_id
    returning v.config into written;
    return written;
end
$$;
comment on function ai.set_scheduling is 'Writes scheduling and indexing anew, and returns the whole configuration.';

create or replace function ai.set_indexing(vectorizer_name text, indexing jsonb) returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    written jsonb;
begin
    if indexing ->> 'implementation' = 'default' then
        indexing = ai._resolve_indexing_default();
    end if;
    perform ai._validate_indexing(indexing);
    perform ai._validate_indexing_fits(indexing, f.type_name, f.dimensions)
    from ai.vectorizer v cross join lateral ai._vector_column(v) f
    where v.name = vectorizer_name::name;
    update ai.vectorizer v
    set config = v.config || jsonb_build_object('indexing', indexing)
    where v.name = vectorizer_name::name
    returning v.config into written;
    if not found then
        raise exception 'there is no vectorizer named "%"', vectorizer_name
            using errcode = 'undefined_object', hint = 'select id, name from ai.vectorizer';
    end if;
    return written;
end
$$;
comment on function ai.set_indexing is 'Writes only indexing anew, and returns the whole configuration. A worker builds the index.';

create or replace function ai.execute_vectorizer(vectorizer_name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    id int;
begin
    select v.id into strict id from ai.vectorizer v where v.name = vectorizer_name;
    if current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('ai_vectorizer', id::text);
    end if;
end
$$;
comment on function ai.execute_vectorizer is 'Asks the workers to look at the vectorizer''s queue now.';
