//! What the manual and the SQL say of providers.

use std::collections::BTreeSet;

use tests::python;
use tests::stage::{PATIENCE, Stage};

use crate::cases::{borrowed, environment, service_account};

/// The names of providers stand in SQL, too, where an unknown one is refused.
#[test]
fn sql_knows_the_providers_that_the_workers_know() {
    let source = include_str!("../../../core/src/provider/known.rs");
    let names = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("name: \""));
    let names: BTreeSet<&str> = names.filter_map(|rest| rest.split('"').next()).collect();
    let names: BTreeSet<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let mut stage = Stage::new();
    let known = stage
        .sql
        .query_one("select ai._litellm_providers()", &[])
        .unwrap();
    let known: Vec<String> = known.get(0);
    assert_eq!(names, known.iter().map(String::as_str).collect());
}

/// The manual's examples run as they are, with the stub at every provider's address.
#[test]
fn the_examples_of_the_manual_embed() {
    let manual = include_str!("../../../docs/providers.md");
    let known = include_str!("../../../core/src/provider/known.rs");
    let mut stage = Stage::new();
    let url = stage.stub.url();
    let mut examples = 0;
    for (name, block) in python::blocks(manual) {
        assert_eq!(name, "sql");
        stage.run(block);
        let Some((_, rest)) = block.split_once("embedding => ai.embedding_") else {
            continue;
        };
        let mut arguments = rest.split(['(', ',', ')']);
        let model = arguments.nth(1).unwrap().trim_matches('\'');
        let model = model.split_once('/').map_or(model, |(_, model)| model);
        let dimensions = arguments.next().unwrap().trim().parse().unwrap();
        // As the path of a request has it.
        stage.stub.add_model(&model.replace(':', "%3A"), dimensions);
        stage.stub.add_model(model, dimensions);
        stage
            .stub
            .add_model(model.rsplit('/').next().unwrap(), dimensions);
        examples += 1;
    }
    stage.run("insert into blog values (1, 'title', 'a text')");
    let mut environment = environment(&service_account(&url));
    for line in known.lines() {
        let Some((_, names)) = line.split_once("base_variables: &[\"") else {
            continue;
        };
        let name = names.split('"').next().unwrap();
        let path = match name {
            "COHERE_API_BASE" => "/v2/embed",
            "HUGGINGFACE_API_BASE" => "/pipeline/feature-extraction/bge-small-en-v1.5",
            "OLLAMA_API_BASE" | "AZURE_API_BASE" | "VERTEXAI_API_BASE" => "",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" => "",
            _ => "/v1",
        };
        environment.push((name.to_owned(), format!("{url}{path}")));
    }
    environment.push(("VOYAGE_BASE_URL".to_owned(), format!("{url}/v1")));
    let mut worker = stage.worker_with("worker", &["--once"], &borrowed(&environment));
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    let stores = "select format('%I.%I', config #>> '{destination,target_schema}',
        config #>> '{destination,target_table}') from ai.vectorizer";
    let stores = stage.sql.query(stores, &[]).unwrap();
    for store in &stores {
        let store: String = store.get(0);
        assert_eq!(
            stage.number(&format!("select count(*) from {store}")),
            1,
            "{store}"
        );
    }
    assert_eq!((stores.len(), examples), (12, 12));
    assert_eq!(stage.stub.complaints(), Vec::<String>::new());
}

/// The table of all names has each provider with its keys and addresses.
#[test]
fn the_manual_names_every_provider() {
    let manual = include_str!("../../../docs/providers.md");
    let known = include_str!("../../../core/src/provider/known.rs");
    let mut names = 0;
    for part in known.split("    Known {\n").skip(1) {
        let field = |field: &str| -> Vec<&str> {
            let rest = part.split_once(field).map_or("", |(_, rest)| rest);
            let rest = rest.split_once("],").map_or("", |(list, _)| list);
            rest.split('"').skip(1).step_by(2).collect()
        };
        let Some((_, name)) = part.split_once("name: \"") else {
            continue;
        };
        let name = name.split('"').next().unwrap();
        let row = manual
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the manual"));
        for variable in field("keys: &[").iter().chain(&field("base_variables: &[")) {
            assert!(
                row.contains(&format!("`{variable}`")),
                "{name}: {variable}: {row}"
            );
        }
        names += 1;
    }
    assert!(names >= 31, "{names}");
}
