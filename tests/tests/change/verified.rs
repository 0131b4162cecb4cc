//! `worker resync --verify`: a store that was adopted is compared with its provider before the rest is believed.

use tests::stage::{PATIENCE, Stage};

use super::{SHELLS, stage};

/// As in docs/changing-a-vectorizer.md: nothing is queued and nothing compared until the sample was.
const ADOPT: &str = "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
    embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_character_text_splitter(40, 0, E'\\n\\n'),
    formatting => ai.formatting_python_template('$title: $chunk'),
    destination => ai.destination_table(target_table => 'blog_store'), adopt => true, enqueue_existing => false)";

/// A store that outlived its vectorizer, and is adopted.
fn adopted(rows: i32) -> Stage {
    let mut stage = stage(rows);
    stage.run("set client_min_messages = warning; drop schema ai cascade");
    stage.database.install();
    stage.run("select ai.grant_worker_usage('embedder')");
    stage.run("update blog set title = 'new' where id = 2");
    stage.run(ADOPT);
    stage.stub.take_requests();
    stage
}

fn verify(stage: &Stage, shell: &str, number: &[&str]) -> (bool, String) {
    let arguments = [
        &["resync", "blog", "--verify-text", "--no-wait", "--verify"],
        number,
    ]
    .concat();
    let mut command = stage.worker(shell, &arguments);
    let is_good = command.wait(PATIENCE).success();
    (is_good, command.lines().join("\n"))
}

#[test]
fn a_store_of_this_model_is_believed() {
    for shell in SHELLS {
        let mut stage = adopted(30);
        let (is_good, said) = verify(&stage, shell, &[]);
        assert!(is_good, "{said}");
        assert!(
            said.contains("20 stored vectors are those of the provider"),
            "{said}"
        );
        assert_eq!(stage.stub.inputs().len(), 20);
        stage.stub.take_requests();
        stage.once(shell);
        stage.assert_true();
        assert_eq!(stage.stub.inputs().len(), 2);
    }
}

#[test]
fn a_store_of_another_model_is_not() {
    let mut stage = adopted(5);
    // A quarter of another direction is enough: the cosine is below 0.99.
    stage.run("update blog_store set embedding = embedding + '[0.3,-0.3,0.3,-0.3,0.3,-0.3,0.3,-0.3]' where id = 4");
    let (is_good, said) = verify(&stage, "worker", &["100"]);
    assert!(!is_good, "{said}");
    assert!(
        said.contains("2 of 10 stored vectors are not what"),
        "{said}"
    );
    assert!(
        said.contains("of the row 4, and at least 0.99 is wanted"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    // Nothing was asked of the workers.
    assert_eq!(stage.number("select count(*) from ai.vectorizer_resync"), 0);
    let (is_good, said) = verify(&stage, "worker", &["0"]);
    assert!(!is_good && said.contains("--verify"), "{said}");
}
