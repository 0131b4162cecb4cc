//! Row-level security of a source holds for its chunks.

use tests::role::Role;
use tests::stage::{PATIENCE, Stage};

use crate::{create, owner};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// Alice's table of ten tenants with ten notes each, of which a reader sees those of `app.tenant`; with a vectorizer
/// `docs`, and a reader.
fn tenants(before: &str) -> (Stage, Role, Role) {
    let mut stage = Stage::new();
    let mut alice = owner(&mut stage, "alice");
    let mut reader = Role::new(&stage.database, "reader");
    alice.may(
        "create table alice.docs (id int primary key, tenant int, body text);
         insert into alice.docs select n, n % 10, 'text ' || n from generate_series(1, 100) n;
         create policy own_rows on alice.docs using (tenant = current_setting('app.tenant', true)::int)",
    );
    alice.may(before);
    let to_reader = format!(
        ", name => 'docs', grant_to => ai.grant_to('{}')",
        reader.name
    );
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{}')",
        alice.name
    ));
    alice.may(&create("alice.docs", &to_reader));
    reader.may("set app.tenant = 3");
    (stage, alice, reader)
}

/// A worker that is a member of Alice.
fn runner(stage: &mut Stage, alice: &Role) -> Role {
    let runner = Role::new(&stage.database, "runner");
    stage.run(&format!(
        "select ai.grant_worker_usage('{}', '{}')",
        runner.name, alice.name
    ));
    runner
}

fn once(stage: &Stage, shell: &str, url: &str) -> (Option<i32>, String) {
    let mut worker = stage.worker_with(shell, &["--once", "--db-url", url], &[]);
    let code = worker.wait(PATIENCE).code();
    (code, worker.lines().join("\n"))
}

const ENABLE: &str = "alter table alice.docs enable row level security";

#[test]
fn readers_see_the_chunks_of_the_rows_that_they_may_see() {
    let (mut stage, mut alice, mut reader) = tenants(ENABLE);
    let runner = runner(&mut stage, &alice);
    let (code, said) = once(&stage, "worker", &runner.url);
    assert_eq!(code, Some(0), "{said}");
    for (what, rows) in [
        ("alice.docs_embedding", 10),
        ("alice.docs_embedding_store", 10),
        ("alice.docs", 10),
    ] {
        let count = format!("select count(*) from {what} where id % 10 = 3");
        assert_eq!(reader.number(&count), rows, "{what}");
        let others = format!("select count(*) from {what} where id % 10 <> 3");
        assert_eq!(reader.number(&others), 0, "{what}");
    }
    reader.may("set app.tenant = 4");
    assert_eq!(
        reader.number("select count(*) from alice.docs_embedding_store where id % 10 = 4"),
        10
    );
    for attack in [
        "select * from ai._vectorizer_q_1",
        "select * from alice._vectorizer_q_1",
        "select * from alice._vectorizer_q_failed_1",
        "insert into alice.docs_embedding_store select gen_random_uuid(), 1, 7, 'planted', array_fill(0, array[8])::vector",
        "update alice.docs_embedding_store set chunk = 'planted'",
        "delete from alice.docs_embedding_store",
    ] {
        if attack.contains("ai._")
            && stage.number(
                "select count(*) from pg_class where oid = to_regclass('ai._vectorizer_q_1')",
            ) == 0
        {
            continue;
        }
        reader.may_not(attack);
    }
    alice.may("update alice.docs set tenant = 4 where id = 3");
    assert_eq!(
        reader.number("select count(*) from alice.docs_embedding_store where id = 3"),
        1,
        "it goes with the row"
    );
    assert_eq!(
        alice.number("select count(*) from alice.docs_embedding"),
        100,
        "owners see everything"
    );
    assert_eq!(
        stage.number("select count(*) from alice.docs_embedding"),
        100,
        "and superusers"
    );
    assert_eq!(
        stage.number("select count(*) from pg_policies where tablename = 'docs_embedding_store'"),
        1
    );

    // Under FORCE the owner, too, sees only what the policies show.
    alice.may("alter table alice.docs force row level security; select ai.secure_vectorizer(1); set app.tenant = 5");
    assert_eq!(
        alice.number("select count(*) from alice.docs_embedding_store"),
        10
    );
}

#[test]
fn row_security_that_comes_later_closes_the_view_and_a_worker_closes_the_store() {
    for shell in SHELLS {
        let (mut stage, mut alice, mut reader) = tenants("select");
        let runner = runner(&mut stage, &alice);
        assert_eq!(once(&stage, shell, &runner.url).0, Some(0));
        assert_eq!(
            reader.number("select count(*) from alice.docs_embedding"),
            100
        );
        // Readers with rights on the view alone keep them where there is no row-level security.
        stage.run(&format!(
            "revoke all on alice.docs, alice.docs_embedding_store from {}",
            reader.name
        ));
        assert_eq!(
            reader.number("select count(*) from alice.docs_embedding"),
            100
        );
        stage.run(&format!(
            "grant select on alice.docs, alice.docs_embedding_store to {}",
            reader.name
        ));

        alice.may(ENABLE);
        assert_eq!(
            reader.number("select count(*) from alice.docs_embedding"),
            0,
            "closed at once"
        );
        assert_eq!(
            alice.number("select count(*) from alice.docs_embedding"),
            100
        );
        // A worker that may not change the store says what to do.
        let bypass = Role::new(&stage.database, "bypass");
        stage.run(&format!(
            "select ai.grant_worker_usage('{0}'); alter role {0} bypassrls",
            bypass.name
        ));
        let (code, said) = once(&stage, shell, &bypass.url);
        assert!(
            code == Some(0) && said.contains("select ai.secure_vectorizer(1)"),
            "{said}"
        );
        let mut doctor = stage.worker_with(
            shell,
            &["doctor", "--offline", "--db-url", &bypass.url],
            &[],
        );
        assert_eq!(doctor.wait(PATIENCE).code(), Some(1));
        let said = doctor.lines().join("\n");
        assert!(said.contains("select ai.secure_vectorizer(1)"), "{said}");
        // Readers who lose what they see are named, with what gives it back.
        stage.run(&format!(
            "revoke all on alice.docs, alice.docs_embedding_store from {}",
            reader.name
        ));
        let mut doctor = stage.worker_with(
            shell,
            &["doctor", "--offline", "--db-url", &bypass.url],
            &[],
        );
        doctor.wait(PATIENCE);
        let said = doctor.lines().join("\n");
        let remedy = format!(
            "grant select on alice.docs, alice.docs_embedding_store to {}",
            reader.name
        );
        assert!(said.contains(&remedy), "{said}");
        stage.run(&remedy);

        assert_eq!(once(&stage, shell, &runner.url).0, Some(0));
        assert_eq!(
            reader.number("select count(*) from alice.docs_embedding"),
            10
        );
        assert_eq!(
            reader.number("select count(*) from alice.docs_embedding_store"),
            10
        );
    }
}

#[test]
fn a_worker_that_row_security_binds_says_what_it_lacks() {
    for shell in SHELLS {
        let (mut stage, mut alice, _reader) = tenants(ENABLE);
        let mut bound = Role::new(&stage.database, "bound");
        stage.run(&format!("select ai.grant_worker_usage('{}')", bound.name));
        let (code, said) = once(&stage, shell, &bound.url);
        assert_eq!(code, Some(1), "{said}");
        for missing in ["not its owner", "not a member", "does not have BYPASSRLS"] {
            assert!(said.contains(missing), "{missing:?} in {said}");
        }
        assert_eq!(
            stage.number("select count(*) from ai._vectorizer_errors where id = 1"),
            1
        );
        assert_eq!(
            stage.number("select count(*) from alice.docs_embedding_store"),
            0
        );
        let (code, said) = once(&stage, shell, &alice.url.clone());
        // The owner may do everything but write to the tables of workers.
        assert!(
            code == Some(0) || said.contains("permission denied"),
            "{said}"
        );

        alice.may("alter table alice.docs force row level security");
        let runner = runner(&mut stage, &alice);
        let (code, said) = once(&stage, shell, &runner.url);
        assert!(
            code == Some(1) && said.contains("needs BYPASSRLS"),
            "{said}"
        );
        stage.run(&format!("alter role {} bypassrls", bound.name));
        let (code, said) = once(&stage, shell, &bound.url);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(
            stage.number("select count(*) from alice.docs_embedding_store"),
            100
        );
        bound.may("select 1");
    }
}

#[test]
fn search_shows_what_its_role_may_see() {
    for shell in SHELLS {
        let (mut stage, alice, reader) = tenants(ENABLE);
        let runner = runner(&mut stage, &alice);
        assert_eq!(once(&stage, shell, &runner.url).0, Some(0));
        stage.run(&format!(
            "alter role {0} set app.tenant = 3; grant usage on schema ai to {0}; grant select on ai.vectorizer to {0};
             create index on alice.docs_embedding_store using hnsw (embedding vector_cosine_ops)",
            reader.name
        ));
        for (url, mine, k) in [(&reader.url, true, 10), (&runner.url, false, 10)] {
            let k = k.to_string();
            let arguments = [
                "search",
                "docs",
                "text 7",
                "-k",
                &k,
                "--json",
                "--db-url",
                url.as_str(),
            ];
            let mut search = stage.worker_with(shell, &arguments, &[]);
            assert_eq!(
                search.wait(PATIENCE).code(),
                Some(0),
                "{:?}",
                search.lines()
            );
            let found: serde_json::Value = serde_json::from_str(&search.lines().join("")).unwrap();
            let keys: Vec<i64> = found
                .as_array()
                .unwrap()
                .iter()
                .map(|hit| hit["key"][0].as_str().unwrap().parse().unwrap())
                .collect();
            assert_eq!(keys.len(), 10, "{keys:?}");
            assert_eq!(keys.iter().all(|key| key % 10 == 3), mine, "{keys:?}");
        }
    }
}
