//! Tables that change after their vectorizer was created: the application's writes go on in any case.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use tests::stage::{PATIENCE, Stage};

/// Runs a worker that must say this of the vectorizer, and record it once.
#[track_caller]
fn says(stage: &mut Stage, text: &str) {
    stage.run("delete from ai._vectorizer_errors");
    let mut worker = stage.worker("worker", &["--once"]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    // The log escapes quotes.
    worker.wait_for_line(&text.replace('"', "\\\""), PATIENCE);
    let recorded = format!(
        "select count(*) from ai.vectorizer_errors where details ->> 'error_reason' like '%{text}%'"
    );
    assert_eq!(stage.number(&recorded), 1, "{text}");
}

#[track_caller]
fn queued(stage: &mut Stage) -> i64 {
    // The status view answers in any case.
    stage.number("select count(*) from ai.vectorizer_status");
    stage.number("select count(*) from ai._vectorizer_q_1")
}

fn embedded() -> Stage {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 10) n");
    stage.once("worker");
    stage
}

#[test]
fn a_renamed_text_column_queues_every_changed_row_until_it_has_its_name_back() {
    let mut stage = embedded();
    stage.run("alter table blog rename body to story");
    stage.run("update blog set story = 'changed' where id = 1");
    stage.run("update blog set views = 7 where id = 2");
    stage.run("insert into blog (id, title, story) values (11, 't', 'new')");
    stage.run("delete from blog where id = 3");
    // Which update matters cannot be known.
    assert_eq!(queued(&mut stage), 4);
    says(
        &mut stage,
        "the column \"body\" of public.blog was renamed or dropped",
    );
    stage.run("alter table blog rename story to body");
    stage.once("worker");
    stage.assert_true();
}

#[test]
fn a_renamed_key_stops_the_queueing_with_a_warning() {
    let mut stage = embedded();
    stage.run("alter table blog rename id to number");
    for write in [
        "insert into blog (number, title, body) values (11, 't', 'new')",
        "update blog set body = 'changed' where number = 1",
        "update blog set number = 20 where number = 2",
        "delete from blog where number = 3",
    ] {
        stage.run(write);
    }
    assert_eq!(queued(&mut stage), 0);
    says(
        &mut stage,
        "the key column \"id\" of public.blog was renamed or dropped",
    );
    stage.run("select ai.drop_vectorizer('blog', drop_all => true)");
    stage.run("update blog set body = 'free' where number = 1");
}

#[test]
fn a_dropped_column_does_not_stop_the_application() {
    let mut stage = embedded();
    stage.run("alter table blog drop column body cascade");
    stage.run("insert into blog values (11, 't'); update blog set title = 'x'; delete from blog where id = 2");
    says(
        &mut stage,
        "the column \"body\" of public.blog was renamed or dropped",
    );
    stage.run("alter table blog drop column id cascade");
    stage.run("insert into blog values ('t'); update blog set title = 'y'; delete from blog");
    says(
        &mut stage,
        "the key column \"id\" of public.blog was renamed or dropped",
    );
    stage.run("select ai.drop_vectorizer('blog')");
}

#[test]
fn a_key_that_is_no_key_any_more_is_named() {
    let mut stage = embedded();
    stage.run("alter table blog drop constraint blog_pkey cascade");
    stage.run("update blog set body = 'changed' where id = 1");
    says(&mut stage, "is no longer a column of the primary key");
    stage.run("alter table blog add primary key (id)");
    stage.once("worker");
    stage.assert_true();
}

/// What fits the old type is queued; the rest is found by the resync that follows.
#[test]
fn a_key_that_has_outgrown_its_queue_is_followed() {
    for (new_type, big) in [("bigint", "3000000000"), ("text", "'a'")] {
        let mut stage = embedded();
        stage.run(&format!(
            "drop view blog_embedding; alter table blog alter column id type {new_type};
             insert into blog values ({big}, 't', 'big'); insert into blog values ('11', 't', 'small')"
        ));
        assert_eq!(queued(&mut stage), 1);
        says(
            &mut stage,
            &format!("its key column id is {new_type} now, and integer in its queue"),
        );
        stage.run("select ai.refresh_vectorizer('blog')");
        let worker = stage.worker("worker", &["--poll-interval", "1"]);
        stage.database.wait_until(
            &format!("exists (select from blog_embedding where id = {big} and chunk = 't: big')"),
            PATIENCE,
        );
        drop(worker);
        stage.run(&format!(
            "delete from blog where id = {big}; update blog set body = 'new' where id = '1'"
        ));
        stage.once("worker");
        let wrong = "select count(*) from blog b full join blog_store s using (id)
            where s.chunk is distinct from b.title || ': ' || b.body";
        assert_eq!(stage.number(wrong), 0, "{new_type}");
    }
}

#[test]
fn a_renamed_or_moved_table_keeps_its_queue() {
    let mut stage = embedded();
    stage.run("alter table blog rename to journal");
    stage.run("update journal set body = 'changed' where id = 1; delete from journal where id = 2");
    // Another table takes the name, with other columns.
    stage.run("create table blog (other text); insert into blog values ('x')");
    stage.run("delete from journal where id = 3; update journal set id = 40 where id = 4");
    assert_eq!(queued(&mut stage), 5);
    says(&mut stage, "public.blog");
    stage.run("drop table blog; alter table journal rename to blog");
    stage.once("worker");
    stage.assert_true();

    stage.run("create schema attic; alter table blog set schema attic");
    stage.run(
        "update attic.blog set body = 'again' where id = 1; delete from attic.blog where id = 5",
    );
    says(&mut stage, "the source table public.blog is gone");
    stage.run("alter table attic.blog set schema public");
    stage.once("worker");
    stage.assert_true();
}

#[test]
fn after_the_source_everything_else_can_be_dropped() {
    for drop_all in [true, false] {
        let mut stage = embedded();
        stage.run("drop table blog cascade");
        assert_eq!(queued(&mut stage), 0);
        says(&mut stage, "the source table public.blog is gone");
        stage.run(&format!("select ai.drop_vectorizer('blog', {drop_all})"));
        let left = "select count(*) from pg_class where relname like '%vectorizer\\_%\\_1' or relname = 'blog_store'";
        assert_eq!(stage.number(left), i64::from(!drop_all));
        let functions =
            "select count(*) from pg_proc where proname like '\\_vectorizer\\_src\\_trg%'";
        assert_eq!(stage.number(functions), 0);
    }
}

#[test]
fn a_vanished_queue_is_told_and_the_vectorizer_can_be_dropped() {
    let mut stage = embedded();
    stage.run("drop table ai._vectorizer_q_1");
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_status where pending_items is null"),
        1
    );
    says(&mut stage, "its queue or lease table is gone");
    stage.run("select ai.drop_vectorizer('blog', true)");
    stage.run("update blog set body = 'free'");
    assert_eq!(stage.number("select count(*) from ai.vectorizer"), 0);
}

#[test]
fn a_creation_that_fails_leaves_nothing_behind() {
    let mut stage = embedded();
    let objects = "select count(*) from pg_class where relname !~ '^pg_'";
    let functions = "select count(*) from pg_proc where pronamespace = 'ai'::regnamespace";
    let before = (stage.number(objects), stage.number(functions));
    for arguments in [
        "name => 'blog'",
        "destination => ai.destination_table(target_table => 'blog_store')",
        "embedding => ai.embedding_ollama('m', 99999)",
        "destination => ai.destination_column('title'), chunking => ai.chunking_none()",
        "destination => ai.destination_column('body'), chunking => ai.chunking_none()",
        "destination => ai.destination_column('id'), chunking => ai.chunking_none()",
    ] {
        let embedding = if arguments.contains("embedding =>") {
            ""
        } else {
            "embedding => ai.embedding_ollama('m', 3),"
        };
        let sql = format!(
            "select ai.create_vectorizer('blog', loading => ai.loading_column('body'), {embedding} {arguments})"
        );
        assert!(stage.sql.batch_execute(&sql).is_err(), "{arguments}");
        assert_eq!(
            (stage.number(objects), stage.number(functions)),
            before,
            "{arguments}"
        );
    }
    let again = stage.number(
        "select ai.create_vectorizer('blog', name => 'blog', if_not_exists => true,
           loading => ai.loading_column('body'), embedding => ai.embedding_ollama('m', 3))::bigint",
    );
    assert_eq!(again, 1);
    assert_eq!((stage.number(objects), stage.number(functions)), before);
}

/// What older versions of ours left: triggers are replaced, tables become what they would be now, and nothing else
/// changes. (The tables are put back to what the first version made.)
#[test]
fn setup_over_an_older_version_renews_triggers_and_tables_and_keeps_the_rest() {
    let mut stage = embedded();
    stage.run("update blog set body = 'pending' where id = 1");
    let shape = "select string_agg(line, E'\n' order by line) from (
        select format('%s %s %s %s', c.relname, c.reloptions, a.attname, pg_get_expr(d.adbin, c.oid)) as line
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relname ~ '^_vectorizer_(q|lease)_'
        union all
        select pg_get_indexdef(i.indexrelid) || i.indisprimary
        from pg_index i where i.indrelid::regclass::text ~ '_vectorizer_(q|lease)_') s";
    let of_now: String = stage.sql.query_one(shape, &[]).unwrap().get(0);
    stage.run(
        "alter table ai._vectorizer_lease_1 drop column _failures, drop column _generation;
         alter table ai._vectorizer_q_1 reset (fillfactor), drop constraint _vectorizer_q_1_pkey, add unique (id);
         alter table ai._vectorizer_q_failed_1 drop constraint _vectorizer_q_failed_1_pkey;
         create index on ai._vectorizer_q_failed_1 (id)",
    );
    let function = "select prosrc from pg_proc where proname = '_vectorizer_src_trg_1'";
    let new: String = stage.sql.query_one(function, &[]).unwrap().get(0);
    stage.run(
        "create or replace function ai._vectorizer_src_trg_1() returns trigger language plpgsql as
           $$ begin raise exception 'an old trigger'; end $$;
         delete from ai._vectorizer_build;
         grant select on blog_store to public",
    );
    assert!(
        stage
            .sql
            .batch_execute("insert into blog values (11, 't', 'new')")
            .is_err()
    );
    stage.database.install();
    let renewed: String = stage.sql.query_one(function, &[]).unwrap().get(0);
    assert_eq!(renewed, new);
    let renewed: String = stage.sql.query_one(shape, &[]).unwrap().get(0);
    assert_eq!(renewed, of_now);
    stage.run("insert into blog values (11, 't', 'new')");
    assert_eq!(queued(&mut stage), 2);
    stage.once("worker");
    stage.assert_true();
    let granted = "select count(*) from information_schema.table_privileges
        where table_name = 'blog_store' and grantee = 'PUBLIC'";
    assert_eq!(stage.number(granted), 1);

    // The next run finds nothing to do: it waits for nobody.
    let mut other = stage.database.client();
    let mut holder = other.transaction().unwrap();
    holder
        .batch_execute("insert into blog values (12, 't', 'held'); truncate blog")
        .unwrap();
    let database = stage.database.name().to_owned();
    stage.run(&format!(
        "alter database {database} set lock_timeout = '5s'"
    ));
    stage.database.install();
    holder.commit().unwrap();
}
