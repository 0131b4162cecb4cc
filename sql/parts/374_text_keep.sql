-- Filling a text index, and counting its words. A worker calls `ai._text_keep` as it builds a vector index: under the
-- same lease, on a connection of its own, and in short transactions. It is called again when a tenth of the chunks
-- has changed.

-- Adds the missing chunks of some pages of the table that holds them. (The lock: a chunk that another session deletes
-- must not be added after that.)
create or replace function ai._text_fill(v ai.vectorizer, part regclass, first bigint, after bigint) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    added bigint;
begin
    select t.* into target from ai._text_target(v) t;
    execute format(
        'with missing as materialized (
           select %2$s, %3$s as seq, t.%4$I as body
           from only %1$s t
           where t.ctid >= ''(%8$s,0)''::tid and t.ctid < ''(%9$s,0)''::tid
           and t.%4$I is not null and t.%5$I is not null
           and not exists (select from %6$s x where %7$s and x._chunk_seq = %3$s)
           for key share of t)
         insert into %6$s (%10$s, _chunk_seq, _words, _counts, _length)
         select %11$s, m.seq, w.words, w.counts, w.length
         from missing m cross join lateral ai._text_words(%12$L, m.body) w
         on conflict (%10$s, _chunk_seq) do nothing'
        , part, ai._vectorizer_key_list(target.source, 't'), format(target.seq, 't'), target.body, target.embedding
        , format('%I.%I', v.queue_schema, ai._text_table(v)), ai._vectorizer_key_equals(target.source, 't', 'x')
        , first, after, ai._vectorizer_key_list(target.source), ai._vectorizer_key_list(target.source, 'm')
        , v.config #>> '{destination,hybrid,language}');
    get diagnostics added = row_count;
    return added;
end
$$;

-- Removes what belongs to no chunk any more: after TRUNCATE of a partition.
create or replace function ai._text_remove_orphans(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- (Sessions of workers plan for statements about few rows.)
set enable_seqscan = on set enable_hashjoin = on set enable_mergejoin = on set enable_material = on
as $$
declare
    target record;
begin
    select t.* into target from ai._text_target(v) t;
    execute format('delete from %I.%I x where not exists (select from %s t where %s and %s = x._chunk_seq)'
        , v.queue_schema, ai._text_table(v), target.relation, ai._vectorizer_key_equals(target.source, 't', 'x')
        , format(target.seq, 't'));
end
$$;

-- Whether the id is still that of the generation that was read: a switch exchanges the ids of two.
create or replace function ai._text_is_of(v ai.vectorizer) returns boolean
language sql volatile
set search_path = pg_catalog, pg_temp
return exists (select from ai._vectorizers() x where x.id = v.id and x.queue_failed_table = v.queue_failed_table);

-- Counts in how many chunks each word occurs, in a sample of about 200,000 chunks. With row-level security readers must
-- not learn from the counts whether rows of others contain a word: then counts below 64 are not recorded, and the
-- others are rounded up to a power of two.
create or replace function ai._text_count(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
-- (Sessions of workers plan for statements about few rows.)
set enable_seqscan = on set enable_hashjoin = on set enable_mergejoin = on set enable_material = on
as $$
declare
    words text = format('%I.%I', v.queue_schema, ai._text_table(v));
    counts text = format('%I.%I', v.queue_schema, ai._text_count_table(v));
    is_secret boolean = (
        select c.relrowsecurity from pg_class c where c.oid = ai._vectorizer_relation(v.source_schema, v.source_table));
    chunks bigint;
    length bigint;
    part float8;
    changes bigint = ai._text_changes(v);
begin
    execute format('select count(*), coalesce(sum(_length), 0) from %s', words) into chunks, length;
    part = least(1, 200000.0 / greatest(chunks, 1));
    execute format(
        'with counted as materialized (
           select w.word, ceil(count(*) / %2$L::float8)::bigint as chunks
           from %1$s %3$s cross join lateral (select distinct u.word from unnest(_words) u(word)) w
           group by w.word
         ), shown as materialized (
           select c.word, case when %4$L::boolean then (2 ^ ceil(log(2, c.chunks::numeric)))::bigint else c.chunks end as chunks
           from counted c where c.chunks >= 64 or not %4$L::boolean
         ), gone as (
           delete from %5$s o where not exists (select from shown s where s.word = o.word)
         )
         insert into %5$s as o (word, chunks)
         select s.word, s.chunks from shown s
         on conflict (word) do update set chunks = excluded.chunks where o.chunks <> excluded.chunks'
        , words, part, case when part < 1 then format('tablesample system (%s) repeatable (1)', 100 * part) end
        , is_secret, counts);
    -- (A switch that exchanges the records of two generations waits for this lock, or has ended.)
    perform from ai.vectorizer_text x where x.vectorizer_id = v.id for update;
    if not ai._text_is_of(v) then
        return;
    end if;
    insert into ai.vectorizer_text as x (vectorizer_id, chunks, words, filled_at, counted_at, _changes)
    values (v.id, chunks, length, clock_timestamp(), clock_timestamp(), changes)
    on conflict (vectorizer_id) do update
    set chunks = excluded.chunks, words = excluded.words, filled_at = coalesce(x.filled_at, excluded.filled_at)
      , counted_at = excluded.counted_at, _changes = excluded._changes;
end
$$;

-- How many rows of the text index were written since the statistics of the server were last reset.
create or replace function ai._text_changes(v ai.vectorizer) returns bigint
language sql volatile
set search_path = pg_catalog, pg_temp
begin atomic
    select pg_stat_get_tuples_inserted(x.oid) + pg_stat_get_tuples_updated(x.oid) + pg_stat_get_tuples_deleted(x.oid)
    from (select ai._vectorizer_relation(v.queue_schema, ai._text_table(v))) x(oid);
end;

-- Fills and counts, in short transactions. (A procedure that commits cannot have settings of its own.)
create or replace procedure ai._text_keep(vectorizer_id int)
language plpgsql
as $$
declare
    v ai.vectorizer;
    part pg_catalog.regclass;
    first bigint;
    pages bigint;
begin
    select x.* into v from ai._vectorizers() x where x.id operator(pg_catalog.=) _text_keep.vectorizer_id;
    perform ai._text_remove_orphans(v);
    commit;
    for part, pages in select p.part, p.pages from ai._text_parts(v) p loop
        first = 0;
        while first operator(pg_catalog.<) pages loop
            if not ai._text_is_of(v) then
                return;
            end if;
            perform ai._text_fill(v, part, first, first operator(pg_catalog.+) 64);
            commit;
            first = first operator(pg_catalog.+) 64;
        end loop;
    end loop;
    perform ai._text_count(v);
end
$$;

-- The tables that hold the chunks, and their sizes.
create or replace function ai._text_parts(v ai.vectorizer) returns table (part regclass, pages bigint)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select c.oid::regclass, pg_relation_size(c.oid) / current_setting('block_size')::bigint
    from ai._text_target(v) t
    join pg_class c on c.oid = t.relation
        or c.oid in (select h from ai._vectorizer_heirs(t.relation) h)
        or c.oid in (select p.relid from pg_partition_tree(t.relation) p where p.isleaf)
    where c.relkind = 'r';
end;

-- The statement that the text index of a vectorizer needs now, or why this role cannot run it; nulls: none.
create or replace function ai._text_step(v ai.vectorizer, out statement text, out problem text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    words regclass = ai._vectorizer_relation(v.queue_schema, ai._text_table(v));
    counted record;
    index record;
    changes bigint;
begin
    if (v.config -> 'destination') ? 'hybrid' and not ai._text_is_own(v.config -> 'destination') then
        select x.statement, x.problem into statement, problem from ai._textsearch_step(v) x;
        return;
    end if;
    if words is null or not (v.config -> 'destination') ? 'hybrid' or not has_table_privilege(words, 'insert') then
        return;
    end if;
    select x.* into counted from ai.vectorizer_text x where x.vectorizer_id = v.id;
    -- (A new generation serves only with the counts of all its chunks.)
    if counted.filled_at is null or counted.counted_at is null or exists (
            select from ai.vectorizer_generation g
            where g.id = v.id and g.state = 'indexing' and counted.counted_at <= g.filled_at)
    then
        statement = format('call ai._text_keep(%s)', v.id);
        return;
    end if;
    select x.indisvalid into index
    from pg_index x join pg_class c on c.oid = x.indexrelid
    where x.indrelid = words and c.relname = ai._text_gin(v);
    if not coalesce(index.indisvalid, false) then
        if not (select pg_has_role(c.relowner, 'USAGE') from pg_class c where c.oid = words)
            or not has_schema_privilege(v.queue_schema, 'CREATE')
        then
            problem = format('only the owner of %s can index it: let the worker''s role be a member of it, or run as the owner: %s'
                , words, ai._text_gin_sql(v));
        elsif index is not null then
            statement = format('drop index concurrently if exists %I.%I', v.queue_schema, ai._text_gin(v));
        else
            statement = ai._text_gin_sql(v);
        end if;
        return;
    end if;
    changes = ai._text_changes(v);
    if changes < counted._changes or changes - counted._changes > 50 + counted.chunks / 10 then
        statement = format('call ai._text_keep(%s)', v.id);
    end if;
end
$$;

create or replace function ai._text_gin_sql(v ai.vectorizer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
    select format('create index concurrently if not exists %I on %I.%I using gin (_words) with (fastupdate = off)'
        , ai._text_gin(v), v.queue_schema, ai._text_table(v));
end;

-- Whether searches can use the text index.
create or replace function ai._text_is_ready(v ai.vectorizer) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case when not ai._text_is_own(v.config -> 'destination') then coalesce((select x.is_ready from ai._textsearch_index(v) x), false)
        else exists (
            select from ai.vectorizer_text t
            join pg_index x on x.indrelid = ai._vectorizer_relation(v.queue_schema, ai._text_table(v)) and x.indisvalid
            join pg_class c on c.oid = x.indexrelid and c.relname = ai._text_gin(v)
            where t.vectorizer_id = v.id and t.filled_at is not null)
        end;
end;

-- Whether what a statement of ai._text_step was to do is done.
create or replace function ai._text_is_done(v ai.vectorizer, statement text, since timestamptz) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select case when statement like 'call %'
        then exists (select from ai.vectorizer_text x where x.vectorizer_id = v.id and x.counted_at >= since)
        when not ai._text_is_own(v.config -> 'destination') then (select x.is_ready from ai._textsearch_index(v) x)
        else exists (
            select from pg_index x join pg_class c on c.oid = x.indexrelid
            where x.indrelid = ai._vectorizer_relation(v.queue_schema, ai._text_table(v))
            and c.relname = ai._text_gin(v) and x.indisvalid)
        end;
end;
