-- Chunking: how a text is split. The config functions return exactly pgai's JSON; impossible sizes are
-- rejected here.

create or replace function ai.chunking_character_text_splitter
( chunk_size int default 800
, chunk_overlap int default 400
, separator text default E'\n\n'
, is_separator_regex boolean default false
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'character_text_splitter'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
, 'separator', separator
, 'is_separator_regex', is_separator_regex
))::jsonb;
comment on function ai.chunking_character_text_splitter is 'Cuts at one separator; sizes are in characters.';

create or replace function ai.chunking_recursive_character_text_splitter
( chunk_size int default 800
, chunk_overlap int default 400
, separators text[] default array[E'\n\n', E'\n', '.', '?', '!', ' ', '']
, is_separator_regex boolean default false
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'recursive_character_text_splitter'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
, 'separators', separators
, 'is_separator_regex', is_separator_regex
))::jsonb;
comment on function ai.chunking_recursive_character_text_splitter is
    'Cuts at the first separator that is there, and what is still too long at the next one.';

create or replace function ai.chunking_none() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'none', 'config_type', 'chunking');
comment on function ai.chunking_none is 'The whole text is one chunk.';

create or replace function ai._validate_chunking(config jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    size numeric;
    overlap numeric;
begin
    if jsonb_typeof(config) is distinct from 'object' then
        raise exception 'chunking config is not a jsonb object';
    end if;
    if config ->> 'config_type' is distinct from 'chunking' then
        raise exception 'invalid config_type for chunking config';
    end if;
    if config ->> 'implementation' is null or config ->> 'implementation' not in
        ('character_text_splitter', 'recursive_character_text_splitter', 'none')
    then
        raise exception 'invalid chunking config implementation';
    end if;
    if config ->> 'implementation' = 'none' then
        return;
    end if;
    if jsonb_typeof(config -> 'chunk_size') is distinct from 'number'
        or jsonb_typeof(config -> 'chunk_overlap') is distinct from 'number'
    then
        raise exception 'invalid chunking config, chunk_size and chunk_overlap must be numbers';
    end if;
    size = (config ->> 'chunk_size')::numeric;
    overlap = (config ->> 'chunk_overlap')::numeric;
    if size % 1 <> 0 or overlap % 1 <> 0 then
        raise exception 'invalid chunking config, chunk_size and chunk_overlap must be integers';
    end if;
    if size < 1 then
        raise exception 'chunk_size must be > 0, got %', size;
    end if;
    if overlap < 0 then
        raise exception 'chunk_overlap must be >= 0, got %', overlap;
    end if;
    if overlap > size then
        raise exception 'Got a larger chunk overlap (%) than chunk size (%), should be smaller.', overlap, size
            using hint = 'Both have defaults (800 and 400): a smaller chunk_size needs a smaller chunk_overlap, too.';
    end if;
end
$$;
