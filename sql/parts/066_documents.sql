-- When the documents behind addresses were checked last, of vectorizers that check them again and again (refresh of
-- ai.loading_uri), and what their servers said of their versions. Workers write it, and put what is due into the queue.

create table if not exists ai.vectorizer_document
( number int4 not null
, key text[] not null
, source text
, validator text
, chunks int
, checked_at timestamptz not null default now()
, _counted_from timestamptz not null default now()
, _generation bigint
, constraint vectorizer_document_pkey primary key (number, key)
);
comment on table ai.vectorizer_document is
    'The documents of vectorizers that check theirs again (refresh of ai.loading_uri): when each was checked last, and its version then.';
comment on column ai.vectorizer_document.number is 'The number in the name of the vectorizer''s queue.';
comment on column ai.vectorizer_document.key is 'The key of the row, as text.';
comment on column ai.vectorizer_document.source is 'A digest of the address and of the configuration that made the stored chunks.';
comment on column ai.vectorizer_document.validator is
    'What tells this version from others: an ETag, the time of the last change, or size and time of a file.';
comment on column ai.vectorizer_document.chunks is 'The number of stored chunks that were made from it.';
comment on column ai.vectorizer_document._counted_from is
    'The next check is one interval after this: a little before the last check, so that checks are spread out.';
comment on column ai.vectorizer_document._generation is
    'The queue item of the last check: one with another generation stands for a change of the row.';

-- For: the documents that are to be checked (refresh).
create index if not exists vectorizer_document_due_idx on ai.vectorizer_document (number, _counted_from);

-- Only roles that can write to the leases of a vectorizer can write here: its owner and its workers. What belongs to no
-- vectorizer harms nobody.
create or replace function ai._vectorizer_guard_document() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    numbers int[] = case tg_op
        when 'INSERT' then array[new.number]
        when 'DELETE' then array[old.number]
        else array[old.number, new.number] end;
begin
    if exists (
        select from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relname = any (select ('_vectorizer_lease_' || x.number)::name from unnest(numbers) x(number))
        and c.relkind = 'r' and not has_table_privilege(c.oid, 'UPDATE')
        and exists (
            select from ai._vectorizers() v
            where v.queue_schema = n.nspname
            and ai._vectorizer_number(v.id, v.queue_failed_table) = any (numbers)))
    then
        raise exception 'permission denied for the documents of vectorizer %', numbers[1]
            using errcode = 'insufficient_privilege';
    end if;
    return case tg_op when 'DELETE' then old else new end;
end
$$;

create or replace trigger vectorizer_guard_document
    before insert or update or delete on ai.vectorizer_document
    for each row execute function ai._vectorizer_guard_document();

-- (Keys may be private, so not everybody can read here.)
do $$ begin perform ai._grant_to_writers('{ai.vectorizer_worker_progress}', 'select, insert, update, delete', 'ai.vectorizer_document'); end $$;

-- A vectorizer whose documents are no longer checked needs no records of them.
create or replace function ai._vectorizer_forget_documents() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'TRUNCATE' then
        delete from ai.vectorizer_document;
        return null;
    end if;
    delete from ai.vectorizer_document d where d.number = ai._vectorizer_number(old.id, old.queue_failed_table);
    return null;
end
$$;
revoke all on function ai._vectorizer_forget_documents() from public;

create or replace trigger vectorizer_forget_documents
    after delete on ai.vectorizer
    for each row execute function ai._vectorizer_forget_documents();
create or replace trigger vectorizer_forget_documents_of_config
    after update of config on ai.vectorizer
    for each row
    when (old.config #> '{loading,refresh}' is not null and new.config #> '{loading,refresh}' is null
        and old.queue_failed_table = new.queue_failed_table)
    execute function ai._vectorizer_forget_documents();
create or replace trigger vectorizer_forget_all_documents
    after truncate on ai.vectorizer
    for each statement execute function ai._vectorizer_forget_documents();
create or replace trigger vectorizer_forget_documents
    after delete on ai.vectorizer_generation
    for each row execute function ai._vectorizer_forget_documents();
create or replace trigger vectorizer_forget_documents_of_config
    after update of config on ai.vectorizer_generation
    for each row
    when (old.config #> '{loading,refresh}' is not null and new.config #> '{loading,refresh}' is null
        and old.queue_failed_table = new.queue_failed_table)
    execute function ai._vectorizer_forget_documents();
