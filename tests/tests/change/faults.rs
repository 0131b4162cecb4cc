//! Workers that are killed, and a provider that fails for ever.

use std::thread;
use std::time::Duration;

use tests::process::Signal;
use tests::stage::{DIMENSIONS, PATIENCE};
use tests::stub::{Behaviour, Stub};

use super::{BEGIN, OTHER, SHELLS, assert_true, stage, text, wait_for, wait_until_both_are_done};

#[test]
fn a_killed_worker_is_replaced_in_each_state() {
    for shell in SHELLS {
        let mut stage = stage(40);
        stage.stub.take_requests();
        stage.run(&BEGIN.replace("))", "), switches => false)"));
        let held = stage.stub.hold_where(|request| request.model() == "other");
        let mut worker = stage.worker(shell, &["--poll-interval", "1s", "--lease", "10s"]);
        stage.stub.wait_for_waiting(1, PATIENCE);
        worker.signal(Signal::Kill);
        worker.wait(PATIENCE);
        // What it had sent just before may still be on its way to the provider.
        thread::sleep(Duration::from_millis(500));
        let in_flight = stage.stub.inputs().len();
        drop(held);
        assert_eq!(
            text(&mut stage, "select state from ai.vectorizer_generation"),
            "filling"
        );
        let mut worker = stage.worker(shell, &["--poll-interval", "1s", "--lease", "10s"]);
        wait_for(&stage, "ready");
        worker.signal(Signal::Kill);
        worker.wait(PATIENCE);
        // Nothing was paid for twice, but what was in flight when the first one was killed.
        let mut inputs = stage.stub.inputs();
        let count = inputs.len();
        inputs.sort_unstable();
        inputs.dedup();
        assert!(count - inputs.len() <= in_flight, "{count} {in_flight}");
        assert_true(&mut stage, "blog_embedding_2", OTHER);
        stage.run("update blog set title = 'while nobody works'; select ai.switch_change('blog')");
        let _worker = stage.worker(shell, &["--poll-interval", "1s", "--lease", "10s"]);
        wait_until_both_are_done(&stage);
        assert_true(&mut stage, "blog_embedding", OTHER);
        assert_true(&mut stage, "blog_embedding_1", DIMENSIONS);
    }
}

#[test]
fn a_provider_that_fails_for_ever_does_not_delay_the_other_generation() {
    let mut stage = stage(10);
    let other = Stub::start_with(OTHER);
    other.behave(|_| Behaviour::status(500));
    stage.run(&format!(
        "select ai.alter_vectorizer('blog', embedding => ai.embedding_openai('other', {OTHER},
           base_url => '{}', api_key_name => null))",
        other.openai_url()
    ));
    let arguments = ["--poll-interval", "1s", "--exit-on-error=false"];
    let _worker = stage.worker("worker", &arguments);
    let waits = "exists (select from ai.vectorizer_progress where change_pending > 0)";
    stage.database.wait_until(waits, PATIENCE);
    other.wait_for_requests(1, PATIENCE);
    for turn in 0..5 {
        stage.run(&format!("update blog set title = 'turn {turn}'"));
        stage.wait_until_done();
        assert_true(&mut stage, "blog_embedding", DIMENSIONS);
    }
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_generation"),
        "filling"
    );
    // And the other way round, after it was the new one's turn.
    other.behave_honestly();
    wait_for(&stage, "kept");
    stage.stub.behave(|_| Behaviour::status(500));
    stage.run("update blog set title = 'last'");
    stage.wait_until_done();
    assert_true(&mut stage, "blog_embedding", OTHER);
    stage.run("select ai.finish_change('blog')");
    assert_true(&mut stage, "blog_embedding", OTHER);
}

#[test]
fn a_row_that_the_new_model_refuses_holds_up_nothing() {
    let mut stage = stage(4);
    stage.stub.behave(|request| {
        let is_refused =
            request.model() == "other" && request.inputs.iter().any(|input| input.contains("3 a"));
        if is_refused {
            Behaviour::status(400)
        } else {
            Behaviour::Honest
        }
    });
    stage.run(
        "select ai.alter_vectorizer('blog', loading => ai.loading_column('body', retries => 0))",
    );
    stage.run(BEGIN);
    let _worker = stage.worker(
        "worker",
        &["--poll-interval", "1s", "--exit-on-error=false"],
    );
    wait_for(&stage, "kept");
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_2"),
        1
    );
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_1"),
        0
    );
    let chunks = "select count(*) from blog_embedding where vector_dims(embedding) = 12";
    assert_eq!(stage.number(chunks), 6);
    let errors = "select count(*) from ai.vectorizer_errors where name = 'blog' and (details ->> 'generation')::int = 2";
    assert_eq!(stage.number(errors), 1);
}
