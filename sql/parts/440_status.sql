-- What the command `status` shows: the views of the catalog as one JSON object, because workers' sessions cannot read
-- views.

create or replace function ai._status() returns jsonb
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    allowed text = ai._allow_views(true);
    status jsonb;
begin
    select jsonb_build_object
    ( 'vectorizers', (
        select coalesce(jsonb_agg(to_jsonb(s) || jsonb_build_object
            ( 'oldest_seconds', extract(epoch from now() - s.oldest)::bigint
            , 'paused_by', (
                select p.paused_by from ai.vectorizer_pause p
                where p.vectorizer_id = s.id and coalesce(p.paused_until > now(), true))
            , 'retries', case when v.config #>> '{loading,retries}' ~ '^[0-9]{1,9}$' then (v.config #>> '{loading,retries}')::int end
            ) order by s.id), '[]')
        from ai.vectorizer_status s join ai.vectorizer v on v.id = s.id)
    , 'workers', (
        select coalesce(jsonb_agg(jsonb_build_object
            ( 'host', w.host, 'pid', w.pid, 'version', w.version
            , 'last_seen_seconds', extract(epoch from now() - w.last_seen)::bigint
            , 'rows', w.rows, 'errors', w.errors, 'state', w.state) order by w.started, w.id), '[]')
        from ai._live_worker w)
    ) into status;
    perform ai._allow_views(allowed);
    return status;
end
$$;
