//! What KEDA asks the database, as the role that it asks as.

use postgres::{Client, NoTls};
use tests::stage::Stage;

use super::kubernetes::{manifests, the};
use super::read;

/// `scaling.sql` as it is, but for the role's name: roles belong to the whole server.
const ROLE: &str = "keda_of_a_test";

#[test]
fn the_role_that_scales_reads_how_many_rows_wait_and_nothing_else() {
    let manifests = manifests();
    let scaled = the(&manifests, "ScaledObject", "pgai-worker");
    let trigger = &scaled["spec"]["triggers"][0]["metadata"];
    assert_eq!(trigger["userName"], "keda");
    let query = trigger["query"].as_str().unwrap();

    let mut stage = Stage::with_blog();
    stage.run(&format!("drop role if exists {ROLE}"));
    let script = read("deploy/kubernetes/scaling.sql");
    assert!(script.contains("create role keda login;"));
    stage.run(&script.replace("keda", ROLE));
    let url = stage
        .database
        .url()
        .replace("postgres@", &format!("{ROLE}@"));
    let mut keda = Client::connect(&url, NoTls).unwrap();
    let mut ask = || keda.query_one(query, &[]).unwrap().get::<_, i64>(0);

    assert_eq!(ask(), 0);
    stage.run("insert into blog select i, 't', 'b' from generate_series(1, 30) i");
    assert_eq!(ask(), 30);
    // A second vectorizer, with more rows than are counted.
    stage.run(
        "create table long (id int primary key, body text);
         insert into long select i, 'b' from generate_series(1, 10002) i;
         select ai.create_vectorizer('long', name => 'long', loading => ai.loading_column('body'),
             embedding => ai.embedding_ollama('stub', 8));
         select ai.grant_worker_usage('embedder')",
    );
    assert_eq!(ask(), 10_030);
    stage.run("select ai.disable_vectorizer_schedule('long')");
    assert_eq!(ask(), 30);
    // Still after an upgrade.
    stage.database.install();
    assert_eq!(ask(), 30);

    for forbidden in [
        "select * from ai.vectorizer",
        "select * from ai.vectorizer_status",
        "select * from ai._vectorizer_q_1",
        "select * from blog",
        "select * from blog_store",
        "create table pgai_scaling.mine ()",
        "create or replace function pgai_scaling.queued_rows() returns bigint language sql as 'select 1::bigint'",
    ] {
        let refused = keda.batch_execute(forbidden).unwrap_err();
        assert_eq!(refused.code().unwrap().code(), "42501", "{forbidden}");
    }
    drop(keda);
    stage.run(&format!(
        "drop schema pgai_scaling cascade; drop role {ROLE}"
    ));
}
