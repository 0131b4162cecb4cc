//! Stores that are there already: of a vectorizer that is gone, and of a pipeline of the user's own.

use super::{fails, stage, text};

const CREATE: &str = "select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
    embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_character_text_splitter(40, 0, E'\\n\\n'),
    formatting => ai.formatting_python_template('$title: $chunk'),
    destination => ai.destination_table(target_table => 'blog_store'), adopt => true)";

#[test]
fn after_the_schema_was_dropped_only_what_differs_is_embedded() {
    let mut stage = stage(6);
    stage.run("set client_min_messages = warning; drop schema ai cascade");
    // Nobody queues these.
    stage.run(
        "update blog set title = 'new' where id = 2; delete from blog where id = 3;
         insert into blog values (9, 'nine', 'one paragraph')",
    );
    stage.database.install();
    stage.run("select ai.grant_worker_usage('embedder')");
    stage.stub.take_requests();
    stage.run(CREATE);
    stage.once("worker");
    stage.assert_true();
    let mut inputs = stage.stub.inputs();
    inputs.sort_unstable();
    let wanted = ["new: 2 a", "new: 2 b", "nine: one"];
    assert_eq!(inputs.len(), wanted.len(), "{inputs:?}");
    for (input, wanted) in inputs.iter().zip(wanted) {
        assert!(input.starts_with(wanted), "{inputs:?}");
    }
    let assumed = "select assumed::text from ai.vectorizer_made_by";
    assert_eq!(text(&mut stage, assumed), "true");
    // The view is there, and new changes are followed.
    stage.run("update blog set title = 'newer' where id = 2");
    stage.once("worker");
    stage.assert_true();
    let shown = stage.number("select count(*) from blog_embedding");
    assert_eq!(shown, i64::try_from(stage.wanted().len()).unwrap());
    let message = fails(
        &mut stage,
        &CREATE.replace("name => 'blog'", "name => 'second'"),
    );
    assert!(
        message.contains("is the store of the vectorizer \"blog\""),
        "{message}"
    );
}

#[test]
fn what_cannot_be_a_store_is_refused() {
    let mut stage = stage(1);
    stage.run(
        "create table mine (embedding_uuid uuid default gen_random_uuid(), id int, chunk_seq int, chunk text, embedding vector(8));
         create view other as select 1 as one",
    );
    let create = |target: &str| {
        CREATE
            .replace("name => 'blog'", "name => 'second'")
            .replace("target_table => 'blog_store'", target)
    };
    let own = "target_table => 'mine', view_name => 'mine_view'";
    for (target, change, said) in [
        (
            "target_table => 'nothing'",
            "",
            "there is no table public.nothing to adopt",
        ),
        (own, "", "it has no unique constraint on (id, chunk_seq)"),
        (
            own,
            "alter table mine add unique (id, chunk_seq), alter embedding_uuid drop default",
            "no default: embedding_uuid",
        ),
        (
            own,
            "alter table mine drop chunk",
            "it lacks the columns chunk text",
        ),
        (
            "target_table => 'mine', view_name => 'other'",
            "alter table mine add chunk text, alter embedding_uuid set default gen_random_uuid()",
            "is no view of public.mine",
        ),
    ] {
        stage.run(change);
        let message = fails(&mut stage, &create(target));
        assert!(message.contains(said), "{said}: {message}");
    }
    stage.run(&create(own));
    stage.once("worker-blocking");
    assert_eq!(stage.number("select count(*) from mine_view"), 2);
}
