-- Embedding: which model of which provider turns a text into a vector. The config functions
-- return exactly pgai's JSON; configurations that no provider supports are rejected here.

create or replace function ai.embedding_ollama
( model text
, dimensions int
, base_url text default null
, options jsonb default null
, keep_alive text default null
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'ollama'
, 'config_type', 'embedding'
, 'model', model
, 'dimensions', dimensions
, 'base_url', base_url
, 'options', options
, 'keep_alive', keep_alive
))::jsonb;
comment on function ai.embedding_ollama is 'A model that Ollama serves.';

create or replace function ai.embedding_openai
( model text
, dimensions int
, chat_user text default null
, api_key_name text default 'OPENAI_API_KEY'
, base_url text default null
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'openai'
, 'config_type', 'embedding'
, 'model', model
, 'dimensions', dimensions
, 'user', chat_user
, 'api_key_name', api_key_name
, 'base_url', base_url
))::jsonb;
comment on function ai.embedding_openai is 'A model of OpenAI, or of any server that speaks its interface (base_url).';

create or replace function ai.embedding_sentence_transformers
( model text default 'nomic-ai/nomic-embed-text-v1.5'
, dimensions int4 default 768
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'sentence_transformers'
, 'config_type', 'embedding'
, 'model', model
, 'dimensions', dimensions
))::jsonb;
comment on function ai.embedding_sentence_transformers is
    'A model in the worker''s own process: a directory, or a name that the worker looks up in its --models-dir.';

-- Drops pgai's function, which has fewer parameters: with both, a call would be ambiguous.
do $$
begin
    if to_regprocedure('ai.embedding_voyageai(text, int, text, text)') is not null then
        drop function ai.embedding_voyageai(text, int, text, text);
    end if;
end
$$;

create or replace function ai.embedding_voyageai
( model text
, dimensions int
, input_type text default 'document'
, api_key_name text default 'VOYAGE_API_KEY'
, output_dimension int default null
, output_dtype text default null
) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if input_type is not null and input_type not in ('query', 'document') then
        raise exception 'invalid input_type for voyage ai "%"', input_type;
    end if;
    return json_strip_nulls(json_build_object
    ( 'implementation', 'voyageai'
    , 'config_type', 'embedding'
    , 'model', model
    , 'dimensions', dimensions
    , 'input_type', input_type
    , 'api_key_name', api_key_name
    , 'output_dimension', output_dimension
    , 'output_dtype', output_dtype
    ))::jsonb;
end
$$;
comment on function ai.embedding_voyageai is 'A model of Voyage AI.';

create or replace function ai.embedding_litellm
( model text
, dimensions int
, api_key_name text default null
, extra_options jsonb default null
) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return json_strip_nulls(json_build_object
    ( 'implementation', 'litellm'
    , 'config_type', 'embedding'
    , 'model', model
    , 'dimensions', dimensions
    , 'api_key_name', api_key_name
    , 'extra_options', extra_options
    ))::jsonb;
end
$$;
comment on function ai.embedding_litellm is
    'A model that the Python library LiteLLM reaches. Workers reach it through a LiteLLM proxy only: ai.embedding_openai.';

create or replace function ai._validate_embedding(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(config) is distinct from 'object' then
        raise exception 'embedding config is not a jsonb object';
    end if;
    if config ->> 'config_type' is distinct from 'embedding' then
        raise exception 'invalid config_type for embedding config';
    end if;
    if config ->> 'implementation' is null then
        raise exception 'embedding implementation not specified';
    end if;
    if config ->> 'implementation' = 'litellm' then
        raise exception 'ai.embedding_litellm is not supported'
            using errcode = 'feature_not_supported',
                  hint = 'LiteLLM is a Python library. Run its proxy, and use ai.embedding_openai with the proxy''s base_url.';
    end if;
    if config ->> 'implementation' not in ('openai', 'ollama', 'sentence_transformers', 'voyageai') then
        raise exception 'invalid embedding implementation: "%"', config ->> 'implementation'
            using hint = 'This version knows ai.embedding_ollama, ai.embedding_openai, '
                'ai.embedding_sentence_transformers and ai.embedding_voyageai.';
    end if;
    if coalesce(config ->> 'model', '') = '' then
        raise exception 'embedding model not specified';
    end if;
    if jsonb_typeof(config -> 'dimensions') is distinct from 'number'
        or (config ->> 'dimensions')::numeric not between 1 and 16000
        or (config ->> 'dimensions')::numeric % 1 <> 0
    then
        raise exception 'dimensions must be between 1 and 16000, got %', config -> 'dimensions'
            using errcode = 'invalid_parameter_value';
    end if;
    if config ->> 'implementation' = 'openai' and config ->> 'model' like '%text-embedding-ada-002'
        and (config ->> 'dimensions')::numeric <> 1536
    then
        raise exception 'dimensions must be 1536 for text-embedding-ada-002';
    end if;
    if config ->> 'implementation' = 'voyageai' and config ->> 'output_dtype' <> 'float' then
        raise exception 'output_dtype must be float, got "%"', config ->> 'output_dtype'
            using hint = 'A column of type vector holds nothing else.';
    end if;
    if config ->> 'implementation' = 'voyageai'
        and (config ->> 'output_dimension')::numeric <> (config ->> 'dimensions')::numeric
    then
        raise exception 'output_dimension must be the same as dimensions, which is %', config ->> 'dimensions';
    end if;
    -- Messages do not repeat values that may be a key or contain a password, because they are
    -- logged.
    if config ->> 'api_key_name' !~ '^[A-Za-z_][A-Za-z0-9_]{0,99}$'
        or (config ->> 'api_key_name' ~ '^[A-Za-z0-9_]{20,}$' and config ->> 'api_key_name' ~ '[a-z]'
            and config ->> 'api_key_name' ~ '[A-Z]' and config ->> 'api_key_name' ~ '[0-9]')
    then
        raise exception 'api_key_name must be the name of an environment variable of the worker, such as OPENAI_API_KEY'
            using errcode = 'invalid_parameter_value',
                  hint = 'If it was a key itself, replace that key: it may stand in the logs of server and client now.';
    end if;
    if config ->> 'base_url' ~ '[@#]' or config ->> 'base_url' ~ '[?](?!api-version=[A-Za-z0-9.-]+$)' then
        raise exception 'base_url must not hold a user, a password, a fragment or a query other than ?api-version=...'
            using errcode = 'invalid_parameter_value';
    end if;
    if config ->> 'base_url' !~ '^https?://[^/]' then
        raise exception 'base_url must begin with http:// or https://, got "%"', left(config ->> 'base_url', 200);
    end if;
end
$$;
