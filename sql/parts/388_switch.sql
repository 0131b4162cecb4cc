-- The steps of a change, and the functions with which a user directs it.

-- Why a generation that is ready, or kept, cannot serve now; null if it can.
create or replace function ai._change_obstacle(v ai.vectorizer, g ai.vectorizer_generation) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    d jsonb = v.config -> 'destination';
    aside name = ai._generation_view(d ->> 'embedding_column', ai._vectorizer_number(v.id, v.queue_failed_table));
    dependants text;
    oldest timestamptz;
begin
    if d ? 'hybrid' and not (g.config -> 'destination') ? 'hybrid' then
        return format('it has no text index: select ai.enable_hybrid(%L, %L)', v.name, d #>> '{hybrid,language}');
    elsif d ? 'hybrid' and not ai._text_is_ready(ai._generation_as_vectorizer(g, v)) then
        return 'its text index is not ready';
    end if;
    if d ->> 'implementation' = 'column' and exists (
        select from pg_attribute a
        where a.attrelid = ai._vectorizer_relation(v.source_schema, v.source_table) and a.attname = aside and not a.attisdropped)
    then
        return format('its source has a column %s, and the vectors that serve now need that name', aside);
    end if;
    dependants = ai._change_dependants(v);
    if dependants is not null then
        return format('drop first what depends on what serves now: %s', dependants);
    end if;
    execute format('select min(q.queued_at) from %I.%I q', v.queue_schema, g.queue_table) into oldest;
    if oldest < now() - interval '1 minute' then
        return format('rows have waited for it since %s', date_trunc('second', oldest));
    end if;
    -- A transaction whose snapshot is older would find nothing. (Roles see the snapshots of those only whose privileges
    -- they have.)
    if g.state = 'ready' and exists (
        select from pg_stat_activity a
        where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
        and a.backend_xmin is not null and age(a.backend_xmin) > age(g._filled_xid::xid))
    then
        return 'a transaction is older than its rows';
    end if;
    return null;
end
$$;

-- One attempt to let the other generation serve. It waits 40 ms for the readers of the view (or of the source, if the
-- vectors are in a column of it), and holds it for some milliseconds.
create or replace function ai._change_switch(generation int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    g ai.vectorizer_generation;
    d jsonb;
    obstacle text;
    is_column boolean;
    source regclass;
    locked regclass;
    path text[];
    aside name;
begin
    perform set_config('lock_timeout', '40ms', true);
    select x.* into strict v from ai.vectorizer x
    where x.id = (select y.vectorizer_id from ai.vectorizer_generation y where y.id = generation) for no key update;
    select x.* into strict g from ai.vectorizer_generation x where x.id = generation for update;
    if g.state not in ('ready', 'kept') then
        obstacle = format('it is %s', g.state);
    else
        obstacle = ai._change_obstacle(v, g);
    end if;
    if obstacle is not null then
        raise exception 'the other generation of the vectorizer % cannot serve: %', v.name, obstacle
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    d = v.config -> 'destination';
    is_column = d ->> 'implementation' = 'column';
    source = ai._vectorizer_relation(v.source_schema, v.source_table);
    locked = case when is_column then source else ai._vectorizer_relation((d ->> 'view_schema')::name, (d ->> 'view_name')::name) end;
    if locked is not null then
        execute ai._lock_command(locked::text, 'access exclusive');
    end if;
    perform set_config('lock_timeout', '5ms', true);
    -- What serves has the name without a number.
    path = array['destination', case when is_column then 'embedding_column' else 'view_name' end];
    aside = ai._generation_view(v.config #>> path, ai._vectorizer_number(v.id, v.queue_failed_table));
    if is_column then
        perform ai._change_exchange_columns(v, g, source, aside);
    end if;
    update ai.vectorizer_generation x
    set state = 'kept', switched_at = now(), reason = null
      , config = jsonb_set(v.config, path, to_jsonb(aside))
      , trigger_name = v.trigger_name, queue_table = v.queue_table, queue_failed_table = v.queue_failed_table
    where x.id = g.id;
    update ai.vectorizer x
    set config = jsonb_set(g.config, path, v.config #> path)
      , trigger_name = g.trigger_name, queue_table = g.queue_table, queue_failed_table = g.queue_failed_table
    where x.id = v.id;
    perform ai._change_swap_records(v.id, g.id);
    if is_column then
        perform ai._change_renew_text_triggers(v.id, source);
    else
        perform ai._vectorizer_recreate_view(v.id);
    end if;
end
$$;

-- The two ids have changed places: what is recorded of them goes with the tables.
create or replace function ai._change_swap_records(one int, other int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Claims of workers that have not noticed get nothing: they were planned for the digests of the other one.
    update ai.vectorizer_made_by m
    set vectors = o.vectors, texts = o.texts, embedding = o.embedding, assumed = o.assumed, recorded = o.recorded
      , partitions = o.partitions, expressions = o.expressions
    from ai.vectorizer_made_by o
    where m.vectorizer_id in (one, other) and o.vectorizer_id in (one, other) and o.vectorizer_id <> m.vectorizer_id;
    update ai.vectorizer_index i
    set state = 'waiting', indexing = null, statement = null, progress = null, reason = null, failures = 0
      , _claim = 0, _until = '-infinity'
    where i.vectorizer_id in (one, other);
    update ai.vectorizer_text t
    set chunks = o.chunks, words = o.words, filled_at = o.filled_at, counted_at = o.counted_at, _changes = o._changes
    from ai.vectorizer_text o
    where t.vectorizer_id in (one, other) and o.vectorizer_id in (one, other) and o.vectorizer_id <> t.vectorizer_id;
    -- A comparison in progress begins again, for both.
    if exists (select from ai.vectorizer_resync r where r.vectorizer_id in (one, other) and r.state in ('waiting', 'running')) then
        perform ai._request_resync(one), ai._request_resync(other);
        update ai.vectorizer_resync r
        set state = 'waiting', _claim = 0, _until = '-infinity', _cursor = null
        where r.vectorizer_id in (one, other);
    end if;
end
$$;

-- Whether the rows of a new generation are embedded, and its index is built; else why not.
create or replace function ai._change_waits_for(v ai.vectorizer, state text, out filled boolean, out indexed boolean, out reason text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    r ai.vectorizer_resync;
    step record;
    counted bigint;
begin
    filled = state <> 'filling';
    indexed = false;
    if not filled then
        select x.* into r from ai.vectorizer_resync x where x.vectorizer_id = v.id;
        -- (One that failed has ended, too, and has queued nothing. One that is asked for again is in progress.)
        if r.state is distinct from 'done' then
            reason = case when r.state = 'failed' then format('its rows cannot be compared: %s: select ai.resync_vectorizer(%s)', r.reason, v.id) else 'rows are queued and embedded' end;
            return;
        end if;
        -- An item that was queued at a time to come was queued before the clock was set back.
        execute format('select not exists (select from %1$I.%2$I q where q.queued_at <= $1)
                and coalesce((select max(q.queued_at) <= clock_timestamp() from %1$I.%2$I q), true)', v.queue_schema, v.queue_table)
        into filled using r.finished_at;
        reason = case when not filled then 'rows are embedded' end;
        return;
    end if;
    select s.* into step from ai._vector_index_step(v) s;
    indexed = step.is_built;
    if not indexed then
        execute (
            select format('select count(*) from (select from %s t where t.%I is not null limit %s) x', t.relation, t.embedding
                , coalesce((v.config #>> '{indexing,min_rows}')::bigint, 0))
            from ai._text_target(v) t) into counted;
        indexed = counted < coalesce((v.config #>> '{indexing,min_rows}')::bigint, 0);
    end if;
    if indexed and (v.config -> 'destination') ? 'hybrid' then
        select t.statement, t.problem into step.statement, step.problem from ai._text_step(v) t;
        -- (One count after it was filled is enough: others may write all the time.)
        indexed = ai._text_is_ready(v) and (step.statement is null or exists (
            select from ai.vectorizer_text t join ai.vectorizer_generation g on g.id = t.vectorizer_id
            where g.id = v.id and t.counted_at > g.filled_at));
        reason = case when not indexed then coalesce(step.problem
            , (select i.reason from ai.vectorizer_index i where i.vectorizer_id = v.id and i.state = 'failed')
            , 'its text index is being built') end;
    elsif not indexed then
        reason = coalesce(step.problem
            , (select concat_ws(': ', i.reason, nullif(ai._vector_index_sql(v), substring(i.reason from 'create index .*')))
               from ai.vectorizer_index i
               where i.vectorizer_id = v.id and i.state = 'failed')
            , 'its vector index is being built');
    end if;
end
$$;

-- The next step of a change, if one is possible. Returns the state after it.
create or replace function ai._change_step(generation int) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    g ai.vectorizer_generation;
    w record;
    after text;
    why text;
begin
    select x.* into g from ai.vectorizer_generation x where x.id = generation for update skip locked;
    if not found then
        return (select x.state from ai.vectorizer_generation x where x.id = generation);
    end if;
    select x.* into strict v from ai.vectorizer x where x.id = g.vectorizer_id;
    after = g.state;
    if v.disabled or ai._is_paused(v) or g.state = 'kept' then
        return after;
    elsif g.state = 'ready' then
        if not g.switches then
            return after;
        end if;
        begin
            perform ai._change_switch(g.id);
            return 'kept';
        exception
            when lock_not_available or deadlock_detected then
                why = 'others use what it replaces';
            when object_not_in_prerequisite_state or dependent_objects_still_exist then
                why = sqlerrm;
        end;
    else
        select x.* into w from ai._change_waits_for(ai._generation_as_vectorizer(g, v), g.state) x;
        after = case when not w.filled then 'filling' when g.state = 'filling' then 'indexing' when not w.indexed then 'indexing' else 'ready' end;
        why = w.reason;
    end if;
    if (g.state, g.reason) is distinct from (after, why) then
        update ai.vectorizer_generation x
        set state = after, reason = why
          , filled_at = case when g.state = 'filling' and after <> 'filling' then clock_timestamp() else x.filled_at end
          , _filled_xid = case when g.state = 'filling' and after <> 'filling' then pg_current_xact_id() else x._filled_xid end
        where x.id = g.id;
    end if;
    return after;
end
$$;

-- For workers: takes the next step by the function that the owner of the source has for this. Returns the state, or
-- null if there is no such change any more.
create or replace function ai._change_advance(generation int) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    step text = (
        select format('%I.%I()', n.nspname, p.proname)
        from ai.vectorizer_generation g
        join ai.vectorizer v on v.id = g.vectorizer_id
        join pg_namespace n on n.nspname = v.queue_schema
        join pg_proc p on p.pronamespace = n.oid and p.proname = '_vectorizer_step_' || g.id
            and p.pronargs = 0 and p.prosecdef and p.prorettype = 'text'::regtype
        join pg_class c on c.oid = ai._vectorizer_relation(v.source_schema, v.source_table) and c.relowner = p.proowner
        where g.id = generation);
    state text;
begin
    if step is null then
        if exists (select from ai.vectorizer_generation g where g.id = generation) then
            raise exception 'the function that carries out this change is gone, or belongs to another role than the source table'
                using errcode = 'undefined_function', hint = 'select ai.cancel_change(NAME)';
        end if;
        return null;
    end if;
    execute format('select %s', step) into state;
    return state;
end
$$;

-- The generation beside the one that serves; an error if there is none.
create or replace function ai._change_of(name text) returns ai.vectorizer_generation
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    g ai.vectorizer_generation;
begin
    select x.* into g from ai.vectorizer_generation x where x.vectorizer_id = ai._vectorizer_named(_change_of.name);
    if not found then
        raise exception 'the vectorizer % does not change', name
            using errcode = 'object_not_in_prerequisite_state', hint = 'ai.alter_vectorizer begins a change.';
    end if;
    return g;
end
$$;

create or replace function ai.switch_change(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    g ai.vectorizer_generation = ai._change_of(name);
begin
    if g.state = 'kept' then
        raise exception 'the new generation of % serves already', name
            using errcode = 'object_not_in_prerequisite_state', hint = 'ai.revert_change goes back.';
    end if;
    perform ai._with_locks(format('select ai._change_switch(%s)', g.id), format('the vectorizer %s cannot switch', name));
end
$$;
comment on function ai.switch_change is
    'Lets the new generation of a vectorizer serve, which is ready: for changes that were begun with switches => false.';

create or replace function ai.revert_change(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    g ai.vectorizer_generation = ai._change_of(name);
begin
    if g.state <> 'kept' then
        raise exception 'the old generation of % serves', name
            using errcode = 'object_not_in_prerequisite_state', hint = 'ai.cancel_change drops the new one.';
    end if;
    perform ai._with_locks(format('select ai._change_switch(%s)', g.id), format('the vectorizer %s cannot switch', name));
end
$$;
comment on function ai.revert_change is
    'Lets the old generation of a vectorizer serve again, as long as it is kept; called again, it lets the new one serve.';

create or replace function ai.finish_change(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    g ai.vectorizer_generation = ai._change_of(name);
begin
    if g.state <> 'kept' then
        raise exception 'the new generation of % does not serve yet: it is %', name, g.state
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'select change_state, change_reason from ai.vectorizer_status; or ai.cancel_change drops it.';
    end if;
    perform ai._with_locks(format('select ai._change_drop(%s)', g.id), format('cannot finish the change of %s', name));
end
$$;
comment on function ai.finish_change is 'Drops the generation of a vectorizer that does not serve any more.';

create or replace function ai.cancel_change(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    g ai.vectorizer_generation = ai._change_of(name);
begin
    if g.state = 'kept' then
        raise exception 'the new generation of % serves', name
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'ai.revert_change lets the old one serve again, and then ai.finish_change drops the new one.';
    end if;
    perform ai._with_locks(format('select ai._change_drop(%s)', g.id), format('cannot cancel the change of %s', name));
end
$$;
comment on function ai.cancel_change is 'Drops the new generation of a vectorizer, before it serves.';

-- How far a change is; nulls if there is none. While the rows of the new generation are still being compared with the
-- source, those that were not reached are neither done nor waiting.
create or replace function ai._change_measured
( v ai.vectorizer
, total bigint
, out state text
, out reason text
, out done bigint
, out pending bigint
, out percent numeric
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    g ai.vectorizer_generation;
    reached bigint;
    m record;
begin
    select x.* into g from ai.vectorizer_generation x where x.vectorizer_id = v.id;
    if not found then
        return;
    end if;
    state = g.state;
    reason = g.reason;
    select x.pending, x.failed into m from ai._vectorizer_measured(ai._generation_as_vectorizer(g, v)) x;
    reached = total;
    if g.state = 'filling' then
        select case when r.served > 0 then total else least(r.rows_compared, total) end into reached
        from ai.vectorizer_resync r where r.vectorizer_id = g.id;
    end if;
    pending = m.pending;
    done = greatest(coalesce(reached, 0) - m.pending - m.failed, 0);
    percent = case when total > 0 then least(round(100.0 * done / total, 1), case when g.state = 'filling' then 99.9 else 100 end) end;
exception when insufficient_privilege then
    return;
end
$$;
