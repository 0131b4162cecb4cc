//! A text index after a dump and a restore, and after setup.sql has run again.

use std::process::Command;

use tests::postgres::{Server, client_program};

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
