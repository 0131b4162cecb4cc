//! A text index goes along with a change: each generation has one of its own.

use std::thread;

use tests::stage::{PATIENCE, Stage};

use super::{BEGIN, SHELLS, stage, text, wait_for, wait_until_both_are_done};

/// How many chunks a generation finds for these words; without a number, the one that serves.
#[track_caller]
fn found(stage: &mut Stage, words: &str, generation: Option<i32>) -> i64 {
    let generation =
        generation.map_or_else(String::new, |number| format!(", generation => {number}"));
    stage.number(&format!(
        "select count(*) from ai.hybrid_search('blog', '{words}', null, 1000{generation})"
    ))
}

/// The tables of text indexes, with the triggers that write them.
fn parts(stage: &mut Stage) -> String {
    text(
        stage,
        "select string_agg(x.name, ' ' order by x.name) from (
           select relname::text from pg_class where relname ~ '^_vectorizer_(text|words)_[0-9]+$'
           union all select tgname || '@' || tgrelid::regclass from pg_trigger where tgname ~ '_text$') x(name)",
    )
}

/// How many chunks were counted for the generation that serves, and for the other one.
const COUNTED: &str =
    "select string_agg(chunks::text, ' ' order by vectorizer_id) from ai.vectorizer_text";
const BOTH: &str = "_vectorizer_src_trg_1_text@blog_store _vectorizer_src_trg_2_text@blog_store_2 \
    _vectorizer_text_1 _vectorizer_text_2 _vectorizer_words_1 _vectorizer_words_2";
const FIRST: &str = "_vectorizer_src_trg_1_text@blog_store _vectorizer_text_1 _vectorizer_words_1";
const SECOND: &str =
    "_vectorizer_src_trg_2_text@blog_store_2 _vectorizer_text_2 _vectorizer_words_2";

#[test]
fn words_are_found_at_each_moment_of_a_change() {
    for shell in SHELLS {
        let mut stage = stage(60);
        stage.run("update blog set body = 'the ducks of ' || id where id % 3 = 0");
        stage.once(shell);
        stage.run("select ai.enable_hybrid('blog', 'english', k1 => 1.5)");
        assert_eq!(found(&mut stage, "duck", None), 20);
        let _worker = stage.worker(shell, &["--poll-interval", "1s"]);
        // With one chunk for each row.
        let begin = BEGIN.replace("))", "), chunking => ai.chunking_none())");
        assert_eq!(text(&mut stage, &begin), "filling");
        assert_eq!(found(&mut stage, "duck", None), 20);
        wait_for(&stage, "kept");
        // All chunks of the new generation were counted before it served.
        assert_eq!(text(&mut stage, COUNTED), "60 100");
        for generation in [None, Some(1), Some(2)] {
            assert_eq!(found(&mut stage, "duck", generation), 20, "{generation:?}");
        }
        let kept = "select string_agg(config #>> '{destination,hybrid}', ' ' order by id) from ai._vectorizers()";
        let entry = r#"{"b": 0.75, "k1": 1.5, "language": "pg_catalog.english"}"#;
        assert_eq!(text(&mut stage, kept), format!("{entry} {entry}"));
        // Both follow.
        stage.run("update blog set body = 'geese of ' || id where id % 6 = 0");
        wait_until_both_are_done(&stage);
        for generation in [None, Some(1), Some(2)] {
            assert_eq!(found(&mut stage, "duck", generation), 10, "{generation:?}");
            assert_eq!(
                found(&mut stage, "goose geese", generation),
                10,
                "{generation:?}"
            );
        }
        stage.run("select ai.revert_change('blog')");
        assert_eq!(found(&mut stage, "duck", None), 10);
        stage.run("select ai.revert_change('blog')");
        assert_eq!(parts(&mut stage), BOTH);
        stage.run("select ai.finish_change('blog')");
        assert_eq!(parts(&mut stage), SECOND);
        assert_eq!(found(&mut stage, "duck", None), 10);
        assert_eq!(stage.number("select count(*) from ai.vectorizer_text"), 1);
        stage.run("select ai.drop_vectorizer('blog', drop_all => true)");
        assert_eq!(stage.number("select count(*) from ai.vectorizer_text"), 0);
        let left =
            "select count(*) from pg_class where relname ~ '^_vectorizer_(text|words)_[0-9]'";
        assert_eq!(stage.number(left), 0);
    }
}

#[test]
fn a_text_index_is_made_and_dropped_for_both_generations() {
    let mut stage = stage(4);
    stage.run(&BEGIN.replace("))", "), switches => false)"));
    stage.once("worker");
    stage.run("select ai.enable_hybrid('blog')");
    assert_eq!(parts(&mut stage), BOTH);
    let all = found(&mut stage, "a b", Some(1));
    assert!(all > 0);
    assert_eq!(found(&mut stage, "a b", Some(2)), all);
    // Another language: both again.
    stage.run("select ai.enable_hybrid('blog', 'german')");
    assert_eq!(parts(&mut stage), BOTH);
    stage.run("select ai.disable_hybrid('blog')");
    assert_eq!(stage.number("select count(*) from ai.vectorizer_text"), 0);
    stage.run("select ai.enable_hybrid('blog')");
    // One that is not ready cannot serve.
    stage.run("update ai.vectorizer_text set filled_at = null where vectorizer_id = 2");
    let refused = super::fails(&mut stage, "select ai.switch_change('blog')");
    assert!(refused.contains("its text index is not ready"), "{refused}");
    stage.once("worker");
    // As after an upgrade: older versions made one for the generation that serves.
    stage.run("update ai.vectorizer_generation set config = config #- '{destination,hybrid}'");
    let refused = super::fails(&mut stage, "select ai.switch_change('blog')");
    let remedy = "select ai.enable_hybrid('blog', 'pg_catalog.simple')";
    assert!(refused.contains(remedy), "{refused}");
    stage.run(
        "update ai.vectorizer_generation set config = jsonb_set(config, '{destination,hybrid}',
        (select config #> '{destination,hybrid}' from ai.vectorizer))",
    );
    stage.run("select ai.switch_change('blog')");
    assert_eq!(found(&mut stage, "a b", None), all);
    stage.run("select ai.revert_change('blog'); select ai.finish_change('blog')");
    assert_eq!(parts(&mut stage), FIRST);
    assert_eq!(found(&mut stage, "a b", None), all);
}

#[test]
fn a_count_that_a_switch_overtakes_is_not_recorded() {
    let mut stage = stage(6);
    stage.run("select ai.enable_hybrid('blog')");
    stage.run(&BEGIN.replace(
        "))",
        "), chunking => ai.chunking_none(), switches => false)",
    ));
    stage.once("worker");
    assert_eq!(text(&mut stage, COUNTED), "12 6");
    let mut holder = stage.database.client();
    holder
        .batch_execute("begin; lock table ai._vectorizer_words_1 in share mode")
        .unwrap();
    let mut counting = stage.database.client();
    let count = thread::spawn(move || counting.batch_execute("call ai._text_keep(1)").unwrap());
    let waits = "exists (select from pg_locks where not granted and relation = 'ai._vectorizer_words_1'::regclass)";
    stage.database.wait_until(waits, PATIENCE);
    stage.run("select ai.switch_change('blog')");
    assert_eq!(text(&mut stage, COUNTED), "6 12");
    holder.batch_execute("commit").unwrap();
    count.join().unwrap();
    assert_eq!(text(&mut stage, COUNTED), "6 12");
}

#[test]
fn a_text_index_of_an_older_version_is_renamed() {
    let mut stage = stage(4);
    stage.run(BEGIN);
    stage.once("worker");
    stage.run("select ai.finish_change('blog'); select ai.enable_hybrid('blog')");
    assert_eq!(parts(&mut stage), SECOND);
    let all = found(&mut stage, "a b", None);
    // It has named them by the id of the vectorizer, and not by the number of its generation.
    stage.run(
        "alter table ai._vectorizer_text_2 rename to _vectorizer_text_1;
         alter table ai._vectorizer_words_2 rename to _vectorizer_words_1;
         alter index ai._vectorizer_text_idx_2 rename to _vectorizer_text_idx_1;
         update ai._vectorizer_build set version = 'an older one'",
    );
    super::fails(
        &mut stage,
        "select * from ai.hybrid_search('blog', 'a', null)",
    );
    stage.database.install();
    assert_eq!(parts(&mut stage), SECOND);
    assert_eq!(found(&mut stage, "a b", None), all);
    stage.run("update blog set body = 'ducks' where id = 1");
    stage.once("worker");
    assert_eq!(found(&mut stage, "ducks", None), 1);
    // And the next change.
    stage.run("select ai.alter_vectorizer('blog', embedding => ai.embedding_ollama('stub', 8))");
    stage.once("worker");
    assert_eq!(found(&mut stage, "ducks", None), 1);
}
