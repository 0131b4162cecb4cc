-- Embedding: which model of which provider turns a text into a vector. The config functions
-- return exactly pgai's JSON; configurations that no provider supports are rejected here.

-- Drops older versions of these functions, which have fewer parameters: with both, a call would be ambiguous. One that
-- something depends on gets another name, and what depends on it goes on.
do $$
declare
    signature text;
begin
    foreach signature in array array
        [ 'ai.embedding_litellm(text, int, text, jsonb)'
        , 'ai.embedding_ollama(text, int, text, jsonb, text)'
        , 'ai.embedding_ollama(text, int, text, jsonb, text, text, text)'
        , 'ai.embedding_openai(text, int, text, text, text)'
        , 'ai.embedding_sentence_transformers(text, int)'
        , 'ai.embedding_voyageai(text, int, text, text)'
        , 'ai.embedding_voyageai(text, int, text, text, int, text)'
        ]
    loop
        if to_regprocedure(signature) is not null then
            begin
                execute format('drop function %s', to_regprocedure(signature));
            exception when dependent_objects_still_exist then
                execute format('alter function %s rename to %I', to_regprocedure(signature)
                    , '_older_' || split_part(split_part(signature, '(', 1), '.', 2));
            end;
        end if;
    end loop;
end
$$;

-- The texts that some models want to see before a document and before a question. Sources: the model cards of
-- google/embeddinggemma-300m, nomic-ai/nomic-embed-text-v1.5, intfloat/multilingual-e5-small, intfloat/e5-base-v2,
-- intfloat/multilingual-e5-large-instruct, Qwen/Qwen3-Embedding-0.6B, Snowflake/snowflake-arctic-embed-m and
-- snowflake-arctic-embed-l-v2.0, BAAI/bge-base-en-v1.5, mixedbread-ai/mxbai-embed-large-v1.
create or replace function ai.model_prompts(model text, out document_prompt text, out query_prompt text)
language sql immutable
begin atomic
    select p.document_prompt, p.query_prompt
    from (values
      (1, 'embeddinggemma', 'title: none | text: ', 'task: search result | query: ')
    , (2, 'nomic-embed-text', 'search_document: ', 'search_query: ')
    , (3, 'e5-[a-z0-9-]*instruct', ''
      , E'Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: ')
    , (4, '(^|[/-])e5-', 'passage: ', 'query: ')
    , (5, 'qwen3-embedding', ''
      , E'Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:')
    , (6, 'arctic-embed[a-z0-9-]*2([.]0)?([:-]|$)', '', 'query: ')
    , (7, 'arctic-embed', '', 'Represent this sentence for searching relevant passages: ')
    , (8, 'bge-(small|base|large)-en', '', 'Represent this sentence for searching relevant passages: ')
    , (9, 'mxbai-embed-large', '', 'Represent this sentence for searching relevant passages: ')
    ) p(rank, pattern, document_prompt, query_prompt)
    where lower(model_prompts.model) ~ p.pattern
    order by p.rank
    limit 1;
end;
comment on function ai.model_prompts is
    'The texts that a model wants to see before a document and before a question, as its makers publish them; null if none are known.';

-- A prompt as given, or for 'auto' the one that the model's makers publish.
create or replace function ai._embedding_prompt(prompt text, model text, kind text) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    known record;
begin
    if prompt is distinct from 'auto' then
        return prompt;
    end if;
    select * into known from ai.model_prompts(model);
    if known.query_prompt is null then
        raise exception 'no prompts are known for the model "%"', left(model, 200)
            using errcode = 'invalid_parameter_value',
                  hint = format('If it wants prompts, give them as %s; if not, leave it out.', kind);
    end if;
    return case kind when 'query_prompt' then known.query_prompt else known.document_prompt end;
end
$$;

create or replace function ai.embedding_ollama
( model text
, dimensions int
, base_url text default null
, options jsonb default null
, keep_alive text default null
, document_prompt text default null
, query_prompt text default null
, max_tokens int default null
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
, 'document_prompt', ai._embedding_prompt(document_prompt, model, 'document_prompt')
, 'query_prompt', ai._embedding_prompt(query_prompt, model, 'query_prompt')
, 'max_tokens', max_tokens
))::jsonb;
comment on function ai.embedding_ollama is 'A model that Ollama serves.';

create or replace function ai.embedding_openai
( model text
, dimensions int
, chat_user text default null
, api_key_name text default 'OPENAI_API_KEY'
, base_url text default null
, document_prompt text default null
, query_prompt text default null
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
, 'document_prompt', ai._embedding_prompt(document_prompt, model, 'document_prompt')
, 'query_prompt', ai._embedding_prompt(query_prompt, model, 'query_prompt')
))::jsonb;
comment on function ai.embedding_openai is 'A model of OpenAI, or of any server that speaks its interface (base_url).';

create or replace function ai.embedding_sentence_transformers
( model text default 'nomic-ai/nomic-embed-text-v1.5'
, dimensions int4 default 768
, document_prompt text default null
, query_prompt text default null
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'sentence_transformers'
, 'config_type', 'embedding'
, 'model', model
, 'dimensions', dimensions
, 'document_prompt', ai._embedding_prompt(document_prompt, model, 'document_prompt')
, 'query_prompt', ai._embedding_prompt(query_prompt, model, 'query_prompt')
))::jsonb;
comment on function ai.embedding_sentence_transformers is
    'A model in the worker''s own process: a directory, or a name that the worker looks up in its --models-dir.';

create or replace function ai.embedding_voyageai
( model text
, dimensions int
, input_type text default 'document'
, api_key_name text default 'VOYAGE_API_KEY'
, output_dimension int default null
, output_dtype text default null
, base_url text default null
, document_prompt text default null
, query_prompt text default null
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
    , 'base_url', base_url
    , 'document_prompt', ai._embedding_prompt(document_prompt, model, 'document_prompt')
    , 'query_prompt', ai._embedding_prompt(query_prompt, model, 'query_prompt')
    ))::jsonb;
end
$$;
comment on function ai.embedding_voyageai is 'A model of Voyage AI.';

create or replace function ai.embedding_litellm
( model text
, dimensions int
, api_key_name text default null
, extra_options jsonb default null
, document_prompt text default null
, query_prompt text default null
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
    , 'document_prompt', ai._embedding_prompt(document_prompt, model, 'document_prompt')
    , 'query_prompt', ai._embedding_prompt(query_prompt, model, 'query_prompt')
    ))::jsonb;
end
$$;
comment on function ai.embedding_litellm is
    'A model of any provider: the part of its name before the first slash says which, as in the Python library LiteLLM.';

-- The providers that workers know by LiteLLM's names.
create or replace function ai._litellm_providers() returns text[]
language sql immutable
return array
[ 'azure'
, 'azure_ai'
, 'bedrock'
, 'cohere'
, 'dashscope'
, 'databricks'
, 'deepinfra'
, 'fireworks_ai'
, 'gemini'
, 'github'
, 'hosted_vllm'
, 'huggingface'
, 'infinity'
, 'jina_ai'
, 'litellm_proxy'
, 'llamafile'
, 'lm_studio'
, 'mistral'
, 'nebius'
, 'nvidia_nim'
, 'ollama'
, 'openai'
, 'openrouter'
, 'ovhcloud'
, 'perplexity'
, 'sambanova'
, 'together_ai'
, 'vertex_ai'
, 'voyage'
, 'watsonx'
, 'xinference'
];

-- The provider of a model by its name in LiteLLM; null if workers do not know it.
create or replace function ai._litellm_provider(model text, named text) returns text
language sql immutable
return case
    when named = any (ai._litellm_providers()) then named
    when model ~ '^[a-z_]+/.' and split_part(model, '/', 1) = any (ai._litellm_providers())
        then split_part(model, '/', 1)
    when model ~ '^(amazon[.]titan-embed|cohere[.]embed)' then 'bedrock'
    when model ~ '^embed-' then 'cohere'
    when model ~ '^text-embedding-(3|ada)-' then 'openai'
    when model ~ '^(text-embedding-0|text-multilingual-embedding-|textembedding-gecko)' then 'vertex_ai'
end;

-- What extra_options must not contain: messages do not repeat it.
create or replace function ai._validate_litellm(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    options jsonb = coalesce(config -> 'extra_options', '{}');
    name text;
begin
    if jsonb_typeof(options) <> 'object' then
        raise exception 'extra_options must be a jsonb object'
            using errcode = 'invalid_parameter_value';
    end if;
    if ai._litellm_provider(config ->> 'model', options ->> 'custom_llm_provider') is null then
        raise exception 'the provider of the model "%" is not known', left(config ->> 'model', 200)
            using errcode = 'invalid_parameter_value',
                  hint = format('The name must begin with the name of a provider and a slash. The providers are %s.'
                      , array_to_string(ai._litellm_providers(), ', '));
    end if;
    foreach name in array array['api_key', 'aws_secret_access_key', 'aws_session_token', 'vertex_credentials'] loop
        if options ? name then
            raise exception 'extra_options must not contain %', name
                using errcode = 'invalid_parameter_value',
                      hint = 'Put it into an environment variable of the worker, and name that in api_key_name. '
                          'If it was a key, replace that key: it may stand in the logs of server and client now.';
        end if;
    end loop;
    foreach name in array array['extra_headers', 'headers'] loop
        if options ? name then
            raise exception 'extra_options must not contain %', name
                using errcode = 'feature_not_supported';
        end if;
    end loop;
    foreach name in array array['api_base', 'base_url', 'aws_bedrock_runtime_endpoint'] loop
        perform ai._validate_base_url(name, options ->> name);
    end loop;
end
$$;

-- An address of a provider.
create or replace function ai._validate_base_url(name text, url text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if url ~ '[@#]' or url ~ '[?](?!api-version=[A-Za-z0-9.-]+$)' then
        raise exception '% must not hold a user, a password, a fragment or a query other than ?api-version=...', name
            using errcode = 'invalid_parameter_value';
    end if;
    if url !~ '^https?://[^/]' then
        raise exception '% must begin with http:// or https://, got "%"', name, left(url, 200);
    end if;
end
$$;

-- The name of a key. Messages do not repeat values that may be a key or contain a password, because they are logged.
create or replace function ai._validate_api_key_name(name text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if name !~ '^[A-Za-z_][A-Za-z0-9_]{0,99}$'
        or (name ~ '^[A-Za-z0-9_]{20,}$' and name ~ '[a-z]' and name ~ '[A-Z]' and name ~ '[0-9]')
    then
        raise exception 'api_key_name must be the name of an environment variable of the worker, such as OPENAI_API_KEY'
            using errcode = 'invalid_parameter_value',
                  hint = 'If it was a key itself, replace that key: it may stand in the logs of server and client now.';
    end if;
end
$$;

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
    if config ->> 'implementation' not in ('litellm', 'openai', 'ollama', 'sentence_transformers', 'voyageai') then
        raise exception 'invalid embedding implementation: "%"', config ->> 'implementation'
            using hint = 'This version knows ai.embedding_litellm, ai.embedding_ollama, ai.embedding_openai, '
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
    if config ->> 'implementation' = 'ollama' and config ? 'max_tokens'
        and (jsonb_typeof(config -> 'max_tokens') <> 'number' or (config ->> 'max_tokens')::numeric < 1
            or (config ->> 'max_tokens')::numeric % 1 <> 0)
    then
        raise exception 'max_tokens must be an integer of at least 1, got %', config -> 'max_tokens';
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
    perform ai._validate_api_key_name(config ->> 'api_key_name');
    perform ai._validate_base_url('base_url', config ->> 'base_url');
    if config ->> 'implementation' = 'litellm' then
        perform ai._validate_litellm(config);
    end if;
end
$$;

-- Says so if a model is made for prompts and the vectorizer has none. (pgai had none, so they are no default.)
create or replace function ai._advise_prompts(config jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not config ?| array['document_prompt', 'query_prompt']
        and (ai.model_prompts(config ->> 'model')).query_prompt is not null
    then
        raise notice 'the model % is made for prompts, and this vectorizer has none', config ->> 'model'
            using hint = 'Searches find more with document_prompt => ''auto'', query_prompt => ''auto'' in its '
                'embedding. An application must then put the query prompt before its questions: '
                'select query_prompt from ai.model_prompts(...).';
    end if;
end
$$;
