//! A text index after a dump and a restore, and after setup.sql has run again.

use std::process::Command;

use tests::postgres::{Server, client_program};
use tests::python;

use crate::{filled, found};

#[test]
fn a_dump_has_the_text_index_and_setup_runs_again() {
    let mut stage = filled();
    stage.run("select ai.enable_hybrid('docs', 'english')");
    let search = "ai.hybrid_search('docs', 'kneading 7', '[7,1,1]', 5)";
    let before = found(&mut stage.sql, search);
    stage.database.install();
    stage.database.install();
    assert_eq!(found(&mut stage.sql, search), before);
    let copy = Server::shared().database();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(client_program(program))
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run("pg_dump", &["-d", stage.database.url(), "-f", path]);
    run(
        "psql",
        &[
            "-d",
            copy.url(),
            "-v",
            "ON_ERROR_STOP=1",
            "-q",
            "-o",
            "/dev/null",
            "-f",
            path,
        ],
    );
    let mut restored = copy.client();
    assert_eq!(found(&mut restored, search), before);
    restored
        .batch_execute("update docs_store set chunk = 'zebra' where id = 7 and chunk_seq = 0")
        .unwrap();
    assert_eq!(
        found(&mut restored, "ai.hybrid_search('docs', 'zebra', null)"),
        ["7.0"]
    );
    copy.install();
    restored
        .batch_execute("update docs_store set chunk = 'giraffe' where id = 7 and chunk_seq = 0")
        .unwrap();
    assert_eq!(
        found(&mut restored, "ai.hybrid_search('docs', 'giraffe', null)"),
        ["7.0"]
    );
}

#[test]
fn a_vectorizer_of_python_pgai_is_searched_after_the_upgrade() {
    let database = Server::shared().database();
    let mut sql = database.client();
    sql.batch_execute("create extension vector").unwrap();
    sql.batch_execute(&python::pgai_sql("0.12.1").unwrap())
        .unwrap();
    sql.batch_execute(
        "create table docs (id int primary key, lang text, body text);
         insert into docs values (1, 'en', 'the sea'), (2, 'de', 'the dough');
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 3), destination => ai.destination_table(target_table => 'docs_store'));
         insert into docs_store (id, chunk_seq, chunk, embedding) select id, 0, body, '[1,2,3]' from docs",
    )
    .unwrap();
    database.install();
    let mut found = |search: &str| found(&mut sql, search);
    let by_vector = "ai.search('docs', '[1,2,3]', filter => '{\"lang\": \"de\"}')";
    assert_eq!(found(by_vector), ["2.0"]);
    database
        .client()
        .batch_execute("select ai.enable_hybrid('docs')")
        .unwrap();
    assert_eq!(found("ai.hybrid_search('docs', 'sea', null)"), ["1.0"]);
}
