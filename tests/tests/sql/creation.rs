//! Vectorizers are created, refused, and dropped.

use crate::{installed, number, refusal};

#[test]
fn what_cannot_work_is_refused_when_the_vectorizer_is_created() {
    let (_database, mut client) = installed();
    client
        .batch_execute(
            "create table t (id int primary key, title text, body text, at timestamptz);
             create table nokey (body text);
             create table taken (id int primary key, body text, embedding text)",
        )
        .unwrap();
    let good = "loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3)";
    for (arguments, message) in [
        (
            "'t', loading => ai.loading_column('body')",
            "embedding configuration is required",
        ),
        (
            "'t', embedding => ai.embedding_ollama('m', 3)",
            "loading configuration is required",
        ),
        (
            &format!("'nokey', {good}"),
            "source table must have a primary key constraint",
        ),
        (
            &format!("'taken', {good}"),
            "the column \"embedding\" of the source table",
        ),
        (
            "'t', loading => ai.loading_column('nobody'), embedding => ai.embedding_ollama('m', 3)",
            "column_name in config does not exist in the table: nobody",
        ),
        (
            "'t', loading => ai.loading_column('at'), embedding => ai.embedding_ollama('m', 3)",
            "column_name at in config is of invalid type timestamptz",
        ),
        (
            "'t', loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 0)",
            "dimensions must be between 1 and 16000",
        ),
        (
            &format!("'t', {good}, formatting => ai.formatting_python_template('$titel: $chunk')"),
            "formatting template names \"titel\", which is no column of the source table",
        ),
        (
            &format!("'t', {good}, formatting => ai.formatting_python_template('5 $ for $chunk')"),
            "invalid placeholder in formatting template",
        ),
        (
            &format!("'t', {good}, chunking => ai.chunking_character_text_splitter(100)"),
            "Got a larger chunk overlap (400) than chunk size (100), should be smaller.",
        ),
        (
            &format!("'t', {good}, name => 'Blog'"),
            "invalid vectorizer name: \"Blog\"",
        ),
        (
            &format!("'t', {good}, processing => ai.processing_default(batch_size => 3000)"),
            "batch_size must be less than or equal to 2048",
        ),
        (
            &format!("'t', {good}, destination => ai.destination_table('t')"),
            "an object named public.t already exists",
        ),
    ] {
        let (said, _) = refusal(
            &mut client,
            &format!("select ai.create_vectorizer({arguments})"),
        );
        assert!(said.starts_with(message), "{arguments}: {said}");
    }
    // A creation that failed leaves nothing behind.
    assert_eq!(number(&mut client, "select count(*) from ai.vectorizer"), 0);
    let left = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where n.nspname = 'ai' and c.relname like '\\_vectorizer\\_q%'";
    assert_eq!(number(&mut client, left), 0);
}

#[test]
fn a_taken_name_has_the_sqlstate_of_pgai_and_if_not_exists_returns_the_old_one() {
    let (_database, mut client) = installed();
    client
        .batch_execute("create table t (id int primary key, body text)")
        .unwrap();
    let create = "ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
                    embedding => ai.embedding_ollama('m', 3)";
    client.batch_execute(&format!("select {create})")).unwrap();
    let (message, code) = refusal(&mut client, &format!("select {create})"));
    assert_eq!(
        (message.as_str(), code.as_str()),
        ("a vectorizer named v already exists.", "42710")
    );
    assert_eq!(
        number(
            &mut client,
            &format!("select {create}, if_not_exists => true)::bigint")
        ),
        1
    );
}

#[test]
fn dropping_leaves_nothing_but_the_store_and_with_drop_all_not_even_that() {
    let (_database, mut client) = installed();
    let objects = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                   where n.nspname = 'ai' or c.relname like 't\\_embedding%'";
    let functions = "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                     where n.nspname = 'ai'";
    let (objects_before, functions_before) =
        (number(&mut client, objects), number(&mut client, functions));
    for (what, drop_all, left) in [
        ("select", true, 0),
        ("alter table t rename to u; select", false, 4),
        ("drop table u cascade; select", true, 0),
    ] {
        let exists = number(
            &mut client,
            "select count(*) from pg_class where relname = 'u'",
        ) == 1;
        if !exists {
            client
                .batch_execute("create table if not exists t (id int primary key, body text)")
                .unwrap();
        }
        let table = if exists { "u" } else { "t" };
        client
            .batch_execute(&format!(
                "select ai.create_vectorizer('{table}', name => 'v', loading => ai.loading_column('body'),
                   embedding => ai.embedding_ollama('m', 3))"
            ))
            .unwrap();
        client
            .batch_execute(&format!("{what} ai.drop_vectorizer('v', {drop_all})"))
            .unwrap();
        let triggers = "select count(*) from pg_trigger where tgname like '\\_vectorizer\\_src%'";
        assert_eq!(number(&mut client, triggers), 0, "{what}");
        assert_eq!(number(&mut client, functions), functions_before, "{what}");
        let left_now = number(&mut client, objects) - objects_before;
        // The store, its two indexes, and the view.
        assert!(left_now <= left, "{what}: {left_now}");
        client
            .batch_execute(
                "drop view if exists t_embedding; drop table if exists t_embedding_store",
            )
            .unwrap();
    }
}
