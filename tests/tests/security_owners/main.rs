//! Attacks between roles, one for each sentence of the model in docs/security.md: who owns what, who may write the
//! catalogue, what a worker follows, which rows a reader sees, and what setup.sql builds on.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]
#![allow(
    clippy::print_stdout,
    reason = "a test that fails shows what was tried"
)]

mod adopt;
mod catalogue;
mod create;
mod rows;
mod setup;
mod trust;

use postgres::Client;
use tests::role::Role;
use tests::stage::Stage;

/// The statement that creates a vectorizer on a table, with further arguments.
fn create(table: &str, more: &str) -> String {
    format!(
        "select ai.create_vectorizer('{table}', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none() {more})"
    )
}

/// A role with a schema of its own, in which it has the table `notes` with one row.
fn owner(stage: &mut Stage, name: &str) -> Role {
    let mut role = Role::new(&stage.database, name);
    stage.run(&format!("create schema {name} authorization {}", role.name));
    role.may(&format!(
        "create table {name}.notes (id int primary key, body text);
         insert into {name}.notes values (1, 'a note of {name}')"
    ));
    role
}

/// As [`owner`], with a vectorizer `name` on that table.
fn owner_with_vectorizer(stage: &mut Stage, name: &str) -> Role {
    let mut role = owner(stage, name);
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{}')",
        role.name
    ));
    role.may(&create(
        &format!("{name}.notes"),
        &format!(", name => '{name}'"),
    ));
    role
}

/// A function that notes who runs it, in a table that everybody may write to. `drop schema trap` ends it.
fn trap(stage: &mut Stage, owner: &Role) {
    stage.run(&format!(
        "create schema trap authorization {0}; grant usage on schema trap to public",
        owner.name
    ));
    stage.run(&format!(
        "set role {};
         create table trap.caught (who text);
         grant insert, select on trap.caught to public;
         create function trap.spring() returns boolean language plpgsql volatile as
           $$ begin insert into trap.caught values (current_user); return true; exception when others then return true; end $$;
         create function trap.fire() returns trigger language plpgsql as
           $$ begin perform trap.spring(); return coalesce(new, old); end $$;
         reset role",
        owner.name
    ));
}

/// How often a superuser ran into the trap.
fn caught(sql: &mut Client) -> i64 {
    let count = "select count(*) from trap.caught where who = 'postgres'";
    sql.query_one(count, &[]).unwrap().get(0)
}

/// How many relations and functions of a vectorizer belong to somebody else than this role.
fn strangers_parts(sql: &mut Client, id: i32, owner: &str) -> i64 {
    let count = format!(
        "select count(*) from (
           select c.relowner as owner from ai.vectorizer v
             cross join lateral ai._vectorizer_parts(v.id, v.queue_schema, v.queue_table, v.queue_failed_table,
               v.config -> 'destination') p
             join pg_namespace n on n.nspname = p.schema
             join pg_class c on c.relnamespace = n.oid and c.relname = p.name
             where v.id = {id}
           union all
           select proowner from pg_proc where proname ~ '^_vectorizer_src_trg_{id}(_|$)') o
         where o.owner <> '{owner}'::regrole"
    );
    sql.query_one(&count, &[]).unwrap().get(0)
}
