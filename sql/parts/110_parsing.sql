-- Parsing: how a loaded document becomes text.
-- The config functions return exactly pgai's JSON; the validator raises before anything is created.

create or replace function ai.parsing_auto() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'auto', 'config_type', 'parsing');
comment on function ai.parsing_auto is 'Text as it is, documents by what they are.';

create or replace function ai.parsing_none() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'none', 'config_type', 'parsing');
comment on function ai.parsing_none is 'Text as it is.';

create or replace function ai.parsing_pymupdf() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'pymupdf', 'config_type', 'parsing');
comment on function ai.parsing_pymupdf is 'Documents, as pgai parsed them with PyMuPDF.';

create or replace function ai.parsing_docling() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'docling', 'config_type', 'parsing');
comment on function ai.parsing_docling is 'Documents, as pgai parsed them with Docling.';

create or replace function ai.parsing_docling_serve(url text, api_key_name text default null) returns jsonb
language sql immutable
return jsonb_strip_nulls(jsonb_build_object
( 'implementation', 'docling_serve'
, 'config_type', 'parsing'
, 'url', url
, 'api_key_name', api_key_name
));
comment on function ai.parsing_docling_serve is 'Documents, by a server of Docling: also scanned pages and images.';

create or replace function ai._validate_parsing
( parsing jsonb
, loading jsonb
, source_schema name
, source_table name
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    implementation text = parsing ->> 'implementation';
    is_bytea boolean = ai._source_column_type(source_schema, source_table, (loading ->> 'column_name')::name) = 'bytea';
begin
    if jsonb_typeof(parsing) is distinct from 'object' and parsing is not null then
        raise exception 'parsing config is not a jsonb object';
    end if;
    if parsing ->> 'config_type' is distinct from 'parsing' then
        raise exception 'invalid config_type for parsing config';
    end if;
    if implementation not in ('auto', 'none', 'pymupdf', 'docling', 'docling_serve') then
        raise exception 'invalid parsing config implementation';
    end if;
    if implementation = 'none' and is_bytea then
        raise exception 'cannot use parsing_none with bytea columns';
    end if;
    if implementation = 'none' and loading ->> 'implementation' = 'uri' then
        -- (pgai creates such a vectorizer, and each of its rows fails.)
        raise exception 'cannot use parsing_none with loading_uri'
            using hint = 'Use ai.parsing_auto().';
    end if;
    if loading ->> 'implementation' = 'column' and implementation in ('pymupdf', 'docling', 'docling_serve') and not is_bytea then
        raise exception 'parsing_% must be used with a bytea column', implementation;
    end if;
    if implementation = 'docling_serve' then
        if coalesce(parsing ->> 'url', '') = '' then
            raise exception 'invalid parsing config, missing url'
                using hint = 'For example: ai.parsing_docling_serve(''http://docling:5001'')';
        end if;
        perform ai._validate_base_url('url', parsing ->> 'url');
        perform ai._validate_api_key_name(parsing ->> 'api_key_name');
    end if;
end
$$;
