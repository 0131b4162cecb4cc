-- Processing: how much work a worker takes at a time, and in a day. The config function returns exactly pgai's JSON (plus
-- `max_tokens_per_day` if given, which pgai does not have); the validator raises before anything is created.

-- pgai's function with two parameters would make a call with fewer arguments ambiguous. A default of
-- ai.create_vectorizer uses it.
do $$
begin
    if to_regprocedure('ai.processing_default(int, int)') is not null then
        drop function if exists ai.create_vectorizer(regclass, text, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb
            , jsonb, jsonb, name, name, name[], boolean, boolean);
        drop function ai.processing_default(int, int);
    end if;
end
$$;

create or replace function ai.processing_default
( batch_size int default null
, concurrency int default null
, max_tokens_per_day bigint default null
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'default'
, 'config_type', 'processing'
, 'batch_size', batch_size
, 'concurrency', concurrency
, 'max_tokens_per_day', max_tokens_per_day
))::jsonb;
comment on function ai.processing_default is 'Rows in one batch, batches in flight, and a ceiling of tokens a day.';

create or replace function ai._validate_processing(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(config) is distinct from 'object' then
        raise exception 'processing config is not a jsonb object';
    end if;
    if config ->> 'config_type' is distinct from 'processing' then
        raise exception 'invalid config_type for processing config';
    end if;
    if config ->> 'implementation' is null then
        raise exception 'processing implementation not specified';
    end if;
    if config ->> 'implementation' <> 'default' then
        raise exception 'unrecognized processing implementation: "%"', config ->> 'implementation';
    end if;
    if config ? 'batch_size' then
        if jsonb_typeof(config -> 'batch_size') <> 'number' then
            raise exception 'batch_size must be a number';
        end if;
        if (config ->> 'batch_size')::numeric > 2048 then
            raise exception 'batch_size must be less than or equal to 2048';
        end if;
        if (config ->> 'batch_size')::numeric < 1 then
            raise exception 'batch_size must be greater than 0';
        end if;
    end if;
    if config ? 'concurrency' then
        if jsonb_typeof(config -> 'concurrency') <> 'number' then
            raise exception 'concurrency must be a number';
        end if;
        if (config ->> 'concurrency')::numeric > 50 then
            raise exception 'concurrency must be less than or equal to 50';
        end if;
        if (config ->> 'concurrency')::numeric < 1 then
            raise exception 'concurrency must be greater than 0';
        end if;
    end if;
    if config ? 'max_tokens_per_day' then
        if jsonb_typeof(config -> 'max_tokens_per_day') <> 'number' then
            raise exception 'max_tokens_per_day must be a number';
        end if;
        if (config ->> 'max_tokens_per_day')::numeric < 1 then
            raise exception 'max_tokens_per_day must be greater than 0';
        end if;
        if (config ->> 'max_tokens_per_day')::numeric % 1 <> 0 then
            raise exception 'max_tokens_per_day must be a whole number';
        end if;
        if (config ->> 'max_tokens_per_day')::numeric > 9223372036854775807 then
            raise exception 'max_tokens_per_day must be less than or equal to 9223372036854775807';
        end if;
    end if;
end
$$;
