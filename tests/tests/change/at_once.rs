//! What needs no second generation, and what is refused.

use tests::stage::Stage;

use super::{BEGIN, fails, stage, text};

#[track_caller]
fn alter(stage: &mut Stage, arguments: &str) -> String {
    text(
        stage,
        &format!("select ai.alter_vectorizer('blog', {arguments})"),
    )
}

#[test]
fn what_makes_neither_texts_nor_vectors_changes_at_once() {
    let mut stage = stage(2);
    stage.stub.take_requests();
    for (arguments, shown, value) in [
        (
            "processing => ai.processing_default(batch_size => 7)",
            "{processing,batch_size}",
            "7",
        ),
        (
            "indexing => ai.indexing_hnsw(min_rows => 5)",
            "{indexing,min_rows}",
            "5",
        ),
        (
            "embedding => ai.embedding_ollama('stub', 8, base_url => 'http://there')",
            "{embedding,base_url}",
            "http://there",
        ),
    ] {
        assert_eq!(alter(&mut stage, arguments), "done", "{arguments}");
        assert_eq!(alter(&mut stage, arguments), "unchanged", "{arguments}");
        let config = format!("select config #>> '{shown}' from ai.vectorizer");
        assert_eq!(text(&mut stage, &config), value);
    }
    let by_id =
        "select ai.alter_vectorizer(id, processing => ai.processing_default()) from ai.vectorizer";
    assert_eq!(text(&mut stage, by_id), "done");
    let url = stage.stub.url();
    let back = format!("embedding => ai.embedding_ollama('stub', 8, base_url => '{url}')");
    assert_eq!(alter(&mut stage, &back), "done");
    stage.once("worker");
    stage.assert_true();
    assert_eq!(stage.stub.take_requests().len(), 0);
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_generation"),
        0
    );
}

#[test]
fn other_texts_are_made_in_the_same_store() {
    let mut stage = stage(3);
    let template = "formatting => ai.formatting_python_template('$title, $views: $chunk')";
    assert_eq!(alter(&mut stage, template), "refilling");
    stage.once("worker");
    let first = text(
        &mut stage,
        "select chunk from blog_store where id = 1 and chunk_seq = 0",
    );
    assert!(first.starts_with("t1, 0: "), "{first}");
    // A column that was not read before fires the triggers now.
    stage.run("update blog set views = 5 where id = 1");
    stage.once("worker");
    let first = text(
        &mut stage,
        "select chunk from blog_store where id = 1 and chunk_seq = 0",
    );
    assert!(first.starts_with("t1, 5: "), "{first}");
    let model = "formatting => ai.formatting_python_template('$title: $chunk')";
    assert_eq!(alter(&mut stage, model), "refilling");
    stage.once("worker");
    stage.assert_true();
    stage.run("update blog set views = 6");
    assert_eq!(
        stage.number("select ai.vectorizer_queue_pending('blog', true)"),
        0
    );
}

#[test]
fn what_is_wrong_is_said_before_anything_happens() {
    let mut stage = stage(1);
    for (arguments, said) in [
        (
            "processing => '{}'",
            "invalid config_type for processing config",
        ),
        ("embedding => ai.embedding_openai(null, 3)", "model"),
        (
            "embedding => ai.embedding_ollama('other', null)",
            "dimensions argument is required",
        ),
        (
            "formatting => ai.formatting_python_template('$nothing $chunk')",
            "nothing",
        ),
        ("loading => ai.loading_column('nothing')", "nothing"),
        (
            "embedding => ai.embedding_ollama('other', 4001), indexing => ai.indexing_hnsw()",
            "4001",
        ),
    ] {
        let sql = format!("select ai.alter_vectorizer('blog', {arguments})");
        let message = fails(&mut stage, &sql);
        assert!(message.contains(said), "{arguments}: {message}");
    }
    let message = fails(&mut stage, "select ai.alter_vectorizer('blok')");
    assert!(message.contains("no vectorizer blok"), "{message}");
    for function in ["finish", "cancel", "revert", "switch"] {
        let message = fails(&mut stage, &format!("select ai.{function}_change('blog')"));
        assert!(message.contains("does not change"), "{message}");
    }
}

#[test]
fn what_depends_on_the_old_vectors_is_named() {
    let mut stage = stage(1);
    for (create, drop, named) in [
        (
            "create view mine as select * from blog_embedding",
            "drop view mine",
            "the view public.mine",
        ),
        (
            "create materialized view mine as select count(*) from blog_store",
            "drop materialized view mine",
            "the materialized view public.mine",
        ),
        (
            "create function mine() returns bigint language sql stable return (select count(*) from blog_embedding)",
            "drop function mine()",
            "the function public.mine()",
        ),
        (
            "create table mine (chunk uuid references blog_store)",
            "drop table mine",
            "the foreign key mine_chunk_fkey of public.mine",
        ),
        (
            "create table mine (id int); create policy p on mine using (id in (select id from blog_embedding))",
            "drop table mine",
            "the policy p on public.mine",
        ),
    ] {
        stage.run(create);
        let message = fails(&mut stage, BEGIN);
        assert!(message.contains(named), "{message}");
        assert_eq!(
            stage.number("select count(*) from ai.vectorizer_generation"),
            0
        );
        stage.run(drop);
    }
    stage.run(BEGIN);
    let message = fails(&mut stage, BEGIN);
    assert!(message.contains("is changing already"), "{message}");
    let other_texts = "select ai.alter_vectorizer('blog', chunking => ai.chunking_none())";
    let message = fails(&mut stage, other_texts);
    assert!(message.contains("is changing already"), "{message}");
    // What belongs to both does not wait.
    let both = "processing => ai.processing_default(batch_size => 3)";
    assert_eq!(alter(&mut stage, both), "done");
    let sizes =
        "select string_agg(config #>> '{processing,batch_size}', ' ') from ai._vectorizers()";
    assert_eq!(text(&mut stage, sizes), "3 3");
}
