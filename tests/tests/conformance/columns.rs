//! Vectors in a column of the source itself.

use tests::stub::vector_of;

use crate::stage::{DIMENSIONS, Stage};

/// The table `notes (id, title, body, updated_at)` with a vectorizer that writes to `notes.vector`.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run(
        "create table notes (id int primary key, title text, body text, updated_at timestamptz)",
    );
    stage.run(&format!(
        "select ai.create_vectorizer('notes', name => 'notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           formatting => ai.formatting_python_template('$title: $chunk'),
           destination => ai.destination_column('vector'))"
    ));
    stage
}

/// Every row has the vector of its own text, and those without a text have none.
#[track_caller]
fn assert_true(stage: &mut Stage) {
    let rows = stage
        .sql
        .query(
            "select id, coalesce(title, 'None'), body, vector::real[] from notes order by id",
            &[],
        )
        .unwrap();
    for row in rows {
        let (id, title): (i32, String) = (row.get(0), row.get(1));
        let (body, vector): (Option<String>, Option<Vec<f32>>) = (row.get(2), row.get(3));
        let wanted = body
            .filter(|body| !body.is_empty())
            .map(|body| vector_of(&format!("{title}: {body}"), DIMENSIONS));
        assert_eq!(vector, wanted, "row {id}");
    }
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
    assert_eq!(stage.stub.complaints(), Vec::<String>::new());
}

pub(crate) fn vectors_in_a_column_follow_their_rows(shell: &str) {
    let mut stage = stage();
    stage.run(
        "insert into notes select n, 't', 'body ' || n from generate_series(1, 120) n;
         insert into notes values (200, 't', null), (201, 't', '')",
    );
    stage.once(shell);
    assert_true(&mut stage);
    assert_eq!(stage.stub.inputs().len(), 120);

    stage.stub.take_requests();
    stage.run(
        "update notes set body = 'new ' || id where id <= 3;
         update notes set body = null where id = 4;
         update notes set body = '' where id = 5;
         update notes set id = 300 where id = 6;
         delete from notes where id = 7;
         delete from notes where id = 8; insert into notes values (8, 't', 'again');
         update notes set title = 'other' where id = 9;
         update notes set updated_at = now()",
    );
    stage.once(shell);
    assert_true(&mut stage);
    // Three new texts, one key, one row that is there again, one title.
    assert_eq!(stage.stub.inputs().len(), 6);

    stage.run("truncate notes; insert into notes values (1, 't', 'last')");
    stage.once(shell);
    assert_true(&mut stage);
}

/// `updated_at` is set by a trigger, and it even stands in the template: what the worker writes is no
/// change all the same.
pub(crate) fn a_trigger_on_the_source_makes_no_loop(shell: &str) {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table notes (id int primary key, body text, updated_at timestamptz);
         create function touch() returns trigger language plpgsql as
           $$ begin new.updated_at = clock_timestamp(); return new; end $$;
         create trigger touch before update on notes for each row execute function touch();
         select ai.create_vectorizer('notes', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           formatting => ai.formatting_python_template('$updated_at $chunk'),
           destination => ai.destination_column('vector'));
         insert into notes select n, 'body ' || n from generate_series(1, 20) n"
    ));
    stage.once(shell);
    assert_eq!(stage.stub.inputs().len(), 20);
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
    assert_eq!(
        stage.number("select count(*) from notes where vector is null"),
        0
    );

    // The application's changes count still; those of the column itself do not.
    stage.stub.take_requests();
    stage.run("update notes set body = 'changed' where id = 1");
    stage.once(shell);
    assert_eq!(stage.stub.inputs().len(), 1);
}

pub(crate) fn a_column_that_the_application_fills_is_left_alone(shell: &str) {
    let mut stage = stage();
    stage.run("insert into notes values (1, 't', 'body')");
    stage.once(shell);
    stage.stub.take_requests();
    stage.run("update notes set vector = null");
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
    stage.once(shell);
    assert_eq!(stage.stub.requests().len(), 0);
}

/// The row is held by the application: the commit asks again, and nothing is lost.
pub(crate) fn a_row_that_the_application_holds_is_written_later(shell: &str) {
    let mut stage = stage();
    stage.run("insert into notes select n, 't', 'body ' || n from generate_series(1, 5) n");
    let hold = stage.stub.hold();
    let worker = stage.worker(shell, &["--poll-interval", "1"]);
    stage.stub.wait_for_waiting(1, crate::stage::PATIENCE);
    let mut application = stage.database.client();
    let mut held = application.transaction().unwrap();
    held.execute("update notes set updated_at = now() where id = 3", &[])
        .unwrap();
    hold.release();
    // The others go on.
    stage.database.wait_until(
        "(select count(*) = 4 from notes where vector is not null)",
        crate::stage::PATIENCE,
    );
    held.commit().unwrap();
    stage.wait_until_done();
    drop(worker);
    assert_true(&mut stage);
}

/// An application that holds a row for long keeps one batch waiting, and not the other vectorizers.
pub(crate) fn a_row_held_for_long_stops_no_other_vectorizer(shell: &str) {
    let mut stage = stage();
    stage.run(&format!(
        "create table pages (id int primary key, body text);
         select ai.create_vectorizer('pages', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_table('pages_e'));
         insert into notes values (1, 't', 'held')"
    ));
    let mut application = stage.database.client();
    let mut held = application.transaction().unwrap();
    held.execute("select from notes where id = 1 for update", &[])
        .unwrap();
    let worker = stage.worker(shell, &["--poll-interval", "1", "--lease", "4"]);
    stage.stub.wait_for_requests(1, crate::stage::PATIENCE);
    stage.run("insert into pages values (1, 'free')");
    stage.database.wait_until(
        "(select count(*) = 1 from pages_e_store)",
        crate::stage::PATIENCE,
    );
    held.commit().unwrap();
    stage.wait_until_done();
    drop(worker);
    assert_true(&mut stage);
}
