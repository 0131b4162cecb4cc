//! What docs/changing-a-vectorizer.md and the README show, word for word.

use tests::stage::{DIMENSIONS, PATIENCE, Stage};

use super::text;

const MANUAL: &str = include_str!("../../../docs/changing-a-vectorizer.md");
const README: &str = include_str!("../../../README.md");

fn blocks(of: &'static str) -> impl Iterator<Item = &'static str> {
    let parts = of.split("```sql\n").skip(1);
    parts.filter_map(|part| part.split("\n```").next())
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.stub.add_model("mxbai-embed-large", 1024);
    stage.run(&format!(
        "create table blog (id bigint primary key, title text, body text);
         insert into blog select n, 't' || n, 'how to bake bread, part ' || n from generate_series(1, 20) n;
         select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}))"
    ));
    stage.once("worker");
    stage
}

#[test]
fn each_statement_runs() {
    let mut stage = stage();
    let zeros = vec!["0.1"; 1024].join(",");
    let mut count = 0;
    for block in blocks(MANUAL) {
        // The second change of the page is another vectorizer's.
        if block.contains("switches => false") {
            stage = self::stage();
        }
        stage.run(&block.replace("$1", &format!("'[{zeros}]'")));
        stage.once("worker");
        count += 1;
        if block.starts_with("select table_name") || block.contains("information_schema") {
            let views = "select string_agg(table_name, ', ' order by table_name) from information_schema.views
                where table_name like 'blog\\_embedding%'";
            assert_eq!(
                text(&mut stage, views),
                "blog_embedding, blog_embedding_1, blog_embedding_2"
            );
        }
    }
    assert!(count >= 7, "{count}");
    let state = "select count(*) from ai.vectorizer_generation";
    assert_eq!(stage.number(state), 0);
}

#[test]
fn each_command_runs() {
    let stage = stage();
    let _worker = stage.worker("worker", &["--poll-interval", "1s"]);
    let file = std::env::temp_dir().join(format!("pgai-{}-manual.csv", std::process::id()));
    let mut count = 0;
    for line in MANUAL.lines() {
        let Some(line) = line.strip_prefix("worker ") else {
            continue;
        };
        let mut words: Vec<&str> = line.split(' ').collect();
        if words[0] == "-d" {
            words.drain(..2);
        }
        for word in &mut words {
            if *word == "blog.csv" {
                *word = file.to_str().unwrap();
            }
        }
        let mut command = stage.worker("worker", &words);
        assert!(command.wait(PATIENCE).success(), "{line}");
        count += 1;
    }
    std::fs::remove_file(file).unwrap();
    assert_eq!(count, 3);
}

#[test]
fn the_lines_of_the_readme_run() {
    let mut stage = stage();
    let block = blocks(README).find(|block| block.contains("ai.alter_vectorizer"));
    let mut lines = block.unwrap().split_inclusive(";\n");
    stage.run(lines.next().unwrap());
    stage.once("worker");
    for line in lines {
        stage.run(line);
    }
    let vectors = "select count(*) from blog_embedding where vector_dims(embedding) = 1024";
    assert_eq!(stage.number(vectors), 20);
}
