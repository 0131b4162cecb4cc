-- What scaling.yaml asks: how many rows wait in all queues that the worker serves. Run it once, as a
-- superuser or as a role that is a member of the worker's role and may create roles. Here the worker's
-- role is embedder, see ai.grant_worker_usage.
begin;

-- This role can do nothing but call the function. Give it a password: \password keda
create role keda login;

create schema pgai_scaling authorization embedder;
grant usage on schema pgai_scaling to keda;
grant select on ai.vectorizer_status to embedder;

-- It runs as the worker's role, which can read the queues, those of future vectorizers, too. Rows that wait
-- for a retry count. A queue of 10,000 rows and more counts as 10,000, so the query is fast.
create function pgai_scaling.queued_rows() returns bigint
language sql stable security definer
set search_path = pg_catalog, pg_temp
-- A policy that somebody puts on a queue does not run in here: it is an error.
set row_security = off
as $$
    select coalesce(sum(least(s.pending_items, 10000)), 0)::bigint
    from ai.vectorizer_status s
    where not s.disabled
$$;
alter function pgai_scaling.queued_rows() owner to embedder;
revoke all on function pgai_scaling.queued_rows() from public;
grant execute on function pgai_scaling.queued_rows() to keda;

commit;
