-- The text index of a vectorizer: for each chunk the words that occur in it, with their counts, in a table of its own
-- with a GIN index. (A column of the store would rewrite the store, or add a version of each row to its vector index.)
-- A trigger writes it in the transaction that writes the chunk. Words are stored as hashes: they are smaller and
-- faster to compare, and a reader of the table cannot read them.
--
-- A vectorizer has one if its destination has the entry `hybrid`: {"language", "k1", "b"}. With {"method":
-- "pg_textsearch"} in it, it has an index of that extension instead: see 373_textsearch.sql.

create table if not exists ai.vectorizer_text
( vectorizer_id int not null
, chunks bigint not null default 0
, words bigint not null default 0
, filled_at timestamptz
, counted_at timestamptz
, _changes bigint not null default 0
, constraint vectorizer_text_pkey primary key (vectorizer_id)
);
comment on table ai.vectorizer_text is
    'The text index of each vectorizer and generation that has one (ai.enable_hybrid), as it was last counted.';
comment on column ai.vectorizer_text.chunks is 'The number of chunks in it.';
comment on column ai.vectorizer_text.words is 'The number of words in all chunks.';
comment on column ai.vectorizer_text.filled_at is 'When it was first complete; null: a worker is still to fill it.';
comment on column ai.vectorizer_text.counted_at is 'When a worker last counted in how many chunks each word occurs.';

create or replace trigger vectorizer_text_guard
    before insert or update on ai.vectorizer_text
    for each row execute function ai._vectorizer_resync_guard();

grant select on ai.vectorizer_text to public;
do $$ begin perform ai._grant_to_writers('{ai.vectorizer_resync}', 'insert, update', 'ai.vectorizer_text'); end $$;

-- A query of the words of a text: the distinct ones as hashes, how often each occurs, and how many there are. After
-- them, without counts: a word that occurs at least 2, 4 or 8 times once more with that number. So a search for a word
-- that is in many chunks can begin with the chunks that have it often. (It needs nothing of schema ai, where the owner
-- of a trigger function may have no privileges.)
create or replace function ai._text_words_sql(language text, body text) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
    select format(
        'select coalesce(array_agg(w.word order by w.n, w.lexeme), ''{}'')::int[] as words
           , coalesce(array_agg(w.times order by w.lexeme) filter (where w.n = 1), ''{}'')::int2[] as counts
           , coalesce(sum(w.times) filter (where w.n = 1), 0)::int as length
         from (
           select m.n, l.lexeme, cardinality(l.positions)::int2 as times
             , hashtext(case m.n when 1 then l.lexeme else l.lexeme || '' '' || m.n end) as word
           from unnest(to_tsvector(%L::regconfig, left(%s, 200000))) l
           cross join (values (1), (2), (4), (8)) m(n)
           where cardinality(l.positions) >= m.n
         ) w', language, body);
end;

-- The same. A text that a tsvector cannot hold has no words.
create or replace function ai._text_words
( language text
, body text
, out words int4[]
, out counts int2[]
, out length int4
) language plpgsql stable
set search_path = pg_catalog, pg_temp
-- (Very long words are left out with a NOTICE each.)
set client_min_messages = warning
as $$
begin
    execute ai._text_words_sql(language, '$1') using body into words, counts, length;
exception when program_limit_exceeded then
    words = '{}';
    counts = '{}';
    length = 0;
end
$$;

-- The table that holds the vectors, and how its rows and their texts are named there.
create or replace function ai._text_target
( v ai.vectorizer
, out relation regclass
, out source regclass
, out is_column boolean
, out body name
, out seq text
, out embedding name
) language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select ai._vectorizer_relation
           ( case when d.is_column then v.source_schema else (d.of ->> 'target_schema')::name end
           , case when d.is_column then v.source_table else (d.of ->> 'target_table')::name end)
         , ai._vectorizer_relation(v.source_schema, v.source_table)
         , d.is_column
         , case when d.is_column then (v.config #>> '{loading,column_name}')::name else 'chunk' end
         , case when d.is_column then '0' else '%s.chunk_seq' end
         , case when d.is_column then (d.of ->> 'embedding_column')::name else 'embedding' end
    from (select v.config -> 'destination', v.config #>> '{destination,implementation}' = 'column') d(of, is_column);
end;

create or replace function ai._text_gin(v ai.vectorizer) returns name
language sql immutable
return ('_vectorizer_text_idx_' || ai._vectorizer_number(v.id, v.queue_failed_table))::name;

-- The body of the trigger on the table that holds the vectors. It runs with the privileges of the owner of both. (A
-- column may get a vector while its text is the same: the words of the text are those of the vector before.)
create or replace function ai._text_trigger_body(source regclass, text_table text, language text, body name, seq text, embedding name)
returns text
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select format($body$
declare
    made record;
begin
    if tg_op = 'TRUNCATE' then
        delete from %1$s;
        return null;
    end if;
    if tg_op = 'UPDATE' and %11$s and old.%4$I is not distinct from new.%4$I and %5$s and %8$s = %9$s
        and exists (select from %1$s x where %6$s and x._chunk_seq = %9$s)
    then
        return null;
    end if;
    if tg_op <> 'INSERT' then
        delete from %1$s x where %6$s and x._chunk_seq = %9$s;
    end if;
    if tg_op <> 'DELETE' and new.%4$I is not null and new.%7$I is not null then
        begin
            %10$s into made;
        exception when program_limit_exceeded then
            select '{}'::int[] as words, '{}'::int2[] as counts, 0 as length into made;
        end;
        insert into %1$s (%2$s, _chunk_seq, _words, _counts, _length)
        select %3$s, %8$s, made.words, made.counts, made.length
        on conflict (%2$s, _chunk_seq) do update
        set _words = excluded._words, _counts = excluded._counts, _length = excluded._length;
    end if;
    return null;
end
$body$
    , text_table, ai._vectorizer_key_list(source), ai._vectorizer_key_list(source, 'new'), body
    , ai._vectorizer_key_equals(source, 'new', 'old'), ai._vectorizer_key_equals(source, 'old', 'x'), embedding
    , format(seq, 'new'), format(seq, 'old'), ai._text_words_sql(language, format('new.%I', body))
    , case when seq = '0' then 'false' else 'true' end);
end;

-- Creates the trigger of the text index, where there is one. For a column it fires when the vector is written, not
-- when the application writes the text: the text that is found is the one that the vector was made from.
create or replace function ai._text_create_trigger
( source regclass
, vectorizer_id int
, trigger_name name
, queue_schema name
, destination jsonb
, owner name
) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    target record;
begin
    if not ai._text_is_own(destination) then
        return;
    end if;
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    select t.* into target from ai._text_target(v) t;
    perform ai._vectorizer_create_trigger_function
    ( format('%I.%I', queue_schema, trigger_name || '_text')
    , ai._text_trigger_body(source, format('%I.%I', queue_schema, ai._text_table(v))
        , destination #>> '{hybrid,language}', target.body, target.seq, target.embedding)
    , 'set client_min_messages = warning'
    , owner
    );
    execute format('create or replace trigger %I after insert or delete or update%s on %s for each row execute function %I.%1$I()'
        , trigger_name || '_text'
        , case when target.is_column then format(' of %I, %s', target.embedding, ai._vectorizer_key_list(source)) else '' end
        , target.relation, queue_schema);
    execute format('create or replace trigger %I after truncate on %s for each statement execute function %I.%I()'
        , trigger_name || '_text_truncate', target.relation, queue_schema, trigger_name || '_text');
end
$$;

-- Readers of the store can read its text index, and workers can write to it.
create or replace function ai._text_grant(vectorizer_id int) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v ai.vectorizer;
    tables text;
    one record;
begin
    select x.* into strict v from ai._vectorizers() x where x.id = vectorizer_id;
    if not ai._text_is_own(v.config -> 'destination') then
        return;
    end if;
    tables = format('%I.%I, %1$I.%3$I', v.queue_schema, ai._text_table(v), ai._text_count_table(v));
    for one in
        select distinct case a.grantee when 0 then 'public' else quote_ident(r.rolname) end as grantee
        from ai._text_target(v) t
        join pg_class c on c.oid = t.relation
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where a.privilege_type = 'SELECT' and a.grantee <> c.relowner and (a.grantee = 0 or r.oid is not null)
    loop
        execute format('grant select on %s to %s', tables, one.grantee);
        if v.queue_schema <> 'ai' then
            execute format('grant usage on schema %I to %s', v.queue_schema, one.grantee);
        end if;
    end loop;
    perform ai._vectorizer_grant_to_worker(v.id, w.name)
    from ai._worker_roles() w(name) join pg_roles r on r.rolname = w.name
    where exists (
        select from ai._vectorizer_relation(v.queue_schema, v.queue_table) q(oid)
        where has_table_privilege(r.oid, q.oid, 'insert'));
end
$$;

-- Shows a reader the words of the chunks that it can see. (The counts of words are of all rows: see ai._text_count.)
create or replace function ai._text_secure(v ai.vectorizer) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    source regclass = ai._vectorizer_relation(v.source_schema, v.source_table);
    words regclass = ai._vectorizer_relation(v.queue_schema, ai._text_table(v));
    hybrid jsonb;
begin
    if not (v.config -> 'destination') ? 'hybrid' or not (select c.relrowsecurity from pg_class c where c.oid = source) then
        return;
    end if;
    -- The scores of pg_textsearch tell how many rows have a word, those that the reader may not see included.
    if not ai._text_is_own(v.config -> 'destination') then
        hybrid = v.config #> '{destination,hybrid}';
        perform ai._text_enable(v.id, hybrid ->> 'language', (hybrid ->> 'k1')::float8, (hybrid ->> 'b')::float8, 'own');
        return;
    end if;
    if exists (select from pg_policy p where p.polrelid = words and p.polname = '_vectorizer_rls') then
        execute format('drop policy _vectorizer_rls on %s', words);
    end if;
    execute format('create policy _vectorizer_rls on %s for select using (exists (select from %s s where %s offset 0))'
        , words, source, ai._vectorizer_key_equals(source, 's', words::text));
    execute format('alter table %s enable row level security', words);
    if (select c.relforcerowsecurity from pg_class c where c.oid = source) then
        execute format('alter table %s force row level security', words);
    end if;
    -- Counted anew, so that the counts of rare words are not shown.
    execute format('delete from %I.%I', v.queue_schema, ai._text_count_table(v));
    update ai.vectorizer_text x set counted_at = null where x.vectorizer_id = v.id;
end
$$;
