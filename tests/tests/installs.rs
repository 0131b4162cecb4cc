//! Installing twice at once, as an owner who is no superuser, in hostile surroundings, through a dump
//! and back, and taking it all away again.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::path::Path;
use std::process::Command;
use std::thread;

use tests::postgres::{Database, Server, client_program};
use tests::process::Process;
use tests::python;
use tests::stage::{PATIENCE, Stage};
use tests::stub::Stub;

fn setup() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/setup.sql")).unwrap()
}

fn number(database: &Database, sql: &str) -> i64 {
    let row = database.client().query_one(sql, &[]);
    row.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// A role of this name without any rights, for one test.
struct Role(&'static str);

impl Role {
    fn new(name: &'static str) -> Self {
        let sql = format!("drop role if exists {name}; create role {name} login");
        Server::shared().client().batch_execute(&sql).unwrap();
        Self(name)
    }

    fn url(&self, database: &Database) -> String {
        let url = database.url().replace("postgres@", &format!("{}@", self.0));
        assert_ne!(url, database.url());
        url
    }
}

#[test]
fn two_installs_at_once_are_one() {
    let database = Server::shared().database();
    let installs: Vec<_> = (0..4)
        .map(|_| {
            let mut client = database.client();
            thread::spawn(move || client.batch_execute(&setup()))
        })
        .collect();
    for install in installs {
        install.join().unwrap().unwrap();
    }
    let alone = Server::shared().database();
    alone.install();
    assert_eq!(database.fingerprint(), alone.fingerprint());
}

#[test]
fn an_owner_who_is_no_superuser_installs_over_hostile_names_and_everything_works() {
    let role = Role::new("plain_owner");
    let database = Server::shared().database();
    let name = database.name().to_owned();
    database
        .client()
        .batch_execute(&format!(
            "create schema vectors; create extension vector schema vectors;
             alter database {name} owner to plain_owner;
             create schema evil authorization plain_owner;
             alter database {name} set search_path = evil, public"
        ))
        .unwrap();
    let mut owner = postgres::Client::connect(&role.url(&database), postgres::NoTls).unwrap();
    // Operators and functions that win over those of pg_catalog wherever a name is not qualified.
    owner
        .batch_execute(
            "create function evil.never(int, int) returns boolean language sql as 'select false';
             create operator evil.= (leftarg = int, rightarg = int, function = evil.never);
             create function evil.format(text, variadic text[]) returns text language sql as $$ select 'evil' $$;
             create function evil.now() returns timestamptz language sql as $$ select 'epoch'::timestamptz $$;
             create table evil.pg_class (x int); create table evil.vectorizer (x int)",
        )
        .unwrap();
    database
        .client()
        .batch_execute("grant usage on schema vectors to plain_owner")
        .unwrap();
    owner.batch_execute(&setup()).unwrap();
    owner
        .batch_execute(
            "create table evil.blog (id int primary key, body text);
             select ai.create_vectorizer('evil.blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
               destination => ai.destination_table(target_table => 'blog_store'));
             insert into evil.blog select n, 'text ' || n from generate_series(1, 60) n;
             update evil.blog set body = 'changed' where id operator(pg_catalog.=) 1",
        )
        .unwrap();
    embed(&role.url(&database));
    assert_eq!(
        number(&database, "select count(*) from evil.blog_store"),
        60
    );
    drop(owner);
}

/// Runs a worker as whoever the URL names, against a stub of its own.
#[track_caller]
fn embed(url: &str) {
    let stub = Stub::start_with(8);
    let mut worker = Process::worker(
        "worker",
        &["--once"],
        &[("DB_URL", url), ("OLLAMA_HOST", &stub.url())],
    );
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    assert_eq!(stub.complaints(), Vec::<String>::new());
}

fn run(program: &Path, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} {arguments:?}: {said}",
        program.display()
    );
}

#[test]
fn a_dump_restored_by_an_ordinary_role_works_on() {
    let (pg_dump, psql) = (client_program("pg_dump"), client_program("psql"));
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 30) n");
    stage.once("worker");
    stage.run("update blog set body = 'pending' where id = 1");
    let role = Role::new("restorer");
    let restored = Server::shared().database();
    restored
        .client()
        .batch_execute(&format!(
            "create extension vector; alter database {} owner to restorer; alter schema public owner to restorer",
            restored.name()
        ))
        .unwrap();
    let dump = tempfile::NamedTempFile::new().unwrap();
    let path = dump.path().to_str().unwrap();
    let options = ["--no-owner", "--no-privileges", "-f", path];
    let mut arguments = vec!["-d", stage.database.url()];
    arguments.extend(options);
    run(&pg_dump, &arguments);
    // The extension is there already, and not the restorer's to comment on.
    let dumped = std::fs::read_to_string(path).unwrap();
    let lines = dumped
        .lines()
        .filter(|line| !line.starts_with("COMMENT ON EXTENSION"));
    std::fs::write(path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    run(
        &psql,
        &[
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &role.url(&restored),
            "-f",
            path,
        ],
    );

    // The lease table came empty, the pending row did not get lost, and the triggers go on.
    assert_eq!(
        number(&restored, "select count(*) from ai._vectorizer_q_1"),
        1
    );
    let mut owner = postgres::Client::connect(&role.url(&restored), postgres::NoTls).unwrap();
    owner
        .batch_execute("insert into blog values (31, 't', 'after'); delete from blog where id = 2; update blog set body = 'x' where id = 3")
        .unwrap();
    assert_eq!(
        number(&restored, "select count(*) from ai._vectorizer_q_1"),
        4
    );
    embed(&role.url(&restored));
    let chunks =
        "select count(*) from blog_store s join blog b using (id) where s.chunk = 't: ' || b.body";
    assert_eq!(number(&restored, chunks), 30);
    assert_eq!(number(&restored, "select count(*) from blog_store"), 30);
    owner.batch_execute(&setup()).unwrap();
}

#[test]
fn what_the_manual_says_about_removing_leaves_nothing() {
    let manual = include_str!("../../docs/uninstall.md");
    let objects = "select (select count(*) from pg_class where relnamespace not in (select oid from pg_namespace where nspname ~ '^(pg_|information_schema)'))
        + (select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
           left join pg_depend d on d.objid = p.oid and d.deptype = 'e'
           where n.nspname !~ '^(pg_|information_schema)' and d.objid is null)
        + (select count(*) from pg_trigger where not tgisinternal)";
    let mut stage = Stage::new();
    stage.run("drop schema ai cascade; create table blog (id int primary key, body text)");
    let before = number(&stage.database, objects);
    stage.run("drop table blog");
    stage.database.install();
    stage.run(
        "create schema queues; create table blog (id int primary key, body text);
         select ai.create_vectorizer('blog', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3));
         select ai.create_vectorizer('blog', queue_schema => 'queues', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('m', 3), destination => ai.destination_table('other'))",
    );
    assert!(number(&stage.database, objects) > before + 10);
    stage.run(&python::block(manual, "uninstall.sql").unwrap());
    assert_eq!(number(&stage.database, objects), before);
}
