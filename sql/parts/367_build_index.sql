-- Building vector indexes: workers call these functions around `create index concurrently`, which must be a statement of
-- its own. One worker at a time holds the lease of a vectorizer's index. The index has a fixed name, so what a killed
-- worker has left is known: an invalid index of that name is dropped, and built again. (`create index ... if not exists`
-- does no harm if a worker that was frozen sends it late.)

create table if not exists ai.vectorizer_index
( vectorizer_id int not null
, state text not null default 'waiting'
, indexing jsonb
, statement text
, progress text
, reason text
, failures int not null default 0
, started_at timestamptz
, finished_at timestamptz
, _claim bigint not null default 0
, _until timestamptz not null default '-infinity'
, constraint vectorizer_index_pkey primary key (vectorizer_id)
, constraint index_state_is_known check (state in ('waiting', 'building', 'built', 'failed'))
);
comment on table ai.vectorizer_index is 'What workers have done about the vector index of each vectorizer that wants one.';
comment on column ai.vectorizer_index.indexing is 'The configuration that was found.';
comment on column ai.vectorizer_index.statement is 'The statement that runs, or ran last.';
comment on column ai.vectorizer_index.progress is 'The phase of the build, as in pg_stat_progress_create_index.';
comment on column ai.vectorizer_index.reason is 'Why it failed, or why no worker can build it.';
comment on column ai.vectorizer_index.failures is 'How often it has failed since it was last built.';

create or replace trigger vectorizer_index_guard
    before insert or update on ai.vectorizer_index
    for each row execute function ai._vectorizer_resync_guard();

-- Roles that are workers, or could write to the workers' tables before this one was made, can write here.
grant select on ai.vectorizer_index to public;
do $$ begin perform ai._grant_to_writers('{ai.vectorizer_worker_progress}', 'insert, update', 'ai.vectorizer_index'); end $$;

-- The name of the index that a worker builds.
create or replace function ai._vector_index_name(vectorizer_id int, implementation text) returns name
language sql immutable
return format('_vectorizer_idx_%s_%s', vectorizer_id, implementation)::name;

-- What the current role cannot do about an index on this table; null if it can build one.
create or replace function ai._vector_index_problem(v ai.vectorizer, relation oid) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    target record;
    by_hand text;
begin
    select c.oid::regclass as name, c.relkind, c.relowner, c.relnamespace, n.nspname
    into strict target
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = relation;
    if target.relkind = 'p' then
        return format('%s is partitioned, and only its partitions can be indexed concurrently: create their indexes by hand'
            , target.name);
    end if;
    if not exists (select from pg_am m where m.amname = v.config #>> '{indexing,implementation}') then
        return format('the database has no indexes of the kind %s', v.config #>> '{indexing,implementation}');
    end if;
    -- (That function knows the generation that serves.)
    by_hand = case when exists (select from ai.vectorizer_generation g where g.id = v.id)
        then format(', or create the index by hand: %s', ai._vector_index_sql(v))
        else format(', or create the index by hand (select ai.vector_index_sql(%L))', v.name) end;
    if not pg_has_role(target.relowner, 'USAGE') then
        return format('%s belongs to %s, and only its owner can index it: let the worker''s role be a member of its owner '
            '(grant %2$s to %s)%s', target.name, target.relowner::regrole, quote_ident(current_user), by_hand);
    end if;
    if not has_schema_privilege(target.relnamespace, 'CREATE') then
        return format('the worker''s role may not create in the schema of %s: grant create on schema %I to %s%s'
            , target.name, target.nspname, target.relowner::regrole, by_hand);
    end if;
    return null;
end
$$;

-- The statement that builds the index of a vectorizer.
create or replace function ai._vector_index_sql(v ai.vectorizer) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format('create index concurrently if not exists %I on %I.%I %s'
        , ai._vector_index_name(ai._vectorizer_number(v.id, v.queue_failed_table), v.config #>> '{indexing,implementation}'), n.nspname, c.relname
        , ai._vector_index_definition(f.relation, f.attnum, v.config -> 'indexing', greatest(
            coalesce((v.config #>> '{indexing,min_rows}')::bigint, 0), c.reltuples::bigint)))
    from ai._vector_column(v) f
    join pg_class c on c.oid = f.relation
    join pg_namespace n on n.oid = c.relnamespace
    where v.config #>> '{indexing,implementation}' <> 'none';
end;

create or replace function ai.vector_index_sql(name text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
begin
    select x.* into v from ai.vectorizer x where x.name = vector_index_sql.name::name;
    if not found then
        raise exception 'there is no vectorizer named "%"', name
            using errcode = 'undefined_object', hint = 'select id, name from ai.vectorizer';
    end if;
    return ai._vector_index_sql(v);
end
$$;
comment on function ai.vector_index_sql is
    'The statement that builds the vector index of a vectorizer, for its owner; null if it wants none.';

-- What is to be done about the index of a vectorizer now: a statement to run, a problem to tell, or nothing. Memory is
-- in bytes: what the build needs to be fast, and what it gets (maintenance_work_mem).
create or replace function ai._vector_index_step
( v ai.vectorizer
, out statement text
, out problem text
, out is_built boolean
, out memory_needed bigint
, out memory_given bigint
) language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    indexing jsonb = v.config -> 'indexing';
    implementation text = indexing ->> 'implementation';
    target record;
    row_count bigint;
begin
    if coalesce(implementation, 'none') in ('none', 'default') then
        is_built = true;
        return;
    end if;
    select f.*, n.nspname, c.reltuples into target
    from ai._vector_column(v) f
    join pg_class c on c.oid = f.relation
    join pg_namespace n on n.oid = c.relnamespace;
    is_built = ai._vector_index(target.relation, target.attnum, implementation) is not null;
    if target.relation is null or is_built then
        return;
    end if;
    -- Somebody builds an index there, maybe for a worker that was killed: the lock conflicts with itself.
    if exists (
        select from pg_locks l
        where l.locktype = 'relation' and l.relation = target.relation and l.granted and l.mode = 'ShareUpdateExclusiveLock'
        and l.database = (select d.oid from pg_database d where d.datname = current_database()))
    then
        return;
    end if;
    problem = ai._vector_index_problem(v, target.relation);
    if problem is not null then
        return;
    end if;
    if exists (
        select from pg_index x join pg_class c on c.oid = x.indexrelid
        where x.indrelid = target.relation and not x.indisvalid
        and c.relname = ai._vector_index_name(ai._vectorizer_number(v.id, v.queue_failed_table), implementation))
    then
        statement = format('drop index concurrently if exists %I.%I', target.nspname, ai._vector_index_name(ai._vectorizer_number(v.id, v.queue_failed_table), implementation));
        return;
    end if;
    if not ai._vectorizer_should_create_vector_index(v) then
        return;
    end if;
    statement = ai._vector_index_sql(v);
    if implementation = 'hnsw' then
        row_count = greatest(coalesce((indexing ->> 'min_rows')::bigint, 0), target.reltuples::bigint);
        -- A vector and the lists of its neighbors, as measured with pgvector 0.8.5: its notice says when memory is used up.
        memory_needed = row_count * (
            target.dimensions * case when target.type_name = 'halfvec' or target.dimensions > 2000 then 2 else 4 end
            + 200 + 32 * coalesce((indexing ->> 'm')::int, 16));
        memory_given = pg_size_bytes(current_setting('maintenance_work_mem'));
    end if;
end
$$;

-- Finds an index to build among these vectorizers, and takes its lease. Returns at most one row with a statement, and one
-- for each problem.
create or replace function ai._vector_index_take(claim bigint, lease bigint, ids bigint[])
returns table (vectorizer_id int, statement text, failures int, memory_needed bigint, memory_given bigint, problem text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v ai.vectorizer;
    step record;
    held record;
begin
    for v in
        select x.* from ai._vectorizers() x
        where x.id = any (ids) and (coalesce(x.config #>> '{indexing,implementation}', 'none') <> 'none'
            or (x.config -> 'destination') ? 'hybrid')
        order by x.id
    loop
        insert into ai.vectorizer_index as i (vectorizer_id) values (v.id) on conflict do nothing;
        select i._claim, i._until, i.indexing, i.failures into held
        from ai.vectorizer_index i where i.vectorizer_id = v.id
        for update skip locked;
        -- (A wait after a failure ends when the configuration changes.)
        if not found or held._until > now() and held._claim <> claim
            and (held._claim <> 0 or held.indexing is not distinct from v.config -> 'indexing')
        then
            continue;
        end if;
        begin
            select s.* into step from ai._vector_index_step(v) s;
            if step.statement is null and step.problem is null then
                select t.statement, t.problem into step.statement, step.problem from ai._text_step(v) t;
            end if;
        exception when others then
            select null::text as statement, sqlerrm as problem, false as is_built, 0::bigint as memory_needed, 0::bigint as memory_given
            into step;
        end;
        if step.problem is not null then
            update ai.vectorizer_index i
            set state = 'failed', reason = step.problem, indexing = v.config -> 'indexing', _claim = 0, _until = '-infinity'
            where i.vectorizer_id = v.id
            and (i.state, i.reason, i.indexing) is distinct from ('failed', step.problem, v.config -> 'indexing');
            return query select v.id, null::text, 0, 0::bigint, 0::bigint, step.problem;
        elsif step.statement is not null then
            update ai.vectorizer_index i
            set state = 'building', indexing = v.config -> 'indexing', statement = step.statement, progress = null
              , reason = null, started_at = now(), finished_at = null, _claim = claim
              , failures = case when i.indexing is not distinct from v.config -> 'indexing' then i.failures else 0 end
              , _until = now() + lease * interval '1 millisecond'
            where i.vectorizer_id = v.id
            returning i.failures into held.failures;
            return query select v.id, step.statement, held.failures
                , coalesce(step.memory_needed, 0), coalesce(step.memory_given, 0), null::text;
            return;
        elsif step.is_built then
            update ai.vectorizer_index i
            set state = 'built', reason = null, progress = null, failures = 0, indexing = v.config -> 'indexing', _claim = 0
            where i.vectorizer_id = v.id and i.state <> 'built';
        end if;
    end loop;
end
$$;

-- While the statement of a claim runs: extends the lease, and returns the progress and whether the build is in the way of
-- another session that waits to lock the table. If asked to, it cancels the statement. No row: the lease is lost.
create or replace function ai._vector_index_watch(vectorizer_id int, claim bigint, lease bigint, cancels boolean)
returns table (progress text, is_in_the_way boolean)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v ai.vectorizer;
    held record;
    builder int;
    target oid;
    said text;
begin
    select i.statement, i._until, i.progress, i.indexing into held
    from ai.vectorizer_index i
    where i.vectorizer_id = _vector_index_watch.vectorizer_id and i._claim = claim;
    if not found then
        return;
    end if;
    select x.* into v from ai._vectorizers() x where x.id = _vector_index_watch.vectorizer_id;
    target = (select f.relation from ai._vector_column(v) f);
    builder = (
        select a.pid from pg_stat_activity a
        where a.datname = current_database() and a.usename = current_user and a.backend_type = 'client backend'
        and a.state = 'active' and a.pid <> pg_backend_pid()
        and starts_with(held.statement, left(a.query, 500))
        and (a.query like '% index concurrently %' or a.query like 'call ai._text_keep(%')
        limit 1);
    select concat_ws(', ', p.phase
        , case when p.current_locker_pid > 0 then format('process %s', p.current_locker_pid)
            when p.blocks_total > 0 then format('%s %%', 100 * p.blocks_done / p.blocks_total)
            when p.tuples_total > 0 then format('%s %%', 100 * p.tuples_done / p.tuples_total) end)
    into said
    from pg_stat_progress_create_index p where p.pid = builder;
    -- Only what changes the table: a vacuum can wait.
    is_in_the_way = builder is not null and exists (
        select from pg_locks l
        where l.locktype = 'relation' and l.relation = target and not l.granted and l.pid <> builder
        and l.mode <> 'ShareUpdateExclusiveLock'
        and l.database = (select d.oid from pg_database d where d.datname = current_database()));
    if cancels and builder is not null then
        perform pg_cancel_backend(builder);
    end if;
    if held._until < now() + lease * interval '0.7 milliseconds' then
        update ai.vectorizer_index i
        set _until = now() + lease * interval '1 millisecond', progress = said
        where i.vectorizer_id = _vector_index_watch.vectorizer_id and i._claim = claim;
    end if;
    progress = said;
    return next;
end
$$;

-- Ends a claim: after a failure no worker tries again for so long (in ms). Returns whether there is a valid index; no row
-- if the lease was lost.
create or replace function ai._vector_index_end(vectorizer_id int, claim bigint, retry bigint, reason text)
returns setof boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    v ai.vectorizer;
    is_built boolean;
    is_text boolean;
    ended record;
begin
    select x.* into v from ai._vectorizers() x where x.id = _vector_index_end.vectorizer_id;
    select i.statement, i.started_at into ended
    from ai.vectorizer_index i where i.vectorizer_id = _vector_index_end.vectorizer_id and i._claim = claim;
    is_text = position(ai._text_gin(v)::text in ended.statement) > 0 or ended.statement like 'call ai._text_keep(%';
    is_built = case when is_text then ai._text_is_done(v, ended.statement, ended.started_at) else exists (
        select from ai._vector_column(v) f
        where ai._vector_index(f.relation, f.attnum, v.config #>> '{indexing,implementation}') is not null) end;
    update ai.vectorizer_index i
    -- After a step of the text index there may be another one.
    set state = case when is_built and is_text then 'waiting' when is_built then 'built' when _vector_index_end.reason is not null then 'failed' else 'waiting' end
      , reason = case when not is_built then _vector_index_end.reason end
      , failures = case when is_built then 0 when _vector_index_end.reason is not null then i.failures + 1 else i.failures end
      , progress = null, finished_at = now(), _claim = 0
      , _until = case when is_built then '-infinity' else now() + retry * interval '1 millisecond' end
    where i.vectorizer_id = _vector_index_end.vectorizer_id and i._claim = claim;
    if found then
        return next is_built;
    end if;
end
$$;
