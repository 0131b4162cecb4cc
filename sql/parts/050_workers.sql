-- The live workers and what they have done: written by workers through the three functions below,
-- read by users. Timestamps are from the database.

create table if not exists ai.vectorizer_worker_process
( id uuid not null primary key default gen_random_uuid()
, version text not null
, started timestamptz not null default now()
, expected_heartbeat_interval interval not null
, last_heartbeat timestamptz not null default now()
, heartbeat_count int not null default 0
, error_count int not null default 0
, success_count int not null default 0
, last_error_at timestamptz
, last_error_message text
);
comment on table ai.vectorizer_worker_process is 'One row per worker process of the last thirty days.';

-- From where a worker is connected, and the process id of its session in the server.
create or replace function ai._vectorizer_worker_add_session() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ai._lock_tables(array['ai.vectorizer_worker_process'], 'access exclusive');
    alter table ai.vectorizer_worker_process add column _host text, add column _session int;
end
$$;

do $$
begin
    if not exists (
        select from pg_attribute a
        where a.attrelid = 'ai.vectorizer_worker_process'::regclass and a.attname = '_session' and not a.attisdropped)
    then
        perform ai._with_locks('select ai._vectorizer_worker_add_session()', 'ai.vectorizer_worker_process cannot be changed');
    end if;
end
$$;

-- For: workers whose heartbeat is overdue, and workers to delete.
create index if not exists vectorizer_worker_process_last_heartbeat_idx
    on ai.vectorizer_worker_process (last_heartbeat);

-- Deletes workers without a heartbeat for thirty days when the next one starts. (Workers cannot delete here.)
create or replace function ai._vectorizer_worker_process_prune() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from ai.vectorizer_worker_process p
    where p.id in (
        select d.id from ai.vectorizer_worker_process d
        where d.last_heartbeat < now() - interval '30 days'
        for update skip locked);
    return null;
end
$$;
revoke all on function ai._vectorizer_worker_process_prune() from public;

create or replace trigger vectorizer_worker_process_prune
    after insert on ai.vectorizer_worker_process
    for each statement execute function ai._vectorizer_worker_process_prune();

-- The process ids have no foreign key: processes may be deleted before progress is.
create table if not exists ai.vectorizer_worker_progress
( vectorizer_id int not null primary key references ai.vectorizer (id) on delete cascade
, success_count int not null default 0
, error_count int not null default 0
, last_success_at timestamptz
, last_success_process_id uuid
, last_error_at timestamptz
, last_error_message text
, last_error_process_id uuid
);
comment on table ai.vectorizer_worker_progress is 'What workers have done for each vectorizer.';

create or replace function ai._worker_start(version text, expected_heartbeat_interval interval) returns uuid
language sql volatile
begin atomic
    insert into ai.vectorizer_worker_process (version, expected_heartbeat_interval, _host, _session)
    values (_worker_start.version, _worker_start.expected_heartbeat_interval
        , coalesce(host(inet_client_addr()), 'local'), pg_backend_pid())
    returning id;
end;
comment on function ai._worker_start is 'Registers a worker process and returns its id.';

create or replace function ai._worker_heartbeat
( worker_id uuid
, num_successes_since_last_heartbeat int
, num_errors_since_last_heartbeat int
, error_message text
) returns void
language sql volatile
begin atomic
    with beat as materialized (select clock_timestamp() as at)
    update ai.vectorizer_worker_process p
    set last_heartbeat = b.at
      , heartbeat_count = p.heartbeat_count + 1
      , success_count = p.success_count + num_successes_since_last_heartbeat
      , error_count = p.error_count + num_errors_since_last_heartbeat
      , last_error_at = case when error_message is null then p.last_error_at else b.at end
      , last_error_message = coalesce(error_message, p.last_error_message)
      , _host = coalesce(host(inet_client_addr()), 'local')
      , _session = pg_backend_pid()
    from beat b
    where p.id = worker_id;
end;
comment on function ai._worker_heartbeat is 'Notes that a worker lives, and adds to its counts.';

create or replace function ai._worker_progress
( worker_id uuid
, worker_vectorizer_id int
, num_successes int
, error_message text
) returns void
language sql volatile
begin atomic
    insert into ai.vectorizer_worker_progress as p
    ( vectorizer_id, success_count, error_count
    , last_success_at, last_success_process_id
    , last_error_at, last_error_process_id, last_error_message
    )
    select worker_vectorizer_id
         , num_successes
         , case when error_message is null then 0 else 1 end
         , case when error_message is null then n.at end
         , case when error_message is null then worker_id end
         , case when error_message is not null then n.at end
         , case when error_message is not null then worker_id end
         , error_message
    from (select clock_timestamp() as at) n
    on conflict (vectorizer_id) do update
    set success_count = p.success_count + excluded.success_count
      , error_count = p.error_count + excluded.error_count
      , last_success_at = coalesce(excluded.last_success_at, p.last_success_at)
      , last_success_process_id = coalesce(excluded.last_success_process_id, p.last_success_process_id)
      , last_error_at = coalesce(excluded.last_error_at, p.last_error_at)
      , last_error_process_id = coalesce(excluded.last_error_process_id, p.last_error_process_id)
      , last_error_message = coalesce(excluded.last_error_message, p.last_error_message);
end;
comment on function ai._worker_progress is 'Adds what a worker has done for one vectorizer.';
