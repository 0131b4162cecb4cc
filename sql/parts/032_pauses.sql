-- A pause of a vectorizer: workers leave it alone, its changes are queued still. The columns are in ai.vectorizer, so
-- that whoever may change a vectorizer may pause it, and workers are told of it.

create or replace function ai._vectorizer_add_pause() returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform ai._lock_tables(array['ai.vectorizer'], 'access exclusive');
    alter table ai.vectorizer
        add column paused_at timestamptz,
        add column paused_by name,
        add column paused_until timestamptz,
        add column pause_reason text;
end
$$;

do $$
begin
    if not exists (
        select from pg_attribute a
        where a.attrelid = 'ai.vectorizer'::regclass and a.attname = 'paused_at' and not a.attisdropped)
    then
        perform ai._with_locks('select ai._vectorizer_add_pause()', 'ai.vectorizer cannot be changed');
    end if;
end
$$;

comment on column ai.vectorizer.paused_at is 'Since when workers leave it alone; NULL if it is not paused.';
comment on column ai.vectorizer.paused_until is 'When workers go on by themselves; NULL: when ai.resume_vectorizer is called.';

create or replace function ai._is_paused(v ai.vectorizer) returns boolean
language sql stable
return v.paused_at is not null and coalesce(v.paused_until > now(), true);

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
            using errcode = 'no_data_found', hint = ai._vectorizer_hint(name);
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
