-- Handles TRUNCATE of a source, or of a part of it: queue items and stored chunks are deleted.

-- The body for the source itself: everything is deleted at once. If an application's table references the store,
-- TRUNCATE fails, and DELETE does what the foreign key allows.
create or replace function ai._vectorizer_truncate_body(names jsonb) returns text
language sql immutable
begin atomic
    select format
    ( $body$
begin
    if current_setting('session_replication_role') = 'replica' and exists (
        select from pg_subscription_rel r where r.srrelid = to_regclass(%1$L))
    then
        return null;
    end if;
    begin
        truncate %1$s, %2$s;
        %3$s
    exception when others then
        raise warning 'not everything that is stored for %% was removed: %%', tg_relid::regclass, sqlerrm
            using hint = 'Run: worker resync, for the vectorizer %4$s.';
    end;
    return null;
end
$body$
    , format('%I.%I', names ->> 'queue_schema', names ->> 'queue_table')
    , format('%I.%I', names ->> 'queue_schema', names ->> 'queue_failed_table')
    , case when names ->> 'store_table' is null then '' else format
      ( $body$begin
            truncate %1$s;
        exception when feature_not_supported then
            delete from %1$s;
        end;$body$, format('%I.%I', names ->> 'store_schema', names ->> 'store_table')) end
    , names ->> 'vectorizer_id'
    );
end;

-- The body for a partition, or for one table of an inheritance tree. It queues keys that may have been in it, and
-- workers delete the chunks of those that have no row. A partition's bounds determine these keys, because a primary
-- key contains the partition key. In REPEATABLE READ and SERIALIZABLE, chunks that a worker has just written are
-- invisible, so a resync is requested, too.
create or replace function ai._vectorizer_truncate_part_body(source regclass, names jsonb) returns text
language sql stable
begin atomic
    select format
    ( $body$
declare
    bounds text = coalesce(pg_get_partition_constraintdef(tg_relid), 'true');
begin
    begin
        execute format(%1$L, bounds);
        if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
            perform ai._request_resync(%3$s);
        elsif bounds <> 'true' then
            execute format(%2$L, bounds);
        end if;
        perform pg_notify('ai_vectorizer', '%3$s') where current_setting('max_prepared_transactions') = '0';
    exception when others then
        raise warning 'what is stored for %% was not removed: %%', tg_relid::regclass, sqlerrm
            using hint = 'Run: worker resync, for the vectorizer %3$s.';
    end;
    return null;
end
$body$
    , format('insert into %s (%s, queued_at) select k.*, clock_timestamp() from (select distinct %2$s from %s where %%s) k %s'
        , replace(format('%I.%I', names ->> 'queue_schema', names ->> 'queue_table'), '%', '%%')
        , replace(ai._vectorizer_key_list(source), '%', '%%')
        , replace(format('%I.%I', names ->> 'store_schema', names ->> 'store_table'), '%', '%%')
        , replace(ai._vectorizer_conflict_sql(source), '%', '%%'))
    , format('delete from %s where %%s'
        , replace(format('%I.%I', names ->> 'store_schema', names ->> 'store_table'), '%', '%%'))
    , names ->> 'vectorizer_id'
    );
end;
