//! Hostile names, and names that cannot work.

use tests::stage::{DIMENSIONS, Stage};

use crate::literal;

/// Names that break whatever is put together without care.
fn hostile_names() -> Vec<String> {
    let mut names = vec![
        "a\"b".to_owned(),
        "a'b".to_owned(),
        "a\nb".to_owned(),
        "100%I %s %1$s".to_owned(),
        "x\"; drop table victim; --".to_owned(),
        "$$; drop table victim; $$".to_owned(),
        "$body$ {store} {key}".to_owned(),
        "Mixed Case".to_owned(),
        "select".to_owned(),
        "\\x \\n".to_owned(),
        "é\u{1F600}".to_owned(),
        "o".to_owned(),
        "n".to_owned(),
        "s".to_owned(),
        "k1".to_owned(),
    ];
    // What the triggers' own language calls something else.
    let words = [
        "queued",
        "is_strict",
        "attempt",
        "found",
        "old",
        "new",
        "tg_relid",
        "excluded",
    ];
    names.extend(words.map(str::to_owned));
    names.push("l".repeat(63));
    names
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[test]
fn hostile_names_stay_names_everywhere() {
    let mut stage = Stage::new();
    stage.run("create table victim (id int)");
    for (number, name) in hostile_names().iter().enumerate() {
        let beginning = |characters: usize| name.chars().take(characters).collect::<String>();
        let (queue, column) = (format!("q{}", beginning(60)), format!("V{}", beginning(20)));
        // The same name for schema, table, key and store's schema, and in those of queue and column.
        let table = format!("{0}.{0}", quoted(name));
        let (text, source) = (literal(name), literal(&table));
        stage.run(&format!(
            "create schema {quoted};
             create table {table} ({quoted} int primary key, \"t{number}\" text, \"T\" text);
             select ai.create_vectorizer({source}::regclass, name => 'v{number}', loading => ai.loading_column('t{number}'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               formatting => ai.formatting_python_template('$T: $chunk'),
               queue_schema => {text}, queue_table => {},
               destination => ai.destination_table(target_schema => {text}, target_table => 'store', view_name => 'view'));
             select ai.create_vectorizer({source}::regclass, name => 'c{number}', loading => ai.loading_column('t{number}'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => ai.destination_column({}));
             insert into {table} values (1, 'one', 'x'), (2, 'two', 'y'), (3, 'three', 'z')",
            literal(&queue),
            literal(&column),
            quoted = quoted(name),
        ));
    }
    stage.once("worker");
    for name in hostile_names() {
        let quoted = quoted(&name);
        let table = format!("{quoted}.{quoted}");
        stage.run(&format!(
            "update {table} set \"T\" = 'other' where {quoted} = 1; delete from {table} where {quoted} = 2;
             update {table} set {quoted} = 30 where {quoted} = 3"
        ));
    }
    stage.once("worker");
    for (number, name) in hostile_names().iter().enumerate() {
        let quoted = quoted(name);
        let chunks = format!(
            "select count(*) from {quoted}.store s join {quoted}.{quoted} t using ({quoted})
             where s.chunk = t.\"T\" || ': ' || t.\"t{number}\""
        );
        assert_eq!(stage.number(&chunks), 2, "{name:?}");
        assert_eq!(
            stage.number(&format!("select count(*) from {quoted}.store")),
            2,
            "{name:?}"
        );
        let vector = quoted_column(name);
        let vectors = format!("select count(*) from {quoted}.{quoted} where {vector} is not null");
        assert_eq!(stage.number(&vectors), 2, "{name:?}");
    }
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 0);
    // Granting and dropping name all of it once more.
    let role = format!("\"odd role'; % of {}\"", stage.database.name());
    stage.run(&format!("create role {role}"));
    for function in ["ai.grant_worker_usage", "ai.grant_vectorizer_usage"] {
        stage.run(&format!(
            "select {function}({})",
            literal(role.trim_matches('"'))
        ));
    }
    stage.run("select ai.drop_vectorizer(id, true) from ai.vectorizer");
    assert_eq!(
        stage.number(
            "select count(*) from pg_trigger where not tgisinternal and tgname ~ 'src_trg'"
        ),
        0
    );
    assert_eq!(
        stage.number("select count(*) from victim"),
        0,
        "it is still there"
    );
    stage.run(&format!("drop owned by {role}; drop role {role}"));
}

fn quoted_column(name: &str) -> String {
    quoted(&format!("V{}", name.chars().take(20).collect::<String>()))
}

#[test]
fn a_name_that_cannot_work_is_refused_with_what_to_do() {
    let mut stage = Stage::new();
    for (number, column) in ["chunk", "chunk_seq", "embedding", "embedding_uuid"]
        .iter()
        .enumerate()
    {
        stage.run(&format!(
            "create table t{number} (id int primary key, body text, {column} text)"
        ));
        let error = stage
            .sql
            .batch_execute(&format!(
                "select ai.create_vectorizer('t{number}', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3))"
            ))
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains(column), "{column}: {error:?}");
    }
    for (number, column) in [
        "queued_at",
        "loading_retries",
        "loading_retry_after",
        "created_at",
        "failure_step",
        "failure_reason",
        "_generation",
        "_claim",
        "_until",
        "_attempts",
        "_failures",
    ]
    .iter()
    .enumerate()
    {
        stage.run(&format!(
            "create table k{number} ({column} int primary key, body text)"
        ));
        let error = stage
            .sql
            .batch_execute(&format!(
                "select ai.create_vectorizer('k{number}', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3))"
            ))
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(
            error.hint(),
            Some("Rename the column."),
            "{column}: {error:?}"
        );
    }
    // As ordinary columns these are no problem, and neither is any of them where there is no view.
    stage.run(&format!(
        "create table fine (id int primary key, body text, locked int, queued_at int, loading_retries int,
           _generation int, n int, o int, dropped int, twice int generated always as (id * 2) stored);
         alter table fine drop column dropped;
         select ai.create_vectorizer('fine', loading => ai.loading_column('body'), chunking => ai.chunking_none(),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           formatting => ai.formatting_python_template('$locked $queued_at $loading_retries $twice $chunk'));
         insert into fine values (1, 'b', 1, 2, 3, 4);
         create table narrow (id int primary key, chunk text, embedding int);
         select ai.create_vectorizer('narrow', loading => ai.loading_column('chunk'), chunking => ai.chunking_none(),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), formatting => ai.formatting_chunk_value(),
           destination => ai.destination_column('v'));
         insert into narrow values (1, 'text')"
    ));
    stage.once("worker");
    let text = "select count(*) from fine_embedding_store where chunk = '1 2 3 2 b'";
    assert_eq!(stage.number(text), 1);
    assert_eq!(
        stage.number("select count(*) from narrow where v is not null"),
        1
    );
}
