-- How `worker search` finds chunks with row-level security: as the calling role. (Worker sessions have
-- row_security = off: there a hidden row is an error, and does not look deleted.)

-- Runs a statement with two parameters that returns arrays of text, with the caller's own
-- privileges.
create or replace function ai._with_row_security(statement text, question text, k bigint) returns setof text[]
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set row_security = on
-- (A worker's session has settings for the statements of its queue. A search is planned with PostgreSQL's defaults.)
set plan_cache_mode = auto
set enable_hashjoin = on
set enable_material = on
set enable_mergejoin = on
set enable_seqscan = on
as $$
declare
    is_bound boolean = (select not (r.rolsuper or r.rolbypassrls) from pg_roles r where r.rolname = current_user);
begin
    if is_bound then
        -- A policy may read views.
        if current_setting('restrict_nonsystem_relation_kind', true) <> '' then
            perform set_config('restrict_nonsystem_relation_kind', '', true);
        end if;
        -- An index returns the nearest chunks of all roles: this makes it continue until enough of
        -- them are visible.
        perform set_config('hnsw.iterative_scan', 'strict_order', true)
        from pg_extension e
        where e.extname = 'vector' and string_to_array(e.extversion, '.')::int[] >= array[0, 8];
    end if;
    return query execute statement using question, k;
end
$$;
