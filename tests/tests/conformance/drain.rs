//! A backlog is worked off.

use tests::cranfield;
use tests::stub::vector_of;

use crate::stage::{PATIENCE, Stage, paragraph};

pub(crate) fn every_row_is_embedded_with_its_own_vector(shell: &str) {
    let mut stage = Stage::with_blog();
    let text = format!("{}\n\n{}", paragraph("first"), paragraph("second"));
    stage.run(&format!(
        "insert into blog (id, title, body)
         select n, 'Title ' || n, '{text}' || n from generate_series(1, 300) n"
    ));
    stage.run("insert into blog (id, body) values (1001, null), (1002, ''), (1003, 'no title')");
    let worker = stage.once(shell);
    worker.wait_for_line("running vectorizer", PATIENCE);
    worker.wait_for_line("finished processing vectorizer", PATIENCE);
    stage.assert_true();
    assert_eq!(stage.store().len(), 601);
    // Each text went to the provider once.
    assert_eq!(stage.stub.inputs().len(), 601);
}

/// The Cranfield documents with the settings of the first users.
pub(crate) fn cranfield_as_the_first_users_run_it(shell: &str) {
    // Users of this repository do not have the documents.
    let Some(docs) = cranfield::load() else {
        return;
    };
    let mut stage = Stage::new();
    stage.stub.add_model("embeddinggemma:300m", 768);
    stage.run("create table document (id int primary key, title text, body text)");
    stage.run(
        "select ai.create_vectorizer('document', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('embeddinggemma:300m', 768),
           chunking => ai.chunking_none(),
           processing => ai.processing_default(batch_size => 5),
           destination => ai.destination_table(target_table => 'document_store'))",
    );
    let insert = stage
        .sql
        .prepare("insert into document values ($1, $2, $3)")
        .unwrap();
    let mut wanted = 0;
    let mut transaction = stage.sql.transaction().unwrap();
    for (doc, id) in docs.iter().zip(1_i32..) {
        transaction
            .execute(&insert, &[&id, &doc.title, &doc.body])
            .unwrap();
        wanted += i64::from(!doc.body.is_empty());
    }
    transaction.commit().unwrap();
    let _worker = stage.worker(shell, &["--poll-interval", "10"]);
    stage.wait_until_done();
    assert_eq!(stage.number("select count(*) from document_store"), wanted);
    let rows = stage
        .sql
        .query("select s.chunk, d.body, s.embedding::real[] from document_store s join document d using (id)", &[])
        .unwrap();
    for row in rows {
        let (chunk, body, vector): (String, String, Vec<f32>) =
            (row.get(0), row.get(1), row.get(2));
        assert_eq!(chunk, body);
        assert_eq!(vector, vector_of(&chunk, 768));
    }
}

pub(crate) fn openai_gets_the_key_and_its_base64_is_read(shell: &str) {
    let mut stage = Stage::new();
    stage.stub.require_key("sk-test-key");
    stage.run("create table blog (id int primary key, title text, body text)");
    stage.run(&format!(
        "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_openai('text-embedding-3-small', 8, base_url => '{}'),
           chunking => ai.chunking_none(), destination => ai.destination_table(target_table => 'blog_store'),
           formatting => ai.formatting_python_template('$title: $chunk'))",
        stage.stub.openai_url()
    ));
    stage.run("insert into blog select n, 't', 'text ' || n from generate_series(1, 100) n");
    let environment = [("OPENAI_API_KEY", "sk-test-key")];
    let mut worker = stage.worker_with(shell, &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    stage.assert_true();
    assert_eq!(stage.store().len(), 100);
    let requests = stage.stub.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.fields["encoding_format"] == "base64")
    );
    assert!(
        !worker.lines().concat().contains("sk-test-key"),
        "a key in the log"
    );
}

pub(crate) fn what_is_too_long_for_openai_is_cut_and_told_and_stored_whole(shell: &str) {
    let mut stage = Stage::new();
    stage.run("create table blog (id int primary key, title text, body text)");
    stage.run(&format!(
        "select ai.create_vectorizer('blog', loading => ai.loading_column('body'),
           embedding => ai.embedding_openai('text-embedding-3-small', 8, base_url => '{}'),
           chunking => ai.chunking_none(), destination => ai.destination_table(target_table => 'blog_store'))",
        stage.stub.openai_url()
    ));
    // Each of these words is one token, with the space before it.
    let words = ["hello", "world"].into_iter().cycle();
    let text = |count: usize| words.clone().take(count).collect::<Vec<_>>().join(" ");
    stage.run(&format!(
        "insert into blog values (1, '', '{}'), (2, '', '{}')",
        text(8191),
        text(9000)
    ));
    let environment = [("OPENAI_API_KEY", "sk-test-key")];
    let mut worker = stage.worker_with(shell, &["--once"], &environment);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    // As it is shipped, worker-blocking has no tokenizer: the text is sent as it is.
    let cuts = shell != "worker-blocking";
    let kept = if cuts { 8191 } else { 9000 };
    let sent = stage.stub.inputs();
    assert!(
        sent == [text(8191), text(kept)],
        "{:?}",
        sent.iter().map(String::len).collect::<Vec<_>>()
    );
    if cuts {
        let line = worker.wait_for_line("chunks truncated", PATIENCE);
        let cut = text(9000).len() - text(8191).len();
        assert!(
            line.contains("chunks=1") && line.contains(&format!("bytes_not_embedded={cut}")),
            "{line}"
        );
    }
    let stored = "select length(chunk)::bigint from blog_store where id = 2";
    assert_eq!(
        stage.number(stored),
        i64::try_from(text(9000).len()).unwrap()
    );
}

pub(crate) fn types_and_names_of_keys_do_not_matter(shell: &str) {
    let mut stage = Stage::new();
    stage.run(
        "create schema \"My Schema\";
         create type \"My Schema\".mood as enum ('sad', 'very happy');
         create table \"My Schema\".\"T\"\"x\" (
           \"Id\" uuid default gen_random_uuid(), mood \"My Schema\".mood, day date, code char(5),
           at timestamptz, \"chunky {store}\" text, primary key (day, \"Id\", mood, code, at));
         insert into \"My Schema\".\"T\"\"x\" (mood, day, code, at, \"chunky {store}\") values
           ('sad', 'infinity', 'a', '2024-01-02 03:04:05.678901+02', 'one'),
           ('very happy', '0044-03-15 BC', 'b''\"', '-infinity', 'two')",
    );
    stage.run(
        "select ai.create_vectorizer('\"My Schema\".\"T\"\"x\"', name => 'odd',
           loading => ai.loading_column('chunky {store}'), embedding => ai.embedding_ollama('stub', 8),
           chunking => ai.chunking_none(), destination => ai.destination_table('odd'))",
    );
    stage.once(shell);
    let stored =
        stage.number("select count(*) from \"My Schema\".odd_store where chunk in ('one', 'two')");
    assert_eq!(stored, 2);
    stage
        .run("update \"My Schema\".\"T\"\"x\" set \"chunky {store}\" = 'three' where mood = 'sad'");
    stage.run("delete from \"My Schema\".\"T\"\"x\" where mood = 'very happy'");
    stage.once(shell);
    assert_eq!(
        stage.number("select count(*) from \"My Schema\".odd_store where chunk = 'three'"),
        1
    );
    assert_eq!(
        stage.number("select count(*) from \"My Schema\".odd_store"),
        1
    );
}

pub(crate) fn a_role_that_may_only_run_the_worker_is_enough(shell: &str) {
    let mut stage = Stage::with_blog();
    // Roles belong to the whole server.
    let role = format!("runner_of_{}", stage.database.name());
    stage.run(&format!(
        "create role {role} login; select ai.grant_worker_usage('{role}')"
    ));
    stage.run("insert into blog select n, 't', 'b' || n from generate_series(1, 60) n");
    stage.run("update blog set body = 'poison' where id = 7");
    stage.stub.refuse_inputs_with("poison");
    let url = stage
        .database
        .url()
        .replace("postgres@", &format!("{role}@"));
    assert_ne!(url, stage.database.url());
    let mut worker = stage.worker(shell, &["--once", "--db-url", &url]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(0));
    assert_eq!(stage.number("select count(*) from blog_store"), 59);
    assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 1);
    assert_eq!(
        stage.number("select success_count::bigint from ai.vectorizer_worker_process"),
        59
    );
    // It may not touch what is not the worker's.
    let mut sql = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    assert!(sql.batch_execute("update blog set body = 'x'").is_err());
    assert!(
        sql.batch_execute("update ai.vectorizer set disabled = true")
            .is_err()
    );
    drop(sql);
    stage.run(&format!("drop owned by {role}; drop role {role}"));
}
