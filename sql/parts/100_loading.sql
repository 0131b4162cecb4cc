-- Loading: where a row's text comes from.
-- The config functions return exactly pgai's JSON; the validator raises before anything is created.

create or replace function ai.loading_column(column_name name, retries int default 6) returns jsonb
language sql immutable
return jsonb_build_object
( 'implementation', 'column'
, 'config_type', 'loading'
, 'column_name', column_name
, 'retries', retries
);
comment on function ai.loading_column is 'Embed what the column holds.';

-- (Older versions had a parameter less; that of pgai is the same.)
drop function if exists ai.loading_uri(name, int, text);

create or replace function ai.loading_uri
( column_name name
, retries int default 6
, aws_role_arn text default null
, refresh interval default null
) returns jsonb
language sql immutable
return jsonb_strip_nulls(jsonb_build_object
( 'implementation', 'uri'
, 'config_type', 'loading'
, 'column_name', column_name
, 'retries', retries
, 'aws_role_arn', aws_role_arn
-- In seconds.
, 'refresh', ceil(extract(epoch from refresh))::bigint
));
comment on function ai.loading_uri is 'Embed the document whose address the column holds.';

-- The type's name if the source has this column, else null.
create or replace function ai._source_column_type(source_schema name, source_table name, column_name name)
returns name
language sql stable
begin atomic
    select y.typname
    from pg_namespace n
    join pg_class c on c.relnamespace = n.oid
    join pg_attribute a on a.attrelid = c.oid
    join pg_type y on y.oid = a.atttypid
    where n.nspname = source_schema
    and c.relname = source_table
    and a.attname = column_name
    and a.attnum > 0
    and not a.attisdropped;
end;

-- The source's columns as a sentence for hints.
create or replace function ai._source_columns_hint(source_schema name, source_table name) returns text
language sql stable
begin atomic
    select format('The columns are: %s.', string_agg(quote_ident(a.attname), ', ' order by a.attnum))
    from pg_namespace n
    join pg_class c on c.relnamespace = n.oid
    join pg_attribute a on a.attrelid = c.oid
    where n.nspname = source_schema
    and c.relname = source_table
    and a.attnum > 0
    and not a.attisdropped;
end;

create or replace function ai._validate_loading(config jsonb, source_schema name, source_table name) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    column_name name = config ->> 'column_name';
    type_name name;
begin
    if jsonb_typeof(config) is distinct from 'object' then
        raise exception 'loading config is not a jsonb object';
    end if;
    if config ->> 'config_type' is distinct from 'loading' then
        raise exception 'invalid config_type for loading config';
    end if;
    if config ->> 'implementation' is null or config ->> 'implementation' not in ('column', 'uri') then
        raise exception 'invalid loading config implementation'
            using hint = 'Use ai.loading_column or ai.loading_uri.';
    end if;
    if column_name is null then
        raise exception 'invalid loading config, missing column_name';
    end if;
    if jsonb_typeof(config -> 'retries') is distinct from 'number'
        or (config ->> 'retries')::numeric < 0
        or (config ->> 'retries')::numeric % 1 <> 0
    then
        raise exception 'invalid loading config, retries must be a non-negative integer';
    end if;
    if config ->> 'aws_role_arn' not like 'arn:aws:iam::%:' || 'role/%' then
        -- In two pieces, because SQLAlchemy would take one for a parameter.
        raise exception 'invalid loading config, aws_role_arn must match arn:aws:iam::*:%', 'role/*';
    end if;
    if config ? 'refresh' and not coalesce(config ->> 'implementation' = 'uri' and jsonb_typeof(config -> 'refresh') = 'number', false) then
        raise exception 'invalid loading config, refresh is a number of seconds, of ai.loading_uri'
            using hint = 'For example: ai.loading_uri(''url'', refresh => ''1 day'')';
    end if;
    if not (config ->> 'refresh')::numeric between 1 and 315360000 or (config ->> 'refresh')::numeric % 1 <> 0 then
        raise exception 'invalid loading config, refresh must be at least one second, and at most ten years'
            using hint = 'For example: ai.loading_uri(''url'', refresh => ''1 day'')';
    end if;

    type_name = ai._source_column_type(source_schema, source_table, column_name);
    if type_name is null then
        raise exception 'column_name in config does not exist in the table: %', column_name
            using hint = ai._source_columns_hint(source_schema, source_table);
    end if;
    if type_name not in ('text', 'varchar', 'char', 'bpchar', 'bytea') then
        raise exception 'column_name % in config is of invalid type %. Supported types are: text, varchar, char, bpchar, bytea'
            , column_name, type_name
            using hint = 'Add a generated column that casts it to text, and load that one.';
    end if;
    if config ->> 'implementation' = 'uri' and type_name = 'bytea' then
        raise exception 'the type of the column `%` in config is not compatible with `uri` loading implementation (type should be either text, varchar, char, bpchar, or bytea)'
            , column_name;
    end if;
end
$$;
