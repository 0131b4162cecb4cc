//! Chunks know where they come from, and templates may name what stands around them.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use serde_json::{Value, json};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

fn vectorizer(stage: &mut Stage, arguments: &str) {
    stage.run(&format!(
        "select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}), {arguments})"
    ));
}

fn once(stage: &Stage, shell: &str) {
    let mut worker = stage.worker(shell, &["--once"]);
    worker.wait(PATIENCE);
}

/// Chunks with their locations and identities, from the view.
fn chunks(stage: &mut Stage) -> Vec<(String, Value, String)> {
    let rows = stage.sql.query(
        "select chunk, location::text, embedding_uuid::text from doc_view order by id, chunk_seq",
        &[],
    );
    let rows = rows.unwrap();
    let location = |text: Option<String>| text.map(|text| serde_json::from_str(&text).unwrap());
    rows.iter()
        .map(|row| {
            let location = location(row.get(1)).unwrap_or_default();
            (row.get(0), location, row.get(2))
        })
        .collect()
}

const TEXT: &str = "\
# Ducks

They swim.

## Food

They eat \"bread\". It is bad for them.

## Öfen

Not ducks at all.
";

const DESTINATION: &str =
    "destination => ai.destination_table(target_table => 'doc_store', view_name => 'doc_view')";

#[test]
fn documents_say_where_their_chunks_come_from() {
    for shell in ["worker", "worker-blocking"] {
        let mut stage = Stage::new();
        if shell == "worker" {
            stage.run("create table doc (id int primary key, body bytea)");
            vectorizer(
                &mut stage,
                &format!(
                    "loading => ai.loading_column('body'), chunking => ai.chunking_markdown(60), {DESTINATION}"
                ),
            );
        } else {
            // It has no documents unless it is built with them; any text may say where its chunks come from.
            stage.run("create table doc (id int primary key, body text)");
            vectorizer(
                &mut stage,
                "loading => ai.loading_column('body'), chunking => ai.chunking_markdown(60),
                 destination => ai.destination_table(target_table => 'doc_store', view_name => 'doc_view', location => true)",
            );
        }
        let body = |text: &str| match shell {
            "worker" => format!("convert_to('{text}', 'UTF8')"),
            _ => format!("'{text}'"),
        };
        stage.run(&format!("insert into doc values (1, {})", body(TEXT)));
        once(&stage, shell);
        let before = chunks(&mut stage);
        let at = |part: &str| TEXT.find(part).unwrap();
        let expected = [
            ("# Ducks\n\nThey swim.", vec!["Ducks"]),
            (
                "## Food\n\nThey eat \"bread\". It is bad for them.",
                vec!["Ducks", "Food"],
            ),
            ("## Öfen\n\nNot ducks at all.", vec!["Ducks", "Öfen"]),
        ];
        let expected = expected.map(|(chunk, headings)| {
            let span = [at(chunk), at(chunk) + chunk.len()];
            (
                chunk.to_owned(),
                json!({"span": span, "headings": headings}),
            )
        });
        let found = before
            .iter()
            .map(|(chunk, location, _)| (chunk.clone(), location.clone()));
        assert_eq!(Vec::from_iter(found), expected, "{shell}");

        // The same text again changes nothing, which shows that the locations compare equal.
        stage.run("create table seen as select ctid as place, location from doc_store");
        stage.run(&format!(
            "update doc set body = {}",
            body(&format!("{TEXT}\n"))
        ));
        let requests = stage.stub.requests().len();
        once(&stage, shell);
        let changed = "select count(*) from doc_store d where not exists (
            select from seen s where s.place = d.ctid and s.location = d.location)";
        assert_eq!(
            stage.sql.query_one(changed, &[]).unwrap().get::<_, i64>(0),
            0,
            "{shell}"
        );

        // A text in front moves all chunks, and costs one vector.
        let moved = format!("New.\n\n{TEXT}");
        stage.run(&format!("update doc set body = {}", body(&moved)));
        once(&stage, shell);
        let after = chunks(&mut stage);
        let sent = stage.stub.requests().len() - requests;
        assert_eq!(sent, 1, "{shell}");
        for (chunk, location, _) in &after {
            let (start, end) = (
                location["span"][0].as_u64().unwrap(),
                location["span"][1].as_u64().unwrap(),
            );
            assert_eq!(
                &moved[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()],
                chunk
            );
        }
        assert_eq!(after.len(), 4, "{shell}");
        let mut search = stage.worker(shell, &["search", "doc", "food", "--json"]);
        assert_eq!(search.wait(PATIENCE).code(), Some(0), "{shell}");
        search.wait_for_line("\"headings\":[\"Ducks\",\"Food\"]", PATIENCE);
        searches_say_it(&mut stage, shell);
        assert_eq!(after[3].1["headings"], json!(["Ducks", "Öfen"]));
    }
}

/// The functions, and the commands that use them.
fn searches_say_it(stage: &mut Stage, shell: &str) {
    stage.run("select ai.enable_hybrid('doc')");
    let vector = "array_fill(0.5, array[8])::vector";
    for from in [
        format!("ai.search('doc', {vector})"),
        format!("ai.hybrid_search('doc', 'ducks', {vector})"),
    ] {
        let same = format!(
            "select count(*) from {from} f join doc_store s using (chunk_seq) where s.location = f.location"
        );
        assert_eq!(stage.number(&same), 4, "{shell}: {from}");
    }
    for option in [&["--hybrid"][..], &["--explain"], &["--where", "id = 1"]] {
        let arguments = [&["search", "doc", "food", "-k", "9"], option].concat();
        let mut search = stage.worker(shell, &arguments);
        assert_eq!(search.wait(PATIENCE).code(), Some(0), "{shell}");
        search.wait_for_line("in Ducks > Food]", PATIENCE);
        let mut search = stage.worker(shell, &[&arguments[..], &["--json"]].concat());
        assert_eq!(search.wait(PATIENCE).code(), Some(0), "{shell}");
        search.wait_for_line("\"headings\":[\"Ducks\",\"Food\"]", PATIENCE);
    }
    stage.run("select ai.disable_hybrid('doc')");
}

/// pgai's tables for documents may have such a column.
#[test]
fn a_source_with_a_column_of_that_name_keeps_it() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, body bytea, location text)");
    vectorizer(
        &mut stage,
        &format!("loading => ai.loading_column('body'), {DESTINATION}"),
    );
    stage.run("insert into doc values (1, 'a text', 'there')");
    once(&stage, "worker");
    let row = stage
        .sql
        .query_one("select chunk, location from doc_view", &[])
        .unwrap();
    assert_eq!(
        (row.get::<_, &str>(0), row.get::<_, &str>(1)),
        ("a text", "there")
    );
    let asked = "select ai.create_vectorizer('doc', name => 'other', loading => ai.loading_column('body'),
        embedding => ai.embedding_ollama('stub', 8), destination => ai.destination_table('other', location => true))";
    let error = stage.sql.batch_execute(asked).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(error.message().contains("\"location\""), "{error:?}");
    // Not all of its columns are in the view.
    stage.run(&asked.replace("location => true", "location => true, view_columns => '{}'"));
}

#[test]
fn a_contextual_template_names_what_stands_around_a_chunk() {
    let mut stage = Stage::new();
    stage.run("create table doc (id int primary key, body text, lang text)");
    let create = |template: &str| {
        format!(
            "select ai.create_vectorizer('doc', name => 'doc', embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
             loading => ai.loading_column('body'), chunking => ai.chunking_markdown(60),
             formatting => ai.formatting_contextual('{template}'),
             destination => ai.destination_table(target_table => 'doc_store', view_name => 'doc_view'))"
        )
    };
    for (template, wanted) in [
        ("$headings", "template must contain $chunk"),
        ("$title: $chunk", "names \"title\", which is no column"),
    ] {
        let error = stage.sql.batch_execute(&create(template)).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains(wanted), "{error:?}");
    }
    stage.run(&create(
        "$document_title/$headings/$lang [$previous] $chunk [$next]",
    ));
    stage.run(&format!("insert into doc values (1, '{TEXT}', 'en')"));
    once(&stage, "worker");
    let stored = |stage: &mut Stage| {
        let rows = stage
            .sql
            .query("select chunk from doc_store order by chunk_seq", &[]);
        Vec::from_iter(rows.unwrap().iter().map(|row| row.get::<_, String>(0)))
    };
    assert_eq!(
        stored(&mut stage),
        [
            "Ducks//en [] # Ducks\n\nThey swim. [## Food]",
            "Ducks/Ducks/en [They swim.] ## Food\n\nThey eat \"bread\". It is bad for them. [## Öfen]",
            "Ducks/Ducks > Food/en [It is bad for them.] ## Öfen\n\nNot ducks at all. []",
        ]
    );
    // An edit costs its chunk and its neighbours.
    let requests = stage.stub.requests().len();
    stage.run("update doc set body = replace(body, 'bad for them', 'good for them')");
    once(&stage, "worker");
    assert_eq!(stage.stub.requests().len() - requests, 1);
    assert!(stored(&mut stage)[2].contains("[It is good for them.]"));
}

/// The blocks of docs/chunking.md.
#[test]
fn the_manual_is_right() {
    const MANUAL: &str = include_str!("../../docs/chunking.md");
    let mut stage = Stage::new();
    let blocks = tests::python::blocks(MANUAL).into_iter();
    let sql = Vec::from_iter(blocks.filter(|(language, _)| *language == "sql"));
    let [(_, create), (_, code), (_, insert), (_, cut)] = sql.as_slice() else {
        panic!("{sql:?}");
    };
    stage.run(&create.replace(", 768)", &format!(", {DIMENSIONS})")));
    stage.run(insert);
    once(&stage, "worker");
    let code = code.trim_end().trim_end_matches(';');
    let splits = format!(
        "select count(*) from ({code}) x(c) where c ->> 'implementation' = 'recursive_character_text_splitter'"
    );
    assert_eq!(stage.number(&splits), 1);
    let cut = stage.sql.query_one(*cut, &[]).unwrap();
    assert_eq!(cut.get::<_, &str>(0), "# Ducks\n\nThey swim.");
}
