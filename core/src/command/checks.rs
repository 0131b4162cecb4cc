//! The queries of `doctor`, and how it interprets the answers.

use super::doctor::Finding;
use super::field;
use crate::query::Rows;

/// The connected workers of Python pgai, each with name and pid, or NULL. (A worker connects under several names: one
/// for each vectorizer that it processes, and others for its heartbeat and its errors.)
macro_rules! python_workers {
    () => {
        "(select string_agg(format('%s (pid %s)', p.application_name, p.pid), ', ' order by p.pid)
   from pg_stat_activity p
   where p.datname = current_database()
     and p.application_name ~ '^pgai-worker([[]|-heartbeat|-error-reporter)')"
    };
}
pub(super) use python_workers;

/// Server version as a number and as text, user, database, whether it is a standby, pgvector's
/// installed and newest available version, the schema versions of pgai and of this project,
/// sessions of Python workers, whether PREPARE TRANSACTION is possible, whether the schema may be used,
/// and what shows that the session is the connection's own.
pub(super) const SERVER: &str = concat!(
    "\
select current_setting('server_version_num'), current_setting('server_version'),
  current_user::text, current_database()::text, pg_is_in_recovery()::text,
  (select extversion from pg_extension where extname = 'vector'),
  (select default_version from pg_available_extensions where name = 'vector'),
  (to_regclass('ai.pgai_lib_version') is not null)::text,
  (to_regclass('ai._vectorizer_errors') is not null)::text,
  ",
    python_workers!(),
    ",
  current_setting('max_prepared_transactions'),
  coalesce(has_schema_privilege(to_regnamespace('ai'), 'usage'), true)::text,
  current_setting('ai.session', true)"
);

/// One row for each problem of a vectorizer's objects: its name, the problem, and the remedy. Also
/// returns the remains of dropped vectorizers.
pub(super) const OBJECTS: &str = "\
with v as (
  select v.*, ai._vectorizer_relation(v.source_schema, v.source_table) as source,
    v.config -> 'destination' ->> 'implementation' as destination,
    ai._vectorizer_relation((v.config #>> '{destination,target_schema}')::name,
      (v.config #>> '{destination,target_table}')::name) as store,
    ai._vectorizer_relation((v.config #>> '{destination,view_schema}')::name,
      (v.config #>> '{destination,view_name}')::name) as view
  from ai._vectorizers() v
), needed as (
  select v.name, n.what, n.oid, n.rights
  from v cross join lateral (values
    ('source table', v.source, 'select'),
    ('store', case when v.destination = 'table' then v.store end, 'select,insert,update,delete'),
    ('queue', ai._vectorizer_relation(v.queue_schema, v.queue_table),
      'select,update,delete'),
    ('failed table', ai._vectorizer_relation(v.queue_schema, v.queue_failed_table),
      'select,insert,update,delete'),
    ('lease table', ai._vectorizer_relation(v.queue_schema,
        ('_vectorizer_lease_' || ai._vectorizer_number(v.id, v.queue_failed_table))::name),
      'select,insert,update,delete')
  ) n(what, oid, rights)
  where v.source is not null and (n.what <> 'store' or v.destination = 'table')
)
select n.name, format('its %s is gone', n.what),
  'drop the vectorizer with ai.drop_vectorizer, and create it anew'
from needed n where n.oid is null
union all
select n.name, format('%s may not %s its %s %s', current_user, r.wanted, n.what, n.oid),
  format('as the owner: select ai.grant_worker_usage(%L)', current_user)
from needed n
cross join unnest(string_to_array(n.rights, ',')) as r(wanted)
where n.oid is not null and not has_table_privilege(n.oid, r.wanted)
union all
select v.name, format('its source table %I.%I is gone', v.source_schema, v.source_table),
  format('select ai.drop_vectorizer(%s), or give the table its name back', v.id)
from v where v.source is null
union all
select v.name, format('its view %I.%I is gone', v.config #>> '{destination,view_schema}',
    v.config #>> '{destination,view_name}'), format('select ai.recreate_view(%L)', v.name)
from v
where v.destination = 'table' and v.source is not null and v.store is not null and v.view is null
union all
select null, format('the vectorizer %s: its model %s is made for prompts, and it has none: searches find less', v.name,
    v.config #>> '{embedding,model}'),
  'create another vectorizer with document_prompt => ''auto'', query_prompt => ''auto'' in its embedding'
from v
where not v.config -> 'embedding' ?| array['document_prompt', 'query_prompt']
  and (ai.model_prompts(v.config #>> '{embedding,model}')).query_prompt is not null
union all
select null, format('%s may read the view %s, and not the source %s or the store, which have row-level security: '
    'it sees nothing there', g.rolname, v.view, v.source),
  format('if it shall see the chunks of its rows: grant select on %s, %s to %I', v.source, v.store, g.rolname)
from v
join pg_class s on s.oid = v.source and s.relrowsecurity
join pg_class w on w.oid = v.view
cross join lateral aclexplode(w.relacl) a
join pg_roles g on g.oid = a.grantee
where a.privilege_type = 'SELECT' and a.grantee <> w.relowner
  and not (has_table_privilege(g.oid, v.store, 'select') and has_table_privilege(g.oid, v.source, 'select'))
union all
select null, format('%s %s belongs to no vectorizer', o.kind, o.name), format('drop %s %s', o.kind, o.name)
from (
  select case c.relkind when 'S' then 'sequence' else 'table' end as kind, c.oid::regclass::text as name,
    substring(c.relname from '^_vectorizer_(?:q|q_failed|lease|bell)_([0-9]+)$') as id
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'ai' and c.relkind in ('r', 'S')
  union all
  select 'function', p.oid::regprocedure::text,
    substring(p.proname from '^_vectorizer_src_trg_([0-9]+)')
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = 'ai'
) o
where o.id is not null and not exists (
  select from ai._vectorizers() v where ai._vectorizer_number(v.id, v.queue_failed_table)::text = o.id)";

/// Versions of pgvector before this one may corrupt HNSW indexes in VACUUM.
const PGVECTOR_SOUND: (u32, u32, u32) = (0, 8, 3);

pub(super) fn is_installed(rows: &Rows) -> bool {
    rows.first().is_some_and(|row| {
        field(row, 7) == "true" && field(row, 8) == "true" && field(row, 11) == "true"
    })
}

pub(super) fn server(rows: &Rows, program: &str) -> Vec<Finding> {
    let row = rows.first().map_or(&[][..], Vec::as_slice);
    let (user, database) = (field(row, 2), field(row, 3));
    let mut findings = vec![Finding::good(format!(
        "PostgreSQL {} answers, database {database}, user {user}",
        field(row, 1)
    ))];
    if field(row, 0)
        .parse()
        .is_ok_and(|version: u32| version < 150_000)
    {
        findings.push(Finding::wrong(
            "PostgreSQL is older than 15",
            "upgrade it to 15 or newer",
        ));
    }
    if field(row, 4) == "true" {
        findings.push(Finding::wrong(
            "the server is a standby: nothing can be written",
            "connect to the primary",
        ));
    }
    findings.push(pgvector(field(row, 5), field(row, 6)));
    findings.push(if field(row, 7) != "true" {
        Finding::wrong(
            "pgai is not installed in the database",
            format!("run `{program} install`, or execute sql/setup.sql"),
        )
    } else if field(row, 11) != "true" {
        Finding::wrong(
            format!("{user} may not use the schema ai"),
            format!("as its owner: select ai.grant_worker_usage('{user}')"),
        )
    } else {
        Finding::good("the schema ai is installed")
    });
    if !field(row, 9).is_empty() {
        findings.push(Finding::wrong(
            format!(
                "a worker of Python pgai is connected: {}: two kinds of workers on one queue do harm",
                field(row, 9)
            ),
            "stop it",
        ));
    }
    if field(row, 12).is_empty() {
        findings.push(Finding::note(
            "the connection leads through a pooler: changes are polled for, and statements take longer",
            "connect to PostgreSQL itself, or give a worker --listen-url too, or live with --poll-interval",
        ));
    }
    if field(row, 10) != "0" {
        findings.push(Finding::note(
            "max_prepared_transactions is set: triggers cannot notify, so changes are polled for",
            "set it to 0 if nothing uses PREPARE TRANSACTION, or live with --poll-interval",
        ));
    }
    findings
}

fn pgvector(installed: &str, available: &str) -> Finding {
    if installed.is_empty() {
        return if available.is_empty() {
            Finding::wrong(
                "the server does not have the extension pgvector",
                "install it on the server: https://github.com/pgvector/pgvector",
            )
        } else {
            Finding::wrong(
                "the extension vector is not in this database",
                "as a superuser: create extension vector",
            )
        };
    }
    let mut parts = installed.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < PGVECTOR_SOUND {
        return Finding::note(
            format!("pgvector {installed} may corrupt HNSW indexes"),
            "upgrade it to 0.8.3 or newer: alter extension vector update",
        );
    }
    Finding::good(format!("pgvector {installed}"))
}

pub(super) fn objects(rows: &Rows) -> Vec<Finding> {
    let findings = rows.iter().map(|row| {
        let (what, remedy) = (field(row, 1), field(row, 2));
        match field(row, 0) {
            "" => Finding::note(what, remedy),
            name => Finding::wrong(format!("the vectorizer {name}: {what}"), remedy),
        }
    });
    let mut findings: Vec<_> = findings.collect();
    if findings.is_empty() {
        findings.push(Finding::good(
            "tables and rights of all vectorizers are there",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgvector_is_judged_by_its_version() {
        for (installed, available, is_good) in [
            ("0.8.5", "0.8.5", true),
            ("0.10.0", "0.10.0", true),
            ("0.8.2", "0.8.5", false),
            ("", "0.8.5", false),
            ("", "", false),
        ] {
            assert_eq!(
                pgvector(installed, available).is_good(),
                is_good,
                "{installed}"
            );
        }
    }
}
