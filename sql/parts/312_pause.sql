-- Pausing and resuming a vectorizer.

create or replace function ai.pause_vectorizer
( vectorizer_id int
, reason text default null
, until timestamptz default null
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if until <= now() then
        raise exception 'a pause cannot end in the past: %', until
            using errcode = 'invalid_parameter_value';
    end if;
    update ai.vectorizer v
    set paused_at = now(), paused_by = session_user, paused_until = until, pause_reason = reason
    where v.id = vectorizer_id;
    if not found then
        raise exception 'there is no vectorizer %', coalesce(vectorizer_id::text, 'NULL')
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
end
$$;
comment on function ai.pause_vectorizer(int, text, timestamptz) is
    'Workers leave the vectorizer alone, until this time or ai.resume_vectorizer; its changes are queued still.';

create or replace function ai.pause_vectorizer(name text, reason text default null, until timestamptz default null)
returns void
language sql volatile
begin atomic
    select ai.pause_vectorizer(ai._vectorizer_named(name), reason, until);
end;
comment on function ai.pause_vectorizer(text, text, timestamptz) is 'The same, by name.';

create or replace function ai.resume_vectorizer(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
begin
    select x.* into v from ai.vectorizer x where x.id = vectorizer_id;
    if not found then
        raise exception 'there is no vectorizer %', coalesce(vectorizer_id::text, 'NULL')
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    if v.paused_at is null then
        raise notice 'the vectorizer % is not paused', v.name;
        return;
    end if;
    update ai.vectorizer x
    set paused_at = null, paused_by = null, paused_until = null, pause_reason = null
    where x.id = vectorizer_id;
end
$$;
comment on function ai.resume_vectorizer(int) is 'Ends a pause of the vectorizer.';

create or replace function ai.resume_vectorizer(name text) returns void
language sql volatile
begin atomic
    select ai.resume_vectorizer(ai._vectorizer_named(name));
end;
comment on function ai.resume_vectorizer(text) is 'The same, by name.';
