-- After a user has edited the embedding of a configuration: restores the old one, or embeds all rows again.

create or replace function ai.revert_embedding(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Settings that do not affect the vectors (address, name of the key) stay as they are now.
    update ai.vectorizer v
    set config = jsonb_set(v.config, '{embedding}'
        , ((v.config -> 'embedding') - array(select jsonb_object_keys(ai._made_by_embedding(v.config)))) || m.embedding)
    from ai.vectorizer_made_by m
    where m.vectorizer_id = v.id and v.name = revert_embedding.name;
    if not found then
        raise exception 'there is no vectorizer named "%"', name
            using errcode = 'undefined_object';
    end if;
end
$$;
comment on function ai.revert_embedding is 'Puts the embedding of a configuration back to the one that made the stored vectors.';

-- Deletes the stored vectors. For a column, one statement locks many rows, so the table is locked first, to avoid a
-- deadlock with a session that writes several rows.
create or replace function ai._vectorizer_clear(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = off
as $$
declare
    source text = format('%I.%I', v.source_schema, v.source_table);
    d jsonb = v.config -> 'destination';
    store text;
    is_left boolean;
begin
    if d ->> 'implementation' = 'column' then
        perform set_config('ai.own_write', ai._vectorizer_number(v.id, v.queue_failed_table)::text, true);
        execute format('update %s s set %I = null where s.%2$I is not null', source, d ->> 'embedding_column');
        perform set_config('ai.own_write', '', true);
        execute format('select exists (select from %s s where s.%I is not null)', source, d ->> 'embedding_column')
            into is_left;
    else
        store = format('%I.%I', d ->> 'target_schema', d ->> 'target_table');
        begin
            execute format('truncate %s', store);
        exception when feature_not_supported then
            -- A foreign key references it.
            execute format('delete from %s', store);
        end;
        execute format('select exists (select from %s)', store) into is_left;
    end if;
    if is_left then
        raise exception 'a trigger on % does not let the old vectors go'
            , coalesce(store, source)
            using hint = 'Disable it, or drop it, and try again.';
    end if;
end
$$;

create or replace function ai.reembed_vectorizer(name text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
declare
    v ai.vectorizer;
    lease oid;
    stored int;
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'ai.reembed_vectorizer must see what others have just written'
            using errcode = 'active_sql_transaction', hint = 'Call it in a transaction in READ COMMITTED.';
    end if;
    -- No session edits the configuration meanwhile.
    select x.* into v from ai.vectorizer x where x.name = reembed_vectorizer.name for share;
    if not found then
        raise exception 'there is no vectorizer named "%"', name
            using errcode = 'undefined_object';
    end if;
    select c.oid into lease
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = v.queue_schema and c.relname = '_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table)
    and pg_has_role(c.relowner, 'USAGE');
    if not found then
        raise exception 'must be owner of vectorizer %', name
            using errcode = 'insufficient_privilege';
    end if;
    stored = ai._vectorizer_stored_dimensions(v.source_schema, v.source_table, v.config -> 'destination');
    if stored <> (v.config #>> '{embedding,dimensions}')::numeric then
        raise exception 'its vectors are stored with % dimensions, and its embedding has %'
            , stored, v.config #>> '{embedding,dimensions}'
            using errcode = 'datatype_mismatch', hint = 'Put dimensions back, or create another vectorizer.';
    end if;
    if v.config #>> '{destination,implementation}' = 'column' then
        execute format('lock table %I.%I in share row exclusive mode', v.source_schema, v.source_table);
    end if;
    -- Workers can no longer write what they hold: their claims are deleted, and claims that wait for this lock
    -- find another embedding than they were planned for.
    execute format('lock table %s in exclusive mode', lease::regclass);
    execute format('delete from %s', lease::regclass);
    insert into ai.vectorizer_made_by as m (vectorizer_id, vectors, texts, embedding, assumed)
    select v.id, n.vectors, n.texts, ai._made_by_embedding(v.config), false from ai._made_by(v.config) n
    on conflict (vectorizer_id) do update
    set vectors = excluded.vectors, texts = excluded.texts, embedding = excluded.embedding
      , assumed = excluded.assumed, recorded = excluded.recorded;
    perform ai._vectorizer_clear(v);
    execute format('delete from %I.%I', v.queue_schema, v.queue_failed_table);
    perform ai._request_resync(v.id, false);
end
$$;
comment on function ai.reembed_vectorizer is
    'Throws the stored vectors of a vectorizer away and embeds all rows anew, with the configuration as it is now.';
