//! What happens to a source without a statement on its rows: a worker notices, and asks for a resync by itself.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use tests::stage::{DIMENSIONS, PATIENCE, Stage};

/// A vectorizer on `docs`, its worker, and the condition that nothing is missing and nothing is left over.
fn create() -> String {
    format!(
        "select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_table('e'))"
    )
}

const IN_SYNC: &str = "not exists (
    select from docs d full join e_store s on s.id = d.id where s.chunk is distinct from d.body)";

#[test]
fn partitions_that_come_and_go_are_followed() {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table docs (id int primary key, body text) partition by range (id);
         create table docs_a partition of docs for values from (0) to (100);
         insert into docs select n, 'a' || n from generate_series(1, 20) n; {}",
        create()
    ));
    let _worker = stage.worker("worker", &["--poll-interval", "1"]);
    stage.database.wait_until(IN_SYNC, PATIENCE);
    for change in [
        "create table docs_b (id int primary key, body text);
         insert into docs_b select n, 'b' || n from generate_series(101, 120) n;
         alter table docs attach partition docs_b for values from (100) to (200)",
        // It came later, so no trigger tells of this.
        "truncate docs_b",
        "insert into docs select n, 'c' || n from generate_series(130, 140) n",
        "alter table docs detach partition docs_b",
        "drop table docs_a",
    ] {
        // The worker has seen what is there now.
        stage.database.wait_until(
            "(select m.partitions = ai._vectorizer_row_tables('docs', v.trigger_name)
              from ai.vectorizer_made_by m join ai.vectorizer v on v.id = m.vectorizer_id)",
            PATIENCE,
        );
        stage.run(change);
        stage.database.wait_until(IN_SYNC, PATIENCE);
    }
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 0);
}

#[test]
fn another_expression_of_a_generated_column_makes_the_texts_anew() {
    let mut stage = Stage::new();
    if stage.number("select current_setting('server_version_num')::bigint") < 170_000 {
        // ALTER COLUMN … SET EXPRESSION is new in 17.
        return;
    }
    stage.run(&format!(
        "create table docs (id int primary key, title text, author text, body text generated always as (title || '!') stored);
         insert into docs select n, 't' || n, 'a' from generate_series(1, 20) n; {}",
        create()
    ));
    let _worker = stage.worker("worker", &["--poll-interval", "1"]);
    stage.database.wait_until(IN_SYNC, PATIENCE);
    stage.database.wait_until(
        "exists (select from ai.vectorizer_made_by where expressions is not null)",
        PATIENCE,
    );
    stage.run("alter table docs alter column body set expression as (author || title)");
    stage.database.wait_until(IN_SYNC, PATIENCE);
    // What it is made of now is watched.
    stage.run("update docs set author = 'b' where id = 1");
    stage.database.wait_until(IN_SYNC, PATIENCE);
}
