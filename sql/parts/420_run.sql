-- Upgrades every vectorizer to this version. Each is tried until it gets its locks, or until ai.lock_timeout (5
-- minutes) is over. A vectorizer without the upgrade would not be kept in sync, so the script then ends with an
-- error, and its next run continues.
--
-- If the script runs statement by statement, each vectorizer is a transaction of its own, so no session waits for one
-- because of another. In one transaction no lock can be released before the end: there all are taken at once, while
-- nothing else is locked.

create or replace function ai._vectorizers_to_upgrade() returns setof ai.vectorizer
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select v.*
    from ai.vectorizer v
    where v.queue_table is not null
    and (ai._vectorizer_relation(v.queue_schema, ('_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table))::name) is null
        or not exists (
            select from ai._vectorizer_build b where b.id = v.id and b.version = ai._vectorizer_version()))
    -- Vectorizers without a source are skipped; workers report them.
    and ai._vectorizer_relation(v.source_schema, v.source_table) is not null;
end;

create or replace function ai._vectorizer_bring_up(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
begin
    select x.* into strict v from ai.vectorizer x where x.id = vectorizer_id;
    if to_regclass(format('%I.%I', v.queue_schema, '_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table))) is null then
        perform ai._vectorizer_upgrade(v.id);
    else
        perform ai._vectorizer_renew(v.id);
    end if;
    -- Changes owners and privileges while the locks are held. 450_owners.sql reports what cannot
    -- be done.
    begin
        perform ai._vectorizer_settle(v.id);
    exception
        when lock_not_available or deadlock_detected then
            raise;
        when others then
            null;
    end;
end
$$;

-- The relations of the catalog that the next part replaces.
create or replace function ai._catalogue_to_lock() returns text[]
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select array_agg(t.name order by t.place)
    from (values
        (1, 'ai.vectorizer_errors', ai._view_differs('vectorizer_errors')),
        (2, 'ai.vectorizer_status', ai._view_differs('vectorizer_status')),
        (3, 'ai._vectorizer_errors', not exists (
            select from pg_index x where x.indrelid = 'ai._vectorizer_errors'::regclass and x.indisprimary))
        ) t(place, name, is_changed)
    where t.is_changed;
end;

do $$
declare
    within boolean = coalesce(current_setting('ai.setup_in_transaction', true), '') = 'yes';
    deadline timestamptz = clock_timestamp() + ai._lock_patience();
    waiting int[] = array(select v.id from ai._vectorizers_to_upgrade() v order by v.id);
    busy int[];
    vectorizer_id int;
    failures text[] = '{}';
    failure_hint text;
begin
    if cardinality(waiting) > 0 and current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
        if within then
            raise exception 'vectorizers cannot be upgraded in a transaction that is %'
                , upper(current_setting('transaction_isolation'))
                using errcode = 'active_sql_transaction',
                      hint = 'It would not see what is queued meanwhile. Begin the transaction of setup.sql with: '
                          'begin isolation level read committed';
        end if;
        commit;
        set transaction isolation level read committed;
    end if;
    if within and (cardinality(waiting) > 0 or ai._catalogue_to_lock() is not null) then
        perform ai._with_locks(format('select ai._lock_tables(%L, %L, %L)', array(
                select c.oid::regclass::text
                from ai._vectorizers_to_upgrade() v
                join pg_class c on c.oid = ai._vectorizer_relation(v.source_schema, v.source_table)
                where pg_has_role(c.relowner, 'usage')
                order by v.id), 'share row exclusive', array(
                select t.name
                from ai._vectorizers_to_upgrade() v
                join pg_class c on c.oid = ai._vectorizer_relation(v.source_schema, v.source_table)
                    and pg_has_role(c.relowner, 'usage')
                cross join unnest(ai._vectorizer_to_lock(v)) with ordinality t(name, place)
                order by v.id, t.place) || ai._catalogue_to_lock())
            , 'cannot upgrade the schema ai');
    end if;
    while cardinality(waiting) > 0 loop
        busy = '{}';
        foreach vectorizer_id in array waiting loop
            begin
                perform ai._with_locks(format('select ai._vectorizer_bring_up(%s)', vectorizer_id)
                    , 'cannot upgrade it', least(interval '5 s', deadline - clock_timestamp()));
            exception
                when lock_not_available then
                    busy = busy || vectorizer_id;
                    get stacked diagnostics failure_hint = pg_exception_detail;
                when insufficient_privilege or wrong_object_type then
                    -- It belongs to another role and cannot be changed, or its owner has replaced it.
                    get stacked diagnostics failure_hint = message_text;
                    insert into ai._vectorizer_errors (id, message, details)
                    values (vectorizer_id, 'upgrade failed', jsonb_build_object('error_reason', failure_hint));
                    raise warning 'vectorizer % stays as it is: %', vectorizer_id, failure_hint
                        using hint = 'Run setup.sql as the owner of its tables, or as a superuser.';
                when others then
                    get stacked diagnostics failure_hint = pg_exception_hint;
                    failures = failures || format('%s (%s)', (select v.name from ai.vectorizer v where v.id = vectorizer_id), sqlerrm);
                    insert into ai._vectorizer_errors (id, message, details)
                    values (vectorizer_id, 'upgrade failed', jsonb_build_object('error_reason', sqlerrm));
            end;
            if not within then
                commit;
                set transaction isolation level read committed;
            end if;
        end loop;
        waiting = busy;
        if cardinality(busy) > 0 and clock_timestamp() >= deadline then
            failures = failures || (
                select array_agg(format('%s (its tables are locked by others)', v.name) order by v.id)
                from ai.vectorizer v where v.id = any (busy));
            exit;
        end if;
    end loop;
    if cardinality(failures) > 0 then
        raise exception 'not every vectorizer was upgraded: %', array_to_string(failures, ', ')
            using errcode = 'object_not_in_prerequisite_state',
                  detail = coalesce(failure_hint, ''),
                  hint = 'The rows of these are not kept in sync. Change what is in the way, or drop them with '
                      'ai.drop_vectorizer, and run setup.sql again: it goes on with them.';
    end if;
end
$$;
