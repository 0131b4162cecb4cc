-- The installed version: the tables by which pgai.install() detects a finished install and does
-- nothing, and the row 'setup.sql' (written by the last part), by which the worker knows the schema's
-- version.

create table if not exists ai.pgai_lib_version
( name text not null primary key
, version text not null
, installed_at timestamptz not null default clock_timestamp()
);
comment on table ai.pgai_lib_version is 'What is installed in this schema: ai is the pgai interface, setup.sql the schema itself.';

create table if not exists ai.pgai_lib_migration
( name text not null primary key
, applied_at_version text not null
, applied_at timestamptz not null default clock_timestamp()
, body text not null
);
comment on table ai.pgai_lib_migration is 'The migrations of Python pgai that this schema contains.';

create table if not exists ai.pgai_lib_feature_flag
( name text not null
, applied_at_version text not null
, applied_at timestamptz not null default clock_timestamp()
, constraint pgai_lib_feature_flag_pkey primary key (name)
);
comment on table ai.pgai_lib_feature_flag is 'Kept for Python pgai; no feature flag exists.';

-- An older version is raised: otherwise pgai.install() would restore its own functions.
insert into ai.pgai_lib_version (name, version)
values ('ai', '0.12.1')
on conflict (name) do update set version = excluded.version, installed_at = clock_timestamp()
where pgai_lib_version.version ~ '^0[.]([0-9]|10|11)[.]|^0[.]12[.]0';

insert into ai.pgai_lib_migration (name, applied_at_version, body)
select m.name, '0.12.1', 'contained in setup.sql'
from unnest(array
[ '001-vectorizer.sql'
, '003-vec-storage.sql'
, '005-vectorizer-queue-pending.sql'
, '006-drop-vectorizer.sql'
, '012-add-vectorizer-disabled-column.sql'
, '017-upgrade-source-pk.sql'
, '018-drop-foreign-key-constraint.sql'
, '019-drop-truncate-from-vectorizer-config-lib.sql'
, '020-add-worker-tracking-table.sql'
, '021-drop-create-vectorizer-old-function.sql'
, '022-migrate-existing-vectorizers-to-loading.sql'
, '023-migrate-vectorizer-queue-tables.sql'
, '024-add-vectorizer-queue-failed-table.sql'
, '025-migrate-vectorizer-to-have-queue-failed-table.sql'
, '026-change_trigger_definition.sql'
, '027-drop-loading-uri-old-signature.sql'
, '028-remove-destination-columns.sql'
, '029-add-vectorizer-name-column.sql'
, '030-add_vectorizer_errors_view.sql'
, '031-semantic-catalog.sql'
]) with ordinality m(name, at)
order by m.at
on conflict (name) do nothing;
