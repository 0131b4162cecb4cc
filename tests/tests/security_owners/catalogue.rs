//! ai.vectorizer is guarded, and nobody but its owner changes schema ai.

use tests::role::{Role, refused};
use tests::stage::Stage;

use crate::{caught, create, owner, owner_with_vectorizer, trap};

/// Alice and Bob have a vectorizer each, with the ids 1 and 2.
fn two_owners() -> (Stage, Role, Role) {
    let mut stage = Stage::new();
    let alice = owner_with_vectorizer(&mut stage, "alice");
    let bob = owner_with_vectorizer(&mut stage, "bob");
    (stage, alice, bob)
}

#[test]
fn a_row_names_only_what_belongs_to_who_writes_it() {
    let (mut stage, _alice, mut bob) = two_owners();
    let target = |field: &str, value: &str| {
        format!(
            "update ai.vectorizer set config = jsonb_set(config, '{{destination,{field}}}', '\"{value}\"') where id = 2"
        )
    };
    bob.may("create table bob.other (id int); create temp table notes (id int)");
    let attacks = [
        "update ai.vectorizer set source_schema = 'alice' where id = 2".to_owned(),
        "update ai.vectorizer set source_schema = 'pg_temp' where id = 2".to_owned(),
        "update ai.vectorizer set source_schema = (select nspname from pg_namespace where oid = pg_my_temp_schema()) where id = 2".to_owned(),
        "update ai.vectorizer set queue_schema = 'alice', queue_table = '_vectorizer_q_1' where id = 2".to_owned(),
        "update ai.vectorizer set queue_failed_table = 'nothing' where id = 2".to_owned(),
        "update ai.vectorizer set queue_failed_table = queue_table where id = 2".to_owned(),
        "update ai.vectorizer set id = 3 where id = 2".to_owned(),
        target("target_schema", "alice"),
        target("target_table", "notes"),
        target("view_schema", "alice"),
        // The vectorizer of somebody else.
        "update ai.vectorizer set disabled = true where id = 1".to_owned(),
        "select ai.disable_vectorizer_schedule(1)".to_owned(),
        "update ai.vectorizer set config = jsonb_set(config, '{embedding,base_url}', '\"http://evil\"') where id = 1".to_owned(),
        "delete from ai.vectorizer where id = 1".to_owned(),
        "select ai.drop_vectorizer(1, true)".to_owned(),
        // A row without anything of its own.
        "insert into ai.vectorizer select 9, source_schema, source_table, source_pk, trigger_name, queue_schema, queue_table,
           config, false, queue_failed_table, 'mine' from ai.vectorizer where id = 1".to_owned(),
        "truncate ai.vectorizer cascade".to_owned(),
        "insert into ai._vectorizer_build values (1, 'x')".to_owned(),
    ];
    for attack in &attacks {
        bob.may_not(attack);
    }
    // What is his own he changes as before.
    bob.may(
        "update ai.vectorizer set config = jsonb_set(config, '{embedding,model}', '\"other\"') where id = 2;
         select ai.disable_vectorizer_schedule(2), ai.enable_vectorizer_schedule(2);
         update ai.vectorizer set name = 'another' where id = 2;
         select ai.drop_vectorizer(2, true)",
    );
    stage.run("truncate ai.vectorizer cascade");
}

/// A row that was written before there was a guard.
#[test]
fn dropping_takes_nothing_that_belongs_to_others() {
    let (mut stage, _alice, _bob) = two_owners();
    stage.run(
        "alter table ai.vectorizer disable trigger user;
         update ai.vectorizer set config = jsonb_set(jsonb_set(config, '{destination,target_schema}', '\"alice\"'), '{destination,view_schema}', '\"alice\"')
           where id = 2;
         update ai.vectorizer set config = jsonb_set(config, '{destination,target_table}', '\"notes\"') where id = 2;
         alter table ai.vectorizer enable trigger user;
         select ai.drop_vectorizer(2, true)",
    );
    let left =
        "select count(*) from alice.notes where to_regclass('alice.notes_embedding') is not null";
    assert_eq!(stage.number(left), 1, "Alice's tables and view are there");
    assert_eq!(stage.number("select count(*) from ai.vectorizer"), 1);
    assert_eq!(
        stage.number("select count(*) from pg_class where relname = '_vectorizer_q_2'"),
        0
    );
}

#[test]
fn if_not_exists_gives_nobody_the_vectorizer_of_a_squatter() {
    let (mut stage, mut alice, _bob) = two_owners();
    alice.may("create table alice.more (id int primary key, body text)");
    let again = create("alice.more", ", name => 'bob', if_not_exists => true");
    let (code, message) = refused(&mut alice.client, &again);
    assert_eq!(code, "42710", "{message}");
    stage.run(&create(
        "alice.notes",
        ", name => 'alice', if_not_exists => true",
    ));
}

#[test]
fn a_view_in_place_of_a_queue_is_not_run() {
    let mut stage = Stage::new();
    let mut mallory = owner_with_vectorizer(&mut stage, "mallory");
    trap(&mut stage, &mallory);
    mallory.may(
        "drop table mallory._vectorizer_q_1;
         create view mallory._vectorizer_q_1 as select 1 as id, now() as queued_at where trap.spring()",
    );
    stage.run("select * from ai.vectorizer_status");
    let pending = "select ai.vectorizer_queue_pending(1, true)";
    refused(&mut stage.sql, pending);
    assert_eq!(caught(&mut stage.sql), 0);

    // Between a look at it and its use: the setting that servers have for this.
    let functions = "select count(*) from pg_proc p where p.pronamespace = 'ai'::regnamespace
        and p.proname in ('vectorizer_queue_pending', '_vectorizer_pending_if_readable', '_vectorizer_should_create_vector_index', 'create_vectorizer')
        and p.proconfig @> array['restrict_nonsystem_relation_kind=view, foreign-table']";
    let has = "select count(*) from pg_settings where name = 'restrict_nonsystem_relation_kind'";
    assert_eq!(stage.number(functions), 4 * stage.number(has));
}

#[test]
fn nobody_creates_in_schema_ai_or_hangs_code_on_its_tables() {
    let mut stage = Stage::new();
    let mut roles = vec![];
    for (name, grant) in [
        ("creator", "select ai.grant_vectorizer_usage('{}')"),
        (
            "admin",
            "select ai.grant_vectorizer_usage('{}', admin => true)",
        ),
        ("runner", "select ai.grant_worker_usage('{}')"),
        // As pgai and older versions of ours had it: the next run of setup.sql takes it away.
        (
            "old",
            "grant all on schema ai to {}; grant all on all tables in schema ai to {}; grant all on all sequences in schema ai to {}",
        ),
    ] {
        let role = Role::new(&stage.database, name);
        stage.run(&grant.replace("{}", &role.name));
        stage.run(&format!("create schema {name} authorization {}", role.name));
        roles.push((name, role));
    }
    stage.database.install();
    for (name, role) in &mut roles {
        role.may(&format!(
            "create function {name}.fire() returns trigger language plpgsql as 'begin return new; end'"
        ));
        for attack in [
            "create table ai.mine (x int)".to_owned(),
            "create function ai.mine() returns int language sql as 'select 1'".to_owned(),
            format!(
                "create trigger t before insert on ai.vectorizer for each row execute function {name}.fire()"
            ),
            format!(
                "create trigger t before insert on ai._vectorizer_errors for each row execute function {name}.fire()"
            ),
            format!(
                "create trigger t before insert on ai.vectorizer_worker_process for each row execute function {name}.fire()"
            ),
            format!("create table {name}.refers (id int references ai.vectorizer)"),
            "truncate ai.vectorizer_worker_progress".to_owned(),
            "select setval('ai._generation', 1)".to_owned(),
            "select setval('ai.vectorizer_id_seq', 1)".to_owned(),
        ] {
            role.may_not(&attack);
        }
    }
    let mut alice = owner(&mut stage, "alice");
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{}')",
        alice.name
    ));
    alice.may(&create("alice.notes", ""));
}
