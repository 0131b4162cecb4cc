-- Functions that read a table named in a row of ai.vectorizer must not read a view that has replaced it: the view's
-- functions would run with the privileges of the caller. Newer minor releases have a setting for this.

do $$
declare
    one regprocedure;
begin
    if not exists (select from pg_settings s where s.name = 'restrict_nonsystem_relation_kind') then
        return;
    end if;
    for one in
        select p.oid::regprocedure
        from pg_proc p
        where p.pronamespace = 'ai'::regnamespace
        and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql')
        and p.proname in
            ( 'create_vectorizer', 'vectorizer_queue_pending', '_vectorizer_pending_if_readable'
            , '_vectorizer_should_create_vector_index', '_vector_index_take', '_vectorizer_accept_texts', '_vectorizer_clear', 'reembed_vectorizer'
            , '_change_waits_for', '_change_obstacle')
    loop
        execute format('alter function %s set restrict_nonsystem_relation_kind = %L', one, 'view, foreign-table');
    end loop;
end
$$;
