-- The errors of each vectorizer: the worker writes ai._vectorizer_errors, users read ai.vectorizer_errors (a view,
-- created in 390_views.sql). Rows are deleted with their vectorizer.

-- In pgai 0.10 the table had the view's name. Roles that could read it can read the view.
do $$
declare
    reader text;
begin
    if (select c.relkind from pg_class c where c.oid = to_regclass('ai.vectorizer_errors')) is distinct from 'r' then
        return;
    end if;
    perform ai._with_locks('lock table ai.vectorizer_errors in access exclusive mode', 'cannot rename ai.vectorizer_errors');
    alter table ai.vectorizer_errors rename to _vectorizer_errors;
    alter index if exists ai.vectorizer_errors_id_recorded_idx rename to _vectorizer_errors_id_recorded_idx;
    create view ai.vectorizer_errors as
    select e.id, e.message, e.details, e.recorded, v.name
    from ai._vectorizer_errors e
    left join ai.vectorizer v on e.id = v.id;
    for reader in
        select case a.grantee when 0 then 'public' else quote_ident(r.rolname) end
        from pg_class c
        cross join aclexplode(c.relacl) a
        left join pg_roles r on r.oid = a.grantee
        where c.oid = 'ai._vectorizer_errors'::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
    loop
        execute format('grant select on ai.vectorizer_errors to %s', reader);
    end loop;
end
$$;

create table if not exists ai._vectorizer_errors
( id int4 not null
, message text
, details jsonb
, recorded timestamptz not null default now()
, entry bigint generated always as identity
, constraint vectorizer_errors_id_fkey foreign key (id) references ai.vectorizer (id) on delete cascade
-- With a publication of all tables, nothing can be deleted from a table without a replica
-- identity.
, constraint _vectorizer_errors_pkey primary key (entry)
);
comment on table ai._vectorizer_errors is 'Errors as the worker records them.';

-- For: the latest errors of one vectorizer, and the cascade from ai.vectorizer.
create index if not exists _vectorizer_errors_id_recorded_idx on ai._vectorizer_errors (id, recorded);

-- Deletes old errors: the latest thousand of each vectorizer are kept. (Workers can insert here, but not
-- delete.)
create or replace function ai._vectorizer_errors_prune() returns trigger
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from ai._vectorizer_errors e
    where e.ctid in (
        select x.ctid
        from (select distinct w.id from new_rows w) n
        cross join lateral (
            select d.ctid from ai._vectorizer_errors d
            where d.id = n.id
            order by d.recorded desc
            offset 1000
            for update skip locked) x);
    return null;
end
$$;
revoke all on function ai._vectorizer_errors_prune() from public;

create or replace trigger vectorizer_errors_prune
    after insert on ai._vectorizer_errors
    referencing new table as new_rows
    for each statement execute function ai._vectorizer_errors_prune();

-- Errors of a generation that does not serve are its vectorizer's, and say so.
create or replace function ai._vectorizer_errors_place() returns trigger
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    whole int = ai._vectorizer_whole(new.id);
begin
    if whole <> new.id then
        new.details = coalesce(new.details, '{}') || jsonb_build_object('generation', new.id);
        new.id = whole;
    end if;
    return new;
end
$$;

create or replace trigger vectorizer_errors_place
    before insert on ai._vectorizer_errors
    for each row execute function ai._vectorizer_errors_place();
