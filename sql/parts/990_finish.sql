-- The last part: the version of this schema, which workers check, and the caller's search_path. A
-- higher version is never lowered.

insert into ai.pgai_lib_version (name, version)
values ('setup.sql', '1')
on conflict (name) do update set version = excluded.version, installed_at = clock_timestamp()
where pgai_lib_version.version <> excluded.version;

do $$
declare
    within boolean = coalesce(current_setting('ai.setup_in_transaction', true), '') = 'yes';
begin
    perform set_config(s.name, coalesce(current_setting('ai.setup_restrict', true), ''), within)
    from pg_settings s
    where s.name = 'restrict_nonsystem_relation_kind';
    perform set_config('search_path', current_setting('ai.setup_search_path'), within);
end
$$;
