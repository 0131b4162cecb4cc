-- Prepares the session: one install at a time, pgvector present, schema ai, a pinned search_path.
-- Saves the caller's search_path so that 990_finish.sql can restore it.

do $$
declare
    workers text;
begin
    if pg_catalog.current_setting('server_version_num')::int < 150000 then
        raise exception 'postgres % is unsupported, pgai requires postgres version 15 or greater',
            pg_catalog.current_setting('server_version')
            using errcode = 'feature_not_supported';
    end if;
    -- All names under which it connects: it may be idle, with only its heartbeat connected.
    select pg_catalog.string_agg(pg_catalog.format('%s (pid %s)', a.application_name, a.pid), ', ' order by a.pid) into workers
    from pg_catalog.pg_stat_activity a
    where a.datname operator(pg_catalog.=) pg_catalog.current_database()
    and a.application_name operator(pg_catalog.~) '^pgai-worker([[]|-heartbeat|-error-reporter)';
    if workers is not null then
        raise exception 'a worker of Python pgai is connected to this database: %', workers
            using errcode = 'object_in_use',
                  hint = 'Stop it first: it does not know the queues as this version leaves them.';
    end if;
    perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('ai.setup.sql', 0));
    -- Valid until the end of the transaction: the next block sees it only if one transaction contains
    -- both blocks.
    perform pg_catalog.set_config('ai.setup_in_transaction', 'yes', true);
end
$$;

-- Says what to do if the database lacks something that this script cannot create.
do $$
declare
    database name = pg_catalog.current_database();
    has_vector boolean = exists (
        select from pg_catalog.pg_extension e where e.extname operator(pg_catalog.=) 'vector');
begin
    if not pg_catalog.has_database_privilege(database, 'create') then
        raise exception 'permission denied for database %', pg_catalog.quote_ident(database)
            using errcode = 'insufficient_privilege',
                  hint = pg_catalog.format('Run setup.sql as the database''s owner, or let the owner run: '
                      'grant create on database %I to %I', database, current_user);
    end if;
    if has_vector then
        return;
    end if;
    if not exists (
        select from pg_catalog.pg_available_extensions e where e.name operator(pg_catalog.=) 'vector')
    then
        raise exception 'the extension vector (pgvector) is not installed on this server'
            using errcode = 'feature_not_supported',
                  hint = 'Debian and Ubuntu have it in the package postgresql-NN-pgvector (NN is the server''s '
                      'version), Docker in the image pgvector/pgvector; or see https://github.com/pgvector/pgvector';
    end if;
    if pg_catalog.current_schema() is null then
        create extension vector schema public;
    else
        create extension vector;
    end if;
exception
    -- If the server does not trust the extension, only a superuser can create it.
    when insufficient_privilege then
        if pg_catalog.has_database_privilege(database, 'create') then
            raise exception 'permission denied to create extension "vector"'
                using errcode = 'insufficient_privilege',
                      hint = 'Let a superuser run in this database: create extension vector';
        end if;
        raise;
end
$$;

do $$
declare
    -- In a transaction the settings are local to it; otherwise the session keeps them until the last
    -- part.
    within boolean = coalesce(pg_catalog.current_setting('ai.setup_in_transaction', true), '')
        operator(pg_catalog.=) 'yes';
begin
    -- This script reads tables only: another role may have replaced a vectorizer's queue with a view.
    perform pg_catalog.set_config('ai.setup_restrict', s.setting, within)
        , pg_catalog.set_config(s.name, 'view, foreign-table', within)
    from pg_catalog.pg_settings s
    where s.name operator(pg_catalog.=) 'restrict_nonsystem_relation_kind';
    perform pg_catalog.set_config('ai.setup_search_path', pg_catalog.current_setting('search_path'), within);
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', within);
end
$$;

create schema if not exists ai;

do $$
declare
    knows_names boolean = false;
    owner oid;
    version text;
begin
    select c.relowner into owner
    from pg_class c
    where c.oid = to_regclass('ai.pgai_lib_migration');
    if owner is not null
        and not pg_has_role(current_user, owner, 'MEMBER')
    then
        raise exception 'only the owner of the ai.pgai_lib_migration table can run database migrations'
            using hint = 'Run setup.sql as the role that ran it first.';
    end if;
    -- The last migration of 0.10. 020_history.sql writes it, too, so that an interrupted run is not taken for an
    -- old pgai.
    if to_regclass('ai.pgai_lib_migration') is not null then
        execute $q$ select exists (select from ai.pgai_lib_migration m
            where m.name = '029-add-vectorizer-name-column.sql') $q$ into knows_names;
    end if;
    -- (Without that table, and with names, it is a database of pgai-rs, which 015_pgai_rs.sql
    -- converts.)
    if to_regclass('ai.vectorizer') is not null and not knows_names
        and (to_regclass('ai.pgai_lib_migration') is not null or not exists (
            select from pg_attribute a where a.attrelid = to_regclass('ai.vectorizer') and a.attname = 'name'))
    then
        raise exception 'the schema ai is that of a Python pgai older than 0.10'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Run pgai.install() of version 0.12.1 first, then setup.sql.';
    end if;
    if to_regclass('ai.pgai_lib_version') is not null then
        execute $q$ select v.version from ai.pgai_lib_version v where v.name = 'setup.sql' $q$ into version;
        if version::int > 1 then
            raise exception 'the schema ai is newer (version %) than this setup.sql (version 1)', version
                using errcode = 'object_not_in_prerequisite_state',
                      hint = 'Use the setup.sql that came with the newer worker.';
        end if;
    end if;
end
$$;

comment on schema ai is 'Vectorizers: embeddings that are kept in sync with their source rows.';
