//! Each token has the rights of its own role: tenants find nothing of each other.

use serde_json::json;
use tests::role::Role;
use tests::stage::Stage;

use super::{Server, bearing, good};

/// A table with two tenants, a role for each, and one without rights.
fn tenants() -> (Stage, [Role; 3]) {
    let mut stage = Stage::new();
    let roles = ["acme", "globex", "nobody"].map(|name| Role::new(&stage.database, name));
    let [acme, globex, nobody] = &roles;
    stage.run(&format!(
        "create table notes (id int primary key, tenant text, body text);
         create policy own on notes using (current_user::text like tenant || '%');
         alter table notes enable row level security;
         select ai.create_vectorizer('notes', name => 'notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(), enqueue_existing => false,
           destination => ai.destination_table(target_table => 'notes_store'));
         insert into notes select n, case when n % 2 = 0 then 'acme' else 'globex' end, 'x' from generate_series(1, 40) n;
         insert into notes_store (id, chunk_seq, chunk, embedding)
           select id, 0, 'secret of ' || tenant, array_fill(id, array[8])::vector from notes;
         select ai.enable_hybrid('notes');
         grant usage on schema ai to {0}, {1};
         grant select on ai.vectorizer, notes, notes_store to {0}, {1};
         select ai.enable_hybrid('notes');
         grant usage on schema ai to {2}; grant select on ai.vectorizer to {2}",
        acme.name, globex.name, nobody.name
    ));
    (stage, roles)
}

#[test]
fn a_tenant_finds_nothing_of_another_one() {
    let (stage, roles) = tenants();
    let [acme, globex, nobody] = &roles;
    let names = [
        "token-of-acme-0001",
        "token-of-globex-02",
        "token-of-nobody-03",
    ];
    let tokens = [
        (names[0], acme.url.as_str()),
        (names[1], globex.url.as_str()),
        (names[2], nobody.url.as_str()),
    ];
    let server = Server::start(&stage, &tokens, &[]);
    for (token, own, other) in [(names[0], "acme", "globex"), (names[1], "globex", "acme")] {
        let site = bearing(&tests::site::Site::of(&server.process), token);
        for asked in [
            json!({"query": format!("secret of {other}")}),
            json!({"query": format!("secret of {other}"), "hybrid": true}),
            json!({"query": "secret", "filter": {"tenant": [own, other]}, "columns": ["*"]}),
            json!({"query": "secret", "neighbours": 5}),
        ] {
            let mut body = asked;
            body["vectorizer"] = json!("notes");
            body["k"] = json!(100);
            let found = good(&site, "v1/search", &body);
            let chunks = found["results"].as_array().unwrap();
            assert_eq!(chunks.len(), 20, "{body}: {found}");
            let is_own = |chunk: &serde_json::Value| chunk["chunk"] == format!("secret of {own}");
            assert!(chunks.iter().all(is_own), "{body}: {found}");
            assert!(!found.to_string().contains(other), "{body}: {found}");
        }
        let body = json!({"vectorizer": "notes", "query": "x", "filter": {"tenant": other}});
        assert_eq!(good(&site, "v1/search", &body)["results"], json!([]));
    }
    let site = bearing(&tests::site::Site::of(&server.process), names[2]);
    let (status, said) = site.post("v1/search", r#"{"vectorizer": "notes", "query": "secret"}"#);
    assert_eq!(status, 403, "{said}");
    assert!(said.contains("permission denied"), "{said}");
}

#[test]
fn owners_can_be_confined() {
    let (stage, roles) = tenants();
    let tokens = [("token-of-acme-0001", roles[0].url.as_str())];
    let body = r#"{"vectorizer": "notes", "query": "x"}"#;
    for (arguments, wanted) in [
        (vec!["--require-trust"], 409),
        (vec!["--require-trust", "--owner", "postgres"], 200),
    ] {
        let server = Server::start(&stage, &tokens, &arguments);
        let site = bearing(&tests::site::Site::of(&server.process), tokens[0].0);
        let (status, said) = site.post("v1/search", body);
        assert_eq!(status, wanted, "{said}");
    }
}
