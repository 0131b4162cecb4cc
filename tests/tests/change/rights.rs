//! Owners that are no superusers, workers that are no owners, and strangers.

use tests::role::Role;
use tests::stage::{DIMENSIONS, Stage};

use super::{BEGIN, OTHER, text};

/// A table of an owner, whose vectorizer the owner has created.
fn scene() -> (Stage, Role) {
    let mut stage = Stage::new();
    stage.stub.add_model("other", OTHER);
    let mut owner = Role::new(&stage.database, "owner");
    stage.run(&format!(
        "grant create on schema public to {0}; select ai.grant_vectorizer_usage('{0}')",
        owner.name
    ));
    owner.may(&format!(
        "create table blog (id int primary key, title text, body text);
         insert into blog select n, 't' || n, 'body ' || n from generate_series(1, 5) n;
         select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_table(target_table => 'blog_store'))"
    ));
    owner.may(
        "grant usage on schema public to embedder;
         grant select on blog to embedder",
    );
    stage.run("select ai.grant_worker_usage('embedder')");
    stage.once("worker");
    (stage, owner)
}

#[test]
fn a_worker_that_is_not_the_owner_carries_out_what_the_owner_began() {
    let (mut stage, mut owner) = scene();
    owner.may(BEGIN);
    stage.once("worker");
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_generation"),
        "kept"
    );
    let rows = "select count(*) from blog_embedding where vector_dims(embedding) = 12";
    assert_eq!(owner.number(rows), 5);
    let others = format!(
        "select count(*) from pg_class where relname ~ 'blog|_vectorizer_.*_[0-9]+$' and relowner <> '{}'::regrole",
        owner.name
    );
    assert_eq!(stage.number(&others), 0);
    owner.may("select ai.revert_change('blog')");
    owner.may("select ai.revert_change('blog')");
    owner.may("select ai.finish_change('blog')");
    owner.may("insert into blog values (6, 't6', 'body 6')");
    stage.once("worker");
    assert_eq!(owner.number(rows), 6);
}

#[test]
fn a_text_index_that_the_worker_cannot_build_is_built_by_hand() {
    let (mut stage, mut owner) = scene();
    stage.run("select ai.enable_hybrid('blog')");
    owner.may(BEGIN);
    // That of a large store is built by a worker.
    stage.run("drop index public._vectorizer_text_idx_2");
    stage.once("worker");
    let state = "select change_state from ai.vectorizer_status";
    assert_eq!(text(&mut stage, state), "indexing");
    let reason = text(&mut stage, "select change_reason from ai.vectorizer_status");
    let at = reason
        .find("create index concurrently")
        .unwrap_or_else(|| panic!("{reason}"));
    stage.run(&reason[at..]);
    stage.once("worker");
    assert_eq!(text(&mut stage, state), "kept");
}

#[test]
fn an_index_that_the_worker_cannot_build_is_built_by_hand() {
    let (mut stage, mut owner) = scene();
    owner.may(&BEGIN.replace("))", "), indexing => ai.indexing_hnsw(min_rows => 1))"));
    stage.once("worker");
    let state = "select change_state from ai.vectorizer_status";
    assert_eq!(text(&mut stage, state), "indexing");
    let reason = text(&mut stage, "select change_reason from ai.vectorizer_status");
    let at = reason
        .find("create index")
        .unwrap_or_else(|| panic!("{reason}"));
    // What was said before is searched, and followed.
    let rows = "select count(*) from blog_embedding where vector_dims(embedding) = 8";
    assert_eq!(owner.number(rows), 5);
    owner.may(&reason[at..]);
    stage.once("worker");
    assert_eq!(text(&mut stage, state), "kept");
    let index =
        "select count(*) from pg_index where indrelid = 'blog_store_2'::regclass and indisvalid
        and pg_get_indexdef(indexrelid) like '%hnsw%'";
    assert_eq!(stage.number(index), 1);
    owner.may("select ai.finish_change('blog')");
}

#[test]
fn strangers_change_nothing() {
    let (mut stage, mut owner) = scene();
    let mut stranger = Role::new(&stage.database, "stranger");
    stage.run(&format!(
        "select ai.grant_vectorizer_usage('{}')",
        stranger.name
    ));
    for sql in [
        BEGIN,
        "select ai.alter_vectorizer('blog', processing => ai.processing_default(batch_size => 3))",
        "select ai.alter_vectorizer('blog', formatting => ai.formatting_python_template('x $chunk'))",
    ] {
        let (_, message) = stranger.fails(sql);
        assert!(message.contains(&owner.name), "{sql}: {message}");
    }
    owner.may(&BEGIN.replace("))", "), switches => false)"));
    stage.once("worker");
    for sql in [
        "select ai.switch_change('blog')",
        "select ai.cancel_change('blog')",
        "update ai.vectorizer_generation set state = 'kept'",
        "delete from ai.vectorizer_generation",
        "select ai._vectorizer_step_2()",
        "select ai._change_switch(2)",
    ] {
        stranger.fails(sql);
    }
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_generation"),
        "ready"
    );
    // A generation names nothing of others, whoever writes the row.
    stage.run("create table foreign_queue (id int)");
    let message =
        owner.may_not("update ai.vectorizer_generation set queue_table = 'foreign_queue'");
    assert!(message.contains("foreign_queue"), "{message}");
    owner.may("select ai.switch_change('blog')");
    for sql in [
        "select ai.revert_change('blog')",
        "select ai.finish_change('blog')",
    ] {
        stranger.fails(sql);
    }
    owner.may("select ai.finish_change('blog')");
}

#[test]
fn an_owner_who_cannot_carry_it_out_is_told_before() {
    let (mut stage, owner) = scene();
    stage.run(&format!(
        "revoke create on schema public from {}",
        owner.name
    ));
    let message = super::fails(&mut stage, BEGIN);
    assert!(
        message.contains("grant create on schema public"),
        "{message}"
    );
    stage.run(&format!(
        "grant create on schema public to {0}; revoke update on ai.vectorizer from {0}",
        owner.name
    ));
    let message = super::fails(&mut stage, BEGIN);
    assert!(message.contains("ai.grant_vectorizer_usage"), "{message}");
}
