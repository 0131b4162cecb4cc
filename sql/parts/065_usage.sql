-- What embeddings use, and what of the ceilings of a day is given out. Workers write both tables; each row of the second
-- is one ceiling, so that all workers of a database share it.

create table if not exists ai.vectorizer_usage
( vectorizer_id int4 not null
, model text not null
, day date not null
, requests bigint not null default 0
, tokens bigint not null default 0
, estimated_tokens bigint not null default 0
, _write bigint not null default 0
, constraint vectorizer_usage_pkey primary key (vectorizer_id, model, day)
, constraint vectorizer_usage_vectorizer_id_fkey foreign key (vectorizer_id) references ai.vectorizer (id) on delete cascade
, constraint estimates_are_a_part check (estimated_tokens between 0 and tokens and requests >= 0)
);
comment on table ai.vectorizer_usage is 'Requests and tokens of each vectorizer, model and day.';
comment on column ai.vectorizer_usage.day is 'In UTC.';
comment on column ai.vectorizer_usage.requests is 'Requests that a provider answered with vectors.';
comment on column ai.vectorizer_usage.tokens is 'As the provider has counted them, or else a quarter of the bytes.';
comment on column ai.vectorizer_usage.estimated_tokens is 'The part of the tokens that no provider has counted.';
comment on column ai.vectorizer_usage._write is 'The last addition: it is not made again if its worker did not get the answer.';

create table if not exists ai.vectorizer_budget
( scope text not null
, vectorizer_id int4
, day date not null
, taken bigint not null default 0
, told bigint not null default 0
, constraint vectorizer_budget_pkey primary key (scope, day)
, constraint vectorizer_budget_vectorizer_id_fkey foreign key (vectorizer_id) references ai.vectorizer (id) on delete cascade
, constraint taken_not_negative check (taken >= 0)
);
comment on table ai.vectorizer_budget is 'What workers have taken of each ceiling of a day.';
comment on column ai.vectorizer_budget.scope is 'A vectorizer, or an account: provider, address and the name of its key.';
comment on column ai.vectorizer_budget.day is 'In UTC.';
comment on column ai.vectorizer_budget.taken is 'Tokens of a vectorizer, or millionths of a US dollar of an account: spent, or with a worker that may spend them.';
comment on column ai.vectorizer_budget.told is 'The highest ceiling that a worker has met: it was told of once.';

-- For: the cascade from ai.vectorizer.
create index if not exists vectorizer_budget_vectorizer_id_idx on ai.vectorizer_budget (vectorizer_id);

-- Only roles that can write to a vectorizer's queue can write here: its owner, and workers' roles. (An account has no
-- owner: whoever works for one vectorizer can take of it.) Usage only grows.
create or replace function ai._vectorizer_guard_usage() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    is_allowed boolean = coalesce((
        select bool_or(has_table_privilege(c.oid, 'insert'))
        from ai.vectorizer v
        join pg_namespace n on n.nspname = v.queue_schema
        join pg_class c on c.relnamespace = n.oid and c.relname = v.queue_table
        where new.vectorizer_id is null or v.id = new.vectorizer_id), false);
begin
    if tg_op = 'UPDATE' then
        is_allowed = is_allowed and new.day = old.day and new.vectorizer_id is not distinct from old.vectorizer_id;
    end if;
    if tg_op = 'UPDATE' and tg_argv[0] = 'grows' then
        is_allowed = is_allowed and new.model = old.model and new.requests >= old.requests
            and new.tokens >= old.tokens and new.estimated_tokens >= old.estimated_tokens;
    end if;
    if not is_allowed then
        raise exception 'permission denied for the usage of vectorizer %', new.vectorizer_id
            using errcode = 'insufficient_privilege',
                  hint = 'Only who may write to its queue may add to it: the owner of its source table, or a worker''s role.';
    end if;
    return new;
end
$$;

create or replace trigger vectorizer_guard_usage
    before insert or update on ai.vectorizer_usage
    for each row execute function ai._vectorizer_guard_usage('grows');

create or replace trigger vectorizer_guard_budget
    before insert or update on ai.vectorizer_budget
    for each row execute function ai._vectorizer_guard_usage();

-- Roles that are workers, or could write to the workers' tables before this one was made, can write here; everybody can
-- read, as in ai.vectorizer_made_by.
grant select on ai.vectorizer_usage, ai.vectorizer_budget to public;
do $$ begin perform ai._grant_to_writers('{ai.vectorizer_worker_progress}', 'insert, update', 'ai.vectorizer_usage, ai.vectorizer_budget'); end $$;

-- For workers: takes up to `wanted` of a ceiling, or as much as is left; with a negative number it gives back. Returns
-- what was granted, and whether this call is the first that met the ceiling. (A server that crashed must not grant
-- again what was spent: the answer waits for the disk.)
create or replace function ai._vectorizer_budget_take
( scope text
, vectorizer_id int
, day date
, ceiling bigint
, wanted bigint
, out granted bigint
, out is_news boolean
)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_variable
declare
    budget ai.vectorizer_budget;
begin
    perform set_config('synchronous_commit', 'on', true);
    insert into ai.vectorizer_budget as b (scope, vectorizer_id, day) values (scope, vectorizer_id, day)
    on conflict on constraint vectorizer_budget_pkey do nothing;
    select b.* into strict budget from ai.vectorizer_budget b where b.scope = $1 and b.day = $3 for update;
    granted = case when wanted < 0 then greatest(wanted, -budget.taken)
        else greatest(least(wanted, ceiling - budget.taken), 0) end;
    is_news = granted < wanted and ceiling > budget.told;
    update ai.vectorizer_budget b
    set taken = budget.taken + granted
      , told = case when is_news then ceiling else budget.told end
    where b.scope = $1 and b.day = $3;
end
$$;
