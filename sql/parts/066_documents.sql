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

-- Only roles that can write to the leases of a vectorizer can write here: its owner and its workers, and the owner of
-- this table, who forgets what is not needed any more. What belongs to no vectorizer harms nobody. (Once for each
-- statement: the question takes a third of a millisecond.)
create or replace function ai._vectorizer_guard_document() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    numbers int[];
begin
    if tg_op = 'INSERT' then
        select array_agg(distinct x.number) into numbers from come x;
    elsif tg_op = 'DELETE' then
        select array_agg(distinct x.number) into numbers from gone x;
    else
        select array_agg(distinct x.number) into numbers
        from (select c.number from come c union all select g.number from gone g) x;
    end if;
    if pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), 'USAGE') then
        return null;
    end if;
    if exists (
        select from ai._vectorizers() v
        join pg_namespace n on n.nspname = v.queue_schema
        join pg_class c on c.relnamespace = n.oid
            and c.relname = '_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table)
        where ai._vectorizer_number(v.id, v.queue_failed_table) = any (numbers) and not has_table_privilege(c.oid, 'UPDATE'))
    then
        raise exception 'permission denied for the documents of another vectorizer'
            using errcode = 'insufficient_privilege',
                  hint = 'Only who may write to its leases may write here: the owner of its source table, or a worker''s role.';
    end if;
    return null;
end
$$;

create or replace trigger vectorizer_guard_come
    after insert on ai.vectorizer_document referencing new table as come
    for each statement execute function ai._vectorizer_guard_document();
create or replace trigger vectorizer_guard_gone
    after delete on ai.vectorizer_document referencing old table as gone
    for each statement execute function ai._vectorizer_guard_document();
create or replace trigger vectorizer_guard_changed
    after update on ai.vectorizer_document referencing old table as gone new table as come
    for each statement execute function ai._vectorizer_guard_document();

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
