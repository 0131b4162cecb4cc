//! What a worker follows, and whom it serves.

use postgres::{Client, NoTls};
use tests::process::Process;
use tests::role::Role;
use tests::stage::{PATIENCE, Stage};

use crate::{caught, create, owner, owner_with_vectorizer, trap};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// Runs a worker once: exit code and what it said.
fn once(
    stage: &Stage,
    shell: &str,
    url: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut all = vec!["--once", "--db-url", url];
    all.extend(arguments);
    let mut worker: Process = stage.worker_with(shell, &all, environment);
    let code = worker.wait(PATIENCE).code();
    (code, worker.lines().join("\n"))
}

fn chunks(stage: &mut Stage, owner: &str) -> i64 {
    stage.number(&format!(
        "select count(*) from {owner}.notes_embedding_store"
    ))
}

/// The errors that are recorded for one vectorizer.
fn errors(stage: &mut Stage, id: i32) -> Vec<String> {
    let errors =
        format!("select details ->> 'error_reason' from ai._vectorizer_errors where id = {id}");
    let rows = stage.sql.query(&errors, &[]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_worker_of_several_owners_warns_and_with_require_trust_serves_its_own() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let alice = owner_with_vectorizer(&mut stage, "alice");
        let url = stage.worker_url.clone();
        // One owner alone is one domain.
        let (code, said) = once(&stage, shell, &url, &["--require-trust"], &[]);
        assert_eq!((code, chunks(&mut stage, "alice")), (Some(0), 1), "{said}");
        assert!(!said.contains("besides its own"), "{said}");

        let mut bob = owner_with_vectorizer(&mut stage, "bob");
        bob.may("insert into bob.notes values (2, 'two')");
        let (code, said) = once(
            &stage,
            shell,
            &url,
            &["--require-trust", "--owner", &alice.name],
            &[],
        );
        assert_eq!((code, chunks(&mut stage, "bob")), (Some(0), 0), "{said}");
        let told = errors(&mut stage, 2);
        assert_eq!(told.len(), 1, "{told:?}");
        for part in [&bob.name, "--owner", "create role"] {
            assert!(told[0].contains(part), "{told:?}");
        }

        let (code, said) = once(&stage, shell, &url, &[], &[]);
        assert_eq!((code, chunks(&mut stage, "bob")), (Some(0), 2), "{said}");
        for part in [
            "[warning",
            "alice of",
            "bob of",
            "create role",
            "ai.grant_worker_usage(",
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
        let (_, said) = doctor(&stage, shell, &url);
        assert!(
            said.contains("bob of") && said.contains("create role"),
            "{said}"
        );

        let owners = format!("{},{}", alice.name, bob.name);
        let named = [
            ("PGAI_VECTORIZER_WORKER_OWNER", owners.as_str()),
            ("PGAI_VECTORIZER_WORKER_REQUIRE_TRUST", "1"),
        ];
        let (code, said) = once(&stage, shell, &url, &[], &named);
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains("besides its own"), "{said}");
    }
}

fn doctor(stage: &Stage, shell: &str, url: &str) -> (Option<i32>, String) {
    let mut doctor = stage.worker_with(shell, &["doctor", "--offline", "--db-url", url], &[]);
    let code = doctor.wait(PATIENCE).code();
    (code, doctor.lines().join("\n"))
}

/// The SQL that the warning gives.
#[test]
fn a_worker_of_one_owner_needs_no_rights_on_what_others_own() {
    let mut stage = Stage::new();
    let alice = owner_with_vectorizer(&mut stage, "alice");
    let _bob = owner_with_vectorizer(&mut stage, "bob");
    let runner = Role::new(&stage.database, "runner");
    stage.run(&format!(
        "select ai.grant_worker_usage('{}', '{}')",
        runner.name, alice.name
    ));
    for (shell, rows) in SHELLS.into_iter().zip(1..) {
        stage.run(&format!(
            "insert into alice.notes values ({rows} + 10, 'more')"
        ));
        let (code, said) = once(&stage, shell, &runner.url, &["--require-trust"], &[]);
        assert_eq!(
            (code, chunks(&mut stage, "alice")),
            (Some(0), 1 + rows),
            "{said}"
        );
    }
    let may = format!(
        "select count(*) from pg_class c where relnamespace = 'bob'::regnamespace and relkind = 'r'
         and has_table_privilege('{}', c.oid, 'select')",
        runner.name
    );
    assert_eq!(stage.number(&may), 0);
}

/// A row from before there was a guard names the tables of others, and the worker is a superuser.
#[test]
fn a_row_that_names_the_tables_of_others_is_followed_by_nobody() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let mut alice = owner(&mut stage, "alice");
        alice.may("create table alice.secrets (id int primary key, body text); insert into alice.secrets values (1, 'the secret')");
        let mut mallory = owner_with_vectorizer(&mut stage, "mallory");
        stage.run(
            "alter table ai.vectorizer disable trigger user;
             update ai.vectorizer set source_schema = 'alice', source_table = 'secrets';
             alter table ai.vectorizer enable trigger user",
        );
        let admin = stage.database.url().to_owned();
        let (code, said) = once(&stage, shell, &admin, &[], &[]);
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(chunks(&mut stage, "mallory"), 0);
        let told = errors(&mut stage, 1);
        assert!(
            told.len() == 1 && told[0].contains("belongs to"),
            "{told:?}"
        );

        // A view of the owner's in place of the store.
        trap(&mut stage, &mallory);
        stage.run(
            "alter table ai.vectorizer disable trigger user;
             update ai.vectorizer set source_schema = 'mallory', source_table = 'notes';
             alter table ai.vectorizer enable trigger user",
        );
        mallory.may(
            "alter table mallory.notes_embedding_store rename to real_store;
             create view mallory.notes_embedding_store as select * from mallory.real_store where trap.spring()",
        );
        let (code, said) = once(&stage, shell, &admin, &[], &[]);
        assert_eq!(code, Some(1), "{said}");
        for command in [
            &["search", "mallory", "words"][..],
            &["estimate", "mallory"],
        ] {
            let arguments = [command, &["--db-url", admin.as_str()]].concat();
            let mut process = stage.worker(shell, &arguments);
            assert_eq!(
                process.wait(PATIENCE).code(),
                Some(1),
                "{:?}",
                process.lines()
            );
        }
        assert_eq!(caught(&mut stage.sql), 0);
    }
}

/// The check is of the moment of loading; a view that comes after it is closed by the session's settings.
#[test]
fn a_workers_session_reads_no_view_of_anybody() {
    let mut stage = Stage::new();
    if stage
        .number("select count(*) from pg_settings where name = 'restrict_nonsystem_relation_kind'")
        == 0
    {
        println!("this server does not have restrict_nonsystem_relation_kind");
        return;
    }
    let mallory = owner(&mut stage, "mallory");
    trap(&mut stage, &mallory);
    stage.run("create view mallory.late as select 1 as x where trap.spring(); grant select on mallory.late to public");
    let mut worker = Client::connect(stage.database.url(), NoTls).unwrap();
    worker.batch_execute(pgai_core::session_settings()).unwrap();
    let (code, _) = tests::role::refused(&mut worker, "select * from mallory.late");
    assert_eq!(code, "55000");
    assert_eq!(caught(&mut stage.sql), 0);
}

#[test]
fn a_schema_of_a_third_role_is_refused_until_the_operator_names_it() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let landlord = Role::new(&stage.database, "landlord");
        let mut tenant = Role::new(&stage.database, "tenant");
        stage.run(&format!(
            "create schema flat authorization {}; grant usage, create on schema flat to {1};
             select ai.grant_vectorizer_usage('{1}')",
            landlord.name, tenant.name
        ));
        tenant.may("create table flat.notes (id int primary key, body text); insert into flat.notes values (1, 'one')");
        tenant.may(&create("flat.notes", ", name => 'flat'"));
        let url = stage.worker_url.clone();
        stage.run("grant usage on schema flat to embedder");
        let (code, said) = once(&stage, shell, &url, &[], &[]);
        assert_eq!((code, chunks(&mut stage, "flat")), (Some(1), 0), "{said}");
        assert!(
            said.contains(&landlord.name) && said.contains("--owner"),
            "{said}"
        );
        let named = ["--owner", &landlord.name, "--owner", &tenant.name];
        let (code, said) = once(&stage, shell, &url, &named, &[]);
        assert_eq!((code, chunks(&mut stage, "flat")), (Some(0), 1), "{said}");
    }
}

#[test]
fn an_owner_who_is_no_superuser_installs_beside_the_vectorizers_of_others() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        let mut boss = Role::new(&stage.database, "boss");
        stage.run(&format!(
            "alter database {} owner to {1}; alter schema ai owner to {1}",
            stage.database.name(),
            boss.name
        ));
        let everything = format!(
            "do $$ declare o record; begin
               for o in select c.oid::regclass as name from pg_class c where c.relnamespace = 'ai'::regnamespace and c.relkind in ('r', 'v')
                 loop execute format('alter table %s owner to {0}', o.name); end loop;
               for o in select p.oid::regprocedure as name from pg_proc p where p.pronamespace = 'ai'::regnamespace
                 loop execute format('alter routine %s owner to {0}', o.name); end loop;
               execute 'alter sequence ai._generation owner to {0}';
             end $$",
            boss.name
        );
        stage.run(&everything);
        let mut alice = owner_with_vectorizer(&mut stage, "alice");
        boss.may("create schema own; create table own.notes (id int primary key, body text); insert into own.notes values (1, 'one')");
        boss.may(&create("own.notes", ", name => 'own'"));
        // As if an older version had made them.
        stage.run("update ai._vectorizer_build set version = 'older'");
        let mut install = stage.worker_with(shell, &["install", "--db-url", &boss.url], &[]);
        let code = install.wait(PATIENCE).code();
        assert_eq!(code, Some(0), "{:?}", install.lines());
        let mine = "select count(*) from ai._vectorizer_build where id = 2 and version = ai._vectorizer_version()";
        assert_eq!(stage.number(mine), 1, "what is one's own is renewed");
        let told = errors(&mut stage, 1);
        assert_eq!(
            told.len(),
            1,
            "of the other one the reason is recorded: {told:?}"
        );
        alice.may("insert into alice.notes values (2, 'two')");
        let url = stage.worker_url.clone();
        let (code, said) = once(&stage, shell, &url, &[], &[]);
        assert_eq!(
            (code, chunks(&mut stage, "alice"), chunks(&mut stage, "own")),
            (Some(0), 2, 1),
            "{said}"
        );
    }
}

/// Triggers of the owner on its own tables run with the settings of any session: they may read views.
#[test]
fn a_trigger_of_the_application_may_read_a_view() {
    for (shell, destination) in [
        ("worker", "ai.destination_table()"),
        ("worker-blocking", "ai.destination_column('v')"),
    ] {
        let mut stage = Stage::new();
        let mut alice = owner(&mut stage, "alice");
        stage.run(&format!(
            "select ai.grant_vectorizer_usage('{}')",
            alice.name
        ));
        alice.may(&create(
            "alice.notes",
            &format!(", destination => {destination}"),
        ));
        let table = if shell == "worker" {
            "notes_embedding_store"
        } else {
            "notes"
        };
        alice.may(&format!(
            "create table alice.seen (n bigint); create view alice.all_notes as select * from alice.notes;
             grant insert on alice.seen to embedder; grant select on alice.all_notes to embedder;
             create function alice.look() returns trigger language plpgsql as
               $$ begin insert into alice.seen select count(*) from alice.all_notes; return new; end $$;
             create trigger look before insert or update on alice.{table} for each row execute function alice.look()"
        ));
        stage.once(shell);
        assert_eq!(stage.number("select max(n) from alice.seen"), 1, "{shell}");
    }
}
