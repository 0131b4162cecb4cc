-- The views of the catalog. They are created under other names first, because replacing a view makes its
-- readers wait: 430_catalogue.sql puts them into place, and only if they differ from the existing ones.

do $$
declare
    left_behind name;
begin
    foreach left_behind in array array['_next_vectorizer_errors', '_next_vectorizer_status'] loop
        if to_regclass('ai.' || left_behind) is not null then
            execute format('drop view ai.%I', left_behind);
        end if;
    end loop;
end
$$;

create view ai._next_vectorizer_errors as
select e.id, e.message, e.details, e.recorded, v.name
from ai._vectorizer_errors e
left join ai.vectorizer v on e.id = v.id;
comment on view ai._next_vectorizer_errors is 'Errors of all vectorizers, with their names.';

create view ai._next_vectorizer_status as
select v.id
     , v.name
     , format('%I.%I', v.source_schema, v.source_table) as source_table
     , case when v.config #>> '{destination,implementation}' = 'table' then
           format('%I.%I', v.config #>> '{destination,target_schema}', v.config #>> '{destination,target_table}')
       end as target_table
     , case when v.config #>> '{destination,implementation}' = 'table' then
           format('%I.%I', v.config #>> '{destination,view_schema}', v.config #>> '{destination,view_name}')
       end as "view"
     , case when v.config #>> '{destination,implementation}' = 'column' then
           format('%I', v.config #>> '{destination,embedding_column}')
       else 'embedding' end as embedding_column
     , ai._vectorizer_pending_if_readable(v.id, v.queue_schema, v.queue_table) as pending_items
     , v.disabled
from ai.vectorizer v;
comment on view ai._next_vectorizer_status is 'Each vectorizer, where it reads and writes, and how much waits.';

-- Whether the existing view differs from the next one.
create or replace function ai._view_differs(view_name name) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
    select to_regclass('ai.' || view_name) is not null
        and pg_get_viewdef(to_regclass('ai.' || view_name)) <> pg_get_viewdef(to_regclass('ai._next_' || view_name));
end;

-- Replaces the existing view with the next one. Views on it stay if its columns allow that.
create or replace function ai._replace_view(view_name name) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    next name = '_next_' || view_name;
    old name = '_old_' || view_name;
begin
    begin
        execute format('create or replace view ai.%I as %s', view_name, pg_get_viewdef(to_regclass('ai.' || next)));
        execute format('comment on view ai.%I is %L', view_name, obj_description(to_regclass('ai.' || next), 'pg_class'));
        execute format('drop view ai.%I', next);
    exception when invalid_table_definition then
        -- Other columns, as in pgai 0.10.
        execute format('alter view ai.%I rename to %I', view_name, old);
        execute format('alter view ai.%I rename to %I', next, view_name);
        perform ai._copy_grants(to_regclass('ai.' || old), to_regclass('ai.' || view_name));
        execute format('drop view ai.%I', old);
    end;
end
$$;
