//! What the functions do that manage a vectorizer which is there.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use postgres::fallible_iterator::FallibleIterator;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

fn text(stage: &mut Stage, sql: &str) -> String {
    stage.sql.query_one(sql, &[]).unwrap().get(0)
}

/// The message, the hint and the SQLSTATE of a refusal.
#[track_caller]
fn refusal(stage: &mut Stage, sql: &str) -> (String, String, String) {
    let error = stage.sql.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().unwrap();
    (
        error.message().to_owned(),
        error.hint().unwrap_or_default().to_owned(),
        error.code().code().to_owned(),
    )
}

#[test]
fn a_disabled_vectorizer_queues_and_goes_on_when_it_is_enabled() {
    let mut stage = Stage::with_blog();
    for (disable, enable) in [
        (
            "ai.disable_vectorizer_schedule(1)",
            "ai.enable_vectorizer_schedule(1)",
        ),
        (
            "ai.disable_vectorizer_schedule('blog')",
            "ai.enable_vectorizer_schedule('blog')",
        ),
    ] {
        stage.run(&format!("select {disable}; delete from blog"));
        stage.run("insert into blog values (1, 't', 'one')");
        stage.once("worker");
        assert_eq!(stage.store(), []);
        let row = "select format('%s %s', disabled, pending_items) from ai.vectorizer_status";
        assert_eq!(text(&mut stage, row), "t 1");
        stage.run(&format!("select {enable}"));
        stage.once("worker");
        stage.assert_true();
        assert_eq!(text(&mut stage, row), "f 0");
    }
}

#[test]
fn a_paused_vectorizer_queues_and_goes_on_when_it_is_resumed_or_the_time_is_over() {
    let mut stage = Stage::with_blog();
    for (pause, resume) in [
        (
            "ai.pause_vectorizer(1, 'because')",
            "ai.resume_vectorizer(1)",
        ),
        (
            "ai.pause_vectorizer('blog')",
            "ai.resume_vectorizer('blog')",
        ),
    ] {
        stage.run(&format!("delete from blog; select {pause}"));
        stage.run("insert into blog values (1, 't', 'one')");
        stage.once("worker");
        assert_eq!(stage.store(), []);
        let row = "select format('%s %s', state, pending) from ai.vectorizer_status";
        assert_eq!(text(&mut stage, row), "paused 1");
        stage.run(&format!("select {resume}"));
        stage.once("worker");
        stage.assert_true();
        assert_eq!(text(&mut stage, row), "up_to_date 0");
    }
    // A worker that runs goes on by itself.
    stage.run("select ai.pause_vectorizer('blog', until => now() + interval '2 seconds')");
    stage.run("insert into blog values (2, 't', 'two')");
    let _worker = stage.worker("worker", &["--poll-interval", "1"]);
    stage.wait_until_done();
    let early = "select now() < paused_until from ai.vectorizer_pause";
    assert!(!stage.sql.query_one(early, &[]).unwrap().get::<_, bool>(0));
    let paused = "select format('%s %s', paused_by, reason is null) from ai.vectorizer_pause";
    assert_eq!(
        text(&mut stage, paused),
        "postgres t",
        "it is told who and why"
    );
}

#[test]
fn an_unknown_name_is_told_with_the_nearest() {
    let mut stage = Stage::with_blog();
    let refused = |stage: &mut Stage, sql: &str| refusal(stage, &format!("select {sql}"));
    let (message, hint, code) = refused(&mut stage, "ai.pause_vectorizer('blgo')");
    assert_eq!(
        (&*message, &*hint, &*code),
        ("there is no vectorizer blgo", "Did you mean blog?", "P0002")
    );
    let (_, hint, _) = refused(&mut stage, "ai.resume_vectorizer('something')");
    assert_eq!(hint, "select id, name from ai.vectorizer");
    let (message, ..) = refused(&mut stage, "ai.resume_vectorizer(9)");
    assert_eq!(message, "there is no vectorizer 9");
    let (message, ..) = refused(&mut stage, "ai.pause_vectorizer('blog', until => now())");
    assert!(
        message.starts_with("a pause cannot end in the past"),
        "{message}"
    );
    // No error where pgai has none.
    for function in ["disable", "enable"] {
        stage.run(&format!("select ai.{function}_vectorizer_schedule('blgo')"));
    }
}

/// A worker that is told so looks at once, as after any change: see the conformance suite.
#[test]
fn execute_vectorizer_tells_the_workers() {
    let mut stage = Stage::with_blog();
    let mut listener = stage.database.client();
    listener.batch_execute("listen ai_vectorizer").unwrap();
    stage.run("select ai.execute_vectorizer('blog')");
    let mut notifications = listener.notifications();
    let told = notifications.timeout_iter(PATIENCE).next().unwrap();
    assert_eq!(told.unwrap().payload(), "1");
}

#[test]
fn a_long_queue_is_counted_only_if_asked() {
    let mut stage = Stage::with_blog();
    let counts = "select format('%s %s %s', ai.vectorizer_queue_pending(1), ai.vectorizer_queue_pending('blog', true),
        (select pending_items from ai.vectorizer_status))";
    stage.run("insert into ai._vectorizer_q_1 (id) select generate_series(1, 10000)");
    assert_eq!(text(&mut stage, counts), "10000 10000 10000");
    stage.run("insert into ai._vectorizer_q_1 (id) values (0)");
    let most = i64::MAX;
    assert_eq!(text(&mut stage, counts), format!("{most} 10001 {most}"));
}

#[test]
fn scheduling_and_indexing_are_written_anew() {
    let mut stage = Stage::with_blog();
    stage.run("update ai.vectorizer set config = jsonb_set(config, '{scheduling}', '{\"implementation\": \"old\"}')");
    let before = text(
        &mut stage,
        "select (config - 'scheduling' - 'indexing')::text from ai.vectorizer",
    );
    let returned = text(
        &mut stage,
        "select ai.set_scheduling(1, ai.scheduling_none(), ai.indexing_none())::text",
    );
    assert_eq!(
        text(&mut stage, "select config::text from ai.vectorizer"),
        returned
    );
    let parts = "select format('%s %s', config #>> '{scheduling,implementation}', config #>> '{indexing,implementation}')
        from ai.vectorizer";
    assert_eq!(text(&mut stage, parts), "none none");
    let after = text(
        &mut stage,
        "select (config - 'scheduling' - 'indexing')::text from ai.vectorizer",
    );
    assert_eq!(after, before);
    stage.run("select ai.set_scheduling(1, ai.scheduling_none(), ai.indexing_hnsw())");
    assert_eq!(
        text(&mut stage, parts),
        "none hnsw",
        "no schedule is needed"
    );
    let none = stage
        .sql
        .query_one("select ai.set_scheduling(9)::text", &[])
        .unwrap();
    assert_eq!(none.get::<_, Option<String>>(0), None);
}

/// Where pgai has scheduled a vectorizer with TimescaleDB. (The extension is not there to be tested with: what
/// of it is called stands in its place.)
#[test]
fn a_job_of_timescaledb_does_as_its_vectorizer_does() {
    let mut stage = Stage::with_blog();
    stage.run(
        "create schema timescale; create schema timescaledb_information; create schema _timescaledb_catalog;
         create table _timescaledb_catalog.hypertable (schema_name name, table_name name);
         create table timescaledb_information.jobs (job_id int, scheduled boolean default true);
         insert into timescaledb_information.jobs values (7), (1000);
         create function timescale.delete_job(gone int) returns void language sql as
           'delete from timescaledb_information.jobs where job_id = gone';
         create function timescale.alter_job(job_id int, scheduled boolean) returns void language sql as
           'update timescaledb_information.jobs j set scheduled = $2 where j.job_id = $1';
         set allow_system_table_mods = on;
         insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
           values (99999, 'timescaledb', 10, 'timescale'::regnamespace, false, '2');
         reset allow_system_table_mods;
         update ai.vectorizer set config = jsonb_set(config, '{scheduling,job_id}', '1000')",
    );
    let jobs = "select string_agg(format('%s %s', job_id, scheduled), ', ' order by job_id) from timescaledb_information.jobs";
    stage.run("select ai.disable_vectorizer_schedule(1)");
    assert_eq!(text(&mut stage, jobs), "7 t, 1000 f");
    stage.run("select ai.enable_vectorizer_schedule(1)");
    assert_eq!(text(&mut stage, jobs), "7 t, 1000 t");
    stage.run("begin; select ai.set_scheduling(1)");
    assert_eq!(text(&mut stage, jobs), "7 t");
    stage.run("rollback; select ai.drop_vectorizer('blog')");
    assert_eq!(text(&mut stage, jobs), "7 t");
    stage.run("set allow_system_table_mods = on; delete from pg_extension where oid = 99999");
}

#[test]
fn names_and_schemas_are_as_they_were_asked_for() {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create schema views; create schema \"2nd Floor\";
         create table \"2nd Floor\".\"Blog\" (id int primary key, body text);
         insert into \"2nd Floor\".\"Blog\" values (1, 'one');
         select ai.create_vectorizer('\"2nd Floor\".\"Blog\"', loading => ai.loading_column('body'),
           chunking => ai.chunking_none(), embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_table(view_schema => 'views', view_name => 'blog'))"
    ));
    let name = text(&mut stage, "select name::text from ai.vectorizer");
    assert_eq!(name, "v2nd_floor_blog_embedding_store");
    stage.once("worker");
    assert_eq!(
        stage.number("select count(*) from views.blog where chunk = 'one'"),
        1
    );
    let view = text(&mut stage, "select \"view\" from ai.vectorizer_status");
    assert_eq!(view, "views.blog");
    stage.run("select ai.drop_vectorizer('v2nd_floor_blog_embedding_store', drop_all => true)");
    let left = "select (to_regclass('views.blog') is not null)::int::bigint";
    assert_eq!(stage.number(left), 0);
}

#[test]
fn vector_indexes_are_made_when_they_should_be() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 20) n");
    let should = "select ai._vectorizer_should_create_vector_index(v)::text from ai.vectorizer v";
    let index = |stage: &mut Stage, indexing: &str| {
        stage.run(&format!(
            "update ai.vectorizer set config = jsonb_set(config, '{{indexing}}', {indexing})"
        ));
    };
    index(&mut stage, "ai.indexing_none()");
    assert_eq!(text(&mut stage, should), "false", "none is wanted");
    index(&mut stage, "ai.indexing_hnsw(min_rows => 20)");
    assert_eq!(text(&mut stage, should), "false", "the queue is not empty");
    stage.once("worker");
    assert_eq!(text(&mut stage, should), "true");
    index(&mut stage, "ai.indexing_hnsw(min_rows => 21)");
    assert_eq!(text(&mut stage, should), "false", "too few rows");
    index(
        &mut stage,
        "ai.indexing_hnsw(min_rows => 20, opclass => 'vector_l2_ops', m => 8, ef_construction => 32)",
    );
    let exists = "select ai._vectorizer_vector_index_exists('public', 'blog_store', config -> 'indexing')::text from ai.vectorizer";
    assert_eq!(text(&mut stage, exists), "false");
    let create = "select ai._vectorizer_create_vector_index('public', 'blog_store', config -> 'indexing') from ai.vectorizer";
    stage.run(create);
    assert_eq!(text(&mut stage, exists), "true");
    assert_eq!(text(&mut stage, should), "false", "there is one");
    stage.run(create);
    let definitions = "select string_agg(pg_get_indexdef(indexrelid), '; ') from pg_index
        where indrelid = 'blog_store'::regclass and pg_get_indexdef(indexrelid) ~ 'hnsw'";
    assert_eq!(
        text(&mut stage, definitions),
        "CREATE INDEX blog_store_embedding_idx ON public.blog_store USING hnsw (embedding vector_l2_ops) \
         WITH (ef_construction='32', m='8')"
    );
    let (message, ..) = refusal(
        &mut stage,
        "select ai._vectorizer_vector_index_exists('public', 'blog_store', '{\"implementation\": \"btree\"}')",
    );
    assert_eq!(message, "unrecognized index implementation: btree");
    stage.run("update blog set body = 'changed'");
    stage.once("worker");
    stage.assert_true();
}

#[test]
fn vectorizer_embed_says_what_to_use() {
    let mut stage = Stage::with_blog();
    for arguments in [
        "1, 'text'",
        "'blog', 'text'",
        "ai.embedding_ollama('m', 3), 'text', 'query'",
    ] {
        let (message, hint, code) = refusal(
            &mut stage,
            &format!("select ai.vectorizer_embed({arguments})"),
        );
        assert!(message.contains("needs the extension ai"), "{message}");
        assert!(hint.contains("worker search"), "{hint}");
        assert_eq!(code, "0A000");
    }
}

#[test]
fn workers_are_recorded_and_forgotten_after_thirty_days_of_silence() {
    let mut stage = Stage::with_blog();
    stage.run(
        "insert into ai.vectorizer_worker_process (version, expected_heartbeat_interval, last_heartbeat)
         values ('1', '1 min', now() - interval '31 days'), ('2', '1 min', now() - interval '29 days')",
    );
    let worker = text(&mut stage, "select ai._worker_start('3', '1 min')::text");
    let versions =
        "select string_agg(version, ' ' order by version) from ai.vectorizer_worker_process";
    assert_eq!(text(&mut stage, versions), "2 3");
    stage.run(&format!(
        "select ai._worker_heartbeat('{worker}', 5, 0, null); select ai._worker_heartbeat('{worker}', 2, 1, 'no luck')"
    ));
    let beat = "select format('%s %s %s %s %s', heartbeat_count, success_count, error_count, last_error_message,
          last_error_at = last_heartbeat)
        from ai.vectorizer_worker_process where version = '3'";
    assert_eq!(text(&mut stage, beat), "2 7 1 no luck t");
    // A worker does it, too, with its own role.
    stage
        .run("update ai.vectorizer_worker_process set last_heartbeat = now() - interval '31 days'");
    let mut once = stage.worker("worker-blocking", &["--once"]);
    assert_eq!(once.wait(PATIENCE).code(), Some(0));
    let count = "select count(*) from ai.vectorizer_worker_process where last_heartbeat < now() - interval '1 day'";
    assert_eq!(stage.number(count), 0);
}

/// An error in the log wakes somebody.
#[test]
fn a_worker_says_no_word_when_a_vectorizer_is_dropped() {
    let mut stage = Stage::with_blog();
    stage.run(
        "insert into blog values (1, 't', 'one'); create table other (id int primary key, body text);
         select ai.create_vectorizer('other', name => 'other', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', 8), destination => ai.destination_table('others'))",
    );
    let worker = stage.worker("worker", &["--poll-interval", "1"]);
    stage.wait_until_done();
    stage.run("select ai.drop_vectorizer('blog', drop_all => true)");
    // Each of these rows is embedded after at least one look at every queue.
    for id in 1..=4 {
        stage.run(&format!("insert into other values ({id}, 'one')"));
        let embedded = format!("exists (select from others_store where id = {id})");
        stage.database.wait_until(&embedded, PATIENCE);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    let lines = worker.lines();
    assert!(
        !lines.iter().any(|line| line.contains("error")),
        "{lines:?}"
    );
}
