//! What docs/search.md says of the server, word for word.

use std::collections::BTreeMap;

use pgai_core::{Command, Tokens};
use serde_json::Value;
use tests::python;
use tests::stage::{DIMENSIONS, Stage};

use super::{Server, TOKEN};

pub(super) const MANUAL: &str = include_str!("../../../docs/search.md");

/// The table of the manual, embedded and with a text index.
pub(super) fn blog() -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table blog (id bigint primary key, lang text, title text, body text);
         insert into blog select n, 'en', 'title ' || n, 'how to bake bread, part ' || n from generate_series(1, 9) n;
         select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}))"
    ));
    stage.once("worker");
    stage.run("select ai.enable_hybrid('blog')");
    stage
}

#[test]
fn each_request_works() {
    let stage = blog();
    let server = Server::of(&stage);
    let manual = MANUAL.replace(" \\\n ", "");
    let mut requests = 0;
    for line in manual.lines().filter(|line| line.starts_with("curl ")) {
        let (_, rest) = line.split_once("localhost:9188/").unwrap();
        let (path, body) = rest.split_once(" -d '").unwrap();
        let body = serde_json::from_str(body.trim_end_matches('\'')).unwrap();
        let answer = server.good(path, &body);
        let found = answer["results"].as_array();
        assert!(
            found
                .or_else(|| answer["embeddings"].as_array())
                .is_some_and(|all| !all.is_empty()),
            "{answer}"
        );
        requests += 1;
    }
    assert_eq!(requests, 3);
    for line in manual
        .lines()
        .filter(|line| line.starts_with("| `POST ") || line.starts_with("| `GET "))
    {
        let paths = line.split('`').filter_map(|part| part.split_once(" /"));
        for (method, path) in paths {
            let (status, said) = match method {
                "GET" => server.site.get(path),
                _ => server.site.post(path, "{}"),
            };
            assert!(matches!(status, 200 | 400), "{path}: {status} {said}");
        }
    }
}

#[test]
fn the_arguments_the_tokens_and_the_program_work() {
    let block = |language: &str, part: &str| {
        let blocks = python::blocks(MANUAL).into_iter();
        let mut blocks = blocks.filter(|(name, text)| *name == language && text.contains(part));
        blocks.next().unwrap().1.to_owned()
    };
    let agent: Value = serde_json::from_str(&block("json", "mcpServers")).unwrap();
    let arguments = agent["mcpServers"]["blog"]["args"].as_array().unwrap();
    let arguments = arguments
        .iter()
        .map(|argument| argument.as_str().unwrap().to_owned());
    let line = std::iter::once("worker".to_owned()).chain(arguments);
    let Ok(Command::Serve(serve, _)) = Command::parse(line, &BTreeMap::new(), "1") else {
        panic!("{agent}");
    };
    assert!(serve.mcp);
    assert_eq!(
        Tokens::parse(&block("text", "# tokens"))
            .unwrap()
            .urls()
            .len(),
        2
    );

    let python = python::with(&["mcp==2.3.0", "openai==3.57.0"]).unwrap();
    let stage = blog();
    let server = Server::of(&stage);
    let program = python::block(MANUAL, "embed.py").unwrap();
    let program = program.replace("http://localhost:9188/", &server.site.url);
    let program = format!("TOKEN = {TOKEN:?}\n{program}\nprint(len(vector))");
    assert_eq!(
        python::run(&python, &["-c", &program]).unwrap().trim(),
        DIMENSIONS.to_string()
    );
}
