//! Databases of Python's pgai: upgraded, or refused with what to do.

use postgres::Client;
use tests::postgres::Server;

use crate::{installed, number, refusal, setup};

/// Installs the SQL of the real Python package, as `pgai.install()` does.
fn install_python_pgai(client: &mut Client, version: &str) {
    let script = tests::python::pgai_sql(version).unwrap();
    client
        .batch_execute("create extension if not exists vector")
        .unwrap();
    client.batch_execute(&script).unwrap();
}

#[test]
fn a_database_of_python_pgai_is_upgraded_in_place() {
    for version in ["0.10.0", "0.11.3", "0.12.1"] {
        upgrade_of_python_pgai(version);
    }
}

fn upgrade_of_python_pgai(version: &str) {
    let database = Server::shared().database();
    let mut client = database.client();
    install_python_pgai(&mut client, version);
    // 0.10 has the errors in a table of this name.
    client
        .batch_execute("grant select on ai.vectorizer_errors to public")
        .unwrap();
    let loading = "loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3)";
    client
            .batch_execute(&format!(
                "create table t (id int primary key, body text); insert into t values (1, 'a'), (2, 'b');
                 select ai.create_vectorizer('t', {loading});
                 insert into t_embedding_store (id, chunk_seq, chunk, embedding) values (1, 0, 'a', '[1,2,3]');
                 update t set body = 'c' where id = 2; update t set body = 'd' where id = 2;"
            ))
            .unwrap();
    assert!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1") > 2,
        "doubles"
    );
    database.install();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_errors"),
        0,
        "{version}"
    );
    let readable =
        "select has_table_privilege('public', 'ai.vectorizer_errors', 'select')::int::bigint";
    assert_eq!(number(&mut client, readable), 1, "{version}: grants stay");
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        2,
        "folded"
    );
    assert_eq!(
        number(&mut client, "select count(*) from t_embedding_store"),
        1,
        "vectors stay"
    );
    // The triggers are ours: a column that nobody embeds queues nothing, a deletion is a tombstone.
    client
        .batch_execute(
            "truncate ai._vectorizer_q_1; alter table t add column n int; update t set n = 1",
        )
        .unwrap();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        0
    );
    client.batch_execute("delete from t where id = 1").unwrap();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        1
    );
    assert_eq!(
        number(&mut client, "select count(*) from t_embedding_store"),
        0
    );
    // A second run changes nothing, and neither does a leftover pgai.install() of the newest.
    database.install();
    assert_eq!(
        number(&mut client, "select count(*) from ai._vectorizer_q_1"),
        1
    );
    client
        .batch_execute(&format!(
            "select ai.drop_vectorizer(1, true); select ai.create_vectorizer('t', {loading})"
        ))
        .unwrap();
}

#[test]
fn an_older_python_pgai_is_named_with_what_to_do() {
    let database = Server::shared().database();
    let mut client = database.client();
    install_python_pgai(&mut client, "0.12.1");
    // As 0.9 left it.
    client
        .batch_execute("delete from ai.pgai_lib_migration where name > '028'")
        .unwrap();
    let (message, code) = refusal(&mut client, &setup());
    assert!(message.contains("older than 0.10"), "{message}");
    assert_eq!(code, "55000");
}

#[test]
fn a_leftover_install_of_python_pgai_changes_nothing() {
    let (_database, mut client) = installed();
    let script = tests::python::pgai_sql("0.12.1").unwrap();
    // pgai.install() takes this SQLSTATE for "already done".
    let (_, code) = refusal(&mut client, &script);
    assert_eq!(code, "42710");
}

#[test]
fn setup_waits_for_nobody_and_refuses_while_a_python_worker_is_connected() {
    let (database, mut client) = installed();
    let mut worker = database.client();
    worker
        .batch_execute("set application_name = 'pgai-worker[1]: 0123abcd'")
        .unwrap();
    let (message, code) = refusal(&mut client, &setup());
    assert!(message.contains("worker of Python pgai"), "{message}");
    assert_eq!(code, "55006");
}
