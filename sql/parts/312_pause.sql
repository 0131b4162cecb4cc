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
    if not exists (select from ai.vectorizer v where v.id = vectorizer_id) then
        raise exception 'there is no vectorizer %', coalesce(vectorizer_id::text, 'NULL')
            using errcode = 'no_data_found', hint = 'select id, name from ai.vectorizer';
    end if;
    insert into ai.vectorizer_pause (vectorizer_id, paused_until, reason)
    values (pause_vectorizer.vectorizer_id, until, pause_vectorizer.reason)
    on conflict on constraint vectorizer_pause_pkey do update
    set paused_at = now(), paused_by = session_user, paused_until = excluded.paused_until, reason = excluded.reason;
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
    delete from ai.vectorizer_pause p where p.vectorizer_id = v.id;
    if not found then
        raise notice 'the vectorizer % is not paused', v.name;
    end if;
end
$$;
comment on function ai.resume_vectorizer(int) is 'Ends a pause of the vectorizer.';

create or replace function ai.resume_vectorizer(name text) returns void
language sql volatile
begin atomic
    select ai.resume_vectorizer(ai._vectorizer_named(name));
end;
comment on function ai.resume_vectorizer(text) is 'The same, by name.';
