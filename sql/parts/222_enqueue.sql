-- The statements with which triggers queue keys and delete stored chunks. `changes` is a query of
-- 220_changes.sql.
--
-- Each item of one statement has its own time, because workers remember the time up to which
-- they have claimed.

-- 'a, b': the key columns of queue and store.
create or replace function ai._vectorizer_conflict_sql(source regclass) returns text
language sql stable
begin atomic
    select format('on conflict (%s) do update set _generation = excluded._generation, loading_retries = 0, '
        'loading_retry_after = null', ai._vectorizer_key_list(source));
end;

-- One key: `row_values` are the values of its columns.
create or replace function ai._vectorizer_enqueue_one_sql(source regclass, queue text, row_values text) returns text
language sql stable
begin atomic
    select format('insert into %s (%s, queued_at) values (%s, clock_timestamp()) %s'
        , queue, ai._vectorizer_key_list(source), row_values, ai._vectorizer_conflict_sql(source));
end;

-- All keys of a statement. It sets `queued` to their number and, for an update, `gone` to whether one of them is
-- deleted. A referential action may change a row twice in one statement, and a deferrable key may have one value
-- twice: every key is queued once. With `is_new` it assumes that no key is in the queue, except the first one, which
-- has just been queued (in this.f1, this.f2, ...). That saves a third of the cost; a key that is queued, or occurs
-- twice, then causes a unique_violation.
create or replace function ai._vectorizer_enqueue_all_sql
( source regclass
, queue text
, changes text
, event text
, is_new boolean
) returns text
language sql stable
begin atomic
    select format
    ( case event when 'update' then
        'with k as materialized (%1$s), i as (insert into %2$s (%3$s, queued_at) select %4$s, clock_timestamp() from k %5$s) '
        'select count(*), coalesce(bool_or(k.gone), false) into this.queued, this.gone from k'
      else
        'insert into %2$s (%3$s, queued_at) select %4$s, clock_timestamp() from (%1$s) k %5$s; '
        'get diagnostics this.queued = row_count'
      end
    , format('select %s %s, c.gone from (%s) c where %s'
        , case when is_new then '' else 'distinct' end
        , ai._vectorizer_image_keys(source, 'c')
        , changes
        , (select string_agg(format('c.k%s is distinct from null', k.pknum), ' and ' order by k.pknum)
               || case when is_new then format(' and not (%s)'
                   , string_agg(format('c.k%s %s %s', k.pknum, k.equals, v.first), ' and ' order by k.pknum)) else '' end
           from ai._vectorizer_key(source) k
           join ai._vectorizer_variables(source) v on v.pknum = k.pknum))
    , queue
    , ai._vectorizer_key_list(source)
    , ai._vectorizer_image_keys(source, 'k')
    , case when is_new then '' else ai._vectorizer_conflict_sql(source) end
    );
end;

-- 's.a = x.k1 and s.b = x.k2'; for the variables of a trigger function where `alias` is this.
create or replace function ai._vectorizer_stored_key_sql(source regclass, alias text) returns text
language sql stable
begin atomic
    select string_agg(format('s.%I %s %s', k.name, k.equals
        , case alias when 'this' then v.value else format('%s.k%s', alias, k.pknum) end), ' and ' order by k.pknum)
    from ai._vectorizer_key(source) k
    join ai._vectorizer_variables(source) v on v.pknum = k.pknum;
end;

-- Whether the current role can use a table, without an error if table or schema do not exist, or have been renamed
-- or given to another owner.
create or replace function ai._vectorizer_usable_sql(schema_name text, table_name text, privilege text) returns text
language sql immutable
return format
( '(case when has_schema_privilege(to_regnamespace(%L)::oid, ''usage'') '
  'then has_table_privilege(to_regclass(%L)::oid, %L) end)'
, quote_ident(schema_name), format('%I.%I', schema_name, table_name), privilege);
