-- Takes locks on the application's tables so that the application's statements never fail because of them.
--
-- A statement that changes a table takes a stronger lock than a reader. After deadlock_timeout, PostgreSQL cancels
-- one of two transactions that wait for each other. So each attempt takes its strongest locks at once, waits for less
-- than half of that time, and releases all locks if it cannot get one. Then it tries again.

-- How long the functions of this schema keep trying to get their locks: ai.lock_timeout, or the session's
-- lock_timeout, or five minutes.
create or replace function ai._lock_patience() returns interval
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(nullif(current_setting('ai.lock_timeout', true), '')::interval
        , (select nullif(s.setting::int, 0) * interval '1 ms' from pg_settings s where s.name = 'lock_timeout')
        , interval '5 min');
end;

-- Locks a view only, with a change that has no effect: `lock table` would also lock the tables that the view
-- reads.
create or replace function ai._lock_command(relation text, mode text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(
        (select format('alter view %s alter column %I drop default', relation, a.attname)
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum = 1
         where c.oid = to_regclass(relation) and c.relkind = 'v')
        , format('lock table %s in %s mode', relation, mode));
end;

-- Locks tables in one mode, and then tables and views exclusively, for the current attempt. Only for the first one it
-- waits long, while it holds no other lock: that is the one that the last attempt did not get. For the others it
-- waits shortly, so that readers of a locked table do not wait longer than that.
create or replace function ai._lock_tables(tables text[], mode text, exclusively text[] default '{}') returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    attempt int = coalesce(nullif(current_setting('ai.lock_attempt', true), '')::int, 1);
    wanted text = coalesce(current_setting('ai.lock_first', true), '');
    longest int = coalesce(nullif(current_setting('ai.lock_wait', true), '')::int, 500);
    -- Most attempts are short: a session that waits for one of our locks while it holds a lock that we need
    -- cannot continue until we give up.
    shortly int = least(longest, 20 * 2 ^ (random() * least(attempt, 4)));
    began timestamptz;
    rest int;
    one record;
begin
    for one in
        select t.name, t.mode
        from (
            select distinct on (u.name) u.*
            from (
                select x.name, mode as mode, 1 as part, x.place from unnest(tables) with ordinality x(name, place)
                union all
                -- Views first, in the lock order of their readers.
                select x.name, 'access exclusive'
                    , case when exists (select from pg_class c where c.oid = to_regclass(x.name) and c.relkind = 'v') then 0 else 2 end
                    , x.place
                from unnest(exclusively) with ordinality x(name, place)
                ) u
            where u.name is not null
            order by u.name, u.mode, u.place
            ) t
        order by t.name <> wanted, t.part, t.place
    loop
        if began is not null then
            rest = shortly - (extract(epoch from clock_timestamp() - began) * 1000)::int;
            perform set_config('lock_timeout', greatest(rest, 1)::text, true);
        end if;
        begin
            execute ai._lock_command(one.name, one.mode);
        exception when lock_not_available then
            raise exception 'no lock on % within the time', one.name
                using errcode = 'lock_not_available', table = one.name
                    , column = case when began is null then 'first' else 'other' end;
        end;
        began = coalesce(began, clock_timestamp());
    end loop;
end
$$;

-- The sessions that hold a table, for a message.
create or replace function ai._lock_holders(table_name text) returns text
language sql volatile
set search_path = pg_catalog, pg_temp
begin atomic
    select string_agg(format('%s (%s, transaction since %s)', h.pid, h.application_name, h.since), ', ' order by h.pid)
    from (
        select distinct l.pid, coalesce(nullif(a.application_name, ''), 'no application_name') as application_name
            , to_char(a.xact_start, 'HH24:MI:SS') as since
        from pg_locks l
        left join pg_stat_activity a on a.pid = l.pid
        where l.relation = to_regclass(table_name)
        and l.granted
        and l.pid <> pg_backend_pid()
        limit 5
    ) h;
end;

-- Runs a command repeatedly until it gets its locks; each attempt is a subtransaction. Fails with lock_not_available
-- (55P03) when its time is over.
create or replace function ai._with_locks(command text, purpose text, patience interval default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- A session that waits for this one must not wait for deadlock_timeout.
    longest int = (select greatest(s.setting::int / 2, 1) from pg_settings s where s.name = 'deadlock_timeout');
    own text = current_setting('lock_timeout');
    deadline timestamptz = clock_timestamp() + coalesce(patience, ai._lock_patience());
    wanted text = '';
    place text;
    attempt int = 1;
    long_held int = 0;
begin
    loop
        begin
            perform set_config('ai.lock_attempt', attempt::text, true), set_config('ai.lock_first', wanted, true)
                , set_config('ai.lock_wait', longest::text, true)
                , set_config('lock_timeout', least(longest, 50 * attempt)::text, true);
            execute command;
            perform set_config('lock_timeout', own, true);
            return;
        exception when lock_not_available or deadlock_detected then
            get stacked diagnostics wanted = table_name, place = column_name;
        end;
        if clock_timestamp() >= deadline then
            raise exception '%: no lock%', purpose, coalesce(' on ' || nullif(wanted, ''), '')
                using errcode = 'lock_not_available', table = wanted,
                      detail = coalesce('Held by ' || ai._lock_holders(nullif(wanted, '')), 'Somebody else holds it.'),
                      hint = 'Try again when those transactions have ended, or give it more time: '
                          'set ai.lock_timeout = ''1h''';
        end if;
        attempt = attempt + 1;
        -- Other sessions wait behind each attempt: if a long transaction holds the table, there are fewer
        -- attempts.
        long_held = case when place = 'other' then 0 else long_held + 1 end;
        perform pg_sleep((0.02 + least(0.2 * long_held, 2)) * (0.5 + random()));
    end loop;
end
$$;

-- REPEATABLE READ and SERIALIZABLE read rows from the snapshot of the transaction's first statement: commits of
-- others between that and the lock would be missed. Accepted are tables that this transaction has created, and tables
-- that it locked before its first statement that reads: then no other transaction has committed a change since.
create or replace function ai._require_current_snapshot(source regclass) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    lock_mode text;
    snapshot pg_snapshot;
    xid bigint;
    is_old boolean;
begin
    if current_setting('transaction_isolation') not in ('repeatable read', 'serializable') then
        return;
    end if;
    select max(l.mode) into lock_mode
    from pg_locks l
    where l.locktype = 'relation'
    and l.relation = source
    and l.database = (select d.oid from pg_database d where d.datname = current_database())
    and l.pid = pg_backend_pid()
    and l.granted
    and l.mode in ('ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');
    if lock_mode is not null then
        -- The row of a system column is as old as the table.
        if exists (select from pg_attribute a where a.attrelid = source and a.attnum = -6 and age(a.xmin) <= 0) then
            return;
        end if;
        snapshot = pg_current_snapshot();
        is_old = exists (
            select from pg_snapshot_xip(snapshot) x(xid) where pg_xact_status(x.xid) = 'committed');
        xid = pg_snapshot_xmax(snapshot)::text::bigint;
        begin
            for step in 0..10000 loop
                is_old = is_old or step = 10000 or coalesce(pg_xact_status((xid + step)::text::xid8), '') = 'committed';
                exit when is_old;
            end loop;
        exception when invalid_parameter_value then
            -- That transaction has not started yet.
            null;
        end;
        if not is_old then
            return;
        end if;
    end if;
    raise exception 'in a transaction that is % rows of % may stay unseen'
        , upper(current_setting('transaction_isolation')), source
        using errcode = 'active_sql_transaction',
              hint = format('Do this in a transaction of its own: begin isolation level read committed; ...; commit. '
                  'Or begin the transaction with: lock table %s in share row exclusive mode', source);
end
$$;
