//! Everything of a vectorizer belongs to the owner of its source, whoever created it.

use tests::role::Role;
use tests::stage::Stage;

use crate::{caught, create, owner, strangers_parts, trap};

/// A role that is a member of `owner`, with these options.
fn member(stage: &mut Stage, name: &str, owner: &Role, options: &str) -> Role {
    let member = Role::new(&stage.database, name);
    stage.run(&format!(
        "grant {} to {} with {options}; select ai.grant_vectorizer_usage('{1}')",
        owner.name, member.name
    ));
    member
}

#[test]
fn whoever_creates_it_the_owner_of_the_source_has_it() {
    let mut stage = Stage::new();
    let mut alice = owner(&mut stage, "alice");
    stage.run(&create("alice.notes", ""));
    assert_eq!(
        strangers_parts(&mut stage.sql, 1, &alice.name),
        0,
        "by a superuser"
    );

    // She has no right on schema ai: her own writes go on all the same.
    alice.may("insert into alice.notes values (2, 'two'); update alice.notes set body = 'x'; delete from alice.notes where id = 2");
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 2);

    let mut deputy = member(&mut stage, "deputy", &alice, "inherit true, set true");
    alice.may("create table alice.more (id int primary key, body text)");
    deputy.may(&create("alice.more", ""));
    assert_eq!(
        strangers_parts(&mut stage.sql, 2, &alice.name),
        0,
        "by a member"
    );
    let there = "select count(*) from pg_class where relname ~ '^_vectorizer_.*_2$' and relkind in ('r', 'S')
        and relnamespace = 'alice'::regnamespace";
    assert_eq!(
        stage.number(there),
        4,
        "in the schema of the store, because ai is not theirs"
    );
    alice.may("insert into alice.more values (1, 'one'); select * from alice._vectorizer_q_2");

    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{}')",
        alice.name
    ));
    alice.may("create table alice.third (id int primary key, body text)");
    alice.may(&create(
        "alice.third",
        ", destination => ai.destination_column('v')",
    ));
    assert_eq!(
        strangers_parts(&mut stage.sql, 3, &alice.name),
        0,
        "by herself"
    );
    alice.may("select ai.drop_vectorizer(1, true), ai.drop_vectorizer(2, true), ai.drop_vectorizer(3, true)");
    let left =
        "select count(*) from pg_class where relname ~ '^_vectorizer_(q|q_failed|lease|bell)_'";
    assert_eq!(stage.number(left), 0);
}

#[test]
fn who_cannot_hand_over_is_told_the_grant() {
    let mut stage = Stage::new();
    let alice = owner(&mut stage, "alice");
    stage.run("grant usage on schema alice to public");
    for (name, options, remedy) in [
        ("setter", "inherit false, set true", "First: set role"),
        (
            "heir",
            "inherit true, set false",
            "with inherit true, set true",
        ),
        (
            "neither",
            "inherit false, set false",
            "with inherit true, set true",
        ),
    ] {
        let mut member = member(&mut stage, name, &alice, options);
        let message = member.may_not(&create("alice.notes", ""));
        assert!(
            message.contains(remedy) && message.contains(&alice.name),
            "{message}"
        );
    }
    let mut stranger = Role::new(&stage.database, "stranger");
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{0}'); grant usage, create on schema alice to {0};
         grant select, trigger on alice.notes to {0}",
        stranger.name
    ));
    let (_, message) = stranger.fails(&create("alice.notes", ""));
    assert!(
        message.contains("only a superuser or the owner"),
        "{message}"
    );

    // The owner could not have made the table herself.
    let mut deputy = member(&mut stage, "deputy", &alice, "inherit true, set true");
    stage.run(&format!(
        "create schema shelf authorization {}",
        deputy.name
    ));
    let elsewhere = create(
        "alice.notes",
        ", destination => ai.destination_table(target_schema => 'shelf')",
    );
    let message = deputy.may_not(&elsewhere);
    assert!(
        message.contains("grant create on schema shelf to"),
        "{message}"
    );
    deputy.may(&format!("grant create on schema shelf to {}", alice.name));
    deputy.may(&elsewhere);
    let id = "select id from ai.vectorizer";
    let id: i32 = stage.sql.query_one(id, &[]).unwrap().get(0);
    assert_eq!(strangers_parts(&mut stage.sql, id, &alice.name), 0);
}

/// Checks of key types are an owner's code: creating, dropping and upgrading must not run them as a superuser.
#[test]
fn a_trap_of_the_owner_catches_no_superuser() {
    let mut stage = Stage::new();
    let mut mallory = owner(&mut stage, "mallory");
    trap(&mut stage, &mallory);
    mallory.may(
        "create domain mallory.key as int check (trap.spring());
         create table mallory.trapped (id mallory.key primary key, body text);
         insert into mallory.trapped values (1, 'one');
         create trigger t before insert or update or delete on mallory.trapped for each row execute function trap.fire();
         alter default privileges in schema mallory grant all on tables to public",
    );
    stage.run(&create("mallory.trapped", ""));
    mallory.may(
        "create trigger t before insert or update or delete on mallory.trapped_embedding_store
           for each row execute function trap.fire();
         insert into mallory.trapped values (2, 'two')",
    );
    stage.database.install();
    stage.run("delete from ai._vectorizer_build");
    mallory.may(
        "create trigger t before insert or update or delete on ai._vectorizer_q_1 for each row execute function trap.fire()",
    );
    stage.database.install();
    stage.run("select * from ai.vectorizer_status; select ai.vectorizer_queue_pending(1, true)");
    stage.run("select ai.drop_vectorizer(1, true)");
    assert_eq!(caught(&mut stage.sql), 0);
    assert!(
        stage.number("select count(*) from trap.caught") > 0,
        "the trap works"
    );
}

/// What a superuser's default privileges give away of everything that it creates.
#[test]
fn default_privileges_of_the_creator_give_nobody_the_owners_rights() {
    let mut stage = Stage::new();
    let alice = owner(&mut stage, "alice");
    let mut mallory = Role::new(&stage.database, "mallory");
    stage.run(&format!(
        "alter default privileges grant all on tables to {0}; alter default privileges grant all on sequences to {0};
         alter default privileges grant all on functions to {0}; grant usage, create on schema alice to {0}; grant usage on schema ai to {0}",
        mallory.name
    ));
    stage.run(&create("alice.notes", ""));
    mallory.may(
        "create function alice.fire() returns trigger language plpgsql as 'begin return new; end'",
    );
    for attack in [
        "create trigger t before insert on ai._vectorizer_q_1 for each row execute function alice.fire()",
        "create trigger t before insert on alice.notes_embedding_store for each row execute function alice.fire()",
        "insert into ai._vectorizer_q_1 (id) values (7)",
        "delete from alice.notes_embedding_store",
        "select setval('ai._vectorizer_bell_1', 9)",
        "create table alice.bait (id int); create trigger t after insert on alice.bait
           referencing new table as new_rows for each statement execute function ai._vectorizer_src_trg_1()",
    ] {
        mallory.may_not(attack);
    }
    stage.run(&format!(
        "alter default privileges revoke all on tables from {0}; alter default privileges revoke all on sequences from {0};
         alter default privileges revoke all on functions from {0}",
        mallory.name
    ));
    drop((alice, mallory));
}
