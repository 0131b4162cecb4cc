-- Changes of a source without a statement on its rows: partitions are attached and detached, tables start or stop to
-- inherit, the expression of a generated column changes. They fire no trigger. A worker compares the source with the
-- recorded state whenever it loads the vectorizers, and requests a resync if something differs.

alter table ai.vectorizer_made_by
    add column if not exists partitions text[],
    add column if not exists expressions text;
comment on column ai.vectorizer_made_by.partitions is 'The tables whose rows are those of the source, as a worker last saw them.';
comment on column ai.vectorizer_made_by.expressions is 'The expressions of the generated columns that are read, as a worker last saw them.';

-- The tables that contain rows of the source besides itself: partitions and child tables. A new partition has no
-- trigger for TRUNCATE: it is detected by the number of its file, which every TRUNCATE changes.
create or replace function ai._vectorizer_row_tables(source regclass, trigger_name name) returns text[]
language sql stable
begin atomic
    select coalesce(array_agg(t.relid::oid || case when tells then '' else ':' || c.relfilenode end order by t.relid::oid), '{}')
    from (
        select p.relid from pg_partition_tree(source) p where p.isleaf and p.level > 0
        union all
        select h from ai._vectorizer_heirs(source) h
    ) t(relid)
    join pg_class c on c.oid = t.relid
    cross join lateral (
        select exists (
            select from pg_trigger g join pg_proc f on f.oid = g.tgfoid
            where g.tgrelid = t.relid and f.proname = trigger_name || '_truncate_part')
        ) x(tells);
end;

create or replace function ai._vectorizer_expressions(source regclass, config jsonb) returns text
language sql stable
begin atomic
    select coalesce(string_agg(format('%I %s', a.attname, pg_get_expr(d.adbin, d.adrelid)), ', ' order by a.attnum), '')
    from pg_attribute a
    join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = source and a.attgenerated <> '' and a.attname = any (ai._vectorizer_watched(config));
end;

-- Whether a table has rows for which nothing is stored or queued. The first hundred rows are enough: rows written to
-- a partition are queued by its triggers, so only a partition that was attached with rows has such rows. (They are
-- read through the source: a worker can read that, and the partition's bounds exclude the other partitions.)
create or replace function ai._vectorizer_has_unknown_rows(v ai.vectorizer, source regclass, rows_of regclass) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    d jsonb = v.config -> 'destination';
    bounds text = pg_get_partition_constraintdef(rows_of);
    has_unknown boolean;
begin
    if bounds is null then
        return true;
    end if;
    execute format
    ( 'select exists (select from (select t.* from %s t where %s limit 100) t '
      'where not exists (select from %I.%I q where %s) and %s)'
    , source
    , bounds
    , v.queue_schema
    , v.queue_table
    , ai._vectorizer_key_equals(source, 't', 'q')
    , case d ->> 'implementation' when 'table'
        then format('not exists (select from %I.%I s where %s)', d ->> 'target_schema', d ->> 'target_table'
            , ai._vectorizer_key_equals(source, 't', 's'))
        else format('t.%I is null', d ->> 'embedding_column') end
    ) into has_unknown;
    return has_unknown;
end
$$;

-- Whether the current role runs code of this owner in its sessions anyway: the owner's key types and policies are
-- such code. (The core applies the same rule before it claims.)
create or replace function ai._is_in_my_domain(owner oid) returns boolean
language sql stable
begin atomic
    select owner = me.oid or o.rolsuper or not me.rolsuper and pg_has_role(me.oid, owner, 'usage')
        or (select count(distinct c.relowner) = 1
            from ai.vectorizer x
            join pg_namespace n on n.nspname = x.source_schema
            join pg_class c on c.relnamespace = n.oid and c.relname = x.source_table)
    from pg_roles me, pg_roles o
    where me.rolname = current_user and o.oid = owner;
end;

create or replace function ai._vectorizer_follow_source(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    source regclass = ai._vectorizer_relation(v.source_schema, v.source_table);
    now_partitions text[] = ai._vectorizer_row_tables(source, v.trigger_name);
    now_expressions text = ai._vectorizer_expressions(source, v.config);
    old ai.vectorizer_made_by;
begin
    select m.* into old from ai.vectorizer_made_by m where m.vectorizer_id = v.id;
    if old.vectorizer_id is null or (old.partitions, old.expressions) is not distinct from (now_partitions, now_expressions) then
        return;
    end if;
    -- If several workers detect it, one requests.
    update ai.vectorizer_made_by m
    set partitions = now_partitions, expressions = now_expressions
    where m.vectorizer_id = v.id and (m.partitions, m.expressions) is not distinct from (old.partitions, old.expressions);
    if not found or old.partitions is null then
        return;
    end if;
    if old.expressions is distinct from now_expressions then
        perform ai._request_resync(v.id, verify_text => true);
    elsif exists (select from unnest(old.partitions) o(id) where o.id <> all (now_partitions))
        or exists (
            select from unnest(now_partitions) p(id)
            where p.id <> all (old.partitions)
            and ai._is_in_my_domain((select c.relowner from pg_class c where c.oid = source))
            and ai._vectorizer_has_unknown_rows(v, source, split_part(p.id, ':', 1)::oid))
    then
        perform ai._request_resync(v.id);
    end if;
end
$$;
