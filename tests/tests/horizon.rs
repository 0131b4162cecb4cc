//! A long transaction of the application's holds the xmin horizon: dead rows cannot be cleaned up.

use pgai_core::Query;
use tests::hand::Hand;
use tests::stage::Stage;

const ROWS: i64 = 50_000;

/// Statistics that are taken at rest say that queue and lease table are empty, while their indexes are
/// full: a planner that believes them reads all of these for every claim and commit.
#[test]
fn workers_look_keys_up_one_by_one_however_many_dead_rows_there_are() {
    let mut stage = Stage::new();
    stage.run(
        "create table notes (id int primary key, body text);
         select ai.create_vectorizer('notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 3))",
    );
    let mut holder = stage.database.client();
    let snapshot = "begin isolation level repeatable read; select from notes limit 1";
    holder.batch_execute(snapshot).expect("a snapshot");
    stage.run(&format!(
        "insert into ai._vectorizer_lease_1 (id, _claim, _until, _attempts)
           select n, 1, now(), 1 from generate_series(1, {ROWS}) n;
         insert into ai._vectorizer_q_1 (id) select n from generate_series(1, {ROWS}) n"
    ));
    stage.run("delete from ai._vectorizer_lease_1; delete from ai._vectorizer_q_1");
    stage.run("analyze ai._vectorizer_lease_1, ai._vectorizer_q_1");
    stage.run(&format!(
        "insert into notes select n, 'text' from generate_series(1, {ROWS}) n"
    ));

    let before = entries_read(&mut stage);
    let mut hand = Hand::new(stage.database.client(), 1);
    for _ in 0..2 {
        let commit = hand.until(|query| matches!(query, Query::Commit { .. }));
        hand.run(commit).expect("a commit");
    }
    hand.sql("select pg_stat_force_next_flush()");
    let read = entries_read(&mut stage) - before;
    assert!((1..ROWS).contains(&read), "{read} entries were read");
}

/// Entries of the two keys' indexes.
fn entries_read(stage: &mut Stage) -> i64 {
    stage.run("select pg_stat_force_next_flush()");
    stage.number(
        "select sum(idx_tup_read)::bigint from pg_stat_user_indexes
         where indexrelname in ('_vectorizer_lease_1_pkey', '_vectorizer_q_1_pkey')",
    )
}
