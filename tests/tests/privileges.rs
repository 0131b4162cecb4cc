//! Who may do what.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use postgres::{Client, NoTls};
use tests::postgres::{Database, Server};
use tests::stage::{PATIENCE, Stage};

/// A role of one test, dropped with all that it was granted when this is dropped.
struct Role {
    name: String,
    client: Client,
    url: String,
}

impl Role {
    fn new(database: &Database, name: &str) -> Self {
        let name = format!("{name}_{}", database.name());
        database
            .client()
            .batch_execute(&format!("create role {name} login"))
            .unwrap();
        let url = database.url().replace("postgres@", &format!("{name}@"));
        assert_ne!(url, database.url());
        let client = Client::connect(&url, NoTls).unwrap();
        Self { name, client, url }
    }

    #[track_caller]
    fn may(&mut self, sql: &str) {
        self.client
            .batch_execute(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    #[track_caller]
    fn may_not(&mut self, sql: &str) {
        let error = self.client.batch_execute(sql).expect_err(sql);
        let code = error.code().map(postgres::error::SqlState::code);
        assert_eq!(code, Some("42501"), "{sql}: {error:?}");
    }
}

fn forget(stage: &mut Stage, roles: Vec<Role>) {
    for role in roles {
        let Role { name, client, .. } = role;
        drop(client);
        stage.run(&format!("drop owned by {name}; drop role {name}"));
    }
}

#[test]
fn nobody_calls_or_replaces_what_runs_with_the_rights_of_others() {
    let mut stage = Stage::with_blog();
    let mut stranger = Role::new(&stage.database, "stranger");
    stranger.may_not("select ai._vectorizer_src_trg_1()");
    stage.run(&format!("grant usage on schema ai to {}", stranger.name));
    for function in ["", "_update", "_delete", "_truncate"] {
        stranger.may_not(&format!("select ai._vectorizer_src_trg_1{function}()"));
        stranger.may_not(&format!(
            "create or replace function ai._vectorizer_src_trg_1{function}() returns trigger language plpgsql as 'begin return null; end'"
        ));
    }
    stranger.may_not(
        "create function ai.grant_to() returns name[] language sql as 'select null::name[]'",
    );
    stranger.may_not("select * from ai._vectorizer_q_1");
    stranger.may_not("insert into ai._vectorizer_errors (id, message) values (1, 'x')");
    stranger.may_not("update ai.vectorizer set config = '{}'");
    // A trigger that is put on a table of the stranger's own would queue with the owner's rights.
    stranger.may("create temp table mine (id int primary key, title text, body text, views int)");
    stranger.may_not(
        "create trigger t after insert on mine referencing new table as new_rows
         for each statement execute function ai._vectorizer_src_trg_1()",
    );
    forget(&mut stage, vec![stranger]);
}

#[test]
fn writers_of_the_source_need_no_rights_on_anything_else() {
    let mut stage = Stage::with_blog();
    let mut writer = Role::new(&stage.database, "writer");
    stage.run(&format!(
        "grant select, insert, update, delete on blog to {}",
        writer.name
    ));
    writer.may("insert into blog values (1, 't', 'one'), (2, 't', 'two'); update blog set body = 'x' where id = 1");
    writer.may("update blog set id = 3 where id = 2; delete from blog where id = 3");
    // A search path of the writer's own changes nothing.
    writer.may("create temp table pg_class (x int); set search_path = pg_temp, public");
    writer.may("insert into public.blog values (4, 't', 'four')");
    stage.once("worker");
    stage.assert_true();
    forget(&mut stage, vec![writer]);
}

#[test]
fn roles_of_grant_to_read_and_write_nothing() {
    let mut stage = Stage::new();
    let mut reader = Role::new(&stage.database, "reader");
    stage.run("create table blog (id int primary key, title text, body text); insert into blog values (1, 't', 'one')");
    stage.run(&format!(
        "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), formatting => ai.formatting_python_template('$title: $chunk'),
           destination => ai.destination_table('found', target_table => 'blog_store'), grant_to => ai.grant_to('{}'))",
        reader.name
    ));
    stage.once("worker");
    reader.may("select * from blog; select * from found; select * from blog_store; select * from ai.vectorizer");
    reader.may("select * from ai._vectorizer_q_1; select * from ai._vectorizer_q_failed_1");
    for write in [
        "insert into ai._vectorizer_q_1 (id) values (1)",
        "delete from ai._vectorizer_q_1",
        "update blog_store set chunk = chunk",
        "insert into blog_store (id, chunk_seq, chunk, embedding) select id, 9, chunk, embedding from blog_store",
        "delete from blog_store",
    ] {
        reader.may_not(write);
    }
    reader.may_not("insert into blog values (2, 't', 'two')");
    reader.may_not("select ai.disable_vectorizer_schedule(1)");
    forget(&mut stage, vec![reader]);
}

#[test]
fn a_creator_needs_its_table_and_grant_vectorizer_usage_only() {
    let mut stage = Stage::new();
    let mut creator = Role::new(&stage.database, "creator");
    stage.run(&format!("create schema app authorization {}", creator.name));
    creator.may("create table app.notes (id int primary key, body text)");
    let create = "select ai.create_vectorizer('app.notes', name => 'notes', loading => ai.loading_column('body'),
        embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(), destination => ai.destination_table('notes_e'))";
    creator.may_not(create);
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{}')",
        creator.name
    ));
    creator.may(create);
    creator.may("insert into app.notes values (1, 'one'); select * from ai.vectorizer_status");
    stage.run("create table theirs (id int primary key, body text)");
    let foreign = creator.client.batch_execute(
        "select ai.create_vectorizer('theirs', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('stub', 8))",
    );
    let foreign = foreign.unwrap_err();
    let message = foreign.as_db_error().unwrap().message();
    assert!(
        message.contains("only a superuser or the owner of the source table"),
        "{message}"
    );

    // A worker's role, granted before the vectorizer's creator knew of it, with a column destination too.
    let mut runner = Role::new(&stage.database, "runner");
    stage.run(&format!("select ai.grant_worker_usage('{}')", runner.name));
    stage.run(
        "create table pages (id int primary key, body text); insert into pages values (1, 'page');
         select ai.create_vectorizer('pages', name => 'pages', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
           destination => ai.destination_column('vector'))",
    );
    let mut worker = stage.worker("worker", &["--once", "--db-url", &runner.url]);
    let code = worker.wait(PATIENCE).code();
    assert_eq!(code, Some(0), "{:?}", worker.lines());
    assert_eq!(stage.number("select count(*) from app.notes_e_store"), 1);
    assert_eq!(
        stage.number("select count(*) from pages where vector is not null"),
        1
    );
    runner.may_not("update pages set body = 'x'");
    runner.may_not("insert into pages values (2, 'x')");
    // PostgreSQL only warns where somebody grants what is not theirs to grant.
    runner.may("select ai.grant_worker_usage('public')");
    let leaked =
        "select has_table_privilege('public', 'ai._vectorizer_errors', 'insert')::int::bigint";
    assert_eq!(stage.number(leaked), 0);
    runner.may_not("update ai.vectorizer set disabled = true");
    runner.may_not("create table ai.mine (x int)");
    creator.may("select ai.drop_vectorizer('notes', true)");
    forget(&mut stage, vec![runner, creator]);
}

/// Whose function it is may replace it, and it runs with the rights of whoever writes to the table.
#[test]
fn nobody_puts_a_function_where_a_trigger_will_look_for_it() {
    let mut stage = Stage::new();
    let mut creator = Role::new(&stage.database, "intruder");
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{0}'); create table blog (id int primary key, body text);
         grant create on schema ai to {0}",
        creator.name
    ));
    creator.may("create function ai._vectorizer_src_trg_1_delete() returns trigger language plpgsql as 'begin return null; end'");
    let create = "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
        embedding => ai.embedding_ollama('stub', 8))";
    let error = stage.sql.batch_execute(create).unwrap_err();
    let code = error.code().map(postgres::error::SqlState::code);
    assert_eq!(code, Some("42723"), "{error:?}");
    // The number is used up: the next one is free.
    stage.run(create);
    stage.run("insert into blog values (1, 'one')");
    stage.once("worker");
    let chunks = "select count(*) from blog_embedding_store";
    assert_eq!(stage.number(chunks), 1);
    forget(&mut stage, vec![creator]);
}

/// Roles, their rights, and what is theirs, over an upgrade by somebody else.
#[test]
fn an_upgrade_leaves_everybody_their_rights() {
    let database = Server::shared().database();
    let mut sql = database.client();
    let mut owner = Role::new(&database, "owner");
    let mut reader = Role::new(&database, "reader");
    let pgai = tests::python::pgai_sql("0.12.1").unwrap();
    sql.batch_execute("create extension vector").unwrap();
    sql.batch_execute(&pgai).unwrap();
    sql.batch_execute(&format!(
        "select ai.grant_vectorizer_usage('{0}'); create schema app authorization {0};
         grant usage on schema ai to {1}",
        owner.name, reader.name
    ))
    .unwrap();
    owner.may(&format!(
        "create table app.notes (id int primary key, body text);
         select ai.create_vectorizer('app.notes', name => 'notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), grant_to => ai.grant_to('{}'))",
        reader.name
    ));
    let theirs = format!(
        "select count(*) from (
           select proowner as owner from pg_proc where proname ~ '^_vectorizer_src_trg_1'
           union all
           select relowner from pg_class where relname ~ '^_vectorizer_(q|q_failed|lease|bell)_1$') o
         where o.owner = '{}'::regrole",
        owner.name
    );
    // From pgai, and then from an older version of ours.
    for upgrade in [
        "select",
        "comment on function ai._vectorizer_src_trg_1() is 'of old'; delete from ai._vectorizer_build",
    ] {
        sql.batch_execute(upgrade).unwrap();
        database.install();
        let theirs: i64 = sql.query_one(&theirs, &[]).unwrap().get(0);
        assert_eq!(theirs, 5 + 4, "functions and tables after {upgrade}");
        owner.may("insert into app.notes values (1, 'one'); delete from app.notes");
        reader.may("select * from ai._vectorizer_q_1");
        reader.may_not("insert into ai._vectorizer_q_1 (id) values (2)");
    }
    owner.may(
        "create table app.more (id int primary key, body text);
         select ai.create_vectorizer('app.more', name => 'more', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8));
         insert into app.more values (1, 'one');
         select ai.drop_vectorizer('notes', true), ai.drop_vectorizer('more', true)",
    );
    for Role { name, client, .. } in [owner, reader] {
        drop(client);
        sql.batch_execute(&format!("drop owned by {name}; drop role {name}"))
            .unwrap();
    }
}

/// Roles that an older version made workers get what this one's workers need; its administrators are none.
#[test]
fn workers_roles_stay_workers_roles() {
    let mut stage = Stage::with_blog();
    let admin = Role::new(&stage.database, "admin");
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{}', admin => true);
         revoke execute on function ai._worker_start(text, interval) from embedder;
         revoke select on ai.vectorizer_errors from embedder",
        admin.name
    ));
    stage.database.install();
    stage.run(
        "create table more (id int primary key, body text); insert into more values (1, 'one');
         select ai.create_vectorizer('more', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8))",
    );
    stage.once("worker");
    let chunks = "select count(*) from more_embedding_store";
    assert_eq!(stage.number(chunks), 1);
    let mut errors = stage.worker("worker", &["errors"]);
    assert_eq!(errors.wait(PATIENCE).code(), Some(0));
    let may = format!(
        "select has_table_privilege('{}', 'more', 'select')::int::bigint",
        admin.name
    );
    assert_eq!(stage.number(&may), 0);
    forget(&mut stage, vec![admin]);
}
