-- The other kind of text index: one of pg_textsearch, an extension by Timescale with BM25, on the column of the store
-- that has the chunks. PostgreSQL keeps it up to date, so it has no table, no trigger, and nothing to count.

-- Why pg_textsearch cannot be the text index of a vectorizer; null if it can.
create or replace function ai._textsearch_problem(v ai.vectorizer, k1 float8) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    installed text = (select e.extversion from pg_extension e where e.extname = 'pg_textsearch');
    target record;
begin
    select t.* into target from ai._text_target(v) t;
    return case
        when installed is null then 'the extension is not installed in this database'
        -- (Before it, a search with a filter may find fewer chunks than there are.)
        when coalesce(substring(installed from '^[0-9]{1,9}')::int, 0) < 1 then format('its version is %s, and 1.0 or later is needed', installed)
        when target.is_column then 'the vectors are in a column of the source, and it would slow down what your application writes there'
        when target.relation is null then 'the store is gone'
        when exists (select from pg_class c where c.oid = target.relation and c.relkind <> 'r')
            or exists (select from ai._vectorizer_heirs(target.relation))
        then format('%s has partitions or child tables, and it would give the chunks of each other scores', target.relation)
        when exists (select from pg_class c where c.oid in (target.relation, target.source) and c.relrowsecurity)
        then 'its scores show how many rows have a word, also to a role that row-level security does not show them'
        when k1 not between 0.1 and 10 then format('k1 is %s, and it takes 0.1 to 10', k1)
        end;
end
$$;

-- The kind of text index that a vectorizer gets: `own` or `pg_textsearch`. Null asks for the kind that it has, `auto` for
-- pg_textsearch where that can be used.
create or replace function ai._text_method(v ai.vectorizer, method text, k1 float8) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    destination jsonb = v.config -> 'destination';
    wanted text = coalesce(method, case when destination ? 'hybrid' and not ai._text_is_own(destination) then 'pg_textsearch' end, 'own');
    problem text;
begin
    if wanted = 'own' then
        return wanted;
    end if;
    problem = ai._textsearch_problem(v, k1);
    if problem is null then
        return 'pg_textsearch';
    elsif wanted = 'auto' then
        return 'own';
    end if;
    raise exception 'pg_textsearch cannot be the text index of the vectorizer "%": %', v.name, problem
        using errcode = 'feature_not_supported'
            , hint = format('A text index that needs no extension: select ai.enable_hybrid(%L, method => ''own'')', v.name);
end
$$;

-- The index, if there is one: its name with the schema, and whether searches can use it.
create or replace function ai._textsearch_index(v ai.vectorizer, out target regclass, out name text, out is_ready boolean)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select t.relation, case when c.relname is not null then format('%I.%I', n.nspname, c.relname) end, x.indisvalid and x.indisready
    from ai._text_target(v) t
    left join (
        pg_index x
        join pg_class c on c.oid = x.indexrelid
        join pg_am m on m.oid = c.relam and m.amname = 'bm25'
        join pg_namespace n on n.oid = c.relnamespace
    ) on x.indrelid = t.relation and c.relname = ai._text_gin(v);
end;

create or replace function ai._textsearch_index_sql(v ai.vectorizer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format('create index concurrently if not exists %I on %s using bm25 (%I) with (text_config = %L, k1 = %s, b = %s)'
        , ai._text_gin(v), t.relation, t.body, h.of ->> 'language', h.of ->> 'k1', h.of ->> 'b')
    from ai._text_target(v) t, (select v.config #> '{destination,hybrid}') h(of);
end;

create or replace function ai._textsearch_drop(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
begin
    select x.* into one from ai._textsearch_index(v) x;
    if one.name is null then
        return;
    end if;
    if not (select pg_has_role(c.relowner, 'USAGE') from pg_class c where c.oid = one.target) then
        raise warning 'the index % stays: only the owner of % can drop it', one.name, one.target;
        return;
    end if;
    execute format('drop index %s', one.name);
end
$$;

-- One attempt of ai.enable_hybrid. `present` and `entry` are what the destination says of a text index, and is to say.
-- The index of a small store is built at once; otherwise a worker builds it.
create or replace function ai._textsearch_enable(v ai.vectorizer, target regclass, present jsonb, entry jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- (The extension reports each build with a NOTICE.)
set client_min_messages = warning
as $$
declare
    is_small boolean;
begin
    if present = entry then
        -- (The guard of the row checks the privileges.)
        perform ai._text_configure(v, entry);
        return;
    end if;
    if present is not null then
        perform ai._text_disable(v.id);
    end if;
    perform ai._lock_tables(array[target::text], 'share row exclusive');
    perform ai._vectorizer_check_creator(ai._vectorizer_relation(v.source_schema, v.source_table));
    v = ai._text_configure(v, entry);
    execute format('select count(*) <= 10000 from (select from %s limit 10001) x', target) into is_small;
    if is_small then
        execute replace(ai._textsearch_index_sql(v), ' concurrently', '');
    end if;
end
$$;

-- The statement that the index needs now, or why this role cannot run it; nulls: none. (A worker builds it as it builds a
-- vector index: see ai._vector_index_step.)
create or replace function ai._textsearch_step(v ai.vectorizer, out statement text, out problem text)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    one record;
begin
    select x.*, c.relowner, c.relnamespace into one
    from ai._textsearch_index(v) x join pg_class c on c.oid = x.target;
    if one.target is null or coalesce(one.is_ready, false) then
        return;
    end if;
    if exists (
        select from pg_locks l
        where l.locktype = 'relation' and l.relation = one.target and l.granted and l.mode = 'ShareUpdateExclusiveLock'
        and l.database = (select d.oid from pg_database d where d.datname = current_database()))
    then
        return;
    end if;
    if not exists (select from pg_am m where m.amname = 'bm25') then
        problem = format('the extension pg_textsearch is not installed any more: install it, or select ai.enable_hybrid(%L, method => ''own'')', v.name);
    elsif not pg_has_role(one.relowner, 'USAGE') or not has_schema_privilege(one.relnamespace, 'CREATE') then
        problem = format('only the owner of %s can index it: let the worker''s role be a member of it, or run as the owner: %s'
            , one.target, ai._textsearch_index_sql(v));
    elsif one.name is not null then
        statement = format('drop index concurrently if exists %s', one.name);
    else
        statement = ai._textsearch_index_sql(v);
    end if;
end
$$;

create or replace function ai._textsearch_check(v ai.vectorizer) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from pg_extension e where e.extname = 'pg_textsearch') then
        raise exception 'the text index of the vectorizer "%" needs the extension pg_textsearch, which is not installed in this database', v.name
            using errcode = 'object_not_in_prerequisite_state'
                , hint = format('Install it, or: select ai.enable_hybrid(%L, method => ''own'')', v.name);
    end if;
    if not ai._text_is_ready(v) then
        raise exception 'the text index of the vectorizer "%" is not ready', v.name
            using errcode = 'object_not_in_prerequisite_state', hint = 'A worker builds it: see ai.vectorizer_index.';
    end if;
end
$$;

-- The statement of the words' part, as ai._text_sql. The extension's scores are negative, 0 where no word is found. (What
-- the rows are sorted by is also selected: else the extension looks for a function of its own in the search_path.)
create or replace function ai._textsearch_sql(v ai.vectorizer, source regclass, seq text, passes text, question text, depth bigint)
returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    score text;
begin
    if coalesce(btrim(question), '') = '' then
        return null;
    end if;
    select t.*, x.name as index into target from ai._text_target(v) t, ai._textsearch_index(v) x;
    score = (
        select format('_pgai.%I operator(%I.<@>) %2$I.to_bm25query(%L, %L)', target.body, n.nspname, left(question, 20000), target.index)
        from pg_extension e join pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'pg_textsearch');
    return format(
'select %1$s, _seq, operator(pg_catalog.-) _score as _score
  from (
    select %2$s, %3$s as _seq, %4$s as _score
    from %5$s _pgai where %6$s
    order by %4$s limit %7$s
  ) _found
  where _score operator(pg_catalog.<) 0::pg_catalog.float8'
        , ai._vectorizer_key_list(source), ai._vectorizer_key_list(source, '_pgai'), seq, score, target.relation, passes, depth);
end
$$;
