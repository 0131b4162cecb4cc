//! Searching: `ai.search`, `ai.hybrid_search`, and the commands `search` and `evaluate`.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod commands;
mod cranfield;
mod functions;
mod generated;
mod hybrid;
mod indexes;
mod manual;
mod measure;
mod restore;
mod rights;
mod textsearch;

use postgres::Client;
use tests::stage::Stage;

/// Texts of a row's chunks.
const TEXTS: [&str; 3] = ["the moon pulls the sea", "knead the dough", "a ship at sea"];

/// A table `docs (id, lang, year, tags, meta, body)` with 60 rows of three chunks each; the vector of row n and chunk s is
/// `[n, s, 1]`. Every third row is English.
fn filled() -> Stage {
    let mut stage = Stage::new();
    stage.run(
        "create table docs (id int primary key, lang text, year int, tags text[], meta jsonb, body text);
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 3), enqueue_existing => false,
           destination => ai.destination_table(target_table => 'docs_store'));
         insert into docs select n, case when n % 3 = 0 then 'en' end, 2000 + n, array['t' || n % 4],
           jsonb_build_object('n', n % 5), 'body' from generate_series(1, 60) n",
    );
    for (place, text) in TEXTS.iter().enumerate() {
        stage.run(&format!(
            "insert into docs_store (id, chunk_seq, chunk, embedding)
             select n, {place}, '{text} ' || n, format('[%s,{place},1]', n)::vector from docs d(n)"
        ));
    }
    stage
}

/// The keys and places of what a search returns, in order: `7.1` is the chunk 1 of row 7.
#[track_caller]
fn found(client: &mut Client, search: &str) -> Vec<String> {
    let query = format!("select (key ->> 'id') || '.' || chunk_seq from {search}");
    let rows = client
        .query(&query, &[])
        .unwrap_or_else(|error| panic!("{search}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// SQLSTATE and message of what must fail.
#[track_caller]
fn refused(client: &mut Client, sql: &str) -> (String, String) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error
        .as_db_error()
        .unwrap_or_else(|| panic!("{sql}: {error:?}"));
    (error.code().code().to_owned(), error.message().to_owned())
}
