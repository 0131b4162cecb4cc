//! A change where the vectors are in a column of the source: the new generation has another column, and the switch
//! exchanges their names.

use std::thread;

use postgres::Client;
use tests::process::Signal;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::{is_vector_of, vector_of};

use super::catalog::{CATALOG, assert_same};
use super::{BEGIN, OTHER, SHELLS, fails, text, wait_for, wait_until_both_are_done};

const HELD_BACK: &str =
    "select ai.alter_vectorizer('blog', formatting => ai.formatting_python_template('new $chunk'),
    switches => false)";

/// The table `blog (id, body, edits, vector)` with so many rows, which are embedded.
fn stage(rows: i32) -> Stage {
    let mut stage = Stage::new();
    stage.stub.add_model("other", OTHER);
    stage.run(&format!(
        "create table blog (id int primary key, body text, edits int default 0);
         insert into blog select n, 'body ' || n from generate_series(1, {rows}) n;
         select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_column('vector'))"
    ));
    stage.once("worker");
    stage
}

/// Each row has a vector of so many dimensions in this column, of its own text with this before it.
#[track_caller]
fn assert_true(stage: &mut Stage, column: &str, dimensions: usize, before: &str) {
    let query = format!("select '{before}' || body, {column}::real[] from blog order by id");
    for row in stage.sql.query(&query, &[]).unwrap() {
        let (body, vector): (String, Option<Vec<f32>>) = (row.get(0), row.get(1));
        let vector = vector.unwrap_or_else(|| panic!("{column}: {body:?} has no vector"));
        assert_eq!(vector.len(), dimensions, "{column}");
        assert!(is_vector_of(&body, &vector), "{column}: {body:?}");
    }
}

fn columns(stage: &mut Stage) -> String {
    text(
        stage,
        "select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attname) from pg_attribute
         where attrelid = 'blog'::regclass and attname ~ '^vector' and not attisdropped",
    )
}

#[test]
fn rows_get_vectors_of_both_models_until_the_change_ends() {
    for shell in SHELLS {
        let mut stage = stage(40);
        let worker = stage.worker(shell, &["--poll-interval", "1s"]);
        let change =
            "select ai.alter_vectorizer('blog', embedding => ai.embedding_ollama('other', 12),
            indexing => ai.indexing_hnsw(min_rows => 1000))";
        assert_eq!(text(&mut stage, change), "filling");
        for id in (1..=40).cycle().take(200) {
            stage.run(&format!(
                "update blog set body = body || '.' where id = {id}"
            ));
        }
        wait_for(&stage, "kept");
        assert_eq!(columns(&mut stage), "vector vector(12), vector_1 vector(8)");
        wait_until_both_are_done(&stage);
        assert_true(&mut stage, "vector", OTHER, "");
        assert_true(&mut stage, "vector_1", DIMENSIONS, "");
        for (generation, dimensions) in [(1, DIMENSIONS), (2, OTHER)] {
            let vector = vec!["0.5"; dimensions].join(",");
            let found = format!(
                "select count(*) from ai.search('blog', '[{vector}]', 4, generation => {generation})"
            );
            assert_eq!(stage.number(&found), 4);
        }
        stage.run("select ai.revert_change('blog'); update blog set body = 'back ' || id");
        assert_eq!(columns(&mut stage), "vector vector(8), vector_2 vector(12)");
        wait_until_both_are_done(&stage);
        assert_true(&mut stage, "vector", DIMENSIONS, "");
        assert_true(&mut stage, "vector_2", OTHER, "");
        stage.run("select ai.revert_change('blog')");
        stage.run("select ai.finish_change('blog')");
        assert_eq!(columns(&mut stage), "vector vector(12)");
        stage.run("update blog set body = 'after ' || id");
        stage.wait_until_done();
        assert_true(&mut stage, "vector", OTHER, "");
        assert_eq!(stage.stub.complaints(), Vec::<String>::new());
        drop(worker);
    }
}

#[test]
fn a_vector_that_is_written_after_a_change_queues_nothing() {
    for shell in SHELLS {
        let mut stage = stage(3);
        stage.run(&HELD_BACK.replace("'new $chunk'", "'$edits $chunk'"));
        stage.once(shell);
        stage.run("select ai.switch_change('blog')");
        stage.run("select ai.finish_change('blog')");
        // A trigger of the application changes a column of the template whenever the row is written.
        stage.run(
            "create function touch() returns trigger language plpgsql as $$
               begin new.edits = new.edits + 1; return new; end $$;
             create trigger touch before update on blog for each row execute function touch();
             update blog set body = 'changed' where id = 1",
        );
        stage.once(shell);
        assert_eq!(stage.number("select count(*) from ai._vectorizer_q_2"), 0);
        assert_eq!(
            stage.number("select edits::bigint from blog where id = 1"),
            2
        );
    }
}

#[test]
fn a_vector_that_is_on_its_way_at_the_switch_does_not_get_into_the_wrong_column() {
    for shell in SHELLS {
        let mut stage = stage(5);
        assert_eq!(text(&mut stage, HELD_BACK), "filling");
        stage.once(shell);
        assert_eq!(columns(&mut stage), "vector vector(8), vector_2 vector(8)");
        // Both generations have asked for the vector of a row, and both answers come after the switch.
        let held = stage.stub.hold();
        let mut worker = stage.worker(shell, &["--poll-interval", "1s"]);
        stage.run("update blog set body = 'changed' where id = 3");
        stage.stub.wait_for_waiting(2, PATIENCE);
        stage.run("select ai.switch_change('blog')");
        held.release();
        wait_until_both_are_done(&stage);
        assert_true(&mut stage, "vector", DIMENSIONS, "new ");
        assert_true(&mut stage, "vector_1", DIMENSIONS, "");
        worker.signal(Signal::Term);
        worker.wait(PATIENCE);
        assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 0);
    }
}

/// The distance of the first row's vector in this generation to that of a text.
fn distance(client: &mut Client, text: &str, generation: i32) -> f64 {
    let vector = format!("{:?}", vector_of(text, DIMENSIONS));
    let search = format!(
        "select distance from ai.search('blog', '{vector}', 1, '{{\"id\": 1}}', generation => {generation})"
    );
    client.query_one(&search, &[]).unwrap().get(0)
}

#[test]
fn a_search_from_before_the_switch_reads_the_vectors_of_its_generation() {
    let mut stage = stage(5);
    stage.run(HELD_BACK);
    stage.once("worker");
    let (old, new) = ("body 1", "new body 1");
    // In a snapshot that is older than the switch.
    let mut reader = stage.database.client();
    reader
        .batch_execute("begin isolation level repeatable read; select from pg_class limit 1")
        .unwrap();
    // And at the moment of the switch: it waits for the table.
    let mut switching = stage.database.client();
    switching
        .batch_execute("begin; select ai.switch_change('blog')")
        .unwrap();
    let mut waiting = stage.database.client();
    let search = thread::spawn(move || distance(&mut waiting, old, 1));
    stage.database.wait_until(
        "exists (select from pg_locks where not granted and relation = 'blog'::regclass)",
        PATIENCE,
    );
    switching.batch_execute("commit").unwrap();
    assert!(search.join().unwrap() < 1e-6);
    assert!(distance(&mut reader, old, 1) < 1e-6);
    assert!(distance(&mut reader, new, 2) < 1e-6);
    assert!(distance(&mut reader, new, 1) > 1e-3);
    reader.batch_execute("commit").unwrap();
    let mut search = stage.worker("worker", &["search", "blog", "new body 3", "-k", "1"]);
    assert!(search.wait(PATIENCE).success());
    assert!(
        search.lines()[0].ends_with("body 3"),
        "{:?}",
        search.lines()
    );
}

#[test]
fn a_change_leaves_nothing_and_takes_the_text_index_along() {
    let mut stage = stage(6);
    stage.run(
        "do $$ begin create role change_reader; exception when duplicate_object or unique_violation then null; end $$;
         grant select (id, vector) on blog to change_reader; select ai.enable_hybrid('blog')",
    );
    stage.run("insert into ai.vectorizer_index (vectorizer_id) select id from ai.vectorizer");
    let before = text(&mut stage, CATALOG);
    stage.run(BEGIN);
    stage.run("select ai.cancel_change('blog')");
    assert_same(&mut stage, &before, "cancelled");
    stage.run(BEGIN);
    stage.once("worker");
    assert_eq!(columns(&mut stage), "vector vector(12), vector_1 vector(8)");
    let readable = "select has_column_privilege('change_reader', 'blog', 'vector', 'select')::text";
    assert_eq!(text(&mut stage, readable), "true");
    let found = |generation| {
        format!(
            "select count(*) from ai.hybrid_search('blog', 'ducks', null, generation => {generation})"
        )
    };
    stage.run("update blog set body = 'ducks' where id = 2");
    stage.once("worker");
    for generation in [1, 3] {
        assert_eq!(stage.number(&found(generation)), 1, "{generation}");
    }
    stage.run("select ai.revert_change('blog'); update blog set body = 'body 2' where id = 2");
    stage.once("worker");
    for generation in [1, 3] {
        assert_eq!(stage.number(&found(generation)), 0, "{generation}");
    }
    stage.run("select ai.finish_change('blog')");
    stage.run("update ai.vectorizer_text set chunks = 6, words = 12");
    assert_same(&mut stage, &before, "reverted");
}

#[test]
fn what_depends_on_the_column_is_named_and_names_must_be_free() {
    let mut stage = stage(1);
    for (create, drop, named) in [
        ("create view mine as select * from blog", "drop view mine", "the view public.mine"),
        (
            "alter table blog add half halfvec(8) generated always as (vector::halfvec(8)) stored",
            "alter table blog drop half",
            "the generated column half",
        ),
        (
            "create policy p on blog using (vector is null)",
            "drop policy p on blog",
            "the policy p on public.blog",
        ),
        (
            "create function nothing() returns trigger language plpgsql as 'begin return null; end';
             create trigger mine after update of vector on blog for each row execute function nothing()",
            "drop trigger mine on blog",
            "the trigger mine on public.blog",
        ),
        (
            "alter table blog add vector_1 int",
            "alter table blog drop vector_1",
            "the name vector_1",
        ),
    ] {
        stage.run(create);
        let message = fails(&mut stage, BEGIN);
        assert!(message.contains(named), "{message}");
        stage.run(drop);
    }
    assert_eq!(columns(&mut stage), "vector vector(8)");
    stage.run(&BEGIN.replace("))", "), switches => false)"));
    stage.once("worker");
    stage.run("alter table blog add vector_1 int");
    let message = fails(&mut stage, "select ai.switch_change('blog')");
    assert!(message.contains("has a column vector_1"), "{message}");
    stage.run("alter table blog drop vector_1; select ai.switch_change('blog')");
    // The column of either generation is taken.
    let other = format!(
        "select ai.create_vectorizer('blog', name => 'mine', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_column('vector_1'))"
    );
    let message = fails(&mut stage, &other);
    assert!(message.contains("writes to the column"), "{message}");
    stage.run("select ai.revert_change('blog'); select ai.finish_change('blog')");
    // What does not touch the column is in nobody's way.
    stage.run(
        "create view mine as select id, body from blog; create policy p on blog using (id > 0)",
    );
    stage.run(BEGIN);
    stage.once("worker");
    wait_for(&stage, "kept");
    stage.run("select ai.drop_vectorizer('blog')");
    assert_eq!(columns(&mut stage), "vector vector(12)");
}
