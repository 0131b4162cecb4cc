-- Pauses of vectorizers: workers leave a paused one alone, its changes are queued still. (A table of its own, because
-- transactions of the application may hold locks on ai.vectorizer, which an upgrade would wait for.)

create table if not exists ai.vectorizer_pause
( vectorizer_id int4 not null
, paused_at timestamptz not null default now()
, paused_by name not null default session_user
, paused_until timestamptz
, reason text
, constraint vectorizer_pause_pkey primary key (vectorizer_id)
, constraint vectorizer_pause_vectorizer_id_fkey foreign key (vectorizer_id) references ai.vectorizer (id) on delete cascade
);
comment on table ai.vectorizer_pause is 'The paused vectorizers.';
comment on column ai.vectorizer_pause.paused_until is 'When workers go on by themselves; NULL: when ai.resume_vectorizer is called.';

-- Only roles that may change a vectorizer may pause it.
create or replace function ai._vectorizer_guard_pause() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    vectorizer int = case tg_op when 'INSERT' then new.vectorizer_id else old.vectorizer_id end;
    holder oid;
begin
    if (select r.rolsuper from pg_roles r where r.rolname = current_user) then
        return coalesce(new, old);
    end if;
    select c.relowner into holder
    from ai.vectorizer v
    cross join lateral (values (1, v.queue_schema, v.queue_table), (2, v.source_schema, v.source_table)) x(place, schema, name)
    join pg_namespace n on n.nspname = x.schema
    join pg_class c on c.relnamespace = n.oid and c.relname = x.name
    where v.id = vectorizer
    order by x.place
    limit 1;
    -- (Without a holder the vectorizer is being dropped.)
    if not pg_has_role(current_user, holder, 'usage') or tg_op = 'UPDATE' and new.vectorizer_id <> old.vectorizer_id then
        raise exception 'the vectorizer % belongs to %', vectorizer, holder::regrole
            using errcode = 'insufficient_privilege',
                  hint = format('Only that role, its members and superusers pause it: set role %s', holder::regrole);
    end if;
    return coalesce(new, old);
end
$$;

create or replace trigger vectorizer_guard_pause
    before insert or update or delete on ai.vectorizer_pause
    for each row execute function ai._vectorizer_guard_pause();

create or replace trigger vectorizer_pause_changed
    after insert or update or delete on ai.vectorizer_pause
    for each statement execute function ai._vectorizer_changed();

-- Everybody can read, as in ai.vectorizer_made_by; roles that can write to ai.vectorizer can write here.
grant select on ai.vectorizer_pause to public;
do $$ begin perform ai._grant_to_writers('{ai.vectorizer}', 'insert, update, delete', 'ai.vectorizer_pause'); end $$;

create or replace function ai._is_paused(v ai.vectorizer) returns boolean
language sql stable
return exists (
    select from ai.vectorizer_pause p
    where p.vectorizer_id = ai._vectorizer_whole(v.id) and coalesce(p.paused_until > now(), true));

-- How many characters must be changed, added, removed or swapped with their neighbour to make one text of the other.
create or replace function ai._edit_distance(one text, other text) returns int
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    rows int[] = array(select generate_series(0, length(other)));
    earlier int[];
    before int[];
    best int;
begin
    for i in 1..length(one) loop
        earlier = before;
        before = rows;
        rows = array[i];
        for j in 1..length(other) loop
            best = least(before[j + 1] + 1, rows[j] + 1
                , before[j] + (substr(one, i, 1) <> substr(other, j, 1))::int);
            if i > 1 and j > 1 and substr(one, i, 1) = substr(other, j - 1, 1) and substr(one, i - 1, 1) = substr(other, j, 1) then
                best = least(best, earlier[j - 1] + 1);
            end if;
            rows = rows || best;
        end loop;
    end loop;
    return rows[length(other) + 1];
end
$$;

-- What to do where no vectorizer has this name.
create or replace function ai._vectorizer_hint(name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select coalesce(
        (select format('Did you mean %s?', n.name)
         from (select v.name::text, ai._edit_distance(left(_vectorizer_hint.name, 63), v.name::text) as distance
               from ai.vectorizer v) n
         where n.distance <= greatest(length(n.name) / 3, 1)
         order by n.distance, n.name
         limit 1)
        , case when exists (select from ai.vectorizer) then 'select id, name from ai.vectorizer'
          else 'There are no vectorizers: ai.create_vectorizer creates one.' end);
end;

-- The id of the vectorizer of this name, or an error.
create or replace function ai._vectorizer_named(name text) returns int
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    id int = (select v.id from ai.vectorizer v where v.name = _vectorizer_named.name);
begin
    if id is null then
        raise exception 'there is no vectorizer %', coalesce(name, 'NULL')
            using errcode = 'no_data_found', hint = ai._vectorizer_hint(coalesce(name, ''));
    end if;
    return id;
end
$$;

-- Warns if no vectorizer has this name.
create or replace function ai._vectorizer_warn(name text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (select from ai.vectorizer v where v.name = _vectorizer_warn.name) then
        raise warning 'there is no vectorizer %', coalesce(name, 'NULL') using hint = ai._vectorizer_hint(name);
    end if;
end
$$;
