//! Workers end, well or badly.

use tests::process::Signal;

use crate::stage::{PATIENCE, Stage};

pub(crate) fn a_killed_worker_loses_nothing(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 120) n");
    let hold = stage.stub.hold();
    let mut first = stage.worker(shell, &["--poll-interval", "1", "--lease", "3"]);
    stage.stub.wait_for_waiting(1, PATIENCE);
    first.signal(Signal::Kill);
    assert_eq!(first.wait(PATIENCE).code(), None, "killed");
    assert!(
        stage.number("select count(*) from ai._vectorizer_lease_1") > 0,
        "it held rows"
    );
    hold.release();
    // Another finishes, after the lease.
    let _second = stage.worker(shell, &["--poll-interval", "1", "--lease", "3"]);
    stage.wait_until_done();
    stage.assert_true();
    assert_eq!(stage.number("select count(*) from blog_store"), 120);
}

pub(crate) fn a_stopped_worker_says_goodbye_and_gives_back_what_it_holds(shell: &str) {
    for signal in [Signal::Term, Signal::Int] {
        let mut stage = Stage::with_blog();
        let mut idle = stage.worker(shell, &["--poll-interval", "60"]);
        idle.wait_for_line("finished processing vectorizer", PATIENCE);
        idle.signal(signal);
        assert_eq!(idle.wait(PATIENCE).code(), Some(0));
        idle.wait_for_line("worker stopped", PATIENCE);

        stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 120) n");
        let hold = stage.stub.hold();
        let mut busy = stage.worker(shell, &["--poll-interval", "60"]);
        stage.stub.wait_for_waiting(1, PATIENCE);
        busy.signal(signal);
        busy.wait_for_line("stopping", PATIENCE);
        hold.release();
        assert_eq!(busy.wait(PATIENCE).code(), Some(0));
        assert_eq!(
            stage.number("select count(*) from ai._vectorizer_lease_1"),
            0,
            "nothing is held"
        );
        let heartbeats = "select min(heartbeat_count)::bigint from ai.vectorizer_worker_process";
        assert!(stage.number(heartbeats) >= 1, "each said goodbye");
        stage.once(shell);
        stage.assert_true();
    }
}

pub(crate) fn a_worker_survives_the_end_of_its_sessions(shell: &str) {
    let mut stage = Stage::with_blog();
    let mut worker = stage.worker(shell, &["--poll-interval", "1"]);
    worker.wait_for_line("finished processing vectorizer", PATIENCE);
    for round in 1..=3 {
        stage.run(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        );
        stage.run(&format!(
            "insert into blog values ({round}, 't', 'round {round}')"
        ));
        stage.wait_until_done();
    }
    stage.assert_true();
    assert!(worker.is_running());
}
