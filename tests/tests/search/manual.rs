//! What docs/search.md shows, word for word.

use tests::stage::{DIMENSIONS, PATIENCE, Stage};

const MANUAL: &str = include_str!("../../../docs/search.md");
const README: &str = include_str!("../../../README.md");

/// The blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let parts = MANUAL.split("\n```").skip(1).step_by(2);
    let blocks = parts.filter_map(|part| part.split_once('\n'));
    blocks
        .filter(|(name, _)| *name == language)
        .map(|(_, text)| text)
        .collect()
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table blog (id bigint primary key, lang text, year int, title text, body text);
         insert into blog select n, case when n % 2 = 0 then 'en' else 'de' end, 2015 + n % 10, case when n = 9 then 'Bread' else 'title ' || n end,
           'how to bake bread, part ' || n from generate_series(1, 40) n;
         select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}))"
    ));
    stage.once("worker");
    stage
}

#[test]
fn each_statement_runs() {
    let mut stage = stage();
    let vector = "'[0.5,0.1,0.2,0.3,0.4,0.5,0.6,0.7]'";
    let of_readme = README
        .split("```sql\n")
        .filter_map(|part| part.split("\n```").next());
    let of_readme = of_readme.filter(|block| block.starts_with("select key, chunk from ai.search"));
    let mut statements = blocks("sql");
    statements.extend(of_readme);
    assert!(statements.len() >= 6, "{statements:?}");
    for statement in statements {
        let statement = statement
            .replace("$1", vector)
            .replace("$2", "'bake bread'");
        let messages = stage.sql.simple_query(&statement);
        let messages = messages.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        let rows = messages
            .iter()
            .filter(|message| matches!(message, postgres::SimpleQueryMessage::Row(_)));
        assert!(rows.count() > 0, "{statement}: it returns nothing");
    }
}

#[test]
fn each_command_runs() {
    let mut stage = stage();
    stage.run("select ai.enable_hybrid('blog')");
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        path("queries.jsonl"),
        "{\"id\": 1, \"text\": \"bake bread\"}",
    )
    .unwrap();
    std::fs::write(path("qrels.tsv"), "1\t7\t1").unwrap();
    let mut commands = 0;
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let Some(line) = line.strip_prefix("worker ") else {
            continue;
        };
        // tests/tests/serve runs these: they need a client, or a reranker.
        if line.starts_with("serve ") || line.contains("--rerank") {
            continue;
        }
        let line = line.split(" #").next().unwrap();
        let mut arguments: Vec<String> = vec![];
        for (at, part) in line.split('"').enumerate() {
            if at % 2 == 1 {
                arguments.push(part.to_owned());
            } else {
                arguments.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        for argument in &mut arguments {
            if argument.ends_with(".jsonl") || argument.ends_with(".tsv") {
                *argument = path(argument);
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut process = stage.worker("worker", &arguments);
        let status = process.wait(PATIENCE);
        assert!(status.success(), "{line}: {:?}", process.lines());
        commands += 1;
    }
    assert!(commands >= 4, "{commands}");
}
