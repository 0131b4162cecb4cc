-- The bodies of the trigger functions: queue keys, delete stored chunks, wake a worker. They never read the source,
-- which may have another owner by now. They raise no error that the application would not get without them.
--
-- * An UPDATE that changes one row, and not its key, takes a path of its own: a full join of two transition tables of
--   one row each costs as much as queueing the key.
-- * Otherwise a single row is queued by itself, which is cheapest. Two or more rows are queued in one statement.
-- * A key whose type has changed is queued if its text is valid for the old type.
-- * In REPEATABLE READ and SERIALIZABLE a worker's commit between the conflict check and the row lock makes the
--   upsert fail, although no other writer touched the row: there it is tried again, in a subtransaction. For the same
--   reason the trigger deletes stored chunks only in READ COMMITTED; otherwise the worker does it.

-- The inputs of a body, as JSON: vectorizer_id, queue_schema, queue_table, bell, store_schema, store_table (null if
-- the source is its own store), lease.
create or replace function ai._vectorizer_trigger_body
( source regclass
, names jsonb
, watched name[]
, event text
, per_row boolean
) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- A plan that names a table by its oid is made anew when the table changes: the types in OLD and NEW have changed, too.
    row_set text = format('(select %%s.* where %L::regclass is not null)', source::oid);
    old_set text = case when per_row then format(row_set, 'old') else 'old_rows' end;
    new_set text = case when per_row then format(row_set, 'new') else 'new_rows' end;
    queue text = format('%I.%I', names ->> 'queue_schema', names ->> 'queue_table');
    has_store boolean = names ->> 'store_table' is not null;
    store text = case when has_store then format('%I.%I', names ->> 'store_schema', names ->> 'store_table') end;
    changes text = ai._vectorizer_changes_sql(source, watched, event, old_set, new_set);
    cleans boolean = event <> 'insert' and has_store;
    store_is_usable text = case when has_store then
        ai._vectorizer_usable_sql(names ->> 'store_schema', names ->> 'store_table', 'delete') end;
    delete_one text = format('delete from %s s where %s', store, ai._vectorizer_stored_key_sql(source, 'this'));
begin
    return format
    ( $body$
    %12$s
    for %1$s, this.fits, this.gone in
        select %2$s, c.fits, c.gone from (select c.*, %3$s as fits from (%4$s) c) c
    loop
        if not this.fits then
            begin
                %5$s;
                this.queued = this.queued + 1;
            exception when others then
                this.trouble = 'its key has another type now: ' || sqlerrm;
            end;
            continue;
        end if;
        if %6$s then
            this.trouble = 'its key column was renamed or dropped, or is null';
            continue;
        end if;
        this.queued = this.queued + 1;
        exit when %10$s;
        %7$s;
        %11$s
        %8$s
    end loop;
    %9$s
    %13$s
$body$
    , (select string_agg(format('this.k%1$s, this.t%1$s', k.pknum), ', ' order by k.pknum) from ai._vectorizer_key(source) k)
    , (select string_agg(format('case when c.fits then %s end, case when not c.fits then c.k%s::text end', v.filled, v.pknum)
           , ', ' order by v.pknum) from ai._vectorizer_variables(source) v)
    , ai._vectorizer_key_fits_sql(source, 'c')
    , changes
    , ai._vectorizer_enqueue_one_sql(source, queue
        , (select string_agg(format('this.t%s::%s', k.pknum, ai._vectorizer_key_type(source, k.attnum)), ', ' order by k.pknum)
           from ai._vectorizer_key(source) k))
    , (select string_agg(format('not %s is distinct from null', v.value), ' or ') from ai._vectorizer_variables(source) v)
    , ai._vectorizer_enqueue_one_sql(source, queue
        , (select string_agg(v.value, ', ' order by v.pknum) from ai._vectorizer_variables(source) v))
    , case when cleans then format('if this.gone and %s then %s; end if;', store_is_usable, delete_one) else '' end
    , ai._vectorizer_many_sql(source, queue, changes, event, per_row
        , case when not cleans then ''
          when event = 'delete' then format('if %s then delete from %s s using %s where %s; end if;'
              , store_is_usable, store, ai._vectorizer_image_sql(source, watched, 'o', old_set)
              , ai._vectorizer_stored_key_sql(source, 'o'))
          else format('if this.gone and %s then for %s in select %s from (%s) c where c.gone loop %s; end loop; end if;'
              , store_is_usable
              , (select string_agg(format('this.k%s', v.pknum), ', ' order by v.pknum) from ai._vectorizer_variables(source) v)
              , (select string_agg(v.filled, ', ' order by v.pknum) from ai._vectorizer_variables(source) v)
              , changes, delete_one) end)
    , case when per_row then 'this.is_strict' else 'this.is_strict or this.queued > 1' end
    , case when per_row then '' else (
        select string_agg(format('this.f%1$s = this.k%1$s;', v.pknum), ' ' order by v.pknum) from ai._vectorizer_variables(source) v) end
    , case when event = 'update' and not per_row then ai._vectorizer_single_sql(source, watched, queue) else '' end
    , case when event = 'update' and not per_row then 'end if;' else '' end
    );
end
$$;

-- The path of an UPDATE that changes one row whose key has the queue's type and stays as it was. It sets `is_single` if
-- it has done all there is to do; what follows is for other statements. (An INSERT or a DELETE of one row gains nothing
-- by it: there is nothing to join.)
create or replace function ai._vectorizer_single_sql(source regclass, watched name[], queue text) returns text
language sql stable
begin atomic
    select format
    ( $body$if not this.is_strict then
        select %1$s, c.fits and c.same and not exists (select from new_rows offset 1), c.changed
        into %2$s, this.is_single, this.gone
        from (select %3$s, %4$s as fits, %5$s as same, %6$s as changed from %7$s cross join %8$s limit 1) c;
        if not found then
            return null;
        end if;
        if this.is_single and this.gone then
            this.queued = 1;
            %9$s;
        end if;
    end if;
    if this.is_single is not true then$body$
    , string_agg(format('case when c.fits then %s end', v.filled), ', ' order by v.pknum)
    , string_agg(format('this.k%s', v.pknum), ', ' order by v.pknum)
    , ai._vectorizer_image_keys(source, 'n')
    , ai._vectorizer_key_fits_sql(source, 'n')
    , (select string_agg(format('o.k%1$s %2$s n.k%1$s', k.pknum, k.equals), ' and ' order by k.pknum)
       from ai._vectorizer_key(source) k)
    , ai._vectorizer_changed_sql(source, watched)
    , ai._vectorizer_image_sql(source, watched, 'o', 'old_rows')
    , ai._vectorizer_image_sql(source, watched, 'n', 'new_rows')
    , ai._vectorizer_enqueue_one_sql(source, queue, string_agg(v.value, ', ' order by v.pknum))
    )
    from ai._vectorizer_variables(source) v;
end;

-- The statements after the loop over the rows: queue all at once if there are many, or if the isolation level
-- requires it. (Only many rows are tried as new ones, in a subtransaction: otherwise a transaction of many small
-- statements would have as many subtransactions.)
create or replace function ai._vectorizer_many_sql
( source regclass
, queue text
, changes text
, event text
, per_row boolean
, cleanup text
) returns text
language sql stable
begin atomic
    select format
    ( $body$if this.fits and this.is_strict and this.queued > 0 then
        for attempt in 1..10 loop
            begin
                %1$s;
                exit;
            exception when serialization_failure then
                if attempt = 10 then
                    raise;
                end if;
            end;
        end loop;
    %2$s
    end if;$body$
    , ai._vectorizer_enqueue_all_sql(source, queue, changes, event, false)
    , case when per_row then '' else format
      ( $body$elsif this.fits and this.queued > 1 then
        if exists (select from %s offset 999) then
            begin
                %s;
            exception when unique_violation then
                %s;
            end;
        else
            %3$s;
        end if;
        %s$body$
      , case event when 'delete' then 'old_rows' else 'new_rows' end
      , ai._vectorizer_enqueue_all_sql(source, queue, changes, event, true)
      , ai._vectorizer_enqueue_all_sql(source, queue, changes, event, false)
      , cleanup) end
    );
end;

-- The frame around the bodies of one function: `body` for each event. The workers of a column destination write to
-- the source themselves. That is no change to queue, even if other triggers of the table change the row: their commit
-- names its vectorizer. This is accepted only from sessions of roles that can write leases, and only for a vectorizer
-- of this table.
--
-- A notification is sent only if no worker has promised to poll soon, and not by every writer: PostgreSQL commits
-- notifying transactions one after the other. The writer that notifies sets the bell 20 ms ahead; during this time
-- others rely on its notification.
create or replace function ai._vectorizer_trigger_frame(source regclass, names jsonb, body text) returns text
language sql stable
begin atomic
    select format
    ( $body$
#variable_conflict use_column
<<this>>
declare
    %1$s
    fits boolean;
    gone boolean;
    is_single boolean;
    queued bigint = 0;
    trouble text;
    moment bigint;
    is_strict boolean = current_setting('transaction_isolation') in ('repeatable read', 'serializable');
begin
    %2$s
    if %3$s is not true then
        raise warning 'changes of %% are not embedded: the queue %% is gone or may not be used by its owner'
            , tg_relid::regclass, %4$L
            using hint = 'Let a superuser look at the vectorizer %5$s: worker doctor says what is wrong.';
        return null;
    end if;
    %6$s
    if this.trouble is not null then
        raise warning 'changes of %% are not embedded: %%', tg_relid::regclass, this.trouble
            using hint = 'Undo the change of the key, or drop the vectorizer %5$s with ai.drop_vectorizer and create it anew.';
    end if;
    if this.queued > 0 then
        this.moment = date_part('epoch', clock_timestamp()) * 1000;
        if coalesce(pg_sequence_last_value(to_regclass(%7$L)), 0) < this.moment
            and current_setting('max_prepared_transactions') = '0'
        then
            perform setval(to_regclass(%7$L), this.moment + 20);
            perform pg_notify('ai_vectorizer', '%5$s');
        end if;
    end if;
    return null;
end
$body$
    , (select string_agg(format('k%1$s %2$s; f%1$s %2$s; t%1$s text;', v.pknum, v.type), ' ' order by v.pknum)
       from ai._vectorizer_variables(source) v)
    , case when names ->> 'store_table' is null then format($own$if coalesce(current_setting('ai.own_write', true), '') <> '' then
        if has_table_privilege(coalesce(nullif(current_setting('role'), 'none'), session_user)::name, to_regclass(%L)::oid, 'insert')
            and exists (
            select from pg_trigger t
            where t.tgrelid = tg_relid and t.tgname = '_vectorizer_src_trg_' || current_setting('ai.own_write'))
        then
            return null;
        end if;
    end if;$own$, names ->> 'lease') else '' end
    , ai._vectorizer_usable_sql(names ->> 'queue_schema', names ->> 'queue_table', 'insert')
    , format('%I.%I', names ->> 'queue_schema', names ->> 'queue_table')
    , names ->> 'vectorizer_id'
    , body
    , names ->> 'bell'
    );
end;

-- One function for all events of a row. If the queue is itself the target of a subscription, replicated changes of
-- the source need no item: the publisher's item is replicated.
create or replace function ai._vectorizer_row_body(source regclass, names jsonb, watched name[]) returns text
language sql stable
begin atomic
    select format
    ( $body$if current_setting('session_replication_role') = 'replica' and exists (
        select from pg_subscription_rel r where r.srrelid = to_regclass(%L))
    then
        return null;
    end if;
    if tg_op = 'INSERT' then
        %s
    elsif tg_op = 'UPDATE' then
        %s
    else
        %s
    end if;$body$
    , format('%I.%I', names ->> 'queue_schema', names ->> 'queue_table')
    , ai._vectorizer_trigger_body(source, names, watched, 'insert', true)
    , ai._vectorizer_trigger_body(source, names, watched, 'update', true)
    , ai._vectorizer_trigger_body(source, names, watched, 'delete', true)
    );
end;
