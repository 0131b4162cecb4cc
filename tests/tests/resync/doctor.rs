//! `worker doctor` finds what triggers miss and names what to do, and a resync does it.

use tests::postgres::Server;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

use crate::{past_triggers, resync};

/// What doctor says that is wrong or worth a note, each with its remedy.
#[track_caller]
fn doctor(stage: &Stage) -> Vec<(String, String)> {
    let mut doctor = stage.worker("worker", &["doctor", "--offline", "--json"]);
    doctor.wait(PATIENCE);
    let lines = doctor.lines();
    let findings = lines.iter().find(|line| line.starts_with('[')).unwrap();
    let findings: serde_json::Value = serde_json::from_str(findings).unwrap();
    let findings = findings.as_array().unwrap().iter();
    findings
        .filter(|finding| finding["level"] != "ok")
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
            (text("finding"), text("remedy"))
        })
        .collect()
}

/// One of the findings has this in what is wrong, and its remedy has that.
#[track_caller]
fn assert_finds(stage: &Stage, what: &str, remedy: &str) {
    let findings = doctor(stage);
    let found = findings
        .iter()
        .any(|(found, to_do)| found.contains(what) && to_do.contains(remedy));
    assert!(found, "{what}: {remedy}: {findings:#?}");
}

#[track_caller]
fn assert_finds_nothing(stage: &Stage) {
    assert_eq!(doctor(stage), []);
}

const VECTORIZER: &str = "select ai.create_vectorizer('blog', name => 'blog',
    loading => ai.loading_column('body'), embedding => ai.embedding_ollama('stub', {dimensions}),
    chunking => ai.chunking_character_text_splitter(40, 0, E'\\n\\n'),
    formatting => ai.formatting_python_template('$title: $chunk'),
    destination => ai.destination_table(target_table => 'blog_store'))";

fn vectorizer() -> String {
    VECTORIZER.replace("{dimensions}", &DIMENSIONS.to_string())
}

#[test]
fn source_and_store_that_differ_are_found_in_a_sample() {
    let mut stage = Stage::with_blog();
    stage.run(
        "insert into blog select n, 't', 'body ' || n from generate_series(1, 30000) n;
               truncate ai._vectorizer_q_1;
               insert into blog_store (id, chunk_seq, chunk, embedding)
                 select id, 0, 't: ' || body, array_fill(0.5, array[8])::vector from blog;
               insert into blog values (30001, 't', null);
               truncate ai._vectorizer_q_1",
    );
    // A text of nothing that makes a chunk lacks none.
    past_triggers(
        &mut stage,
        "insert into blog values (30002, 't', E'\\n\\n')",
    );
    assert_finds_nothing(&stage);
    for (damage, repair, what) in [
        (
            "delete from blog_store where id = 29990",
            "insert into blog_store (id, chunk_seq, chunk, embedding)
               select id, 0, 't: ' || body, array_fill(0.5, array[8])::vector from blog where id = 29990",
            "1 lack chunks, and chunks of 0 keys are left over, such as of the key 29990",
        ),
        (
            "delete from blog where id = 3",
            "insert into blog values (3, 't', 'body 3')",
            "0 lack chunks, and chunks of 1 keys are left over, such as of the key 3",
        ),
        (
            "update blog set body = '' where id = 4",
            "update blog set body = 'body 4' where id = 4",
            "0 lack chunks, and chunks of 1 keys are left over, such as of the key 4",
        ),
    ] {
        past_triggers(&mut stage, damage);
        assert_finds(&stage, what, "worker resync blog");
        past_triggers(&mut stage, repair);
        assert_finds_nothing(&stage);
    }
}

#[test]
fn disabled_and_missing_triggers_are_found() {
    let mut stage = Stage::with_blog();
    let name = "select t.tgname::text from pg_trigger t where t.tgrelid = 'blog'::regclass
        and t.tgtype & 4 = 4 and t.tgtype & 1 = 0";
    let name: String = stage.sql.query_one(name, &[]).unwrap().get(0);
    assert_finds_nothing(&stage);
    stage.run(&format!("alter table blog disable trigger {name}"));
    assert_finds(
        &stage,
        "disabled",
        &format!("alter table public.blog enable trigger {name}; then: worker resync blog"),
    );
    stage.run("insert into blog values (1, 't', 'unseen')");
    stage.run(&format!("alter table blog enable trigger {name}"));
    assert_finds(&stage, "1 lack chunks", "worker resync blog");
    resync(&mut stage, "worker", false);
    stage.assert_true();
    assert_finds_nothing(&stage);
    stage.run(&format!("drop trigger {name} on blog"));
    assert_finds(
        &stage,
        "lacks triggers",
        "select ai.refresh_vectorizer('blog'); then: worker resync blog",
    );
    stage.run("select ai.refresh_vectorizer(name) from ai.vectorizer");
    assert_finds_nothing(&stage);
}

/// Rows come to a partition by statements on its parent.
#[test]
fn a_table_that_becomes_a_partition_or_a_parent_is_found() {
    for change in [
        "create table whole (like blog including all) partition by range (id);
         alter table whole attach partition blog default",
        "create table heir () inherits (blog)",
    ] {
        let mut stage = Stage::with_blog();
        stage.run("insert into blog values (1, 't', 'one')");
        stage.once("worker");
        stage.run(change);
        let findings = doctor(&stage);
        let is_found = findings.iter().any(|(_, remedy)| {
            remedy == "select ai.refresh_vectorizer('blog'); then: worker resync blog"
        });
        assert!(is_found, "{findings:#?}");
        let child = if change.contains("whole") {
            "whole"
        } else {
            "heir"
        };
        stage.run(&format!(
            "insert into {child} (id, title, body) values (2, 't', 'two')"
        ));
        stage.run("select ai.refresh_vectorizer(name) from ai.vectorizer");
        resync(&mut stage, "worker", false);
        stage.assert_true();
        assert_finds_nothing(&stage);
        stage.run(&format!(
            "insert into {child} (id, title, body) values (3, 't', 'three')"
        ));
        stage.once("worker");
        stage.assert_true();
    }
}

#[test]
fn partitions_that_come_with_rows_and_without_triggers_are_found() {
    let mut stage = Stage::new();
    stage.run(
        "create table blog (id int primary key, title text, body text) partition by range (id);
         create table p1 partition of blog for values from (0) to (100)",
    );
    stage.run(&vectorizer());
    stage.run("insert into blog select n, 't', 'body ' || n from generate_series(0, 99) n");
    stage.once("worker");
    assert_finds_nothing(&stage);
    stage.run(
        "create table p2 (id int primary key, title text, body text);
         insert into p2 select n, 't', 'body ' || n from generate_series(100, 119) n;
         alter table blog attach partition p2 for values from (100) to (200)",
    );
    // The command itself notices the new partition, and has requested a resync.
    assert_finds(&stage, "20 lack chunks", "worker status");
    // The triggers on rows came with the attachment, the one on TRUNCATE did not.
    let findings = doctor(&stage);
    if findings
        .iter()
        .any(|(what, _)| what.contains("TRUNCATE of public.p2"))
    {
        stage.run("select ai.refresh_vectorizer(name) from ai.vectorizer");
    }
    resync(&mut stage, "worker", false);
    stage.assert_true();
    assert_finds_nothing(&stage);
    stage.run("alter table blog detach partition p1");
    assert_finds(&stage, "chunks of 100 keys are left over", "worker status");
    resync(&mut stage, "worker", false);
    stage.assert_true();
}

#[test]
fn an_unlogged_source_is_noted() {
    let mut stage = Stage::new();
    stage.run("create unlogged table blog (id int primary key, title text, body text)");
    stage.run(&vectorizer());
    // As those of older versions are.
    stage.run("alter table blog_store set logged");
    assert_finds(&stage, "is unlogged", "worker resync blog");
    stage.run("alter table blog set logged");
    assert_finds_nothing(&stage);
}

/// What a subscription applies, triggers see only where they are made for it.
#[test]
fn a_subscription_whose_rows_no_trigger_sees_is_found() {
    let server = Server::start_with(18, &[("wal_level", "logical")]);
    let mut stage = Stage::with_blog_on(&server);
    stage.run("create publication nothing");
    stage.run(
        "create subscription copy connection 'dbname=nowhere' publication nothing with (connect = false)",
    );
    let member = "insert into pg_subscription_rel (srsubid, srrelid, srsubstate)
        select oid, 'blog'::regclass, 'i' from pg_subscription";
    stage.run(&format!("set allow_system_table_mods = on; {member}"));
    let sees = "select count(*) from pg_trigger where tgrelid = 'blog'::regclass
        and tgtype & 1 = 1 and tgenabled in ('A', 'R')";
    if stage.number(sees) > 0 {
        assert_finds_nothing(&stage);
        stage.run(
            "do $$ declare t name; begin for t in select tgname from pg_trigger
             where tgrelid = 'blog'::regclass and tgtype & 1 = 1 loop
             execute format('alter table blog enable trigger %I', t); end loop; end $$",
        );
    }
    assert_finds(&stage, "a subscription writes to", "worker resync blog");
    stage.run("delete from pg_subscription_rel; alter subscription copy set (slot_name = none); drop subscription copy");
}
