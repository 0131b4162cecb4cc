//! `ai.hybrid_search`: BM25 as a reference implementation has it, both arms in one ranking, and the text index, which
//! follows the store.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tests::stage::{PATIENCE, Stage};

use crate::{filled, found, refused};

const GOLDEN: &str = include_str!("../../golden/search/bm25.json");

#[test]
fn scores_are_those_of_bm25s() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let mut stage = Stage::new();
    stage.run(
        "create table docs (id int primary key, body text);
         select ai.create_vectorizer('docs', name => 'docs', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 3), enqueue_existing => false,
           destination => ai.destination_table(target_table => 'docs_store'))",
    );
    for (id, text) in golden["documents"].as_array().unwrap().iter().enumerate() {
        let insert = "insert into docs_store (id, chunk_seq, chunk, embedding) values ($1, 0, $2, '[1,2,3]')";
        let id = i32::try_from(id).unwrap();
        stage
            .sql
            .execute(insert, &[&id, &text.as_str().unwrap()])
            .unwrap();
    }
    let mut compared = 0;
    for golden in golden["golden"].as_array().unwrap() {
        stage.run(&format!(
            "select ai.enable_hybrid('docs', k1 => {}, b => {})",
            golden["k1"], golden["b"]
        ));
        let query = "select (key ->> 'id')::int, text_score from ai.hybrid_search('docs', $1::text, null, 100)";
        let rows = stage
            .sql
            .query(query, &[&golden["query"].as_str().unwrap()])
            .unwrap();
        let got: BTreeMap<i32, f64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for (id, expect) in golden["scores"].as_array().unwrap().iter().enumerate() {
            let got = got.get(&i32::try_from(id).unwrap()).copied().unwrap_or(0.0);
            let expect = expect.as_f64().unwrap();
            assert!((got - expect).abs() < 1e-5, "{golden}: {id}: {got}");
            compared += 1;
        }
    }
    assert_eq!(compared, 210);
}

#[test]
fn both_arms_are_in_the_result_with_their_weights() {
    let mut stage = filled();
    stage.run("select ai.enable_hybrid('docs')");
    let row = "select chunk, score, vector_rank, distance, text_rank, text_score, chunks_before, source::text
        from ai.hybrid_search('docs', 'dough 7', '[7,1,1]', 1, neighbours => 1, columns => '{year}', vector_weight => 2,
          rank_constant => 10)";
    let row = stage.sql.query_one(row, &[]).unwrap();
    assert_eq!(row.get::<_, &str>(0), "knead the dough 7");
    assert!((row.get::<_, f64>(1) - (2.0 / 11.0 + 1.0 / 11.0)).abs() < 1e-9);
    assert_eq!((row.get::<_, i32>(2), row.get::<_, i32>(4)), (1, 1));
    assert!(row.get::<_, f64>(3) < 1e-6 && row.get::<_, f64>(5) > 0.0);
    assert_eq!(row.get::<_, Vec<&str>>(6), ["the moon pulls the sea 7"]);
    assert_eq!(row.get::<_, &str>(7), r#"{"year": 2007}"#);
    let first = |stage: &mut Stage, more: &str| {
        found(
            &mut stage.sql,
            &format!("ai.hybrid_search('docs', '8 ship', '[7,1,1]', 1{more})"),
        )
    };
    assert_eq!(first(&mut stage, ", text_weight => 0"), ["7.1"]);
    assert_eq!(first(&mut stage, ", vector_weight => 0"), ["8.2"]);
    assert_eq!(
        first(
            &mut stage,
            ", vector_weight => 0, filter => '{\"year\": 2009}'"
        ),
        ["9.2"]
    );
    for (words, vector, k, expect) in [
        ("", "null", "10", 0),
        ("sea", "null", "0", 0),
        ("sea", "null", "2147483647", 120),
        ("sea", "'[7,1,1]'", "2147483647", 180),
        ("...", "'[7,1,1]'", "5", 5),
    ] {
        let search = format!("ai.hybrid_search('docs', '{words}', {vector}, {k})");
        assert_eq!(found(&mut stage.sql, &search).len(), expect, "{search}");
    }
    assert_eq!(
        found(&mut stage.sql, "ai.hybrid_search(1, null, '[7,1,1]', 3)").len(),
        3
    );
    for wrong in [
        "text_weight => -1",
        "text_weight => 'NaN'",
        "rank_constant => null",
        "candidates => 0",
        "k => -1",
    ] {
        let search = format!("select * from ai.hybrid_search('docs', 'x', '[7,1,1]', {wrong})");
        assert_eq!(refused(&mut stage.sql, &search).0, "22023", "{wrong}");
    }
}

#[test]
fn the_text_index_follows_the_store() {
    let mut stage = filled();
    stage.run("select ai.enable_hybrid('docs', 'english')");
    let search = |stage: &mut Stage, words: &str| {
        found(
            &mut stage.sql,
            &format!("ai.hybrid_search('docs', '{words}', null, 3)"),
        )
    };
    assert_eq!(
        search(&mut stage, "kneading 7"),
        search(&mut stage, "kneads 7")
    );
    stage.run("update docs_store set chunk = 'zebras' where id = 7 and chunk_seq = 1");
    assert_eq!(search(&mut stage, "zebra"), ["7.1"]);
    stage.run("delete from docs where id = 7");
    assert_eq!(search(&mut stage, "zebra"), [""; 0]);
    stage.run("insert into docs values (7); insert into docs_store (id, chunk_seq, chunk, embedding) values (7, 0, 'zebra', '[1,1,1]')");
    assert_eq!(search(&mut stage, "zebra"), ["7.0"]);
    // What no tsvector can hold has no words, and stops nobody.
    stage.run("update docs_store set chunk = (select string_agg(chr(20000 + n % 20000) || n, ' ') from generate_series(1, 200000) n) where id = 7");
    assert_eq!(search(&mut stage, "zebra"), [""; 0]);
    stage.run("update docs_store set chunk = '' where id = 7");
    stage.run(
        "select ai.refresh_vectorizer('docs'); update docs_store set chunk = 'zebra' where id = 7",
    );
    assert_eq!(search(&mut stage, "zebra"), ["7.0"]);
    stage.run("truncate docs");
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_text_1"),
        0
    );
    stage.run("select ai.disable_hybrid('docs'), ai.disable_hybrid('docs')");
    let left = "select count(*) from pg_class where relname ~ '_vectorizer_(text|words)_'";
    assert_eq!(stage.number(left), 0);
    assert_eq!(
        stage.number("select count(*) from pg_trigger where tgrelid = 'docs_store'::regclass"),
        0
    );
    stage.run("select ai.enable_hybrid('docs'), ai.enable_hybrid('docs', k1 => 2); select ai.drop_vectorizer('docs')");
    assert_eq!(stage.number(left), 0);
    assert_eq!(
        stage.number("select count(*) from pg_trigger where tgrelid = 'docs_store'::regclass"),
        0
    );
    assert_eq!(
        refused(&mut stage.sql, "select ai.enable_hybrid('docs')").0,
        "P0002"
    );
}

#[test]
fn a_worker_fills_the_index_of_a_large_store_and_counts_again() {
    for shell in ["worker", "worker-blocking"] {
        let mut stage = filled();
        stage.worker_url = stage.database.url().to_owned();
        stage.stub.add_model("stub", 3);
        stage.run(
            "insert into docs select n from generate_series(1001, 12000) n;
             delete from ai._vectorizer_q_1;
             insert into docs_store (id, chunk_seq, chunk, embedding)
               select n, 0, 'number ' || n, '[1,2,3]' from generate_series(1001, 12000) n;
             select ai.enable_hybrid('docs')",
        );
        let (code, message) = refused(
            &mut stage.sql,
            "select * from ai.hybrid_search('docs', '1001', null)",
        );
        assert_eq!(code, "55000", "{message}");
        let mut worker = stage.worker(shell, &["--poll-interval", "1"]);
        stage.database.wait_until(
            "exists (select from ai.vectorizer_text where filled_at is not null)
             and exists (select from pg_index where indexrelid = to_regclass('ai._vectorizer_text_idx_1') and indisvalid)",
            PATIENCE,
        );
        worker.wait_for_line("text index built", PATIENCE);
        assert_eq!(
            found(&mut stage.sql, "ai.hybrid_search('docs', '1001', null)"),
            ["1001.0"]
        );
        assert_eq!(
            stage.number("select chunks from ai.vectorizer_text"),
            11_180
        );
        stage.run(
            "insert into docs_store (id, chunk_seq, chunk, embedding)
            select n, 5, 'more ' || n, '[1,2,3]' from generate_series(1001, 4000) n",
        );
        stage.database.wait_until(
            "exists (select from ai.vectorizer_text where chunks = 14180)",
            PATIENCE.max(Duration::from_secs(60)),
        );
        worker.signal(tests::process::Signal::Term);
        assert_eq!(worker.wait(PATIENCE).code(), Some(0));
        let errors =
            "select coalesce(string_agg(message || details, ', '), '') from ai._vectorizer_errors";
        let errors: String = stage.sql.query_one(errors, &[]).unwrap().get(0);
        assert_eq!(errors, "");
    }
}
