//! The provider makes trouble.

use std::time::Duration;

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

/// A text makes the server fail, each time in another way: it ends in the failed table, its neighbours
/// are embedded, and another vectorizer of the same server does not wait.
pub(crate) fn a_text_that_makes_the_server_fail_fails_alone(shell: &str) {
    let said = |status: u16, body: &str| Behaviour::Answer(Answer::new(status).body(body));
    for behaviour in [
        said(
            500,
            r#"{"error":"do embedding request: Post \"http://127.0.0.1:1/embedding\": EOF"}"#,
        ),
        said(502, "<html>502 Bad Gateway</html>"),
        said(
            500,
            r#"{"error":{"message":"litellm.APIConnectionError: the prompt is too lengthy","code":"500"}}"#,
        ),
        Behaviour::CloseAfterReading,
        Behaviour::Truncated,
    ] {
        let mut stage = Stage::new();
        for table in ["blog", "news"] {
            stage.run(&format!(
                "create table {table} (id int primary key, body text);
                 select ai.create_vectorizer('{table}', loading => ai.loading_column('body', retries => 0),
                   embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_none(),
                   destination => ai.destination_table(target_table => '{table}_store'));
                 insert into {table} select n, '{table} ' || n from generate_series(1, 20) n"
            ));
        }
        stage.run("update blog set body = 'the poison' where id = 7");
        let spoilt = behaviour.clone();
        stage.stub.behave(move |request| {
            if request.inputs.iter().any(|text| text.contains("poison")) {
                spoilt.clone()
            } else {
                Behaviour::Honest
            }
        });
        let _worker = stage.worker(shell, &["--poll-interval", "1"]);
        let done = "(select count(*) = 39 from (select id from blog_store union all
            select id from news_store) stored)";
        stage.database.wait_until(done, Duration::from_secs(20));
        stage.wait_until_done();
        let failed = stage
            .sql
            .query_one(
                "select id, failure_step from ai._vectorizer_q_failed_1",
                &[],
            )
            .unwrap();
        let (id, step): (i32, String) = (failed.get(0), failed.get(1));
        assert_eq!((id, step.as_str()), (7, "embedding"), "{behaviour:?}");
        let errors = "select count(*) from ai.vectorizer_errors";
        assert_eq!(stage.number(errors), 1, "{behaviour:?}");
    }
}
