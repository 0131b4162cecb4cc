//! Workers that die, two at a time, and what cannot be compared.

use std::thread;
use std::time::Duration;

use pgai_core::{Query, ResyncQuery, ResyncState, Settings};
use tests::hand::Hand;
use tests::process::Signal;
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

use crate::{Found, SHELLS, found, past_triggers, resync};

#[test]
fn a_killed_workers_resync_is_taken_over_where_it_stood() {
    for shell in SHELLS {
        let mut stage = Stage::with_blog();
        past_triggers(
            &mut stage,
            "insert into blog select n, 't', 'body ' || n from generate_series(1, 4000) n",
        );
        // The provider does not answer, so the worker comes no further than what may wait.
        let hold = stage.stub.hold();
        stage.run("select ai.resync_vectorizer('blog', true)");
        let arguments = ["--poll-interval", "1", "--lease", "3"];
        let mut first = stage.worker(shell, &arguments);
        stage.database.wait_until(
            "(select _cursor is not null from ai.vectorizer_resync)
             and (select count(*) >= 900 from ai._vectorizer_q_1)",
            PATIENCE,
        );
        first.signal(Signal::Kill);
        first.wait(PATIENCE);
        let compared = found(&mut stage.sql).rows;
        assert!((500..4000).contains(&compared), "{compared}");
        hold.release();
        let second = stage.worker(shell, &arguments);
        let state = "(select state = 'done' from ai.vectorizer_resync)";
        stage.database.wait_until(state, PATIENCE);
        stage.wait_until_done();
        stage.assert_true();
        // What was found by the first one is not counted by the second one; nor is it found again.
        let done = found(&mut stage.sql);
        assert_eq!(done.rows, 4000);
        assert!(done.missing > 2000, "{done:?}");
        second.wait_for_line("resync finished", PATIENCE);
    }
}

#[test]
fn a_stopped_worker_gives_its_resync_back_at_once() {
    for shell in SHELLS {
        let mut stage = Stage::with_blog();
        past_triggers(
            &mut stage,
            "insert into blog select n, 't', 'body ' || n from generate_series(1, 1500) n",
        );
        let hold = stage.stub.hold();
        stage.run("select ai.resync_vectorizer('blog')");
        let mut first = stage.worker(shell, &["--poll-interval", "1"]);
        let held = "(select _cursor is not null from ai.vectorizer_resync)";
        stage.database.wait_until(held, PATIENCE);
        first.signal(Signal::Term);
        hold.release();
        assert_eq!(first.wait(PATIENCE).code(), Some(0));
        assert_eq!(stage.number("select _claim from ai.vectorizer_resync"), 0);
        stage.once(shell);
        stage.assert_true();
        assert_eq!(found(&mut stage.sql).state, "done");
    }
}

/// A worker is told to stop while it waits for the answer to a statement that extends its lease: that
/// statement does not end the lease, so another one follows.
#[test]
fn a_worker_that_is_stopped_during_a_save_gives_its_resync_back() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'body ' || n from generate_series(1, 1500) n");
    stage.run("select ai.resync_vectorizer('blog')");
    let mut hand = Hand::new(stage.database.client(), 1);
    let is_save = |query: &Query| matches!(query, Query::Resync(ResyncQuery::Save { .. }));
    let saved = hand.until(is_save);
    hand.stop();
    hand.run(saved).unwrap();
    let claim = "select _claim from ai.vectorizer_resync";
    assert_ne!(stage.number(claim), 0);
    let given_back = hand.until(is_save);
    hand.run(given_back).unwrap();
    assert_eq!(stage.number(claim), 0);
}

#[test]
fn of_two_workers_one_carries_a_resync_out() {
    for shell in SHELLS {
        let mut stage = Stage::with_blog();
        stage.run("insert into blog select n, 't', 'body ' || n from generate_series(1, 2000) n");
        stage.once(shell);
        past_triggers(
            &mut stage,
            "delete from blog_store where id % 3 = 0; delete from blog where id % 3 = 1",
        );
        let workers = [1, 2].map(|_| stage.worker(shell, &["--poll-interval", "1"]));
        for worker in &workers {
            worker.wait_for_line("finished processing vectorizer", PATIENCE);
        }
        for round in 1..=3 {
            stage.run("select ai.resync_vectorizer('blog', true)");
            let served = format!("(select served = {round} from ai.vectorizer_resync)");
            stage.database.wait_until(&served, PATIENCE);
        }
        stage.wait_until_done();
        stage.assert_true();
        thread::sleep(Duration::from_millis(100));
        let lines = workers.iter().flat_map(tests::process::Process::lines);
        let started = lines.filter(|line| line.contains("resync started"));
        assert_eq!(started.count(), 3);
    }
}

/// A request that comes while another is carried out is served after it, from the beginning.
#[test]
fn a_request_during_a_resync_is_the_next_one() {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'body ' || n from generate_series(1, 50) n");
    stage.once("worker");
    let mut hand = Hand::new(stage.database.client(), 1);
    stage.run("select ai.resync_vectorizer('blog')");
    let saved = hand.until(is_last_save);
    past_triggers(&mut stage, "delete from blog_store where id = 7");
    stage.run("select ai.resync_vectorizer('blog', true)");
    hand.run(saved).unwrap();
    let standing =
        "select format('%s %s %s %s', requests, taken, served, state) from ai.vectorizer_resync";
    let text = |stage: &mut Stage| -> String { stage.sql.query_one(standing, &[]).unwrap().get(0) };
    assert_eq!(text(&mut stage), "2 1 1 waiting");
    drop(hand);
    stage.once("worker");
    assert_eq!(text(&mut stage), "2 2 2 done");
    assert_eq!(found(&mut stage.sql), Found::done(50, [1, 0, 0]));
    stage.assert_true();
}

fn is_last_save(query: &Query) -> bool {
    matches!(query, Query::Resync(ResyncQuery::Save { standing, .. })
        if standing.state != ResyncState::Running)
}

/// A worker has read a row, then it is changed past the triggers, then a resync is asked for: its item
/// is on the queue, so the resync leaves it out; and the worker's commit would be the old text's.
#[test]
fn what_a_worker_has_read_before_a_resync_began_is_read_again() {
    for verify_text in [false, true] {
        let mut stage = Stage::with_blog();
        stage.run("insert into blog values (1, 't', 'old')");
        let mut hand = Hand::with(stage.database.client(), 1, Settings::new("led by the hand"));
        hand.dimensions = DIMENSIONS;
        let commit = hand.until(|query| matches!(query, Query::Commit { .. }));
        past_triggers(&mut stage, "update blog set body = 'new' where id = 1");
        stage.run(&format!(
            "select ai.resync_vectorizer('blog', {verify_text})"
        ));
        hand.wake();
        let saved = hand.until(is_last_save);
        hand.run(saved).unwrap();
        hand.run(commit).unwrap();
        hand.finish();
        stage.assert_true();
    }
}

#[test]
fn transactions_that_were_writing_before_are_waited_for() {
    let mut stage = Stage::with_blog();
    stage.run("alter table blog disable trigger all");
    let mut writer = stage.database.client();
    writer
        .batch_execute("begin; insert into blog values (1, 't', 'late')")
        .unwrap();
    stage.run("select ai.resync_vectorizer('blog')");
    let worker = stage.worker("worker", &["--poll-interval", "1"]);
    worker.wait_for_line("resync started", PATIENCE);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(found(&mut stage.sql).state, "running");
    writer.batch_execute("commit").unwrap();
    stage.database.wait_until(
        "(select state = 'done' from ai.vectorizer_resync)",
        PATIENCE,
    );
    stage.wait_until_done();
    stage.assert_true();
    assert_eq!(found(&mut stage.sql), Found::done(1, [1, 0, 0]));
}

#[test]
fn what_cannot_be_compared_is_one_error_of_the_request() {
    for shell in SHELLS {
        for (damage, repair, word) in [
            (
                "alter table blog rename to block",
                "alter table block rename to blog",
                "public.blog is gone",
            ),
            (
                "revoke select on blog from embedder",
                "grant select on blog to embedder",
                "permission denied for table blog",
            ),
            (
                "revoke select on blog_store from embedder",
                "grant select on blog_store to embedder",
                "permission denied for table blog_store",
            ),
            (
                "alter table blog_store rename to store",
                "alter table store rename to blog_store",
                "blog_store",
            ),
            (
                "alter table blog enable row level security",
                "alter table blog disable row level security",
                "row-level security",
            ),
        ] {
            println!("{shell}: {damage}");
            let mut stage = Stage::with_blog();
            stage.run("insert into blog values (1, 't', 'body')");
            stage.once(shell);
            stage.run(damage);
            stage.run("select ai.resync_vectorizer('blog', true)");
            let mut worker = stage.worker(shell, &["--poll-interval", "1"]);
            let failed = "(select state = 'failed' from ai.vectorizer_resync)";
            stage.database.wait_until(failed, PATIENCE);
            let reason = found(&mut stage.sql).reason.unwrap();
            assert!(reason.contains(word), "{reason}");
            let line = worker.wait_for_line("resync failed", PATIENCE);
            assert!(line.contains(word), "{line}");
            // It looks for further requests at once: if it were killed, the server might take the next one for it.
            worker.signal(Signal::Term);
            worker.wait(PATIENCE);
            stage.run(repair);
            assert_eq!(resync(&mut stage, shell, true), Found::done(1, [0, 0, 0]));
        }
    }
}

/// A text that the server cannot make is one row's affair, of the server's hashes as of a worker's read.
#[test]
fn a_text_that_cannot_be_read_is_queued_and_fails_alone() {
    for chunking in ["none()", "character_text_splitter()"] {
        let mut stage = Stage::new();
        if stage.number("select current_setting('server_version_num')::bigint") < 180_000 {
            return;
        }
        stage.run(&format!(
            "create table blog (id int primary key, n int, body text generated always as ('b' || 90 / n) virtual);
             select ai.create_vectorizer('blog', name => 'blog', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_{chunking},
               destination => ai.destination_table(target_table => 'blog_store'));
             insert into blog select n, n from generate_series(1, 50) n"
        ));
        stage.once("worker");
        past_triggers(
            &mut stage,
            "update blog set n = 0 where id = 7; update blog set n = 90 where id in (8, 30)",
        );
        let done = resync(&mut stage, "worker", true);
        assert_eq!(done, Found::done(50, [0, 0, 3]));
        assert_eq!(stage.number("select sum(id) from ai._vectorizer_q_1"), 7);
        let renewed = "select count(*) from blog_store where chunk = 'b1' and id in (8, 30)";
        assert_eq!(stage.number(renewed), 2);
    }
}
