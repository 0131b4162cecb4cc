-- ai.search: the nearest chunks of a vectorizer. The functions here write one statement for each call, and it runs with
-- the privileges and the search_path of the caller. Every name in it that is ours is qualified.

-- pgvector's operator with its schema, and both sides of it as the vector index has them.
create or replace function ai._search_distance(v ai.vectorizer, embedding text, question text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    vector_schema name = (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
    indexing jsonb = v.config -> 'indexing';
    stored record;
    is_cast boolean;
    compared text;
begin
    select * into stored from ai._vector_column(v) f;
    if stored.relation is null then
        raise exception 'the table or the column that holds the vectors of the vectorizer "%" is gone', v.name
            using errcode = 'undefined_table';
    end if;
    is_cast = stored.type_name = 'vector' and stored.dimensions > 2000 and stored.dimensions <= 4000
        and coalesce(indexing ->> 'implementation', '') in ('hnsw', 'ivfflat');
    compared = case when is_cast or stored.type_name = 'halfvec'
        then format('%I.halfvec', vector_schema) else format('%I.vector', vector_schema) end;
    return format('%s%s operator(%I.%s) %s::%s%s', embedding
        , case when is_cast then format('::%s(%s)', compared, stored.dimensions) end
        , vector_schema
        , case indexing ->> 'opclass'
            when 'vector_ip_ops' then '<#>' when 'vector_l1_ops' then '<+>' when 'vector_l2_ops' then '<->' else '<=>' end
        , question, compared, case when is_cast then format('(%s)', stored.dimensions) end);
end
$$;

-- The operator of the default b-tree operator class of a type: 1 to 5 are <, <=, =, >= and >.
create or replace function ai._search_operator(of oid, strategy int) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format('operator(%I.%s)', n.nspname, o.oprname)
    from (
        select t.oid, case
            when t.typtype = 'e' then 'anyenum'::regtype
            when t.typtype = 'r' then 'anyrange'::regtype
            when t.oid = 'varchar'::regtype then 'text'::regtype
            when t.oid = 'cidr'::regtype then 'inet'::regtype
            when t.typcategory = 'A' then 'anyarray'::regtype
            else t.oid end as class_type
        from pg_type d
        join pg_type t on t.oid = case when d.typtype = 'd' then d.typbasetype else d.oid end
        where d.oid = of
        ) t
    join pg_opclass c on c.opcintype = t.class_type and c.opcdefault
    join pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
    join pg_amop a on a.amopfamily = c.opcfamily and a.amoplefttype = c.opcintype and a.amoprighttype = c.opcintype
        and a.amopstrategy = strategy
    join pg_operator o on o.oid = a.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
    limit 1;
end;

-- One comparison of a filter: a column of the source with a value. The value becomes a literal of the column's type.
create or replace function ai._search_comparison(column_name text, type oid, typmod int, operation text, value jsonb) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    type_name text = format_type(type, typmod);
    plain text = value #>> '{}';
    strategy int = case operation when '<' then 1 when '<=' then 2 when '=' then 3 when '>=' then 4 when '>' then 5 when '<>' then 3 end;
    operator text;
begin
    if operation = 'in' and jsonb_typeof(value) = 'array' then
        return format('(%s)', coalesce((
            select string_agg(ai._search_comparison(column_name, type, typmod, '=', x.value), ' or ' order by x.place)
            from jsonb_array_elements(value) with ordinality x(value, place)), 'false'));
    elsif operation = 'contains' then
        return format('%s operator(pg_catalog.@>) %L::%s', column_name, case
            when jsonb_typeof(value) = 'array' and type_name !~ '^jsonb' then array(select jsonb_array_elements_text(value))::text
            when type_name ~ '^jsonb' then value::text
            else array[plain]::text end, type_name);
    elsif operation in ('like', 'ilike') and jsonb_typeof(value) = 'string' then
        return format('%s::pg_catalog.text operator(pg_catalog.%s) %L'
            , column_name, case operation when 'like' then '~~' else '~~*' end, plain);
    elsif strategy is not null and value = 'null' then
        if operation not in ('=', '<>') then
            raise exception 'the filter compares % with null by %', column_name, operation
                using errcode = 'invalid_parameter_value', hint = 'Only = and <> compare with null.';
        end if;
        return format('%s is %s null', column_name, case operation when '<>' then 'not' end);
    elsif strategy is not null and jsonb_typeof(value) in ('string', 'number', 'boolean') then
        operator = ai._search_operator(type, strategy);
        if operator is null then
            raise exception 'the filter cannot compare the column %, whose type is %', column_name, type_name
                using errcode = 'wrong_object_type';
        end if;
        return format(case operation when '<>' then 'not (%s %s %L::%s)' else '%s %s %L::%s' end
            , column_name, operator, plain, type_name);
    end if;
    raise exception 'the filter has for the column % what is none: % %', column_name, operation, value
        using errcode = 'invalid_parameter_value'
            , hint = 'A value, a list of values, or {"OPERATION": VALUE} with =, <>, <, <=, >, >=, in, like, ilike or contains.';
end
$$;

-- A filter as a condition on the columns of the source. No text of it becomes SQL but as a quoted name or literal.
create or replace function ai._search_filter(source regclass, filter jsonb, alias text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
    operation record;
    conditions text[] = '{}';
begin
    if jsonb_typeof(filter) <> 'object' then
        raise exception 'the filter is no JSON object'
            using errcode = 'invalid_parameter_value', hint = 'For example: {"lang": "en", "year": {">=": 2020}}';
    end if;
    for one in
        select f.key, f.value, a.atttypid, a.atttypmod
        from jsonb_each(filter) f
        left join pg_attribute a on a.attrelid = source and a.attname = f.key and a.attnum > 0 and not a.attisdropped
    loop
        if one.atttypid is null then
            raise exception 'the filter names the column %, which % does not have', quote_ident(one.key), source
                using errcode = 'undefined_column';
        end if;
        for operation in
            select x.key, x.value from jsonb_each(case jsonb_typeof(one.value)
                when 'object' then one.value
                when 'array' then jsonb_build_object('in', one.value)
                else jsonb_build_object('=', one.value) end) x
        loop
            conditions = conditions || ai._search_comparison(
                format('%s.%I', alias, one.key), one.atttypid, one.atttypmod, operation.key, operation.value);
        end loop;
    end loop;
    return array_to_string(conditions, ' and ');
end
$$;

-- ' and exists (...)': the row of a chunk passes the filter and the condition; '' without both. (Unqualified names in
-- the condition are columns of the source.)
create or replace function ai._search_where(target_key text, source regclass, filter jsonb, condition text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- (Not a name that the statement has for something else.)
    name text = (
        select case when c.relname in ('_pgai', '_hit') then '_source' else quote_ident(c.relname) end
        from pg_class c where c.oid = source);
    parts text[] = array[nullif(case when filter is not null then ai._search_filter(source, filter, name) end, '')
        , case when btrim(condition) <> '' then format(E'(\n%s\n)', condition) end];
begin
    if array_to_string(parts, '') = '' then
        return '';
    end if;
    return format(' and exists (select from %s as %s where %s and %s)', source, name
        , ai._vectorizer_key_equals(source, name, target_key), array_to_string(parts, ' and '));
end
$$;

-- The expression of the result's column `source`: the chosen columns of the row as JSON, `*` for all; null if none are.
create or replace function ai._search_row(source regclass, columns name[]) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    missing name;
begin
    if coalesce(cardinality(columns), 0) = 0 then
        return 'null::pg_catalog.jsonb';
    end if;
    if columns = '{*}' then
        return format('(select pg_catalog.to_jsonb(_row) from %s _row where %s)'
            , source, ai._vectorizer_key_equals(source, '_row', '_hit'));
    end if;
    missing = (
        select w.name from unnest(columns) w(name)
        where not exists (
            select from pg_attribute a
            where a.attrelid = source and a.attname = w.name and a.attnum > 0 and not a.attisdropped)
        limit 1);
    if missing is not null then
        raise exception '% has no column %', source, quote_ident(missing) using errcode = 'undefined_column';
    end if;
    return (
        select format('(select pg_catalog.jsonb_object(array[]::pg_catalog.text[]) %s from %s _row where %s)'
            , string_agg(format('operator(pg_catalog.||) pg_catalog.jsonb_build_object(%L, _row.%I)', w.name, w.name), ' ' order by w.place)
            , source, ai._vectorizer_key_equals(source, '_row', '_hit'))
        from unnest(columns) with ordinality w(name, place));
end
$$;

-- The name that a column of the source has now. The configuration says which name it had when the caller's snapshot was
-- taken, but statements resolve names by the newest state of the catalog, and a switch exchanges the names of two columns
-- (ai._change_exchange_columns). The lock keeps that from happening until the search is over.
create or replace function ai._column_now(source regclass, name name) returns name
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    place int2 = (
        select a.attnum from pg_attribute a
        where a.attrelid = source and a.attname = name and a.attnum > 0 and not a.attisdropped);
    now_name name;
begin
    execute format('select from %s limit 0', source);
    -- (It does not read the catalog with the snapshot of the caller.)
    now_name = (pg_identify_object_as_address('pg_class'::regclass, source, place)).object_names[3];
    if now_name is null then
        raise exception 'the column % of % is gone', name, source using errcode = 'no_data_found';
    end if;
    return now_name;
end
$$;

-- What the statements of both searches have in common. In them `_pgai` is the table that holds the vectors, and `_hit` a
-- hit with the columns of the key and `_seq`.
-- (Older versions had a column less.)
do $$
begin
    if to_regprocedure('ai._search_pieces(ai.vectorizer, jsonb, text, int, name[])') is not null and not exists (
        select from pg_proc p
        where p.oid = to_regprocedure('ai._search_pieces(ai.vectorizer, jsonb, text, int, name[])')
        and 'location' = any (p.proargnames))
    then
        drop function ai._search_pieces(ai.vectorizer, jsonb, text, int, name[]);
    end if;
end
$$;

create or replace function ai._search_pieces
( v ai.vectorizer
, filter jsonb
, condition text
, neighbours int
, columns name[]
, out source regclass
, out target regclass
, out key_columns text
, out key_json text
, out seq text
, out body text
, out location text
, out distance text
, out passes text
, out before text
, out after text
, out source_row text
, out hit_is_target text
) language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    t record;
    around text;
begin
    select x.* into t from ai._text_target(v) x;
    target = t.relation;
    source = t.source;
    if target is null or source is null or exists (select from pg_class c where c.oid in (target, source) and c.relkind not in ('r', 'p')) then
        raise exception 'the source table or the store of the vectorizer "%" is gone', v.name
            using errcode = 'undefined_table', hint = format('select ai.drop_vectorizer(%s)', v.id);
    end if;
    key_columns = (select string_agg(format('%I', k.name), ', ' order by k.pknum) from ai._vectorizer_key(source) k);
    key_json = (
        select format('pg_catalog.jsonb_build_object(%s)', string_agg(format('%L, _hit.%I', k.name, k.name), ', ' order by k.pknum))
        from ai._vectorizer_key(source) k);
    if key_columns is null then
        raise exception 'the source table % has no primary key any more', source using errcode = 'undefined_object';
    end if;
    if t.is_column then
        t.embedding = ai._column_now(source, t.embedding);
    end if;
    seq = format(t.seq, '_pgai');
    body = format('_pgai.%I::pg_catalog.text', t.body);
    location = case when not t.is_column and (v.config #>> '{destination,location}')::boolean and exists (
            select from pg_attribute a
            where a.attrelid = target and a.attname = 'location' and a.atttypid = 'jsonb'::regtype and not a.attisdropped)
        then '_pgai.location' else 'null::pg_catalog.jsonb' end;
    distance = ai._search_distance(v, format('_pgai.%I', t.embedding), '$1');
    passes = format('_pgai.%I is not null%s', t.embedding, ai._search_where('_pgai', source, filter, condition));
    neighbours = least(neighbours, 1000000);
    before = 'null::pg_catalog.text[]';
    after = before;
    if neighbours > 0 and not t.is_column then
        around = format('from %s x where %s and x.chunk_seq', target, ai._vectorizer_key_equals(source, 'x', '_hit'));
        before = format('array(select x.chunk %s operator(pg_catalog.<) _hit._seq and x.chunk_seq operator(pg_catalog.>=) '
            '(_hit._seq operator(pg_catalog.-) %s) order by x.chunk_seq)', around, neighbours);
        after = format('array(select x.chunk %s operator(pg_catalog.>) _hit._seq and x.chunk_seq operator(pg_catalog.<=) '
            '(_hit._seq operator(pg_catalog.+) %s) order by x.chunk_seq)', around, neighbours);
    end if;
    source_row = ai._search_row(source, columns);
    hit_is_target = format('%s and %s operator(pg_catalog.=) _hit._seq', ai._vectorizer_key_equals(source, '_pgai', '_hit'), seq);
end
$$;
