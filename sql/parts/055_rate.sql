-- How fast rows are embedded: a moving average over about two minutes, kept by a trigger on what workers report.

create table if not exists ai.vectorizer_rate
( vectorizer_id int4 not null
, rows float8 not null
, counted_at timestamptz not null
, since timestamptz not null
, constraint vectorizer_rate_pkey primary key (vectorizer_id)
, constraint vectorizer_rate_vectorizer_id_fkey foreign key (vectorizer_id) references ai.vectorizer (id) on delete cascade
);
comment on table ai.vectorizer_rate is 'How fast each vectorizer embeds.';
comment on column ai.vectorizer_rate.rows is
    'Rows embedded until counted_at; each counts the less the older it is: by the factor e less every two minutes.';
comment on column ai.vectorizer_rate.since is 'Since when they are counted.';

-- Rows a minute. The sum of weights since the begin is what so many rows a minute would have brought:
-- 2 min * (1 - exp(-t / 2 min)).
create or replace function ai._rows_per_minute(r ai.vectorizer_rate) returns float8
language sql stable
set search_path = pg_catalog, pg_temp
return (
    select case when t.since < 5 then null
        else r.rows * exp(-least(t.counted, 6000) / 120) / (2 * (1 - exp(-least(t.since, 6000) / 120))) end
    from (select greatest(extract(epoch from clock_timestamp() - r.counted_at), 0)::float8 as counted
               , extract(epoch from clock_timestamp() - r.since)::float8 as since) t);

-- (Workers need no rights on the table.)
create or replace function ai._vectorizer_rate_count() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    more float8 = new.success_count - case tg_op when 'UPDATE' then old.success_count else 0 end;
    at timestamptz = clock_timestamp();
    began timestamptz;
begin
    if more <= 0 then
        return null;
    end if;
    -- The first ones were embedded since the worker's heartbeat before, or since its start.
    select at - least(w.expected_heartbeat_interval, at - w.started) into began
    from ai.vectorizer_worker_process w
    where w.id = new.last_success_process_id;
    insert into ai.vectorizer_rate as r (vectorizer_id, rows, counted_at, since)
    values (new.vectorizer_id, more, at, coalesce(began, at - interval '1 minute'))
    on conflict (vectorizer_id) do update
    set rows = more + case when at - r.counted_at < interval '10 minutes'
            then r.rows * exp(-greatest(extract(epoch from at - r.counted_at), 0)::float8 / 120) else 0 end
      , since = case when at - r.counted_at < interval '10 minutes' then r.since else excluded.since end
      , counted_at = at;
    return null;
end
$$;
revoke all on function ai._vectorizer_rate_count() from public;

create or replace trigger vectorizer_rate_count
    after insert or update of success_count on ai.vectorizer_worker_progress
    for each row execute function ai._vectorizer_rate_count();
