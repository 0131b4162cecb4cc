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

create or replace function ai.chunking_sentence(chunk_size int default 800, chunk_overlap int default 0) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'sentence'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
))::jsonb;
comment on function ai.chunking_sentence is 'Packs whole sentences into chunks, by the rules of Unicode.';

create or replace function ai.chunking_token(chunk_size int default 256, chunk_overlap int default 0) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'token'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
))::jsonb;
comment on function ai.chunking_token is 'Packs whole sentences into chunks; sizes are in tokens, of the model itself if it runs in the worker''s process, and otherwise of cl100k_base.';

create or replace function ai.chunking_markdown(chunk_size int default 800, chunk_overlap int default 0) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'markdown'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
))::jsonb;
comment on function ai.chunking_markdown is 'Keeps sections, lists, tables and code of Markdown whole where they fit.';

-- The three of pgai-rs, with its names, defaults and JSON.
create or replace function ai.chunking_sentence_chunker
( chunk_size int default 800
, chunk_overlap int default 400
, delimiters text[] default array['. ', '! ', '? ', E'\n']
, min_characters_per_sentence int default 12
, min_sentences_per_chunk int default 1
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'sentence_chunker'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
, 'delimiters', delimiters
, 'min_characters_per_sentence', min_characters_per_sentence
, 'min_sentences_per_chunk', min_sentences_per_chunk
))::jsonb;
comment on function ai.chunking_sentence_chunker is 'Packs sentences that end at delimiters, as pgai-rs does.';

create or replace function ai.chunking_semchunk
( chunk_size int default 800
, chunk_overlap int default 400
, memoize boolean default true
, strict_mode boolean default false
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'semchunk'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
, 'memoize', memoize
, 'strict_mode', strict_mode
))::jsonb;
comment on function ai.chunking_semchunk is 'Cuts at the coarsest punctuation or white space that is there, as pgai-rs does.';

create or replace function ai.chunking_semantic_chunker
( chunk_size int default 800
, chunk_overlap int default 400
, window_size int default 3
, skip_window int default 0
, reconnect_similarity_threshold float4 default 0.75
, max_aside_length int default 512
, delimiters text[] default array['. ', '! ', '? ', E'\n']
, min_characters_per_sentence int default 12
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'semantic_chunker'
, 'config_type', 'chunking'
, 'chunk_size', chunk_size
, 'chunk_overlap', chunk_overlap
, 'window_size', window_size
, 'skip_window', skip_window
, 'reconnect_similarity_threshold', reconnect_similarity_threshold
, 'max_aside_length', max_aside_length
, 'delimiters', delimiters
, 'min_characters_per_sentence', min_characters_per_sentence
))::jsonb;
comment on function ai.chunking_semantic_chunker is
    'Cuts where the meaning of sentences changes, as pgai-rs does; the vectorizer''s own model embeds all sentences for that.';

create or replace function ai.chunking_none() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'none', 'config_type', 'chunking');
comment on function ai.chunking_none is 'The whole text is one chunk.';

-- Both chunkers with delimiters.
create or replace function ai._validate_sentence_chunker(config jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    settings text[] = array['min_characters_per_sentence'];
    setting text;
begin
    if jsonb_typeof(config -> 'delimiters') is distinct from 'array' or config -> 'delimiters' = '[]'
        or jsonb_path_exists(config -> 'delimiters', '$[*] ? (@.type() != "string" || @ == "")')
    then
        raise exception 'invalid chunking config, delimiters must be an array of texts that are not empty';
    end if;
    if config ->> 'implementation' = 'semantic_chunker' then
        settings = settings || array['window_size', 'skip_window', 'max_aside_length'];
    else
        settings = settings || 'min_sentences_per_chunk'::text;
    end if;
    foreach setting in array settings loop
        if jsonb_typeof(config -> setting) is distinct from 'number' or (config ->> setting)::numeric < 0
            or (config ->> setting)::numeric % 1 <> 0
        then
            raise exception 'invalid chunking config, % must be an integer that is not negative', setting;
        end if;
    end loop;
    if config ->> 'implementation' <> 'semantic_chunker' then
        return;
    end if;
    if jsonb_typeof(config -> 'reconnect_similarity_threshold') is distinct from 'number'
        or (config ->> 'reconnect_similarity_threshold')::numeric not between 0 and 1
    then
        raise exception 'invalid chunking config, reconnect_similarity_threshold must be a number from 0 to 1';
    end if;
    if (config ->> 'skip_window')::numeric > 100 then
        raise exception 'invalid chunking config, skip_window must be at most 100';
    end if;
end
$$;

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
        ( 'character_text_splitter', 'recursive_character_text_splitter', 'none', 'sentence', 'markdown'
        , 'sentence_chunker', 'semantic_chunker', 'semchunk', 'token')
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
    perform ai._validate_sentence_chunker(config)
    where config ->> 'implementation' in ('semantic_chunker', 'sentence_chunker');
end
$$;
