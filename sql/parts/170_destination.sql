-- Destination: where the vectors are stored. The config function returns exactly pgai's JSON (plus `view_columns`,
-- `storage` and `location` if given, which pgai does not have); the defaults are filled in at creation.

-- pgai's function with five parameters, and those of older versions with six and seven, would make a call with fewer arguments
-- ambiguous. A default of ai.create_vectorizer uses it.
do $$
declare
    older regprocedure;
begin
    foreach older in array array
        [ to_regprocedure('ai.destination_table(name, name, name, name, name)')
        , to_regprocedure('ai.destination_table(name, name, name, name, name, name[])')
        , to_regprocedure('ai.destination_table(name, name, name, name, name, name[], text)')]
    loop
        if older is not null then
            drop function if exists ai.create_vectorizer(regclass, text, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb
                , jsonb, jsonb, name, name, name[], boolean, boolean);
            execute format('drop function %s', older);
        end if;
    end loop;
end
$$;

create or replace function ai.destination_table
( destination name default null
, target_schema name default null
, target_table name default null
, view_schema name default null
, view_name name default null
, view_columns name[] default null
, storage text default null
, location boolean default null
) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'table'
, 'config_type', 'destination'
, 'destination', destination
, 'target_schema', target_schema
, 'target_table', target_table
, 'view_schema', view_schema
, 'view_name', view_name
, 'view_columns', view_columns
, 'storage', storage
, 'location', location
))::jsonb;
comment on function ai.destination_table is
    'A table for chunks and vectors (<destination>_store), and a view that joins it with the source (<destination>): '
    'with its key and `view_columns`, or all columns. Storage: vector, or halfvec, which takes half the space. '
    'Location: whether a column says where each chunk comes from; by default for documents.';

create or replace function ai.destination_column(embedding_column name) returns jsonb
language sql immutable
return json_strip_nulls(json_build_object
( 'implementation', 'column'
, 'config_type', 'destination'
, 'embedding_column', embedding_column
))::jsonb;
comment on function ai.destination_column is
    'A column of the source table itself, for one vector a row: chunking must be ai.chunking_none().';

create or replace function ai._validate_destination(destination jsonb, chunking jsonb) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if jsonb_typeof(destination) is distinct from 'object' then
        raise exception 'destination config is not a jsonb object';
    end if;
    if destination ->> 'config_type' is distinct from 'destination' then
        raise exception 'invalid config_type for destination config';
    end if;
    if coalesce(destination ->> 'implementation', '') not in ('table', 'column') then
        raise exception 'invalid implementation for destination config'
            using hint = 'Use ai.destination_table or ai.destination_column.';
    end if;
    if destination ->> 'implementation' = 'column' then
        if coalesce(destination ->> 'embedding_column', '') = '' then
            raise exception 'invalid destination config, missing embedding_column';
        end if;
        if chunking ->> 'implementation' is distinct from 'none' then
            raise exception 'chunking must be none for column destination'
                using hint = 'A row has one vector there: chunking => ai.chunking_none()';
        end if;
    end if;
    if destination ? 'view_columns' and (
        jsonb_typeof(destination -> 'view_columns') <> 'array'
        or exists (
            select from jsonb_array_elements(destination -> 'view_columns') c(name) where jsonb_typeof(c.name) <> 'string'))
    then
        raise exception 'invalid destination config, view_columns must be an array of names'
            using hint = 'For example: view_columns => array[''title'']';
    end if;
    if jsonb_typeof(destination -> 'location') <> 'boolean' then
        raise exception 'invalid destination config, location must be true or false';
    end if;
    if destination ->> 'storage' not in ('vector', 'halfvec') then
        raise exception 'invalid destination config, storage must be vector or halfvec';
    end if;
end
$$;

-- The destination with all its names.
create or replace function ai._evaluate_destination
( destination jsonb
, source_schema name
, source_table name
) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    stem text = destination ->> 'destination';
    evaluated jsonb = jsonb_build_object
    ( 'implementation', 'table'
    , 'config_type', 'destination'
    , 'target_schema', coalesce(destination ->> 'target_schema', source_schema)
    , 'target_table', coalesce(destination ->> 'target_table', stem || '_store', source_table || '_embedding_store')
    , 'view_schema', coalesce(destination ->> 'view_schema', source_schema)
    , 'view_name', coalesce(destination ->> 'view_name', stem, source_table || '_embedding')
    );
    made text;
begin
    if destination ->> 'implementation' = 'column' then
        return destination;
    end if;
    foreach made in array array[evaluated ->> 'target_table', evaluated ->> 'view_name'] loop
        if octet_length(made) > 63 then
            raise exception 'the name "%" is longer than PostgreSQL''s 63 bytes', made
                using errcode = 'name_too_long',
                      hint = 'Give shorter names with ai.destination_table(target_table => ..., view_name => ...).';
        end if;
    end loop;
    if destination ? 'view_columns' then
        evaluated = evaluated || jsonb_build_object('view_columns', destination -> 'view_columns');
    end if;
    if destination ->> 'storage' = 'halfvec' then
        evaluated = evaluated || jsonb_build_object('storage', 'halfvec');
    end if;
    if (destination ->> 'location')::boolean then
        evaluated = evaluated || jsonb_build_object('location', true);
    end if;
    return evaluated;
end
$$;

-- The destination of documents says where chunks come from, unless it was said otherwise or the source has a column of
-- that name.
create or replace function ai._destination_with_location(destination jsonb, loading jsonb, source regclass) returns jsonb
language sql stable
begin atomic
    select case
        when destination ->> 'implementation' = 'table' and not destination ? 'location'
            and (loading ->> 'implementation' = 'uri' or exists (
                select from pg_attribute a
                where a.attrelid = source and a.attname = loading ->> 'column_name' and a.attnum > 0
                and a.atttypid = 'bytea'::regtype))
            and not exists (
                select from pg_attribute a
                where a.attrelid = source and a.attname = 'location' and a.attnum > 0 and not a.attisdropped)
        then destination || '{"location": true}'
        else destination end;
end;

-- The columns of the source that a view contains: the key, and the chosen ones or all.
create or replace function ai._destination_view_columns(source regclass, destination jsonb) returns setof name
language sql stable
begin atomic
    select a.attname
    from pg_attribute a
    where a.attrelid = source
    and a.attnum > 0
    and not a.attisdropped
    and (not destination ? 'view_columns'
        or a.attname in (select c.name from jsonb_array_elements_text(destination -> 'view_columns') c(name))
        or exists (
            select from pg_index x where x.indrelid = source and x.indisprimary and a.attnum = any (x.indkey::int2[])))
    order by a.attnum;
end;

create or replace function ai._validate_destination_can_create_objects(destination jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if destination ->> 'implementation' = 'column' then
        return;
    end if;
    if to_regclass(format('%I.%I', destination ->> 'view_schema', destination ->> 'view_name')) is not null then
        raise exception 'an object named %.% already exists. specify an alternate destination or view_name explicitly'
            , destination ->> 'view_schema', destination ->> 'view_name'
            using errcode = 'duplicate_object';
    end if;
    if to_regclass(format('%I.%I', destination ->> 'target_schema', destination ->> 'target_table')) is not null then
        raise exception 'an object named %.% already exists. specify an alternate destination or target_table explicitly'
            , destination ->> 'target_schema', destination ->> 'target_table'
            using errcode = 'duplicate_object';
    end if;
end
$$;

create or replace function ai.grant_to(variadic grantees name[]) returns name[]
language sql volatile
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(array_agg(distinct g.name), '{}'::name[])
    from (
        select unnest(grantees) as name
        union
        select trim(s.name)::name
        from string_to_table(current_setting('ai.grant_to_default', true), ',') s(name)
        where trim(s.name) <> ''
    ) g
    where g.name is not null;
end;
comment on function ai.grant_to(name[]) is 'The roles that may use a vectorizer, with those of ai.grant_to_default.';

create or replace function ai.grant_to() returns name[]
language sql volatile
begin atomic
    select ai.grant_to(variadic '{}'::name[]);
end;
comment on function ai.grant_to() is 'The roles of ai.grant_to_default.';
