//! `setup.sql`: its parts, what executes it, and once more.

use std::fs;

use crate::{directory, installed, number, setup};

#[test]
fn setup_is_its_parts_one_behind_the_other() {
    let mut parts: Vec<_> = fs::read_dir(directory().join("parts"))
        .unwrap()
        .map(|part| part.unwrap().path())
        .collect();
    parts.sort();
    let parts: String = parts
        .iter()
        .map(|part| fs::read_to_string(part).unwrap())
        .collect();
    let setup = setup();
    let (_, body) = setup.split_once('\n').unwrap();
    assert!(body == parts, "run sql/build.sh");
}

#[test]
fn setup_can_be_executed_by_sqlalchemy_and_holds_nothing_for_psql_only() {
    let mut is_body = false;
    for (line, number) in setup().lines().zip(1..) {
        assert!(!line.starts_with('\\'), "line {number}: a command of psql");
        // A block may commit, where it has made sure that no transaction is around it.
        is_body ^= line.matches("$$").count() % 2 == 1;
        let bare = line.trim().to_ascii_lowercase();
        assert!(
            is_body || !matches!(bare.as_str(), "begin;" | "commit;" | "rollback;"),
            "line {number}: {line}"
        );
        // SQLAlchemy takes `:name` for a parameter, unless a colon, a word character or a backslash
        // stands before it, or a colon behind it.
        let characters: Vec<char> = line.chars().collect();
        for (at, _) in characters.iter().enumerate().filter(|(_, c)| **c == ':') {
            let is_word = |c: &&char| c.is_alphanumeric() || **c == '_';
            let free = at == 0
                || !matches!(characters[at - 1], ':' | '\\' | '_')
                    && !characters[at - 1].is_alphanumeric();
            let name = characters[at + 1..].iter().take_while(is_word).count();
            let behind = characters.get(at + 1 + name);
            assert!(
                !free || name == 0 || behind == Some(&':'),
                "line {number}: {line}"
            );
        }
    }
}

#[test]
fn setup_can_run_again_in_one_transaction_or_statement_by_statement() {
    let (database, mut client) = installed();
    client
        .batch_execute(
            "create table t (id int primary key, body text); insert into t values (1, 'a');
             select ai.create_vectorizer('t', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('m', 3))",
        )
        .unwrap();
    database.install();
    // Outside a transaction block the whole text is one implicit transaction, too: as op.execute does it.
    client.batch_execute(&setup()).unwrap();
    assert_eq!(number(&mut client, "select count(*) from ai.vectorizer"), 1);
    assert_eq!(
        number(&mut client, "select ai.vectorizer_queue_pending(1)"),
        1
    );
    let path: String = client.query_one("show search_path", &[]).unwrap().get(0);
    assert_eq!(path, "\"$user\", public", "the session is left as it was");
}
