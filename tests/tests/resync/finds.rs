//! What a resync finds.

use std::thread;
use std::time::{Duration, Instant};

use tests::postgres::{Server, Shutdown};
use tests::stage::{DIMENSIONS, PATIENCE, Stage, paragraph};

use crate::{Found, SHELLS, found, past_triggers, resync};

/// 300 rows of one to three paragraphs, embedded.
fn filled(shell: &str) -> Stage {
    let mut stage = Stage::with_blog();
    stage.run(
        "insert into blog select n, 'title ' || n,
           (select string_agg(rpad(format('text %s of %s', k, n), 30, '.'), E'\\n\\n')
            from generate_series(0, n % 3) k)
         from generate_series(1, 300) n",
    );
    stage.once(shell);
    stage.assert_true();
    stage.stub.take_requests();
    stage
}

#[test]
fn rows_that_no_trigger_has_seen_are_found_and_nothing_else_is_embedded() {
    for shell in SHELLS {
        let mut stage = filled(shell);
        past_triggers(
            &mut stage,
            "insert into blog select n, 'new', 'new ' || n from generate_series(301, 310) n;
             delete from blog where id between 11 and 15;
             update blog set body = null where id = 21;
             update blog set body = '' where id = 22;
             insert into blog values (311, 'nothing', null), (312, 'nothing', '');
             delete from blog_store where id = 32 and chunk_seq = 1;
             delete from blog_store where id = 35 and chunk_seq = 0;
             update blog set body = 'another text' where id between 41 and 47;
             update blog set title = 'another title' where id = 48;
             update blog_store set chunk = 'another chunk' where id = 49 and chunk_seq = 0",
        );
        let first = resync(&mut stage, shell, false);
        assert_eq!(first, Found::done(307, [12, 5, 2]));
        let new = stage.stub.inputs();
        assert_eq!(new.len(), 12, "{new:?}");

        let second = resync(&mut stage, shell, true);
        assert_eq!(second, Found::done(307, [0, 0, 9]));
        stage.assert_true();
        // Seven texts, one or three chunks with another title, and one chunk.
        assert_eq!(stage.stub.inputs().len(), 12 + 7 + 1 + 1);

        let third = resync(&mut stage, shell, true);
        assert_eq!(third, Found::done(307, [0, 0, 0]));
        assert_eq!(stage.stub.inputs().len(), 12 + 7 + 1 + 1);
    }
}

#[test]
fn whole_texts_are_compared_by_the_server() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&format!(
            "create table blog (id int primary key, body text);
             select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => ai.destination_table(target_table => 'blog_store'));
             insert into blog select n, 'text ' || n from generate_series(1, 2500) n"
        ));
        stage.once(shell);
        past_triggers(
            &mut stage,
            "update blog set body = body || '!' where id % 100 = 7;
             update blog set body = '' where id = 1234;
             insert into blog_store (id, chunk_seq, chunk, embedding)
               select 3, 1, chunk, embedding from blog_store where id = 3;
             delete from blog where id % 1000 = 8;
             delete from blog_store where id % 1000 = 9",
        );
        let done = resync(&mut stage, shell, true);
        assert_eq!(done, Found::done(2497, [3, 3, 27]));
        let differing = stage.number(
            "select count(*) from blog b full join blog_store s using (id)
             where coalesce(b.body, '') <> coalesce(s.chunk, '')",
        );
        assert_eq!(differing, 0);
        assert_eq!(stage.number("select count(*) from blog_store"), 2496);
        let again = resync(&mut stage, shell, true);
        assert_eq!(again, Found::done(2497, [0, 0, 0]));
    }
}

#[test]
fn queued_and_given_up_rows_are_left_out_and_orphans_of_given_up_rows_are_not() {
    let mut stage = filled("worker");
    past_triggers(
        &mut stage,
        "delete from blog_store where id in (1, 2, 3);
         insert into ai._vectorizer_q_failed_1 (id) values (1), (4);
         insert into ai._vectorizer_q_1 (id, queued_at) values (2, now());
         delete from blog where id = 4",
    );
    let done = resync(&mut stage, "worker", false);
    assert_eq!(done, Found::done(299, [1, 1, 0]));
    let given_up = stage.number("select sum(id) from ai._vectorizer_q_failed_1");
    assert_eq!(given_up, 1);
    assert_eq!(
        stage.number("select count(*) from blog_store where id in (2, 3, 4)"),
        4
    );
}

#[test]
fn an_application_writes_meanwhile_and_waits_for_nobody() {
    for shell in SHELLS {
        let mut stage = filled(shell);
        stage
            .run("insert into blog select n, 't', 'body ' || n from generate_series(1001, 5000) n");
        stage.once(shell);
        past_triggers(
            &mut stage,
            "delete from blog_store where id % 7 = 1; delete from blog where id % 7 = 2;
             update blog set body = 'other ' || id where id % 7 = 3",
        );
        let mut worker = stage.worker(shell, &["--poll-interval", "1"]);
        worker.wait_for_line("finished processing vectorizer", PATIENCE);
        let mut client = stage.database.client();
        let slowest = thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let mut slowest = Duration::ZERO;
                let began = Instant::now();
                for round in 0.. {
                    let id = 1 + (round * 37) % 300;
                    let write = match round % 3 {
                        0 => format!("update blog set body = 'now {round}' where id = {id}"),
                        1 => format!("delete from blog where id = {id}"),
                        _ => format!(
                            "insert into blog values ({id}, 't', 'then {round}')
                             on conflict (id) do update set title = 'x'"
                        ),
                    };
                    let asked = Instant::now();
                    client.batch_execute(&write).unwrap();
                    slowest = slowest.max(asked.elapsed());
                    let state = "select state = 'done' from ai.vectorizer_resync";
                    let state = client.query_opt(state, &[]).unwrap();
                    let is_over = state.is_some_and(|row| row.get::<_, bool>(0));
                    if is_over || began.elapsed() > PATIENCE {
                        break;
                    }
                    thread::sleep(Duration::from_millis(2));
                }
                slowest
            });
            stage.run("select ai.resync_vectorizer('blog', true)");
            writer.join().unwrap()
        });
        stage.database.wait_until(
            "(select state = 'done' from ai.vectorizer_resync)",
            PATIENCE,
        );
        stage.wait_until_done();
        stage.assert_true();
        assert!(worker.is_running());
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
}

/// Partitions come with rows, and go with theirs.
#[test]
fn partitions_that_are_attached_detached_and_dropped_are_followed() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&format!(
            "create table blog (id int primary key, title text, body text) partition by range (id);
             create table p1 partition of blog for values from (0) to (100);
             create table p2 partition of blog for values from (100) to (200);
             create table p3 partition of blog for values from (200) to (300);
             select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
               chunking => ai.chunking_character_text_splitter(40, 0, E'\\n\\n'),
               formatting => ai.formatting_python_template('$title: $chunk'),
               destination => ai.destination_table(target_table => 'blog_store'));
             insert into blog select n, 't', 'body ' || n from generate_series(0, 299) n"
        ));
        stage.once(shell);
        stage.run(
            "create table p4 (id int primary key, title text, body text);
             insert into p4 select n, 't', 'body ' || n from generate_series(300, 349) n;
             alter table blog attach partition p4 for values from (300) to (400);
             alter table blog detach partition p1;
             drop table p2",
        );
        resync(&mut stage, shell, false);
        stage.assert_true();
        assert_eq!(stage.number("select count(*) from blog_store"), 150);
    }
}

#[test]
fn a_column_destination_is_compared_for_presence() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        stage.run(&format!(
            "create table blog (id int primary key, body text);
             select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => ai.destination_column('v'));
             insert into blog select n, 'text ' || n from generate_series(1, 100) n"
        ));
        stage.once(shell);
        past_triggers(
            &mut stage,
            "update blog set v = null where id in (7, 8); update blog set body = '' where id = 9;
             insert into blog values (101, 'more', null), (102, null, null)",
        );
        let done = resync(&mut stage, shell, false);
        assert_eq!(done, Found::done(102, [3, 1, 0]));
        let differing = "select count(*) from blog where (v is null) <> (coalesce(body, '') = '')";
        assert_eq!(stage.number(differing), 0);
        let done = resync(&mut stage, shell, true);
        assert!(
            done.reason.unwrap().contains("column"),
            "it says what it did not compare"
        );
    }
}

#[test]
fn an_unlogged_source_that_a_crash_has_emptied_leaves_no_chunks() {
    let server = Server::start(18);
    let mut stage = Stage::on_server(&server);
    stage.run(&format!(
        "create unlogged table blog (id int primary key, title text, body text);
         select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}),
           destination => ai.destination_table(target_table => 'blog_store'));
         insert into blog select n, 't', 'body ' || n from generate_series(1, 50) n"
    ));
    // As those of older versions are.
    stage.run("alter table blog_store set logged");
    stage.once("worker");
    stage.run("checkpoint");
    server.restart(Shutdown::Immediate);
    stage.sql = stage.database.client();
    assert_eq!(stage.number("select count(*) from blog"), 0);
    assert_eq!(stage.number("select count(*) from blog_store"), 50);
    assert_eq!(
        resync(&mut stage, "worker", false),
        Found::done(0, [0, 50, 0])
    );
    assert_eq!(stage.number("select count(*) from blog_store"), 0);
}

#[test]
fn rows_of_a_subscription_are_embedded() {
    let server = Server::start_with(18, &[("wal_level", "logical")]);
    let publisher = server.database();
    publisher
        .client()
        .batch_execute(
            "create table blog (id int primary key, title text, body text, views int default 0);
             insert into blog select n, 't', 'body ' || n from generate_series(1, 40) n;
             create publication all_rows for table blog",
        )
        .unwrap();
    let slot = "select pg_create_logical_replication_slot('copy', 'pgoutput')";
    publisher.client().batch_execute(slot).unwrap();
    let mut stage = Stage::with_blog_on(&server);
    stage.run(&format!(
        "create subscription copy connection '{}' publication all_rows
           with (create_slot = false, slot_name = 'copy')",
        publisher.url()
    ));
    stage
        .database
        .wait_until("(select count(*) = 40 from blog)", PATIENCE);
    stage.database.wait_until(
        "(select bool_and(srsubstate in ('r', 's')) from pg_subscription_rel)",
        PATIENCE,
    );
    resync(&mut stage, "worker", false);
    stage.assert_true();
    assert_eq!(stage.number("select count(*) from blog_store"), 40);
    stage.run("alter subscription copy disable; alter subscription copy set (slot_name = none); drop subscription copy");
    publisher
        .client()
        .batch_execute("select pg_drop_replication_slot('copy')")
        .ok();
}

/// What is different at the last is what somebody has written since.
#[test]
fn many_rows_are_found_with_few_of_them_waiting_at_a_time() {
    let mut stage = Stage::with_blog();
    past_triggers(
        &mut stage,
        &format!(
            "insert into blog select n, 't', '{}' from generate_series(1, 5000) n",
            paragraph("x")
        ),
    );
    stage.run("select ai.resync_vectorizer('blog')");
    let worker = stage.worker("worker", &["--poll-interval", "1"]);
    let mut most = 0;
    let began = Instant::now();
    while found(&mut stage.sql).state != "done" {
        most = most.max(stage.number("select count(*) from ai._vectorizer_q_1"));
        assert!(began.elapsed() < PATIENCE, "{:?}", found(&mut stage.sql));
        thread::sleep(Duration::from_millis(2));
    }
    assert!(
        (100..=1_000).contains(&most),
        "{most} were waiting at a time"
    );
    stage.wait_until_done();
    stage.assert_true();
    drop(worker);
    assert_eq!(found(&mut stage.sql), Found::done(5_000, [5_000, 0, 0]));
}
