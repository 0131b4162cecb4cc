//! A search runs with the rights of its caller: tenants find nothing of each other, by any way.

use tests::role::Role;
use tests::stage::{PATIENCE, Stage};

use crate::found;

/// Alice's table with two tenants, whose notes each contain the tenant's name, and a reader.
fn tenants() -> (Stage, Role, Role) {
    let mut stage = Stage::new();
    let mut alice = Role::new(&stage.database, "alice");
    let reader = Role::new(&stage.database, "reader");
    stage.run(&format!(
        "create schema alice authorization {0}; select ai.grant_vectorizer_usage('{0}');
         grant usage on schema ai to {1}; grant select on ai.vectorizer to {1}",
        alice.name, reader.name
    ));
    alice.may(&format!(
        "create table alice.notes (id int primary key, tenant text, body text);
         create policy own on alice.notes using (tenant = current_setting('app.tenant', true));
         alter table alice.notes enable row level security;
         select ai.create_vectorizer('alice.notes', name => 'notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(), enqueue_existing => false,
           grant_to => ai.grant_to('{}'));
         insert into alice.notes select n, case when n % 2 = 0 then 'acme' else 'globex' end, 'x' from generate_series(1, 40) n;
         insert into alice.notes_embedding_store (id, chunk_seq, chunk, embedding)
           select id, 0, 'secret of ' || tenant, array_fill(id, array[8])::vector from alice.notes;
         select ai.enable_hybrid('notes')",
        reader.name
    ));
    (stage, alice, reader)
}

#[test]
fn a_tenant_finds_nothing_of_another_one() {
    let (stage, _alice, mut reader) = tenants();
    let vector = "array_fill(7, array[8])::vector";
    for (tenant, other) in [("acme", "globex"), ("globex", "acme")] {
        reader.may(&format!("set app.tenant = '{tenant}'"));
        for from in [
            "alice.notes_embedding".to_owned(),
            "alice.notes_embedding_store".to_owned(),
            format!("ai.search('notes', {vector}, 100)"),
            format!("ai.search('notes', {vector}, 100, condition => 'true) or (true')"),
            format!("ai.hybrid_search('notes', 'secret acme globex', {vector}, 100)"),
            format!("ai.hybrid_search('notes', '{other} secret', null, 100)"),
        ] {
            let count = format!("select count(*) from {from} where chunk = 'secret of {tenant}'");
            assert_eq!(reader.number(&count), 20, "{from}");
            let others = format!("select count(*) from {from} where chunk <> 'secret of {tenant}'");
            assert_eq!(reader.number(&others), 0, "{from}");
        }
        let words = format!("select count(*) from ai.hybrid_search('notes', '{other}', null, 100)");
        assert_eq!(reader.number(&words), 0);
        assert_eq!(
            reader.number("select count(*) from alice._vectorizer_text_1"),
            20
        );
    }
    // How often a word occurs is not shown unless it is in 64 chunks.
    assert_eq!(
        reader.number("select count(*) from alice._vectorizer_words_1"),
        0
    );
    // The same by the command.
    let url = format!("{}?options=-c%20app.tenant%3Dacme", reader.url);
    for arguments in [
        vec!["search", "notes", "secret globex", "-k", "100"],
        vec!["search", "notes", "secret globex", "-k", "100", "--hybrid"],
        vec![
            "search",
            "notes",
            "secret globex",
            "-k",
            "100",
            "--where",
            "tenant = 'globex' or true",
        ],
    ] {
        let mut all = vec!["--db-url", url.as_str()];
        all.splice(0..0, arguments.iter().copied());
        let mut process = stage.worker("worker", &all);
        let code = process.wait(PATIENCE).code();
        let said = process.lines().join("\n");
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("secret of acme") && !said.contains("secret of globex"),
            "{said}"
        );
    }
}

#[test]
fn a_role_without_rights_gets_nothing_and_row_security_may_come_later() {
    let (mut stage, mut alice, mut reader) = tenants();
    let mut nobody = Role::new(&stage.database, "nobody");
    let vector = "array_fill(7, array[8])::vector";
    for call in [
        format!("select * from ai.search('notes', {vector})"),
        format!("select * from ai.hybrid_search('notes', 'secret', {vector})"),
        "select ai.enable_hybrid('notes')".to_owned(),
        "select ai.disable_hybrid('notes')".to_owned(),
        "call ai._text_keep(1)".to_owned(),
    ] {
        nobody.may_not(&call);
        stage.run(&format!(
            "grant usage on schema ai, alice to {0}; grant select on ai.vectorizer to {0}",
            nobody.name
        ));
        nobody.may_not(&call);
        stage.run(&format!(
            "revoke usage on schema ai, alice from {0}; revoke select on ai.vectorizer from {0}",
            nobody.name
        ));
    }
    for call in [
        "select ai.enable_hybrid('notes', 'english')",
        "select ai.disable_hybrid('notes')",
        "delete from alice._vectorizer_text_1",
        "insert into alice._vectorizer_words_1 values (1, 1)",
        "update ai.vectorizer_text set chunks = 1",
    ] {
        reader.may_not(call);
    }
    // A reader of the store that was granted later can search once the grants are made again.
    alice.may(
        "alter table alice.notes disable row level security; select ai.disable_hybrid('notes')",
    );
    alice.may("alter table alice.notes_embedding_store disable row level security; select ai.enable_hybrid('notes')");
    assert_eq!(
        found(
            &mut reader.client,
            "ai.hybrid_search('notes', 'globex', null, 100)"
        )
        .len(),
        20
    );
    assert!(reader.number("select count(*) from alice._vectorizer_words_1") > 0);
    alice.may("alter table alice.notes enable row level security; select ai.secure_vectorizer(1)");
    reader.may("set app.tenant = 'acme'");
    assert_eq!(
        found(
            &mut reader.client,
            "ai.hybrid_search('notes', 'globex', null, 100)"
        )
        .len(),
        0
    );
    assert_eq!(
        reader.number("select count(*) from alice._vectorizer_words_1"),
        0
    );
    assert_eq!(
        reader.number("select count(*) from alice._vectorizer_text_1"),
        20
    );
}

#[test]
fn a_new_owner_gets_the_text_index_too() {
    let (mut stage, _alice, _reader) = tenants();
    let bob = Role::new(&stage.database, "bob");
    stage.run(&format!(
        "grant create, usage on schema alice to {0}; alter table alice.notes owner to {0};
         select ai.adopt_vectorizer('notes')",
        bob.name
    ));
    let foreign = format!(
        "select count(*) from pg_class c where c.relnamespace = 'alice'::regnamespace and c.relkind = 'r'
         and c.relowner <> '{}'::regrole",
        bob.name
    );
    assert_eq!(stage.number(&foreign), 0);
    stage.run("update alice.notes_embedding_store set chunk = 'zebra' where id = 4");
    assert_eq!(
        found(&mut stage.sql, "ai.hybrid_search('notes', 'zebra', null)"),
        ["4.0"]
    );
}
