-- The key of a source table, which is also the key of queue, leases and store. Its equality operator is
-- that of the primary key's index, with its schema: types of extensions have their own.

create or replace function ai._vectorizer_source_pk(source_table regclass) returns jsonb
language sql stable
begin atomic
    select jsonb_agg(jsonb_build_object
    ( 'attnum', a.attnum
    , 'pknum', k.pknum
    , 'attname', a.attname
    , 'typname', format_type(a.atttypid, a.atttypmod)
    ) order by k.pknum)
    from pg_constraint c
    cross join unnest(c.conkey) with ordinality k(attnum, pknum)
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
    where c.conrelid = source_table
    and c.contype = 'p';
end;

-- One row for each key column, in the order of the primary key: its name, its type with collation as
-- in a column definition, and the equality operator.
create or replace function ai._vectorizer_key(source_table regclass)
returns table (pknum int, attnum int, name text, definition text, equals text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select k.pknum::int
         , a.attnum::int
         , a.attname::text
         , format_type(a.atttypid, -1)
           || case when a.attcollation <> t.typcollation and a.attcollation <> 0
                   then (select format(' collate %I.%I', n.nspname, l.collname)
                         from pg_collation l join pg_namespace n on n.oid = l.collnamespace
                         where l.oid = a.attcollation)
                   else '' end
         , (select format('operator(%I.%s)', n.nspname, o.oprname)
            from pg_opclass p
            join pg_amop m on m.amopfamily = p.opcfamily and m.amopstrategy = 3
                and m.amoplefttype = p.opcintype and m.amoprighttype = p.opcintype
            join pg_operator o on o.oid = m.amopopr
            join pg_namespace n on n.oid = o.oprnamespace
            where p.oid = x.indclass[(k.pknum - 1)::int])
    from pg_index x
    cross join unnest(x.indkey::int2[]) with ordinality k(attnum, pknum)
    join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attnum
    join pg_type t on t.oid = a.atttypid
    where x.indrelid = source_table
    and x.indisprimary
    and k.pknum <= x.indnkeyatts
    order by k.pknum;
end;

-- A value as text if it survives a conversion to UTF-8 and back, because workers use UTF-8; else its bytes, whose
-- form differs from every other value. (For databases with another encoding.)
create or replace function ai._readable(value text) returns text
language plpgsql immutable strict
set search_path = pg_catalog, pg_temp
as $$
begin
    if convert_from(convert_to(value, 'UTF8'), 'UTF8') = value collate "C" then
        return value;
    end if;
    return E'\\x' || encode(convert_to(value, getdatabaseencoding()), 'hex');
exception when character_not_in_repertoire or untranslatable_character then
    return E'\\x' || encode(convert_to(value, getdatabaseencoding()), 'hex');
end
$$;

-- 'x.a = y.a and x.b = y.b', with the right operators.
create or replace function ai._vectorizer_key_equals(source_table regclass, l text, r text) returns text
language sql stable
begin atomic
    select string_agg(format('%s.%I %s %s.%I', l, k.name, k.equals, r, k.name), ' and ' order by k.pknum)
    from ai._vectorizer_key(source_table) k;
end;

-- 'x.a, x.b'; without an alias 'a, b'.
create or replace function ai._vectorizer_key_list(source_table regclass, alias text default null) returns text
language sql stable
begin atomic
    select string_agg(coalesce(alias || '.', '') || quote_ident(k.name), ', ' order by k.pknum)
    from ai._vectorizer_key(source_table) k;
end;

-- The key's column definitions, in the order of the source's columns, as pgai has them.
create or replace function ai._vectorizer_key_definitions(source_table regclass) returns text
language sql stable
begin atomic
    select string_agg(format('%I %s not null', k.name, k.definition), ', ' order by k.attnum)
    from ai._vectorizer_key(source_table) k;
end;

-- A primary key applies to its own table, not to tables that inherit from it.
create or replace function ai._validate_heirs(source_table regclass) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    twice text;
begin
    if not exists (select from ai._vectorizer_heirs(source_table)) then
        return;
    end if;
    execute format('select row(%1$s)::text from %2$s group by %1$s having count(*) > 1 limit 1'
        , ai._vectorizer_key_list(source_table), source_table)
    into twice;
    if twice is not null then
        raise exception 'the key % stands more than once in % and the tables that inherit from it', twice, source_table
            using errcode = 'unique_violation', hint = 'Keys must be unique over all of these tables together.';
    end if;
end
$$;

-- Names that the tables or the view of a vectorizer use themselves.
create or replace function ai._validate_source_names(source_table regclass, destination jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    taken name;
begin
    if exists (
        select from pg_index x join pg_class c on c.oid = x.indexrelid join pg_am m on m.oid = c.relam
        where x.indrelid = source_table and x.indisprimary and m.amname <> 'btree')
    then
        raise exception 'the primary key is not a b-tree index'
            using errcode = 'feature_not_supported',
                  hint = 'Keys without overlaps are not supported.';
    end if;
    select k.name into taken
    from ai._vectorizer_key(source_table) k
    where k.name in
        ( 'embedding_uuid', 'chunk_seq', 'chunk', 'embedding', 'queued_at', 'loading_retries'
        , 'loading_retry_after', 'created_at', 'failure_step', 'failure_reason'
        , '_generation', '_claim', '_until', '_attempts', '_failures'
        -- Of the text index, and of the statements of a search.
        , '_words', '_counts', '_length', '_seq', '_distance', '_score', '_norm', '_text', '_vector')
    limit 1;
    if taken is not null then
        raise exception 'the key column "%" has a name that a vectorizer''s own tables need', taken
            using errcode = 'duplicate_column',
                  hint = 'Rename the column.';
    end if;
    select a.name into taken
    from ai._destination_view_columns(source_table, destination) a(name)
    where destination ->> 'implementation' = 'table'
    and (a.name in ('embedding_uuid', 'chunk_seq', 'chunk', 'embedding')
        or a.name = 'location' and (destination ->> 'location')::boolean)
    limit 1;
    if taken is not null then
        raise exception 'the column "%" of the source table has a name that the view of a vectorizer needs', taken
            using errcode = 'duplicate_column',
                  hint = 'Rename the column, or leave it out: ai.destination_table(view_columns => ...).';
    end if;
    select c.name into taken
    from jsonb_array_elements_text(destination -> 'view_columns') c(name)
    where c.name not in (select a.name from ai._destination_view_columns(source_table, destination) a(name))
    limit 1;
    if taken is not null then
        raise exception 'view_columns names "%", which is no column of the source table', taken
            using errcode = 'undefined_column';
    end if;
end
$$;
