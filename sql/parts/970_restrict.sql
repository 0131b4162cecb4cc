-- Functions that read a table by the name in a row of ai.vectorizer read a table, and not a view that somebody has put
-- there meanwhile: its functions would run with the rights of whoever calls. Newer minor releases have a setting for it.

do $$
declare
    one regprocedure;
begin
    if not exists (select from pg_settings s where s.name = 'restrict_nonsystem_relation_kind') then
        return;
    end if;
    foreach one in array array
        [ 'ai.vectorizer_queue_pending(int, boolean)'::regprocedure
        , 'ai._vectorizer_pending_if_readable(int, name, name)'::regprocedure
        , 'ai._vectorizer_should_create_vector_index(ai.vectorizer)'::regprocedure
        ] loop
        execute format('alter function %s set restrict_nonsystem_relation_kind = %L', one, 'view, foreign-table');
    end loop;
end
$$;
