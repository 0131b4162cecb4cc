//! setup.sql builds on nothing that a stranger has put there.

use tests::postgres::{Database, Server};
use tests::python::pgai_sql;
use tests::role::{Role, refused};

/// Runs setup.sql as a superuser, in one transaction.
fn setup(database: &Database) -> Result<(), String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/setup.sql");
    let script = std::fs::read_to_string(path).unwrap();
    let mut client = database.client();
    let mut transaction = client.transaction().unwrap();
    match transaction.batch_execute(&script) {
        Ok(()) => {
            transaction.commit().unwrap();
            Ok(())
        }
        Err(error) => Err(error.as_db_error().map_or_else(
            || error.to_string(),
            |error| {
                format!(
                    "{} {} {}",
                    error.code().code(),
                    error.message(),
                    error.hint().unwrap_or_default()
                )
            },
        )),
    }
}

#[track_caller]
fn stops(database: &Database, naming: &str) {
    let message = setup(database).expect_err(naming);
    assert!(
        message.starts_with("42501") && message.contains(naming),
        "{naming:?} in {message}"
    );
}

#[test]
fn a_schema_of_a_stranger_is_not_built_upon() {
    let database = Server::shared().database();
    let mut mallory = Role::new(&database, "mallory");
    let mut sql = database.client();
    sql.batch_execute(&format!(
        "grant create on database {} to {}",
        database.name(),
        mallory.name
    ))
    .unwrap();
    mallory.may("create schema ai");
    stops(&database, &mallory.name);
    sql.batch_execute("drop schema ai; create extension vector")
        .unwrap();
    setup(&database).unwrap();
}

#[test]
fn what_strangers_have_put_into_schema_ai_is_named() {
    let database = Server::shared().database();
    let mut mallory = Role::new(&database, "mallory");
    let mut sql = database.client();
    sql.batch_execute(&format!(
        "create extension vector; create schema ai; grant all on schema ai to {}",
        mallory.name
    ))
    .unwrap();
    for (attack, name, undo) in [
        (
            "create function ai.grant_to() returns name[] language sql as 'select null::name[]'",
            "function ai.grant_to()",
            "drop function ai.grant_to()",
        ),
        (
            "create function ai._worker_start(text, text) returns int language sql as 'select 1'",
            "_worker_start(text,text)",
            "drop function ai._worker_start",
        ),
        (
            "create aggregate ai.jsonb_agg(int) (sfunc = int4pl, stype = int)",
            "jsonb_agg",
            "drop aggregate ai.jsonb_agg(int)",
        ),
        (
            "create function ai.eq(name, name) returns boolean language sql as 'select true'; create operator ai.= (leftarg = name, rightarg = name, function = ai.eq)",
            "operator ai.=",
            "drop operator ai.=(name, name); drop function ai.eq",
        ),
        (
            "create domain ai.int4 as int",
            "type ai.int4",
            "drop domain ai.int4",
        ),
        (
            "create table ai.vectorizer (id int)",
            "relation ai.vectorizer",
            "drop table ai.vectorizer",
        ),
        (
            "create view ai.vectorizer_errors as select 1 as id",
            "relation ai.vectorizer_errors",
            "drop view ai.vectorizer_errors",
        ),
        (
            "create sequence ai._generation",
            "relation ai._generation",
            "drop sequence ai._generation",
        ),
        (
            "create table ai._vectorizer_errors (id int)",
            "relation ai._vectorizer_errors",
            "drop table ai._vectorizer_errors",
        ),
    ] {
        println!("tried: {attack}");
        mallory.may(attack);
        stops(&database, name);
        mallory.may(undo);
    }
    setup(&database).unwrap();
    mallory.may_not("create table ai.mine (x int)");
}

#[test]
fn what_strangers_have_hung_on_our_tables_is_named() {
    let database = Server::shared().database();
    database.install();
    let mut mallory = Role::new(&database, "mallory");
    let mut sql = database.client();
    sql.batch_execute(&format!(
        "create schema lair authorization {0}; grant usage on schema ai, lair to {0};
         grant all on ai.vectorizer, ai._vectorizer_errors to {0}; grant usage on schema lair to public",
        mallory.name
    ))
    .unwrap();
    mallory.may(
        "create function lair.fire() returns trigger language plpgsql as 'begin return new; end';
         create function lair.say() returns text language sql as $$ select 'x'::text $$;
         create function lair.yes(text) returns boolean language sql as 'select true';
         create function lair.event() returns event_trigger language plpgsql as 'begin end'",
    );
    // The owner of the table has been talked into these.
    for (attack, name, undo) in [
        (
            "create trigger t before insert on ai.vectorizer for each row execute function lair.fire()",
            "trigger t on ai.vectorizer",
            "drop trigger t on ai.vectorizer",
        ),
        (
            "alter table ai._vectorizer_errors alter message set default lair.say()",
            "lair.say()",
            "alter table ai._vectorizer_errors alter message drop default",
        ),
        (
            "alter table ai._vectorizer_errors add constraint c check (lair.yes(message))",
            "lair.yes(text)",
            "alter table ai._vectorizer_errors drop constraint c",
        ),
        (
            "create policy p on ai._vectorizer_errors using (lair.yes(message))",
            "lair.yes(text)",
            "drop policy p on ai._vectorizer_errors",
        ),
        (
            "create rule r as on insert to ai._vectorizer_errors do also select lair.say()",
            "rule r on ai._vectorizer_errors",
            "drop rule r on ai._vectorizer_errors",
        ),
        (
            "create event trigger e on ddl_command_end execute function lair.event()",
            "event trigger e",
            "drop event trigger e",
        ),
    ] {
        println!("tried: {attack}");
        sql.batch_execute(attack).unwrap();
        stops(&database, name);
        sql.batch_execute(undo).unwrap();
    }
    let heir = format!(
        "create table lair.heir () inherits (ai._vectorizer_errors); alter table lair.heir owner to {}",
        mallory.name
    );
    sql.batch_execute(&heir).unwrap();
    stops(&database, "lair.heir inherits from");
    sql.batch_execute("drop table lair.heir").unwrap();
    setup(&database).unwrap();
    let attack =
        "create trigger t before insert on ai.vectorizer for each row execute function lair.fire()";
    mallory.may_not(attack);
}

#[test]
fn default_privileges_of_the_installer_give_nobody_our_tables() {
    let database = Server::shared().database();
    let mut mallory = Role::new(&database, "mallory");
    let mut sql = database.client();
    sql.batch_execute(&format!(
        "create extension vector; create schema ai; create schema lair authorization {0}; grant usage on schema ai to {0};
         alter default privileges grant all on tables to {0}; alter default privileges grant all on sequences to {0};
         alter default privileges grant all on functions to {0}",
        mallory.name
    ))
    .unwrap();
    setup(&database).unwrap();
    mallory.may("create function lair.fire() returns trigger language plpgsql as 'begin return new; end'; select * from ai.vectorizer");
    for attack in [
        "delete from ai.vectorizer",
        "insert into ai.pgai_lib_version values ('x', '1')",
        "update ai.vectorizer_worker_process set version = 'x'",
        "select setval('ai._generation', 1)",
        "create trigger t before insert on ai.vectorizer for each row execute function lair.fire()",
        "create table lair.bait (id int); create trigger t after insert on lair.bait for each row
           execute function ai._vectorizer_built()",
    ] {
        mallory.may_not(attack);
    }
    // What the grant functions give stays, whenever setup.sql runs again.
    sql.batch_execute(&format!(
        "select ai.grant_vectorizer_usage('{}')",
        mallory.name
    ))
    .unwrap();
    setup(&database).unwrap();
    mallory.may("delete from ai.vectorizer");
    sql.batch_execute(&format!(
        "alter default privileges revoke all on tables from {0}; alter default privileges revoke all on sequences from {0};
         alter default privileges revoke all on functions from {0}",
        mallory.name
    ))
    .unwrap();
}

/// A database of Python pgai, with owners who may create in schema ai, ends in the same model.
#[test]
fn a_database_of_pgai_ends_in_the_same_model() {
    let database = Server::shared().database();
    let mut sql = database.client();
    let mut alice = Role::new(&database, "alice");
    let mut reader = Role::new(&database, "reader");
    sql.batch_execute("create extension vector").unwrap();
    sql.batch_execute(&pgai_sql("0.12.1").unwrap()).unwrap();
    sql.batch_execute(&format!(
        "select ai.grant_vectorizer_usage('{0}'), ai.grant_vectorizer_usage('{1}', admin => true);
         create schema app authorization {0}; grant usage on schema app to {1}",
        alice.name, reader.name
    ))
    .unwrap();
    let create = |table: &str| {
        format!(
        "select ai.create_vectorizer('app.{table}', name => '{table}', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), grant_to => ai.grant_to('{}'))",
        reader.name
    )
    };
    for table in ["hers", "by_admin", "secured"] {
        alice.may(&format!("create table app.{table} (id int primary key, body text); insert into app.{table} values (1, 'one')"));
    }
    alice.may(&create("hers"));
    sql.batch_execute(&create("by_admin")).unwrap();
    alice.may(&create("secured"));
    alice.may("alter table app.secured enable row level security; create policy p on app.secured using (id > 1)");
    setup(&database).unwrap();

    for id in 1..=3 {
        assert_eq!(
            crate::strangers_parts(&mut sql, id, &alice.name),
            0,
            "vectorizer {id}"
        );
        let problem: Option<String> = sql
            .query_one(
                "select ai._vectorizer_problem(v) from ai.vectorizer v where id = $1",
                &[&id],
            )
            .unwrap()
            .get(0);
        assert_eq!(problem, None);
    }
    alice.may("insert into app.hers values (2, 'two'); insert into app.by_admin values (2, 'two'); insert into app.secured values (2, 'two')");
    sql.batch_execute("insert into app.secured_embedding_store select gen_random_uuid(), id, 0, body, array_fill(0, array[8])::vector from app.secured").unwrap();
    assert_eq!(
        reader.number("select count(*) from app.secured_embedding"),
        1
    );
    assert_eq!(
        reader.number("select count(*) from app.secured_embedding_store"),
        1
    );
    reader.may("select * from app.hers_embedding; select * from app.hers_embedding_store; select * from ai._vectorizer_q_1");
    for attack in [
        "insert into app.hers_embedding_store select gen_random_uuid(), 1, 7, 'planted', array_fill(0, array[8])::vector",
        "insert into ai._vectorizer_q_1 (id) values (9)",
        "select * from ai._vectorizer_q_3",
        "create table ai.mine (x int)",
        "update ai.vectorizer set disabled = true",
    ] {
        reader.may_not(attack);
    }
    alice.may("alter table app.hers enable row level security");
    assert_eq!(
        reader.number("select count(*) from app.hers_embedding"),
        0,
        "an upgraded view fails closed"
    );
    alice.may_not("create table ai.mine (x int)");
    let (code, _) = refused(&mut alice.client, "truncate ai.vectorizer");
    assert_eq!(code, "42501");
}

/// Owners of pgai's vectorizers own their queues, and may have put anything there.
#[test]
fn an_upgrade_runs_nothing_that_stands_in_place_of_a_queue() {
    let database = Server::shared().database();
    let mut sql = database.client();
    let mut mallory = Role::new(&database, "mallory");
    sql.batch_execute("create extension vector").unwrap();
    sql.batch_execute(&pgai_sql("0.12.1").unwrap()).unwrap();
    sql.batch_execute(&format!(
        "select ai.grant_vectorizer_usage('{0}'); create schema trap authorization {0}; grant usage on schema trap to public",
        mallory.name
    ))
    .unwrap();
    mallory.may(
        "create table trap.caught (who text); grant insert on trap.caught to public;
         create function trap.spring() returns boolean language plpgsql volatile as
           $$ begin insert into trap.caught values (current_user); return true; end $$;
         create table trap.one (id int primary key, body text); create table trap.two (id int primary key, body text);
         select ai.create_vectorizer('trap.one', name => 'one', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8));
         select ai.create_vectorizer('trap.two', name => 'two', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8));
         insert into trap.one values (1, 'one'); insert into trap.two values (1, 'two');
         drop table ai._vectorizer_q_1;
         create view ai._vectorizer_q_1 as select 1 as id, now() as queued_at, 0 as loading_retries,
           null::timestamptz as loading_retry_after where trap.spring();
         create function trap.fire() returns trigger language plpgsql as $$ begin perform trap.spring(); return old; end $$;
         create trigger t before insert or update or delete on ai._vectorizer_q_2 for each row execute function trap.fire();
         create rule r as on delete to ai._vectorizer_q_2 do also select trap.spring();
         insert into ai._vectorizer_q_2 (id) values (1)",
    );
    setup(&database).unwrap();
    let count = "select count(*) from trap.caught where who <> $1";
    let caught: i64 = sql.query_one(count, &[&mallory.name]).unwrap().get(0);
    assert_eq!(caught, 0);
    let told = "select count(*) from ai._vectorizer_errors where id = 1";
    let told: i64 = sql.query_one(told, &[]).unwrap().get(0);
    assert!(told > 0, "the reason is recorded");
}
