//! The provider makes trouble.

use tests::stub::{Answer, Behaviour};

use crate::stage::{PATIENCE, Stage};

pub(crate) fn a_poison_row_fails_alone(shell: &str) {
    let mut stage = Stage::new();
    stage.run("create table blog (id int primary key, title text, body text)");
    // No retries: the first failure is the last.
    stage.run(
        "select ai.create_vectorizer('blog', loading => ai.loading_column('body', retries => 0),
           embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
           formatting => ai.formatting_python_template('$title: $chunk'),
           destination => ai.destination_table(target_table => 'blog_store'))",
    );
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 100) n");
    stage.run("update blog set body = 'poison' where id = 42");
    stage.stub.refuse_inputs_with("poison");
    let worker = stage.once(shell);
    worker.wait_for_line("row failed for good", PATIENCE);
    assert_eq!(stage.number("select count(*) from blog_store"), 99);
    assert_eq!(
        stage.number("select id::bigint from ai._vectorizer_q_failed_1"),
        42
    );
    let row = stage
        .sql
        .query_one(
            "select message, details->'key'->>0, details->>'provider' from ai.vectorizer_errors",
            &[],
        )
        .unwrap();
    let (message, key, provider): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    assert_eq!(
        (message.as_str(), key.as_str(), provider.as_str()),
        ("embedding provider failed", "42", "ollama")
    );

    // Mended, it is embedded, and no longer among the failed.
    stage.run("update blog set body = 'mended' where id = 42");
    stage.once(shell);
    stage.assert_true();
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_1"),
        0
    );
}

pub(crate) fn errors_of_the_provider_burn_nothing(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 60) n");
    for behaviour in [
        Behaviour::status(500),
        Behaviour::rate_limited("1"),
        Behaviour::CloseAfterReading,
        Behaviour::Truncated,
        Behaviour::TooFewVectors,
    ] {
        stage.stub.script(behaviour);
    }
    let _worker = stage.worker(shell, &["--poll-interval", "1"]);
    stage.wait_until_done();
    assert_eq!(stage.store(), stage.wanted());
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_q_failed_1"),
        0
    );
}

pub(crate) fn a_wrong_dimension_is_one_error(shell: &str) {
    let mut stage = Stage::with_blog();
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 60) n");
    stage.stub.behave(|_| Behaviour::WrongDimensions(16));
    let mut worker = stage.worker(shell, &["--once"]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(1));
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 1);
    assert_eq!(
        stage.number("select ai.vectorizer_queue_pending('blog', true)"),
        60
    );
    assert_eq!(
        stage.number("select count(*) from ai._vectorizer_lease_1"),
        0
    );
    stage.stub.behave_honestly();
    stage.once(shell);
    stage.assert_true();
}

/// The provider refuses the parameters, or the config refuses them before the provider is asked:
/// either is the provider's error, as with pgai.
pub(crate) fn bad_parameters_are_an_error_of_the_provider(shell: &str) {
    for (embedding, status, said) in [
        ("ai.embedding_ollama('stub', 8)", 400, "no such option"),
        (
            "ai.embedding_openai('text-embedding-ada-002', 1536, base_url => '{}', api_key_name => null)",
            200,
            "dimensions must be 1536",
        ),
    ] {
        let mut stage = Stage::new();
        let embedding = embedding.replace("{}", &stage.stub.openai_url());
        stage.run("create table blog (id int primary key, body text)");
        stage.run(&format!(
            "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
               embedding => {embedding}, destination => ai.destination_table(target_table => 'blog_store'))"
        ));
        // create_vectorizer refuses some itself; older definitions may have them.
        stage.run(
            "update ai.vectorizer set config = jsonb_set(config, '{embedding,dimensions}', '8')",
        );
        stage.run("insert into blog select n, 'b' || n from generate_series(1, 5) n");
        stage.stub.behave(move |_| {
            Behaviour::Answer(Answer::new(status).body(&format!("{{\"error\":\"{said}\"}}")))
        });
        let mut worker = stage.worker(shell, &["--once"]);
        assert_eq!(worker.wait(PATIENCE).code(), Some(1));
        let rows = stage
            .sql
            .query(
                "select message, details->>'provider', details->>'error_reason' from ai.vectorizer_errors",
                &[],
            )
            .unwrap();
        assert_eq!(rows.len(), 1, "{embedding}");
        let (message, provider, reason): (String, String, String) =
            (rows[0].get(0), rows[0].get(1), rows[0].get(2));
        assert_eq!(message, "embedding provider failed", "{reason}");
        assert!(embedding.contains(&provider), "{provider}");
        assert!(reason.contains(said), "{reason}");
        assert_eq!(
            stage.number(
                "select ai.vectorizer_queue_pending((select min(id) from ai.vectorizer), true)"
            ),
            5
        );
    }
}
