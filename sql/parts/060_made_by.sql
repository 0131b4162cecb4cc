-- The configuration that made the stored vectors and texts, one row for each vectorizer. If a user edits a
-- configuration, a store must not get vectors of two models. A worker compares this record with the configuration: if
-- the texts have changed, it makes them again; if the vectors have, it stops and says so. (This is a separate table
-- because workers write to it; they cannot write to ai.vectorizer.)

-- The configuration that determines the vector of a text. Fields unknown to this version count,
-- too.
create or replace function ai._made_by_embedding(config jsonb) returns jsonb
language sql immutable
return case jsonb_typeof(config -> 'embedding')
    when 'object' then jsonb_strip_nulls(config -> 'embedding')
        - array['config_type', 'api_key_name', 'base_url', 'keep_alive', 'user', 'query_prompt']
    else config -> 'embedding' end;

-- The configuration that determines the texts of a row's chunks.
create or replace function ai._made_by_texts(config jsonb) returns jsonb
language sql immutable
return jsonb_strip_nulls(jsonb_build_object
( 'loading', case jsonb_typeof(config -> 'loading')
    when 'object' then (config -> 'loading') - array['config_type', 'retries', 'aws_role_arn', 'refresh'] end
, 'parsing', case config #>> '{parsing,implementation}'
    when 'docling_serve' then (config -> 'parsing') - array['url', 'api_key_name'] else config -> 'parsing' end
, 'chunking', config -> 'chunking'
, 'formatting', config -> 'formatting'
));

-- A digest of each. (It uses the raw bytes: a conversion could fail, and one configuration would stop the workers of
-- all vectorizers.)
create or replace function ai._made_by(config jsonb, out vectors text, out texts text)
language sql immutable
begin atomic
    select encode(sha256(convert_to(coalesce(ai._made_by_embedding(config)::text, ''), getdatabaseencoding())), 'hex')
         , encode(sha256(convert_to(ai._made_by_texts(config)::text, getdatabaseencoding())), 'hex');
end;

-- The dimensions of the stored vectors; null if the column has none, or the store does not
-- exist.
create or replace function ai._vectorizer_stored_dimensions(source_schema name, source_table name, destination jsonb)
returns int
language sql stable
begin atomic
    select a.atttypmod
    from pg_namespace n
    join pg_class c on c.relnamespace = n.oid
    join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
    join pg_type t on t.oid = a.atttypid and t.typname in ('vector', 'halfvec')
    where n.nspname = case destination ->> 'implementation'
        when 'table' then destination ->> 'target_schema' else source_schema end
    and c.relname = case destination ->> 'implementation'
        when 'table' then destination ->> 'target_table' else source_table end
    and a.attname = case destination ->> 'implementation'
        when 'table' then 'embedding' else destination ->> 'embedding_column' end
    and a.atttypmod > 0;
end;

create table if not exists ai.vectorizer_made_by
( vectorizer_id int4 not null primary key
, vectors text not null
, texts text not null
, embedding jsonb
, assumed boolean not null
, recorded timestamptz not null default now()
);
comment on table ai.vectorizer_made_by is
    'Which configuration made the stored vectors and texts: digests, and the embedding in words. Assumed: found so when this table was new.';
grant select on ai.vectorizer_made_by to public;

-- A new vectorizer has no stored vectors, so its configuration is recorded.
create or replace function ai._vectorizer_record_made_by() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into ai.vectorizer_made_by (vectorizer_id, vectors, texts, embedding, assumed)
    select new.id, m.vectors, m.texts, ai._made_by_embedding(new.config), false
    from ai._made_by(new.config) m
    on conflict do nothing;
    return null;
end
$$;
revoke all on function ai._vectorizer_record_made_by() from public;

create or replace trigger vectorizer_record_made_by
    after insert on ai.vectorizer
    for each row execute function ai._vectorizer_record_made_by();

-- Only roles that can write to the leases of a vectorizer can change its record: its owner and its
-- workers.
create or replace function ai._vectorizer_guard_made_by() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from ai._vectorizers() v
        join pg_namespace n on n.nspname = v.queue_schema
        join pg_class c on c.relnamespace = n.oid
            and c.relname = '_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table)
        where v.id in (old.vectorizer_id, new.vectorizer_id) and not has_table_privilege(c.oid, 'UPDATE'))
    then
        raise exception 'permission denied for what is recorded of vectorizer %', new.vectorizer_id
            using errcode = 'insufficient_privilege';
    end if;
    return new;
end
$$;

create or replace trigger vectorizer_guard_made_by
    before update on ai.vectorizer_made_by
    for each row execute function ai._vectorizer_guard_made_by();

-- Notifies workers that the record has changed.
create or replace trigger vectorizer_made_by_changed
    after insert or update or delete or truncate on ai.vectorizer_made_by
    for each statement execute function ai._vectorizer_changed();

-- For vectorizers older than this table, only their current configuration is known.
insert into ai.vectorizer_made_by (vectorizer_id, vectors, texts, embedding, assumed)
select v.id, m.vectors, m.texts, ai._made_by_embedding(v.config), true
from ai.vectorizer v
cross join lateral ai._made_by(v.config) m
on conflict do nothing;

-- Roles that can write to the catalog of vectorizers, or are workers, can write here.
do $$ begin perform ai._grant_to_writers('{ai.vectorizer, ai.vectorizer_worker_progress}', 'insert, update', 'ai.vectorizer_made_by'); end $$;

-- For workers: sets the record to the configuration, if that is still the one that the worker read, and the vectors
-- are made in the same way. Batches with the old texts lose their leases, so they write nothing more. All rows are
-- then compared with their texts. Returns false if the worker should load the configuration again.
create or replace function ai._vectorizer_accept_texts(vectorizer_id int, vectors text, texts text) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    lease text = (
        select format('%I.%I', v.queue_schema, '_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table))
        from ai._vectorizers() v where v.id = $1);
    embedding jsonb;
begin
    if lease is null then
        return false;
    end if;
    -- No claim and no commit can run at the same time. A claim that waits here finds the new
    -- record.
    execute format('lock table %s in exclusive mode', lease);
    select ai._made_by_embedding(v.config) into embedding
    from ai._vectorizers() v cross join lateral ai._made_by(v.config) m
    where v.id = $1 and m.vectors = $2 and m.texts = $3;
    if not found then
        return false;
    end if;
    insert into ai.vectorizer_made_by as m (vectorizer_id, vectors, texts, embedding, assumed)
    values ($1, $2, $3, embedding, true)
    on conflict (vectorizer_id) do update set texts = excluded.texts, recorded = now()
    where m.vectors = excluded.vectors and m.texts <> excluded.texts;
    if found then
        execute format('delete from %s', lease);
        perform ai._request_resync($1, true);
        return true;
    end if;
    return exists (
        select from ai.vectorizer_made_by m
        where m.vectorizer_id = $1 and m.vectors = $2 and m.texts = $3);
end
$$;
