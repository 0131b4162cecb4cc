-- Formatting: what is embedded and stored for a chunk.
-- Templates are Python's string.Template: $name, ${name}, $$ for a dollar. Every name must be a column.

create or replace function ai.formatting_python_template(template text default '$chunk') returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'python_template'
, 'config_type', 'formatting'
, 'template', template
))::jsonb;
comment on function ai.formatting_python_template is
    'The chunk ($chunk) and columns of its row ($column), as Python''s string.Template puts them together.';

create or replace function ai.formatting_contextual(template text default E'$headings\n\n$chunk') returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'contextual'
, 'config_type', 'formatting'
, 'template', template
))::jsonb;
comment on function ai.formatting_contextual is
    'As a template, which may also name what stands around the chunk: $document_title, $headings, $previous, $next.';

create or replace function ai.formatting_chunk_value() returns jsonb
language sql immutable
return jsonb_build_object('implementation', 'chunk_value', 'config_type', 'formatting');
comment on function ai.formatting_chunk_value is 'The chunk as it is.';

-- The names in a template, each once, in order. A dollar without a name raises an error, as in Python. (One pass: a
-- template may have a million of them.)
create or replace function ai._template_names(template text) returns setof text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $fn$
declare
    -- The longest match counts. The last alternative is a dollar by itself.
    placeholder text = '[$](?:([$])|([A-Za-z_][A-Za-z0-9_]*)|[{]([A-Za-z_][A-Za-z0-9_]*)[}]|)';
    names text[];
    invalid bigint;
begin
    select array_agg(m.name order by m.place), min(m.place) filter (where m.name is null) into names, invalid
    from (
        select coalesce(f.found[1], f.found[2], f.found[3]) as name, f.place
        from regexp_matches(template, placeholder, 'g') with ordinality f(found, place)
        ) m;
    if invalid is not null then
        raise exception 'invalid placeholder in formatting template at "$%"'
            , left(substr(template, regexp_instr(template, placeholder, 1, invalid::int) + 1), 20)
            using hint = 'Write $name or ${name} for a column, and $$ for a dollar sign.';
    end if;
    return query
    select n.name from unnest(names) with ordinality n(name, place)
    where n.name <> '$'
    group by n.name order by min(n.place);
end
$fn$;

-- The names of a template that are no columns.
create or replace function ai._template_own_names(config jsonb) returns text[]
language sql immutable
return case config ->> 'implementation'
    when 'contextual' then array['chunk', 'document_title', 'headings', 'previous', 'next']
    else array['chunk'] end;

-- The source columns that a formatting config names.
create or replace function ai._formatting_columns(config jsonb) returns name[]
language sql immutable
begin atomic
    select coalesce(array_agg(distinct n.name::name), '{}'::name[])
    from ai._template_names(config ->> 'template') n(name)
    where config ->> 'implementation' in ('python_template', 'contextual')
    and n.name <> all (ai._template_own_names(config));
end;

-- The source columns that determine a row's texts: the loaded one, and those that the template names.
create or replace function ai._vectorizer_watched(config jsonb) returns name[]
language sql immutable
return ai._formatting_columns(config -> 'formatting') || (config #>> '{loading,column_name}')::name;

create or replace function ai._validate_formatting_python_template
( config jsonb
, source_schema name
, source_table name
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    template text = config ->> 'template';
    own text[] = ai._template_own_names(config);
    missing name;
begin
    -- As in Python: a doubled dollar does not start a name.
    if template is null or not exists (select from ai._template_names(template) n(name) where n.name = 'chunk') then
        raise exception 'template must contain $chunk placeholder';
    end if;
    if ai._source_column_type(source_schema, source_table, 'chunk') is not null then
        raise exception 'formatting_% may not be used when source table has a column named "chunk"'
            , config ->> 'implementation'
            using hint = 'Use ai.formatting_chunk_value(), or rename the column.';
    end if;
    select n.name into missing
    from ai._template_names(template) n(name)
    where n.name <> all (own)
    and ai._source_column_type(source_schema, source_table, n.name::name) is null
    limit 1;
    if missing is not null then
        raise exception 'formatting template names "%", which is no column of the source table', missing
            using hint = ai._source_columns_hint(source_schema, source_table);
    end if;
end
$$;

create or replace function ai._validate_formatting
( config jsonb
, source_schema name
, source_table name
) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(config) is distinct from 'object' then
        raise exception 'formatting config is not a jsonb object';
    end if;
    if config ->> 'config_type' is distinct from 'formatting' then
        raise exception 'invalid config_type for formatting config';
    end if;
    case coalesce(config ->> 'implementation', '')
        when 'python_template' then
            perform ai._validate_formatting_python_template(config, source_schema, source_table);
        when 'contextual' then
            perform ai._validate_formatting_python_template(config, source_schema, source_table);
        when 'chunk_value' then
            null;
        else
            raise exception 'unrecognized formatting implementation';
    end case;
end
$$;
