-- Indexing and scheduling: which vector index a worker builds, and when pgai ran its jobs. Schedules need pgai's jobs in
-- TimescaleDB, which these workers do not use, so create_vectorizer rejects them with pgai's message.

create or replace function ai.indexing_none() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'none', 'config_type', 'indexing');
comment on function ai.indexing_none is 'No vector index is created.';

create or replace function ai.indexing_default() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'default', 'config_type', 'indexing');
comment on function ai.indexing_default is 'What the setting ai.indexing_default says; nothing means none.';

create or replace function ai.scheduling_none() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'none', 'config_type', 'scheduling');
comment on function ai.scheduling_none is 'No job in the database: a worker runs the vectorizer.';

create or replace function ai.scheduling_default() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'default', 'config_type', 'scheduling');
comment on function ai.scheduling_default is 'What the setting ai.scheduling_default says; nothing means none.';

create or replace function ai.indexing_diskann
( min_rows int default 100000
, storage_layout text default null
, num_neighbors int default null
, search_list_size int default null
, max_alpha float8 default null
, num_dimensions int default null
, num_bits_per_dimension int default null
, create_when_queue_empty boolean default true
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'diskann'
, 'config_type', 'indexing'
, 'min_rows', min_rows
, 'storage_layout', storage_layout
, 'num_neighbors', num_neighbors
, 'search_list_size', search_list_size
, 'max_alpha', max_alpha
, 'num_dimensions', num_dimensions
, 'num_bits_per_dimension', num_bits_per_dimension
, 'create_when_queue_empty', create_when_queue_empty
))::jsonb;
comment on function ai.indexing_diskann is 'An index of the extension vectorscale, which a worker builds.';

create or replace function ai.indexing_hnsw
( min_rows int default 100000
, opclass text default 'vector_cosine_ops'
, m int default null
, ef_construction int default null
, create_when_queue_empty boolean default true
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'hnsw'
, 'config_type', 'indexing'
, 'min_rows', min_rows
, 'opclass', opclass
, 'm', m
, 'ef_construction', ef_construction
, 'create_when_queue_empty', create_when_queue_empty
))::jsonb;
comment on function ai.indexing_hnsw is 'An HNSW index of pgvector, which a worker builds.';

-- (Not in pgai.)
create or replace function ai.indexing_ivfflat
( min_rows int default 100000
, opclass text default 'vector_cosine_ops'
, lists int default null
, create_when_queue_empty boolean default true
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'ivfflat'
, 'config_type', 'indexing'
, 'min_rows', min_rows
, 'opclass', opclass
, 'lists', lists
, 'create_when_queue_empty', create_when_queue_empty
))::jsonb;
comment on function ai.indexing_ivfflat is 'An IVFFlat index of pgvector, which a worker builds.';

create or replace function ai.scheduling_timescaledb
( schedule_interval interval default '5 minutes'
, initial_start timestamptz default null
, fixed_schedule boolean default null
, timezone text default null
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'timescaledb'
, 'config_type', 'scheduling'
, 'schedule_interval', schedule_interval
, 'initial_start', initial_start
, 'fixed_schedule', fixed_schedule
, 'timezone', timezone
))::jsonb;
comment on function ai.scheduling_timescaledb is 'A job of TimescaleDB, as pgai''s extension ran it.';

create or replace function ai._resolve_indexing_default() returns jsonb
language sql volatile
return case current_setting('ai.indexing_default', true)
    when 'indexing_diskann' then ai.indexing_diskann()
    when 'indexing_hnsw' then ai.indexing_hnsw()
    else ai.indexing_none() end;

create or replace function ai._resolve_scheduling_default() returns jsonb
language sql volatile
return case current_setting('ai.scheduling_default', true)
    when 'scheduling_timescaledb' then ai.scheduling_timescaledb()
    else ai.scheduling_none() end;

create or replace function ai._validate_indexing_diskann(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if config ->> 'storage_layout' not in ('memory_optimized', 'plain') then
        raise exception 'invalid storage_layout';
    end if;
end
$$;

-- (pgai rejected vector_l2_ops by mistake. Without an opclass the index has the default one.)
create or replace function ai._validate_indexing_hnsw(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if config ->> 'opclass' not in ('vector_ip_ops', 'vector_cosine_ops', 'vector_l1_ops', 'vector_l2_ops') then
        raise exception 'invalid opclass';
    end if;
end
$$;

create or replace function ai._validate_indexing_ivfflat(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if config ->> 'opclass' not in ('vector_ip_ops', 'vector_cosine_ops', 'vector_l2_ops') then
        raise exception 'invalid opclass';
    end if;
    if coalesce((config ->> 'lists')::int not between 1 and 32768, false) then
        raise exception 'lists must be between 1 and 32768';
    end if;
end
$$;

create or replace function ai._validate_indexing(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(config) is distinct from 'object' then
        raise exception 'indexing config is not a jsonb object';
    end if;
    if config ->> 'config_type' is distinct from 'indexing' then
        raise exception 'invalid config_type for indexing config';
    end if;
    case config ->> 'implementation'
        when 'none' then null;
        when 'diskann' then perform ai._validate_indexing_diskann(config);
        when 'hnsw' then perform ai._validate_indexing_hnsw(config);
        when 'ivfflat' then perform ai._validate_indexing_ivfflat(config);
        else
            if config ->> 'implementation' is null then
                raise exception 'indexing implementation not specified';
            end if;
            raise exception 'invalid indexing implementation: "%"', config ->> 'implementation';
    end case;
end
$$;

create or replace function ai._validate_scheduling(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(config) is distinct from 'object' then
        raise exception 'scheduling config is not a jsonb object';
    end if;
    if config ->> 'config_type' is distinct from 'scheduling' then
        raise exception 'invalid config_type for scheduling config';
    end if;
    if config ->> 'implementation' is null then
        raise exception 'scheduling implementation not specified';
    end if;
    if config ->> 'implementation' not in ('none', 'timescaledb') then
        raise exception 'unrecognized scheduling implementation: "%"', config ->> 'implementation';
    end if;
end
$$;

-- Rejects what only pgai's jobs could do, with pgai's message.
create or replace function ai._validate_jobs(scheduling jsonb, indexing jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if scheduling ->> 'implementation' = 'timescaledb' then
        raise exception 'ai extension not found but it is needed for timescaledb scheduling.'
            using hint = 'A worker needs no schedule: use ai.scheduling_none().';
    end if;
end
$$;

-- Rejects an index that cannot be built for vectors of this type (`vector` or `halfvec`) and number of dimensions, and
-- says so if it is one on an expression. (pgvector indexes up to 2,000 dimensions of a vector and 4,000 of a halfvec.)
create or replace function ai._validate_indexing_fits(indexing jsonb, storage text, dimensions int) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    implementation text = indexing ->> 'implementation';
begin
    if implementation = 'none' then
        return;
    end if;
    if not exists (select from pg_am m where m.amname = implementation) then
        raise exception 'the database has no indexes of the kind %', implementation
            using errcode = 'undefined_object', hint = case implementation
                when 'diskann' then 'Run: create extension vectorscale. Or use ai.indexing_hnsw().'
                else 'Run: alter extension vector update' end;
    end if;
    if implementation = 'diskann' then
        if storage = 'halfvec' then
            raise exception 'a diskann index is on vectors, not on halfvecs'
                using hint = 'Leave out storage, or use ai.indexing_hnsw().';
        end if;
        return;
    end if;
    if dimensions > 4000 then
        raise exception 'an index of the kind % takes at most 4000 dimensions, and the vectors have %', implementation, dimensions
            using hint = 'Use ai.indexing_none(), or a model with fewer dimensions.';
    end if;
    if dimensions > 2000 and storage = 'vector' then
        if not exists (select from pg_type t where t.typname = 'halfvec') then
            raise exception 'an index on % dimensions needs the type halfvec of pgvector 0.7', dimensions
                using errcode = 'undefined_object', hint = 'Run: alter extension vector update';
        end if;
        raise notice 'an index of the kind % takes at most 2000 dimensions of a vector: it will be on the expression embedding::halfvec(%)'
            , implementation, dimensions
            using hint = format('It is used by: order by embedding::halfvec(%1$s) <=> $1::halfvec(%1$s)', dimensions);
    end if;
end
$$;
