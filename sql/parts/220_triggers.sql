-- The triggers that queue changed rows. A change of a queued row gives its item a new generation; a deleted
-- key is queued, too (a tombstone), so that a worker that is on it cannot leave chunks behind.
--
-- In REPEATABLE READ and SERIALIZABLE a worker's commit between the conflict check and the row lock makes
-- the upsert fail although no other writer touched the row: there it is tried again, in a subtransaction.
-- For the same reason the store is cleaned at once only in READ COMMITTED; else the worker does it.

-- The statement that queues the keys that `keys` selects. The items of one transaction have times of their own:
-- workers remember how far they have come.
create or replace function ai._vectorizer_enqueue_sql(source regclass, queue text, keys text) returns text
language sql stable
begin atomic
    select format
    ( 'insert into %s (%s, queued_at) select k.*, clock_timestamp() from (%s) k on conflict (%2$s) do update '
      'set _generation = excluded._generation, loading_retries = 0, loading_retry_after = null'
    , queue, ai._vectorizer_key_list(source), keys);
end;

-- The same for the keys of new rows. Hardly any of them is queued already, and the check for that, row by row,
-- is a third of the cost: many are tried without it. (Not few: a transaction of many small statements would
-- have as many subtransactions.)
create or replace function ai._vectorizer_enqueue_new_sql(source regclass, queue text, keys text, new_set text)
returns text
language sql stable
begin atomic
    select format
    ( 'if exists (select from %s offset 999) then '
      'begin insert into %s (%s, queued_at) select k.*, clock_timestamp() from (%s) k; '
      'exception when unique_violation then %s; end; else %5$s; end if'
    , new_set, queue, ai._vectorizer_key_list(source), keys, ai._vectorizer_enqueue_sql(source, queue, keys));
end;

-- The body of a trigger function: queue, clean, wake. `cleanup` may be null. Where the worker writes to the source
-- itself (`heeds_own`: the column destination), what it writes is no change of that table, whatever other triggers
-- make of it there: the workers' commit names its vectorizer, whose trigger stands on the same table as this one.
-- Columns are named: where one of `keys` is gone or has another name now, the application's write goes on all the
-- same, unqueued (a worker records what to do).
create or replace function ai._vectorizer_trigger_body
( vectorizer_id int
, enqueue text
, cleanup text
, bell text
, keys name[]
, heeds_own boolean
) returns text
language sql immutable
return format
( $body$
#variable_conflict use_column
declare
    queued bigint = 0;
    is_strict boolean = current_setting('transaction_isolation') in ('repeatable read', 'serializable');
begin
    %5$s
    if (select count(*) from pg_attribute a where a.attrelid = tg_relid and a.attname = any (%6$L)) < %7$s then
        raise warning 'changes of %% are not embedded: its key column was renamed or dropped', tg_relid::regclass
            using hint = 'Rename it back, or drop the vectorizer %4$s with ai.drop_vectorizer and create it anew.';
        return null;
    end if;
    if is_strict then
        for attempt in 1..10 loop
            begin
                %1$s;
                get diagnostics queued = row_count;
                exit;
            exception when serialization_failure then
                if attempt = 10 then
                    raise;
                end if;
            end;
        end loop;
    else
        %1$s;
        get diagnostics queued = row_count;
        %2$s
    end if;
    if queued > 0
        and (select b.last_value from %3$s b) < extract(epoch from clock_timestamp()) * 1000
        and current_setting('max_prepared_transactions') = '0'
    then
        perform pg_notify('ai_vectorizer', '%4$s');
    end if;
    return null;
end
$body$
, enqueue, coalesce(cleanup || ';', ''), bell, vectorizer_id::text
, case when heeds_own then $own$if coalesce(current_setting('ai.own_write', true), '') <> '' then
        if exists (
            select from pg_trigger t
            where t.tgrelid = tg_relid and t.tgname = '_vectorizer_src_trg_' || current_setting('ai.own_write'))
        then
            return null;
        end if;
    end if;$own$ else '' end
, keys, cardinality(keys)
);

-- Creates one trigger function that nobody may call. (It must be new: over one that somebody else has put there,
-- who may replace it at any time, it would run what they like with the rights of whoever writes to the source.) It belongs to the queue's owner, whoever runs setup.sql.
create or replace function ai._vectorizer_create_trigger_function(function_name text, body text, settings text, owner name)
returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    execute format
    ( 'create function %s() returns trigger language plpgsql volatile security definer '
      'set search_path = pg_catalog, pg_temp %s as %L'
    , function_name, settings, body
    );
    execute format('revoke all on function %s() from public', function_name);
    if owner <> current_user then
        execute format('alter function %s() owner to %I', function_name, owner);
    end if;
end
$$;

-- The condition under which an update matters: the image of a watched column differs. (json and xml have no
-- equality, and 1.0 and 1.00 are equal but read differently.) Virtual generated columns cannot be read from
-- transition tables: the columns that they are made of are watched instead.
create or replace function ai._vectorizer_changed_sql(source regclass, watched name[]) returns text
language sql stable
begin atomic
    select format('row(%s)::record operator(pg_catalog.*<>) row(%s)::record'
        , string_agg(format('o.%I', w.attname), ', ' order by w.attnum)
        , string_agg(format('n.%I', w.attname), ', ' order by w.attnum))
    from (
        select a.attname, a.attnum
        from pg_attribute a
        where a.attrelid = source and a.attname = any (watched) and a.attgenerated in ('', 's')
        union
        select b.attname, b.attnum
        from pg_attribute a
        join pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
        join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = e.oid
            and d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid and d.refobjsubid <> a.attnum
        join pg_attribute b on b.attrelid = d.refobjid and b.attnum = d.refobjsubid
        where a.attrelid = source and a.attname = any (watched) and a.attgenerated not in ('', 's')
    ) w;
end;

create or replace function ai._vectorizer_is_hypertable(source regclass) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    answer boolean = false;
begin
    if exists (select from pg_extension e where e.extname = 'timescaledb') then
        execute 'select exists (select from _timescaledb_catalog.hypertable h
            where format(''%I.%I'', h.schema_name, h.table_name)::regclass = $1)' into answer using source;
    end if;
    return answer;
end
$$;

-- The tables that inherit from this one, at any distance: their rows are its rows, too. (Not partitions and chunks
-- of hypertables: those get the triggers of their table by themselves.)
create or replace function ai._vectorizer_heirs(source regclass) returns setof regclass
language sql stable
begin atomic
    with recursive heir as (
        select i.inhrelid
        from pg_inherits i join pg_class c on c.oid = i.inhparent
        where i.inhparent = source and c.relkind = 'r' and not ai._vectorizer_is_hypertable(source)
        union
        select i.inhrelid from heir h join pg_inherits i on i.inhparent = h.inhrelid
    )
    select h.inhrelid::regclass from heir h;
end;

-- Whether the triggers must see each row: where rows can be written without a statement on the table itself.
-- That is so for partitioned tables, partitions, whatever inherits or is inherited from, hypertables, and what
-- replication applies.
create or replace function ai._vectorizer_per_row(source regclass) returns boolean
language sql stable
return exists (select from pg_class c where c.oid = source and c.relkind = 'p')
    or exists (select from pg_inherits i where source in (i.inhrelid, i.inhparent))
    or exists (select from pg_subscription_rel r where r.srrelid = source)
    or ai._vectorizer_is_hypertable(source);

-- What the tables and triggers of this version are made by: setup.sql renews what was made by something else.
create or replace function ai._vectorizer_version() returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select md5(string_agg(pg_get_functiondef(p.oid), '' order by p.proname))
    from pg_proc p
    where p.pronamespace = 'ai'::regnamespace
    and p.proname in
        ( '_vectorizer_create_queue', '_vectorizer_create_lease', '_vectorizer_create_triggers'
        , '_vectorizer_create_trigger_function', '_vectorizer_trigger_body', '_vectorizer_enqueue_sql'
        , '_vectorizer_enqueue_new_sql', '_vectorizer_changed_sql', '_vectorizer_is_hypertable', '_vectorizer_heirs'
        , '_vectorizer_per_row');
end;

create or replace function ai._vectorizer_create_triggers
( source regclass
, vectorizer_id int
, trigger_name name
, queue_schema name
, queue_table name
, queue_failed_table name
, destination jsonb
, watched name[]
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    queue text = format('%I.%I', queue_schema, queue_table);
    failed text = format('%I.%I', queue_schema, queue_failed_table);
    bell text = format('%I.%I', queue_schema, '_vectorizer_bell_' || vectorizer_id);
    -- Null where the source is its own store.
    store text = case destination ->> 'implementation' when 'table' then
        format('%I.%I', destination ->> 'target_schema', destination ->> 'target_table') end;
    changed text = ai._vectorizer_changed_sql(source, watched);
    same_key text = ai._vectorizer_key_equals(source, 'o', 'n');
    per_row boolean = ai._vectorizer_per_row(source);
    family regclass[] = source || array(select h from ai._vectorizer_heirs(source) h);
    owner name = (select pg_get_userbyid(c.relowner) from pg_class c where c.oid = to_regclass(queue));
    old_set text = case when per_row then '(select old.*) o' else 'old_rows o' end;
    new_set text = case when per_row then '(select new.*) n' else 'new_rows n' end;
    -- A deferrable key may hold one value twice until the statement ends.
    distinctly text = (
        select case when x.indimmediate then '' else 'distinct ' end
        from pg_index x where x.indrelid = source and x.indisprimary);
    -- Where one of the tables has been renamed or dropped, the application's write goes on: workers clean later.
    -- (Another table may have the old name by now. Triggers on rows may run on a partition, which has its own.)
    both_there text = format('to_regclass(%L) %s and to_regclass(%L) is not null'
        , source, case when per_row then 'is not null' else '= tg_relid' end, store);
    orphans text = format
    ( 'delete from %s s using %s where %s and not exists (select from %s t where %s)'
    , store, old_set, ai._vectorizer_key_equals(source, 's', 'o'), source, ai._vectorizer_key_equals(source, 't', 'o'));
    keys name[] = (select array_agg(k.name::name order by k.pknum) from ai._vectorizer_key(source) k);
    enqueue text;
    event text;
    suffix text;
    member regclass;
    parts regclass[];
    selects text;
    cleanup text;
    settings text;
    function_name text;
begin
    foreach event in array array['insert', 'update', 'delete'] loop
        suffix = case event when 'insert' then '' else '_' || event end;
        function_name = format('%I.%I', queue_schema, trigger_name || suffix);
        case event
            when 'insert' then
                selects = format('select %s%s from %s', distinctly, ai._vectorizer_key_list(source, 'n'), new_set);
                cleanup = null;
                settings = '';
            when 'delete' then
                selects = format('select %s%s from %s', distinctly, ai._vectorizer_key_list(source, 'o'), old_set);
                cleanup = case when store is not null then format('if %s then %s; end if', both_there, orphans) end;
                -- The plan is kept from the first call, which may have seen one row or all of them.
                settings = 'set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off';
            when 'update' then
                -- One pass over both images: a row whose key changed stands on one side only.
                selects = format
                ( 'select %s%s from %s full join %s on %s'
                , distinctly
                , (select string_agg(format('coalesce(n.%1$I, o.%1$I)', k.name), ', ' order by k.pknum)
                   from ai._vectorizer_key(source) k)
                , old_set, new_set, same_key);
                -- The search for changed keys joins whole tables, the cleaning looks up single keys: each has
                -- the plans it needs, and the function's own settings end with it.
                cleanup = case when store is not null then format
                ( 'if exists (select from %s where not exists (select from %s where %s)) and %s then '
                  'perform set_config(''enable_nestloop'', ''on'', true), set_config(''enable_hashjoin'', ''off'', true), '
                  'set_config(''enable_mergejoin'', ''off'', true), set_config(''enable_seqscan'', ''off'', true); '
                  '%s; end if'
                , old_set, new_set, same_key, both_there, orphans) end;
                settings = format('set enable_nestloop = %s set enable_hashjoin = on set enable_mergejoin = on '
                    'set enable_seqscan = on', case when per_row then 'on' else 'off' end);
        end case;
        enqueue = ai._vectorizer_enqueue_sql(source, queue, selects);
        if event = 'insert' and not per_row then
            enqueue = ai._vectorizer_enqueue_new_sql(source, queue, selects, new_set);
        end if;
        if event = 'update' then
            -- Where a watched column has another name now, nobody knows what changed: all rows are queued.
            enqueue = format
            ( 'if (select count(*) from pg_attribute a where a.attrelid = tg_relid and a.attname = any (%L)) = %s then '
              '%s; else %s; end if'
            , watched
            , (select count(distinct w.name) from unnest(watched) w(name))
            , ai._vectorizer_enqueue_sql(source, queue, format('%s where n.%I is null or o.%2$I is null or %3$s'
                , selects, keys[1], changed))
            , enqueue);
        end if;
        perform ai._vectorizer_create_trigger_function
        ( function_name
        , ai._vectorizer_trigger_body(vectorizer_id, enqueue, cleanup, bell, keys, store is null)
        , settings
        , owner
        );
        foreach member in array family loop
            execute format
            ( 'create trigger %I after %s on %s %s for each %s execute function %s()'
            , trigger_name || suffix
            , event
            , member
            , case when per_row then '' else 'referencing'
                || case when event <> 'insert' then ' old table as old_rows' else '' end
                || case when event <> 'delete' then ' new table as new_rows' else '' end end
            , case when per_row then 'row' else 'statement' end
            , function_name
            );
            if exists (select from pg_subscription_rel r where r.srrelid = member) then
                execute format('alter table %s enable always trigger %I', member, trigger_name || suffix);
            end if;
        end loop;
    end loop;

    if cardinality(family) = 1 then
        function_name = format('%I.%I', queue_schema, trigger_name || '_truncate');
        perform ai._vectorizer_create_trigger_function
        ( function_name
        , format('begin truncate %s; truncate %s; %s return null; end', queue, failed, case when store is not null then
            format('if to_regclass(%L) is not null then truncate %s; end if;', store, store) else '' end)
        , ''
        , owner
        );
        execute format
        ( 'create trigger %I after truncate on %s for each statement execute function %s()'
        , trigger_name || '_truncate', source, function_name
        );
        if exists (select from pg_subscription_rel r where r.srrelid = source) then
            execute format('alter table %s enable always trigger %I', source, trigger_name || '_truncate');
        end if;
        parts = array(select p.relid from pg_partition_tree(source) p where p.level > 0);
    else
        parts = family;
    end if;

    -- The partitions that there are, and the tables of a family, can be truncated one by one: keys that are in none
    -- of them go.
    if store is null or cardinality(parts) = 0 then
        return;
    end if;
    selects = format('select distinct %s from %s s where not exists (select from %s t where %s)'
        , ai._vectorizer_key_list(source, 's'), store, source, ai._vectorizer_key_equals(source, 't', 's'));
    function_name = format('%I.%I', queue_schema, trigger_name || '_truncate_part');
    perform ai._vectorizer_create_trigger_function
    ( function_name
    , ai._vectorizer_trigger_body
        ( vectorizer_id
        , format('if %s then %s; end if', both_there, ai._vectorizer_enqueue_sql(source, queue, selects))
        , format('if %s then delete from %s s where not exists (select from %s t where %s); end if'
            , both_there, store, source, ai._vectorizer_key_equals(source, 't', 's'))
        , bell, keys, false)
    , ''
    , owner
    );
    foreach member in array parts loop
        execute format
        ( 'create trigger %I after truncate on %s for each statement execute function %s()'
        , trigger_name || '_truncate_part', member, function_name
        );
    end loop;
end
$$;
