-- The second generation of a vectorizer, while it changes to another model: with a queue, failed table, lease, bell,
-- triggers and a store of its own. Workers treat it as a vectorizer with an id of its own. What serves is in
-- ai.vectorizer, the other one is here: the new one before the switch, the old one after it.

create table if not exists ai.vectorizer_generation
( id int4 not null
, vectorizer_id int4 not null
, state text not null
, config jsonb not null
, trigger_name name not null
, queue_table name not null
, queue_failed_table name not null
, switches boolean not null
, reason text
, started_at timestamptz not null default now()
, filled_at timestamptz
, switched_at timestamptz
, _filled_xid xid8
, _build text
, constraint vectorizer_generation_pkey primary key (id)
, constraint vectorizer_generation_vectorizer_id_key unique (vectorizer_id)
, constraint vectorizer_generation_vectorizer_id_fkey foreign key (vectorizer_id) references ai.vectorizer (id) on delete cascade
, constraint generation_state_is_known check (state in ('filling', 'indexing', 'ready', 'kept'))
);
comment on table ai.vectorizer_generation is
    'Vectorizers that change to another model: the generation that does not serve, which is the new one until the switch, and then the old one.';
comment on column ai.vectorizer_generation.id is 'Under this number workers work on it, as on a vectorizer.';
comment on column ai.vectorizer_generation.state is
    'filling: the rows are embedded. indexing: a worker builds the vector index. ready: it can serve. kept: the other one serves.';
comment on column ai.vectorizer_generation.switches is 'Whether workers let it serve when it is ready.';
comment on column ai.vectorizer_generation.reason is 'What the next step waits for.';
grant select on ai.vectorizer_generation to public;

-- The number in the names of a vectorizer's queue, failed table, lease, bell and text index: that of the generation that serves,
-- which is not its id after a change.
create or replace function ai._vectorizer_number(vectorizer_id int, queue_failed_table name) returns int
language sql immutable
return coalesce(substring(queue_failed_table from '^_vectorizer_q_failed_([0-9]{1,9})$')::int, vectorizer_id);

-- A generation that does not serve, as a vectorizer with its id.
create or replace function ai._generation_as_vectorizer(g ai.vectorizer_generation, v ai.vectorizer) returns ai.vectorizer
language sql immutable
return jsonb_populate_record(v, jsonb_build_object
( 'id', g.id
, 'name', left(v.name::text, 30) || ' (other generation)'
, 'config', g.config
, 'trigger_name', g.trigger_name
, 'queue_table', g.queue_table
, 'queue_failed_table', g.queue_failed_table));

-- All that workers work on: the vectorizers, and the generations that do not serve, as vectorizers. (A function
-- without settings, so that a condition on the id is part of the query.)
create or replace function ai._vectorizers() returns setof ai.vectorizer
language sql stable
begin atomic
    select v.* from ai.vectorizer v
    union all
    select p.*
    from ai.vectorizer_generation g
    join ai.vectorizer v on v.id = g.vectorizer_id
    cross join lateral ai._generation_as_vectorizer(g, v) p;
end;

-- The vectorizer that a vectorizer or a generation belongs to.
create or replace function ai._vectorizer_whole(id int) returns int
language sql stable
return coalesce((select g.vectorizer_id from ai.vectorizer_generation g where g.id = _vectorizer_whole.id), _vectorizer_whole.id);

-- What was recorded of a vectorizer or a generation goes with it. (There are no foreign keys, because these records
-- can be about either.)
create or replace function ai._vectorizer_forget() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'TRUNCATE' then
        delete from ai.vectorizer_made_by;
        delete from ai.vectorizer_resync;
        delete from ai.vectorizer_index;
        delete from ai.vectorizer_text;
        return null;
    end if;
    delete from ai.vectorizer_made_by x where x.vectorizer_id = old.id;
    delete from ai.vectorizer_resync x where x.vectorizer_id = old.id;
    delete from ai.vectorizer_index x where x.vectorizer_id = old.id;
    delete from ai.vectorizer_text x where x.vectorizer_id = old.id;
    return null;
end
$$;
revoke all on function ai._vectorizer_forget() from public;

create or replace trigger vectorizer_forget
    after delete on ai.vectorizer
    for each row execute function ai._vectorizer_forget();
create or replace trigger vectorizer_forget_all
    after truncate on ai.vectorizer
    for each statement execute function ai._vectorizer_forget();
create or replace trigger vectorizer_forget
    after delete on ai.vectorizer_generation
    for each row execute function ai._vectorizer_forget();
create or replace trigger vectorizer_generation_changed
    after insert or update or delete or truncate on ai.vectorizer_generation
    for each statement execute function ai._vectorizer_changed();

do $$ begin perform ai._grant_to_writers('{ai.vectorizer}', 'insert, update, delete', 'ai.vectorizer_generation'); end $$;

-- The foreign keys of older versions.
do $$
declare
    old record;
begin
    for old in
        select c.conrelid::regclass as name, c.conname
        from pg_constraint c
        where c.contype = 'f' and c.confrelid = 'ai.vectorizer'::regclass
        and c.conrelid in (to_regclass('ai.vectorizer_made_by'), to_regclass('ai.vectorizer_resync'), to_regclass('ai.vectorizer_index')
            , to_regclass('ai.vectorizer_text'))
    loop
        perform ai._with_locks(format('alter table %s drop constraint %I', old.name, old.conname)
            , format('%s cannot be changed', old.name));
    end loop;
end
$$;
