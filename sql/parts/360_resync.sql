-- Resync: comparing a source with what is stored for it, and queueing what differs. It finds changes that fired no
-- trigger: partitions attached with rows, replication, disabled triggers, an unlogged table after a crash. A function
-- here only requests it. A worker performs it in many short transactions, and records its progress in this table.

create table if not exists ai.vectorizer_resync
( vectorizer_id int not null
, requests int not null default 1
, requested_at timestamptz not null default now()
, verify_text boolean not null default false
, taken int not null default 0
, served int not null default 0
, state text not null default 'waiting'
, verifies_text boolean not null default false
, started_at timestamptz
, finished_at timestamptz
, rows_expected bigint
, rows_compared bigint not null default 0
, missing bigint not null default 0
, orphans bigint not null default 0
, stale bigint not null default 0
, reason text
, _cursor jsonb
, _claim bigint not null default 0
, _until timestamptz not null default '-infinity'
, constraint vectorizer_resync_pkey primary key (vectorizer_id)
, constraint state_is_known check (state in ('waiting', 'running', 'done', 'failed'))
);
comment on table ai.vectorizer_resync is
    'Requests to compare a source with what is stored for it: one row for each vectorizer, with what the last comparison found.';
comment on column ai.vectorizer_resync.requests is 'How many requests there were.';
comment on column ai.vectorizer_resync.verify_text is 'Whether one of the requests that still wait wants texts compared.';
comment on column ai.vectorizer_resync.taken is 'Up to which request the present or last comparison serves.';
comment on column ai.vectorizer_resync.served is 'Up to which request comparisons have ended.';
comment on column ai.vectorizer_resync.verifies_text is 'Whether the present or last comparison compares texts, and not only keys.';
comment on column ai.vectorizer_resync.rows_expected is 'How many rows the source has, as its statistics say.';
comment on column ai.vectorizer_resync.missing is 'Rows with a text of which nothing, or not everything, was stored.';
comment on column ai.vectorizer_resync.orphans is 'Keys with chunks and without a row.';
comment on column ai.vectorizer_resync.stale is 'Rows whose chunks are those of another text.';
comment on column ai.vectorizer_resync.reason is 'Why it failed, or what it could not compare.';

-- Roles that can write to a vectorizer's queue can request and perform a resync: the owner, and workers' roles.
create or replace function ai._vectorizer_resync_guard() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'UPDATE' and new.vectorizer_id <> old.vectorizer_id
        or exists (
            select from ai._vectorizers() v
            join pg_namespace n on n.nspname = v.queue_schema
            join pg_class c on c.relnamespace = n.oid and c.relname = v.queue_table
            where v.id = new.vectorizer_id and not has_table_privilege(c.oid, 'insert'))
    then
        raise exception 'permission denied for vectorizer %', new.vectorizer_id
            using errcode = 'insufficient_privilege',
                  hint = 'Only who may write to its queue may do this: the owner of its source table, or a worker''s role.';
    end if;
    return new;
end
$$;

create or replace trigger vectorizer_resync_guard
    before insert or update on ai.vectorizer_resync
    for each row execute function ai._vectorizer_resync_guard();

-- Workers look for requests when they are notified that the catalog has changed.
create or replace trigger vectorizer_resync_requested
    after insert or update of requests on ai.vectorizer_resync
    for each statement execute function ai._vectorizer_changed();

-- Requests a resync and returns the number of the request: it is done when `served` has reached that number. A
-- comparison in progress is finished first, and another one follows.
create or replace function ai._request_resync(vectorizer_id int, verify_text boolean default false) returns int
language sql volatile
begin atomic
    insert into ai.vectorizer_resync as r (vectorizer_id, verify_text)
    values (_request_resync.vectorizer_id, coalesce(_request_resync.verify_text, false))
    on conflict (vectorizer_id) do update
    set requests = r.requests + 1
      , requested_at = now()
      , verify_text = excluded.verify_text or r.requests > r.taken and r.verify_text
      , state = case when r.state = 'running' then 'running' else 'waiting' end
    returning r.requests;
end;

create or replace function ai.resync_vectorizer(vectorizer_id int, verify_text boolean default false) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from ai._vectorizers() v where v.id = vectorizer_id) then
        raise exception 'there is no vectorizer %', vectorizer_id
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    return ai._request_resync(vectorizer_id, verify_text);
end
$$;
comment on function ai.resync_vectorizer(int, boolean) is
    'Asks workers to compare a source with what is stored for it, and to queue what differs; verify_text compares texts, too.';

create or replace function ai.resync_vectorizer(name text, verify_text boolean default false) returns int
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    id int = (select v.id from ai.vectorizer v where v.name = resync_vectorizer.name::name);
begin
    if id is null then
        raise exception 'there is no vectorizer %', name
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    return ai._request_resync(id, verify_text);
end
$$;
comment on function ai.resync_vectorizer(text, boolean) is 'The same, by name.';
