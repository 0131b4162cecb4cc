-- The changes of a statement, as queries over its transition tables, or over OLD and NEW of one row.
--
-- The queries name columns, which may have been renamed or dropped since. So each row image has a fallback with the
-- same names one query level further out: PostgreSQL uses it for a name that the table no longer has. A missing key
-- column is null. A missing watched column is false in the old image and true in the new one: it is unknown what has
-- changed, so the row counts as changed.

-- The type of a key column without its length or precision, so that the application can widen the column.
create or replace function ai._vectorizer_key_type(source regclass, attnum int) returns text
language sql stable
begin atomic
    select format_type(a.atttypid, -1)
    from pg_attribute a
    where a.attrelid = source and a.attnum = _vectorizer_key_type.attnum;
end;

-- The columns of an image: k1, k2, ... the key, w1, w2, ... the watched columns (each name once). A virtual generated
-- column is null in a transition table, and its expression may change later: then the whole row is watched, as w0.
create or replace function ai._vectorizer_image_columns(source regclass, watched name[])
returns table (alias text, name text, fallback text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select 'k' || k.pknum, k.name, 'null::' || ai._vectorizer_key_type(source, k.attnum)
    from ai._vectorizer_key(source) k
    union all
    select 'w' || w.number, w.name::text, case when k.name is null then 'bool' end
    from unnest(watched) with ordinality w(name, number)
    left join ai._vectorizer_key(source) k on k.name = w.name
    union all
    select 'w0', null, null
    where exists (
        select from pg_attribute a
        where a.attrelid = source and a.attname = any (watched) and a.attgenerated not in ('', 's'));
end;

-- One image: `image` is o or n, `rows` is its source.
create or replace function ai._vectorizer_image_sql(source regclass, watched name[], image text, rows text) returns text
language sql stable
begin atomic
    select format
    ( '(select i.* from (select %s) fallback cross join lateral (select true as here, %s from %s x) i) %s'
    , string_agg(format('%s as %I'
        , case when c.fallback <> 'bool' then c.fallback when image = 'o' then 'false' else 'true' end, c.name), ', ')
        filter (where c.fallback is not null)
    , string_agg(case c.alias when 'w0' then 'row(x.*)::record as w0' else format('%I as %s', c.name, c.alias) end, ', ')
    , rows
    , image
    )
    from ai._vectorizer_image_columns(source, watched) c;
end;

-- Whether the watched columns of two images differ: by their record image, because json and xml have no equality, and
-- 1.0 and 1.00 are equal but have different texts.
create or replace function ai._vectorizer_changed_sql(source regclass, watched name[]) returns text
language sql stable
begin atomic
    select format('row(%s)::record operator(pg_catalog.*<>) row(%s)::record'
        , string_agg('o.' || c.alias, ', '), string_agg('n.' || c.alias, ', '))
    from ai._vectorizer_image_columns(source, watched) c where c.alias like 'w%';
end;

-- The changed rows of a statement: keys as k1, k2, ..., and whether the key is deleted. An update counts if
-- a watched column differs. (A full join is never a nested loop, whatever number of rows the planner estimates: the plan is
-- kept from the first call.)
create or replace function ai._vectorizer_changes_sql
( source regclass
, watched name[]
, event text
, old_set text
, new_set text
) returns text
language sql stable
begin atomic
    select case event
        when 'insert' then format('select %s, false as gone from %s'
            , string_agg(format('n.k%1$s', k.pknum), ', ' order by k.pknum)
            , ai._vectorizer_image_sql(source, watched, 'n', new_set))
        when 'delete' then format('select %s, true as gone from %s'
            , string_agg(format('o.k%1$s', k.pknum), ', ' order by k.pknum)
            , ai._vectorizer_image_sql(source, watched, 'o', old_set))
        else format('select %s, n.here is null as gone from %s full join %s on %s '
            'where o.here is null or n.here is null or %s'
            , string_agg(format('coalesce(n.k%1$s, o.k%1$s) as k%1$s', k.pknum), ', ' order by k.pknum)
            , ai._vectorizer_image_sql(source, watched, 'o', old_set)
            , ai._vectorizer_image_sql(source, watched, 'n', new_set)
            , string_agg(format('o.k%1$s %2$s n.k%1$s', k.pknum, k.equals), ' and ' order by k.pknum)
            , ai._vectorizer_changed_sql(source, watched))
        end
    from ai._vectorizer_key(source) k;
end;

-- 'x.k1, x.k2'
create or replace function ai._vectorizer_image_keys(source regclass, alias text) returns text
language sql stable
begin atomic
    select string_agg(format('%s.k%s', alias, k.pknum), ', ' order by k.pknum) from ai._vectorizer_key(source) k;
end;

-- The key in the variables of a trigger function: of a row in this.k1, this.k2, ..., of the first one in this.f1,
-- this.f2, ... PL/pgSQL cannot assign a composite value among several values, so it is put into an array.
create or replace function ai._vectorizer_variables(source regclass)
returns table (pknum int, type text, filled text, value text, first text)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select k.pknum
         , b.name || case when b.is_composite then '[]' else '' end
         , format(case when b.is_composite then 'array[c.k%s]' else 'c.k%s' end, k.pknum)
         , format(case when b.is_composite then '(this.k%s)[1]' else 'this.k%s' end, k.pknum)
         , format(case when b.is_composite then '(this.f%s)[1]' else 'this.f%s' end, k.pknum)
    from ai._vectorizer_key(source) k
    cross join lateral (
        with recursive base as (
            select a.atttypid as oid from pg_attribute a where a.attrelid = source and a.attnum = k.attnum
            union all
            select t.typbasetype from base b join pg_type t on t.oid = b.oid where t.typtype = 'd'
        )
        -- A domain may forbid null, which a variable is at first.
        select format_type(t.oid, -1) as name, t.typtype = 'c' as is_composite
        from base b join pg_type t on t.oid = b.oid
        where t.typtype <> 'd') b;
end;

-- Whether the keys of a changed row have the queue's types.
create or replace function ai._vectorizer_key_fits_sql(source regclass, alias text) returns text
language sql stable
begin atomic
    select string_agg(format
        ( case when t.typnamespace = 'pg_catalog'::regnamespace
            then 'pg_typeof(%s.k%s) operator(pg_catalog.=) %L::regtype'
            else 'coalesce(pg_typeof(%s.k%s) operator(pg_catalog.=) to_regtype(%L), false)' end
        , alias, k.pknum, ai._vectorizer_key_type(source, k.attnum)), ' and ' order by k.pknum)
    from ai._vectorizer_key(source) k
    join pg_attribute a on a.attrelid = source and a.attnum = k.attnum
    join pg_type t on t.oid = a.atttypid;
end;
