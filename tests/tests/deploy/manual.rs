//! What `docs/deploying.md` says to type, and the variable that it relies on.

use std::collections::BTreeMap;
use std::fs;

use tests::process::Process;
use tests::python;
use tests::stage::{PATIENCE, Stage};

use super::{path, read};

#[test]
fn the_commands_of_the_manual_exist() {
    let manual = read("docs/deploying.md");
    let mut paths = 0;
    let words = manual.split(|c: char| c.is_whitespace() || "`|()".contains(c));
    for word in words.filter(|word| word.starts_with("deploy/")) {
        assert!(path(word).exists(), "{word}");
        paths += 1;
    }
    assert!(paths >= 4, "{paths}");
    let scripts = python::blocks(&manual).into_iter();
    let lines = scripts.flat_map(|(_, block)| block.lines());
    let mut commands = 0;
    for line in lines.filter(|line| line.starts_with("pgai-worker ")) {
        let words = line.split_whitespace().map(str::to_owned);
        let command = pgai_core::Command::parse(words, &BTreeMap::new(), "1");
        assert!(command.is_ok(), "{line}: {command:?}");
        commands += 1;
    }
    assert_eq!(commands, 1);
    for line in manual
        .lines()
        .filter(|line| line.starts_with("kubectl apply"))
    {
        for file in line
            .split_whitespace()
            .filter(|word| word.ends_with(".yaml"))
        {
            let file = file.replace("secret.yaml", "secret.example.yaml");
            assert!(path("deploy/kubernetes").join(&file).exists(), "{file}");
        }
    }
}

/// Both workers read the URL from a file, and say so if there is none.
#[test]
fn the_url_comes_from_a_file() {
    let mut stage = Stage::with_blog();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db-url");
    fs::write(&file, format!("{}\n", stage.worker_url)).unwrap();
    let (file, ollama) = (file.display().to_string(), stage.stub.url());
    let variables = [("DB_URL_FILE", file.as_str()), ("OLLAMA_HOST", &ollama)];
    for (id, shell) in (1..).zip(["worker", "worker-blocking"]) {
        stage.run(&format!("insert into blog values ({id}, 't', 'text {id}')"));
        let mut worker = Process::worker(shell, &["--once"], &variables);
        assert!(worker.wait(PATIENCE).success());
        assert_eq!(stage.number("select count(*) from blog_store"), id);
        let missing = [("DB_URL_FILE", "/no/such/file")];
        let mut worker = Process::worker(shell, &["status"], &missing);
        assert_eq!(worker.wait(PATIENCE).code(), Some(1));
        worker.wait_for_line("/no/such/file", PATIENCE);
    }
}
