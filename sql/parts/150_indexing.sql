-- Indexing and scheduling: when pgai built vector indexes and ran its jobs.
-- Both need a scheduler; without one the only choice is none, which is also the default.

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
    if config ->> 'implementation' is null then
        raise exception 'indexing implementation not specified';
    end if;
    if config ->> 'implementation' <> 'none' then
        raise exception 'invalid indexing implementation: "%"', config ->> 'implementation'
            using hint = 'Use ai.indexing_none(), and create index yourself when the table is filled.';
    end if;
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
    if config ->> 'implementation' <> 'none' then
        raise exception 'unrecognized scheduling implementation: "%"', config ->> 'implementation'
            using hint = 'Use ai.scheduling_none(): a worker runs the vectorizer.';
    end if;
end
$$;
