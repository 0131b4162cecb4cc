-- Processing: how much work a worker takes at a time. The config function returns exactly pgai's
-- JSON; the validator raises before anything is created.

create or replace function ai.processing_default(batch_size int default null, concurrency int default null)
returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'default'
, 'config_type', 'processing'
, 'batch_size', batch_size
, 'concurrency', concurrency
))::jsonb;
comment on function ai.processing_default is 'Rows in one batch, and batches in flight.';

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
end
$$;
