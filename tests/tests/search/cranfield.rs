//! The tables of docs/search.md and docs/chunking.md: how well each way to search answers the questions of the
//! Cranfield collection. `cargo test -p tests --test search cranfield -- --ignored --nocapture --test-threads 1`

#![allow(clippy::print_stdout, reason = "a measurement shows what it found")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tests::process::{Process, free_port};
use tests::stage::Stage;
use tests::{cranfield, minilm};

/// The collection in a table, with its questions and judgements in files.
struct Collection {
    stage: Stage,
    files: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Collection {
    /// `None` if it is not beside this checkout.
    fn load(environment: Vec<(&'static str, String)>) -> Option<Self> {
        let (Some(docs), Some(questions)) = (cranfield::load(), cranfield::questions()) else {
            println!("there is no collection beside this checkout");
            return None;
        };
        let mut stage = Stage::new();
        stage.run("create table docs (id int primary key, title text, body text)");
        for doc in &docs {
            let insert = "insert into docs values ($1, $2, $3)";
            let row: [&(dyn postgres::types::ToSql + Sync); 3] = [&doc.id, &doc.title, &doc.body];
            stage.sql.execute(insert, &row).unwrap();
        }
        let files = tempfile::tempdir().unwrap();
        let (mut asked, mut judged) = (String::new(), String::new());
        for (id, question) in questions.iter().enumerate() {
            writeln!(asked, "{id}\t{}", question.text).unwrap();
            // Every pair that is listed counts, as in the reference of the collection here.
            for answer in &question.answers {
                writeln!(judged, "{id}\t{answer}\t1").unwrap();
            }
        }
        fs::write(files.path().join("queries"), asked).unwrap();
        fs::write(files.path().join("qrels"), judged).unwrap();
        Some(Self {
            stage,
            files,
            environment,
        })
    }

    fn worker(&self, arguments: &[&str]) -> Process {
        let environment = self.environment.iter();
        let environment = environment.map(|(name, value)| (*name, value.as_str()));
        let environment = Vec::from_iter(environment);
        let mut process = self.stage.worker_with("worker", arguments, &environment);
        let status = process.wait(Duration::from_secs(1800));
        assert!(status.success(), "{:?}", process.lines());
        process
    }

    /// Embeds with these arguments of `ai.create_vectorizer`.
    fn embed(&mut self, name: &str, arguments: &str) {
        self.stage.run(&format!(
            "select ai.create_vectorizer('docs', name => '{name}', loading => ai.loading_column('body'),
               destination => ai.destination_table('{name}_store'), {arguments})"
        ));
        self.worker(&["--once"]);
    }

    fn evaluate(&self, title: &str, name: &str, options: &[&str]) {
        let path = |name: &str| self.files.path().join(name).to_str().unwrap().to_owned();
        let (queries, qrels) = (path("queries"), path("qrels"));
        let mut arguments = vec!["evaluate", name, "--queries", &queries, "--qrels", &qrels];
        arguments.extend(options);
        let said = self.worker(&arguments).lines().join("\n");
        println!("{title}\n{said}");
    }

    /// With and without the words of the text, in two languages.
    fn evaluate_hybrid(&mut self, title: &str, name: &str) {
        for language in ["simple", "english"] {
            let enable = format!("select ai.enable_hybrid('{name}', '{language}')");
            self.stage.run(&enable);
            let weights = ["0.2", "0.3", "0.5", "0.7", "1", "1.5"];
            let weights = weights.map(|weight| ["--text-weight", weight]);
            let title = format!("{title}, language {language}");
            self.evaluate(&title, name, weights.as_flattened());
        }
    }
}

fn local_model() -> Vec<(&'static str, String)> {
    let models = minilm::models_dir().unwrap();
    vec![("PGAI_MODELS_DIR", models.to_str().unwrap().to_owned())]
}

fn minilm_embedding() -> String {
    let (name, dimensions) = (minilm::NAME, minilm::DIMENSIONS);
    format!("embedding => ai.embedding_sentence_transformers('{name}', {dimensions})")
}

const TITLE_AND_TEXT: &str = "formatting => ai.formatting_python_template(E'$title\\n$chunk'), chunking => ai.chunking_none()";

#[test]
#[ignore = "takes some minutes"]
fn measure_cranfield() {
    let Some(mut collection) = Collection::load(local_model()) else {
        return;
    };
    let arguments = format!("{TITLE_AND_TEXT}, {}", minilm_embedding());
    collection.embed("minilm", &arguments);
    collection.evaluate_hybrid("all-MiniLM-L6-v2", "minilm");
}

/// What the text around a chunk brings, where chunks are short. The title is Markdown's here.
#[test]
#[ignore = "takes some minutes"]
fn measure_cranfield_context() {
    let Some(mut collection) = Collection::load(local_model()) else {
        return;
    };
    collection
        .stage
        .run("update docs set body = '# ' || title || E'\\n\\n' || body");
    for (name, template) in [
        ("chunk", "$chunk"),
        ("title", "$document_title\\n$chunk"),
        ("neighbours", "$previous $chunk $next"),
        ("both", "$document_title\\n$previous $chunk $next"),
    ] {
        for (chunker, size) in [("markdown", 200), ("markdown", 400)] {
            let arguments = format!(
                "formatting => ai.formatting_contextual(E'{template}'), chunking => ai.chunking_{chunker}({size}), {}",
                minilm_embedding()
            );
            let name = format!("{name}_{chunker}_{size}");
            collection.embed(&name, &arguments);
            collection.evaluate(&name, &name, &[]);
        }
    }
}

/// multilingual-e5-small with and without its prompts. `PGAI_TEST_E5` names a directory with `e5.so` and
/// `e5-small-q4.bin`: see `e5_server.py`.
#[test]
#[ignore = "takes some minutes"]
fn measure_cranfield_e5() {
    let Some(directory) = std::env::var_os("PGAI_TEST_E5").map(PathBuf::from) else {
        println!("PGAI_TEST_E5 is not set");
        return;
    };
    let port = free_port();
    let _server = e5(&directory, port);
    let environment = vec![("OPENAI_API_KEY", "none".to_owned())];
    let Some(mut collection) = Collection::load(environment) else {
        return;
    };
    let url = format!("http://127.0.0.1:{port}/v1");
    for (name, prompts) in [
        (
            "e5_prompts",
            "document_prompt => 'passage: ', query_prompt => 'query: '",
        ),
        ("e5_plain", "document_prompt => null"),
    ] {
        let arguments = format!(
            "{TITLE_AND_TEXT}, embedding => ai.embedding_openai('e5-small', 384, base_url => '{url}', {prompts})"
        );
        collection.embed(name, &arguments);
        collection.evaluate_hybrid(name, name);
    }
}

fn e5(directory: &Path, port: u16) -> Process {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/search/e5_server.py");
    let (library, model) = (path("e5.so"), path("e5-small-q4.bin"));
    let arguments = [server, &port.to_string(), &library, &model];
    Process::spawn("python3", &arguments, &[])
}
