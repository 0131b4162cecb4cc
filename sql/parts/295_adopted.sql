-- Adopting what is there: ai.create_vectorizer(... adopt => true) uses a store with chunks and vectors, of a vectorizer
-- that is gone or of a pipeline of the user's own. A worker then compares all rows with their texts, and embeds only
-- what differs.

-- Why a table cannot be the store of a vectorizer; null if it can.
create or replace function ai._store_misfit(source regclass, store regclass, storage text, dimensions int) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    missing text;
    vector_schema name = (
        select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector');
begin
    select string_agg(format('%I %s', w.name, w.type), ', ' order by w.place) into missing
    from (
        select 1 as place, 'embedding_uuid'::name as name, 'uuid' as type
        union all
        select 1 + k.pknum, k.name, ai._vectorizer_key_type(source, k.attnum) from ai._vectorizer_key(source) k
        union all
        select x.* from (values
            (1001, 'chunk_seq'::name, 'integer'),
            (1002, 'chunk'::name, 'text'),
            (1003, 'embedding'::name, format('%s(%s)', storage, dimensions))) x
        ) w
    where not exists (
        select from pg_attribute a
        join pg_type t on t.oid = a.atttypid
        join pg_namespace n on n.oid = t.typnamespace
        where a.attrelid = store and a.attname = w.name and a.attnum > 0 and not a.attisdropped
        and case w.name when 'embedding' then format('%s(%s)', t.typname, a.atttypmod) = w.type and n.nspname = vector_schema
            else format_type(a.atttypid, a.atttypmod) = w.type end);
    if missing is not null then
        return format('it lacks the columns %s', missing);
    end if;
    missing = (
        select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
        from pg_attribute a
        where a.attrelid = store and a.attnum > 0 and not a.attisdropped
        and (a.attname = 'embedding_uuid' or a.attnotnull and a.attname not in ('chunk_seq', 'chunk', 'embedding')
            and a.attname not in (select k.name from ai._vectorizer_key(source) k))
        and not a.atthasdef and a.attidentity = '');
    if missing is not null then
        return format('these columns have no default: %s', missing);
    end if;
    if not exists (
        select from pg_index x
        where x.indrelid = store and x.indisunique and x.indisvalid and x.indpred is null and x.indexprs is null
        and (select array_agg(a.attname::text order by a.attname::text)
             from unnest(x.indkey::int2[]) with ordinality i(attnum, place)
             join pg_attribute a on a.attrelid = store and a.attnum = i.attnum
             where i.place <= x.indnkeyatts)
          = (select array_agg(k.name::text order by k.name::text)
             from (select y.name from ai._vectorizer_key(source) y union all select 'chunk_seq'::name) k(name)))
    then
        return format('it has no unique constraint on (%s, chunk_seq)', ai._vectorizer_key_list(source));
    end if;
    return null;
end
$$;

-- The names of the destination are free; or, to adopt it, the store fits, and the view is one of the store.
create or replace function ai._validate_destination_is_free(source regclass, destination jsonb, dimensions int, adopt boolean)
returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    store regclass = ai._vectorizer_relation((destination ->> 'target_schema')::name, (destination ->> 'target_table')::name);
    view regclass = ai._vectorizer_relation((destination ->> 'view_schema')::name, (destination ->> 'view_name')::name);
    user_of name;
    misfit text;
begin
    if not adopt then
        perform ai._validate_destination_can_create_objects(destination);
        return;
    end if;
    if destination ->> 'implementation' = 'column' then
        return;
    end if;
    if store is null or not exists (select from pg_class c where c.oid = store and c.relkind = 'r') then
        raise exception 'there is no table %.% to adopt', destination ->> 'target_schema', destination ->> 'target_table'
            using errcode = 'undefined_table',
                  hint = 'Name it: destination => ai.destination_table(target_table => ..., view_name => ...)';
    end if;
    select v.name into user_of from ai._vectorizers() v
    where ai._vectorizer_relation((v.config #>> '{destination,target_schema}')::name, (v.config #>> '{destination,target_table}')::name)
        = store
    limit 1;
    if user_of is not null then
        raise exception '% is the store of the vectorizer "%"', store, user_of
            using errcode = 'duplicate_object';
    end if;
    misfit = ai._store_misfit(source, store, coalesce(destination ->> 'storage', 'vector'), dimensions);
    if (destination ->> 'location')::boolean and not exists (
        select from pg_attribute a
        where a.attrelid = store and a.attname = 'location' and a.atttypid = 'jsonb'::regtype)
    then
        misfit = coalesce(misfit, 'it lacks the columns location jsonb');
    end if;
    if misfit is not null then
        raise exception '% cannot be adopted: %', store, misfit
            using errcode = 'datatype_mismatch', hint = 'Alter it, or let a new store be made without adopt => true.';
    end if;
    if view is not null and not exists (
        select from pg_depend d join pg_rewrite w on w.oid = d.objid
        where d.classid = 'pg_rewrite'::regclass and d.refobjid = store and w.ev_class = view)
    then
        raise exception '% is there, and is no view of %', view, store
            using errcode = 'duplicate_object', hint = 'Give another view_name.';
    end if;
end
$$;
