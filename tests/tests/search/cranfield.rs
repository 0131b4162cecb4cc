//! The table of docs/search.md: how well each way to search answers the questions of the Cranfield collection, with
//! all-MiniLM-L6-v2. `cargo test -p tests --test search cranfield -- --ignored --nocapture`

#![allow(clippy::print_stdout, reason = "a measurement shows what it found")]

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use tests::stage::Stage;
use tests::{cranfield, minilm};

#[test]
#[ignore = "takes some minutes"]
fn measure_cranfield() {
    let (Some(docs), Some(questions)) = (cranfield::load(), cranfield::questions()) else {
        println!("there is no collection beside this checkout");
        return;
    };
    let models = minilm::models_dir().unwrap();
    let environment = [("PGAI_MODELS_DIR", models.to_str().unwrap())];
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table docs (id int primary key, title text, body text);
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           formatting => ai.formatting_python_template(E'$title\\n$chunk'), chunking => ai.chunking_none(),
           embedding => ai.embedding_sentence_transformers('{}', {}))",
        minilm::NAME,
        minilm::DIMENSIONS
    ));
    for doc in &docs {
        let insert = "insert into docs values ($1, $2, $3)";
        stage
            .sql
            .execute(insert, &[&doc.id, &doc.title, &doc.body])
            .unwrap();
    }
    let mut worker = stage.worker_with("worker", &["--once"], &environment);
    assert!(
        worker.wait(Duration::from_secs(1200)).success(),
        "{:?}",
        worker.lines()
    );
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (mut asked, mut judged) = (String::new(), String::new());
    for (id, question) in questions.iter().enumerate() {
        writeln!(asked, "{id}\t{}", question.text).unwrap();
        // Every pair that is listed counts, as in the reference of the collection here.
        for answer in &question.answers {
            writeln!(judged, "{id}\t{answer}\t1").unwrap();
        }
    }
    fs::write(path("queries"), asked).unwrap();
    fs::write(path("qrels"), judged).unwrap();
    for language in ["simple", "english"] {
        stage.run(&format!("select ai.enable_hybrid('docs', '{language}')"));
        let (queries, qrels) = (path("queries"), path("qrels"));
        let mut arguments = vec!["evaluate", "docs", "--queries", &queries, "--qrels", &qrels];
        for weight in ["0.2", "0.3", "0.5", "0.7", "1", "1.5"] {
            arguments.extend(["--text-weight", weight]);
        }
        let mut process = stage.worker_with("worker", &arguments, &environment);
        let status = process.wait(Duration::from_secs(1200));
        let said = process.lines().join("\n");
        println!("language {language}\n{said}");
        assert!(status.success());
    }
}
