-- The views of the catalog. They are created under other names first, because replacing a view makes its
-- readers wait: 430_catalogue.sql puts them into place, and only if they differ from the existing ones.

do $$
declare
    left_behind name;
begin
    foreach left_behind in array array
        ['_next_vectorizer_progress', '_next_vectorizer_status', '_next_vectorizer_errors'] loop
        if to_regclass('ai.' || left_behind) is not null then
            execute format('drop view ai.%I', left_behind);
        end if;
    end loop;
end
$$;

create view ai._next_vectorizer_errors as
select e.id, e.message, e.details, e.recorded, v.name
from ai._vectorizer_errors e
left join ai.vectorizer v on e.id = v.id;
comment on view ai._next_vectorizer_errors is 'Errors of all vectorizers, with their names.';

-- Workers whose last heartbeat is at most three intervals old, while any worker is connected. (A session belongs to its
-- worker only as of the last heartbeat.)
do $$
begin
    if to_regclass('ai._live_worker') is null then
        create view ai._live_worker as
        select p.id
             , p._host as host
             , p._session as pid
             , p.version
             , p.last_heartbeat as last_seen
             , p.success_count as rows
             , p.error_count as errors
             , case when p.last_heartbeat > now() - 2 * p.expected_heartbeat_interval - interval '5 seconds' then 'alive' else 'late' end as state
             , p.started
        from ai.vectorizer_worker_process p
        where p.last_heartbeat > now() - greatest(3 * p.expected_heartbeat_interval, p.expected_heartbeat_interval + interval '10 seconds')
        and exists (
            select from pg_stat_activity a
            where a.datname = current_database() and a.pid <> pg_backend_pid() and a.application_name like 'pgai-worker%');
        comment on view ai._live_worker is 'The workers that are alive.';
    end if;
end
$$;

-- The first rule that applies gives the state. An error of the vectorizer as a whole holds until the vectorizer has
-- processed a row; one of a row holds while rows have failed or wait for their next attempt.
create view ai._next_vectorizer_status as
select v.id
     , v.name
     , format('%I.%I', v.source_schema, v.source_table) as source_table
     , case when v.config #>> '{destination,implementation}' = 'table' then
           format('%I.%I', v.config #>> '{destination,target_schema}', v.config #>> '{destination,target_table}')
       end as target_table
     , case when v.config #>> '{destination,implementation}' = 'table' then
           format('%I.%I', v.config #>> '{destination,view_schema}', v.config #>> '{destination,view_name}')
       end as "view"
     , case when v.config #>> '{destination,implementation}' = 'column' then
           format('%I', v.config #>> '{destination,embedding_column}')
       else 'embedding' end as embedding_column
     , ai._vectorizer_pending_if_readable(v.id, v.queue_schema, v.queue_table) as pending_items
     , v.disabled
     , s.state
     , case s.state when 'paused' then coalesce(z.reason, s.ceiling) when 'broken' then coalesce(d.defect, e.reason) end as reason
     , case s.state when 'paused' then case when z.vectorizer_id is not null then z.paused_until else e.day_ends end
           when 'retrying' then m.next_retry end as until
     , m.pending
     , m.pending_is_estimated
     , m.oldest
     , m.leased
     , m.retrying
     , m.attempts
     , m.next_retry
     , m.failed
     , e.reason as last_error
     , e.recorded as last_error_at
     , h.holds as last_error_holds
     , m.total
     , case when m.total - m.pending - m.failed < 0 then 0 else m.total - m.pending - m.failed end as done
     , m.total_is_estimated or m.pending_is_estimated as done_is_estimated
     , ai._rows_per_minute(f) as rows_per_minute
     , c.state as change_state
     , c.percent as change_percent
     , c.reason as change_reason
from ai.vectorizer v
cross join (select count(*) as alive from ai._live_worker) w
cross join lateral ai._vectorizer_measured(v) m
cross join lateral (select ai._vectorizer_problem(v) as defect) d
cross join lateral ai._change_measured(v, m.total) c
left join ai.vectorizer_worker_progress p on p.vectorizer_id = v.id
left join ai.vectorizer_rate f on f.vectorizer_id = v.id
left join ai.vectorizer_pause z on z.vectorizer_id = v.id and coalesce(z.paused_until > now(), true)
left join lateral (
    select r.recorded
         , coalesce(r.details ->> 'error_reason', r.message) as reason
         , r.details ? 'key' as is_of_row
         , r.message = 'daily ceiling reached' as is_ceiling
         , exists (
               select from ai.vectorizer_index x
               where x.vectorizer_id = v.id and x.state = 'failed' and x.reason = r.details ->> 'error_reason') as is_of_index
         , (date_trunc('day', r.recorded at time zone 'UTC') + interval '1 day') at time zone 'UTC' as day_ends
    from ai._vectorizer_errors r
    where r.id = v.id and not coalesce(r.details ? 'generation', false)
    order by r.recorded desc
    limit 1) e on true
cross join lateral (
    select e.recorded is not null and case
        when e.is_of_row then m.failed > 0 or m.retrying > 0
        when e.is_of_index then true
        when m.pending = 0 then false
        when e.is_ceiling then now() < e.day_ends
        else p.last_success_at is null or p.last_success_at < e.recorded end as holds) h
cross join lateral (
    select case when h.holds and e.is_ceiling then e.reason end as ceiling
         , case
           when v.disabled then 'disabled'
           when z.vectorizer_id is not null then 'paused'
           when d.defect is not null then 'broken'
           when m.pending = 0 then 'up_to_date'
           when w.alive = 0 then 'no_worker'
           when h.holds and e.is_ceiling then 'paused'
           when h.holds and not e.is_of_row and not e.is_of_index then 'broken'
           when m.leased = 0 and m.retrying > 0 and m.retrying >= m.pending and m.next_retry > now() then 'retrying'
           when m.pending > 0 then 'working' end as state) s;
comment on view ai._next_vectorizer_status is 'Each vectorizer, where it reads and writes, how much waits, and its state.';

create view ai._next_vectorizer_progress as
select v.id
     , v.name
     , m.total
     , d.done
     , m.pending
     , case when m.total = 0 then 100 when m.pending > 0 then least(round(100.0 * d.done / m.total, 1), 99.9)
           else round(100.0 * d.done / m.total, 1) end as percent
     , m.total_is_estimated or m.pending_is_estimated as is_estimated
     , f.rows_per_minute
     , case when m.pending > 0 and f.rows_per_minute >= 0.1 then
           make_interval(secs => least(round(60 * m.pending / f.rows_per_minute), 3e9)) end as time_left
     , c.done as change_done
     , c.pending as change_pending
     , c.percent as change_percent
from ai.vectorizer v
cross join lateral ai._vectorizer_measured(v) m
cross join lateral ai._change_measured(v, m.total) c
left join lateral (
    select ai._rows_per_minute(r) as rows_per_minute from ai.vectorizer_rate r where r.vectorizer_id = v.id) f on true
cross join lateral (
    select case when m.total - m.pending - m.failed < 0 then 0 else m.total - m.pending - m.failed end as done) d;
comment on view ai._next_vectorizer_progress is 'How many rows of each source are embedded, and how many wait.';

-- Whether the existing view differs from the next one.
create or replace function ai._view_differs(view_name name) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select to_regclass('ai.' || view_name) is not null
        and pg_get_viewdef(to_regclass('ai.' || view_name)) <> pg_get_viewdef(to_regclass('ai._next_' || view_name));
end;

-- Replaces the existing view with the next one. Views on it stay if its columns allow that.
create or replace function ai._replace_view(view_name name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    next name = '_next_' || view_name;
    old name = '_old_' || view_name;
begin
    begin
        execute format('create or replace view ai.%I as %s', view_name, pg_get_viewdef(to_regclass('ai.' || next)));
        execute format('comment on view ai.%I is %L', view_name, obj_description(to_regclass('ai.' || next), 'pg_class'));
        execute format('drop view ai.%I', next);
    exception when invalid_table_definition then
        -- Other columns, as in pgai 0.10.
        execute format('alter view ai.%I rename to %I', view_name, old);
        execute format('alter view ai.%I rename to %I', next, view_name);
        perform ai._copy_grants(to_regclass('ai.' || old), to_regclass('ai.' || view_name));
        execute format('drop view ai.%I', old);
    end;
end
$$;
