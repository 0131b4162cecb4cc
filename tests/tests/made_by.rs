//! Somebody edits a vectorizer's configuration by hand: no store gets vectors of two models, and
//! texts that are made differently are made anew.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use pgai_core::Query;
use tests::hand::Hand;
use tests::process::Process;
use tests::stage::{DIMENSIONS, PATIENCE, Stage, paragraph};

const SHELLS: [&str; 2] = ["worker", "worker-blocking"];

/// The blog with two rows of two chunks each, embedded.
fn stage() -> Stage {
    let mut stage = Stage::with_blog();
    for id in 1..=2 {
        stage.run(&format!(
            "insert into blog values ({id}, 't{id}', '{}' || E'\n\n' || '{}')",
            paragraph(&format!("{id} a")),
            paragraph(&format!("{id} b"))
        ));
    }
    stage.once("worker");
    assert_eq!(stage.store().len(), 4);
    stage
}

fn set(path: &str, value: &str) -> String {
    format!("update ai.vectorizer set config = jsonb_set(config, '{path}', '{value}')")
}

fn text(stage: &mut Stage, sql: &str) -> String {
    stage.sql.query_one(sql, &[]).unwrap().get(0)
}

#[track_caller]
fn refusal(stage: &mut Stage, sql: &str) -> (String, String) {
    let error = stage.sql.batch_execute(sql).unwrap_err();
    let error = error.as_db_error().unwrap();
    (error.message().to_owned(), error.code().code().to_owned())
}

/// A worker that stays, and says what is wrong with its vectorizer.
fn start(stage: &Stage, shell: &str) -> Process {
    stage.worker(shell, &["--poll-interval", "1s", "--exit-on-error=false"])
}

#[test]
fn what_decides_about_vectors_and_texts_is_in_the_digests_and_nothing_else() {
    let mut stage = Stage::with_blog();
    for (path, value, vectors, texts) in [
        ("{embedding,model}", "\"other\"", true, false),
        ("{embedding,dimensions}", "9", true, false),
        ("{embedding,implementation}", "\"openai\"", true, false),
        ("{embedding,options}", "{\"num_ctx\": 100}", true, false),
        ("{embedding,input_type}", "\"document\"", true, false),
        ("{embedding,never_heard_of}", "1", true, false),
        ("{embedding,base_url}", "\"http://there\"", false, false),
        ("{embedding,api_key_name}", "\"KEY\"", false, false),
        ("{embedding,keep_alive}", "\"5m\"", false, false),
        ("{embedding,options}", "null", false, false),
        ("{loading,column_name}", "\"title\"", false, true),
        ("{loading,retries}", "1", false, false),
        ("{parsing,implementation}", "\"none\"", false, true),
        ("{chunking,chunk_size}", "10", false, true),
        ("{chunking,never_heard_of}", "1", false, true),
        ("{formatting,template}", "\"é $chunk\"", false, true),
        ("{processing,batch_size}", "1", false, false),
        ("{indexing}", "{\"implementation\": \"none\"}", false, false),
        ("{scheduling}", "{}", false, false),
        ("{destination,view_name}", "\"v\"", false, false),
        ("{embedding}", "\"nonsense\"", true, false),
    ] {
        let sql = "select n.vectors <> o.vectors, n.texts <> o.texts from ai.vectorizer v,
            ai._made_by(v.config) o, ai._made_by(jsonb_set(v.config, $1::text::text[], $2::text::jsonb)) n";
        let row = stage.sql.query_one(sql, &[&path, &value]).unwrap();
        assert_eq!((row.get(0), row.get(1)), (vectors, texts), "{path} {value}");
    }
}

#[test]
fn another_model_stops_the_vectorizer_until_it_is_put_back() {
    for shell in SHELLS {
        let mut stage = stage();
        let before = stage.store();
        stage.stub.take_requests();
        stage.run(&set("{embedding,model}", "\"other\""));
        stage.run(&set(
            "{embedding,base_url}",
            &format!("\"{}\"", stage.stub.url()),
        ));
        let worker = start(&stage, shell);
        worker.wait_for_line("vectorizer cannot run", PATIENCE);
        stage.run("update blog set title = 'new'");
        let recorded = "exists (select from ai.vectorizer_errors e where e.details ->> 'error_reason'
            like 'its embedding has changed%\"model\":\"stub\"%ai.revert_embedding(''blog'')%ai.reembed_vectorizer%')";
        stage.database.wait_until(recorded, PATIENCE);
        worker.wait_for_line("vectorizer cannot run", PATIENCE);
        assert_eq!(stage.store(), before);
        assert_eq!(stage.stub.take_requests().len(), 0);
        assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 1);

        stage.run("select ai.revert_embedding('blog')");
        stage.wait_until_done();
        stage.assert_true();
        // What does not decide about the vectors stays as it was edited.
        let base_url = text(
            &mut stage,
            "select config #>> '{embedding,base_url}' from ai.vectorizer",
        );
        assert_eq!(base_url, stage.stub.url());
        assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 1);
    }
}

#[test]
fn a_search_with_another_model_is_refused() {
    let mut stage = stage();
    stage.run(&set("{embedding,model}", "\"other\""));
    for shell in SHELLS {
        let mut search = stage.worker(shell, &["search", "blog", "words"]);
        assert_ne!(search.wait(PATIENCE).code(), Some(0));
        let lines = search.lines().join("\n");
        assert!(lines.contains("ai.revert_embedding('blog')"), "{lines}");
    }
}

#[test]
fn other_dimensions_than_those_of_the_store_are_an_error_at_once() {
    for destination in ["ai.destination_table('e')", "ai.destination_column('v')"] {
        let mut stage = Stage::new();
        stage.run(&format!(
            "create table t (id int primary key, body text); insert into t values (1, 'x');
             select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
               embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
               destination => {destination})"
        ));
        stage.run(&set("{embedding,dimensions}", "9"));
        // As if nobody had edited anything, but the store were another.
        stage.run(
            "update ai.vectorizer_made_by m set vectors = n.vectors
            from ai.vectorizer v, ai._made_by(v.config) n",
        );
        let worker = start(&stage, "worker");
        worker.wait_for_line("vectorizer cannot run", PATIENCE);
        stage.database.wait_until(
            "exists (select from ai.vectorizer_errors where details ->> 'error_reason'
               like 'its vectors are stored with 8 dimensions, and its embedding has 9%')",
            PATIENCE,
        );
        assert_eq!(stage.stub.inputs().len(), 0);
        let (message, _) = refusal(&mut stage, "select ai.reembed_vectorizer('v')");
        assert!(message.contains("8 dimensions"), "{message}");
    }
}

#[test]
fn texts_that_are_made_differently_are_recorded_and_compared() {
    for shell in SHELLS {
        let mut stage = stage();
        stage.run(&set("{formatting,template}", "\"$chunk of $title\""));
        let worker = start(&stage, shell);
        worker.wait_for_line("the configuration of the texts has changed", PATIENCE);
        stage.database.wait_until(
            "(select m.texts = n.texts and m.vectors = n.vectors and (r.verify_text or r.verifies_text)
              from ai.vectorizer v join ai.vectorizer_made_by m on m.vectorizer_id = v.id
              join ai.vectorizer_resync r on r.vectorizer_id = v.id, ai._made_by(v.config) n)",
            PATIENCE,
        );
        stage.run("insert into blog values (3, 't3', 'three')");
        stage.database.wait_until(
            "exists (select from blog_store where chunk = 'three of t3')",
            PATIENCE,
        );
        // The resync that was asked for makes the texts of all rows anew.
        stage.database.wait_until(
            "not exists (select from blog_store where chunk not like '% of t%')",
            PATIENCE,
        );
        assert_eq!(stage.number("select count(*) from ai.vectorizer_errors"), 0);
    }
}

fn is_claim(query: &Query) -> bool {
    matches!(query, Query::Claim { .. })
}

fn is_commit(query: &Query) -> bool {
    matches!(query, Query::Commit { .. })
}

/// What brings a new record: the texts are accepted, or all rows are embedded anew.
fn renewals() -> [(String, &'static str); 2] {
    [
        (
            set("{formatting,template}", "\"new $chunk\""),
            "select ai._vectorizer_accept_texts(v.id, n.vectors, n.texts) from ai.vectorizer v, ai._made_by(v.config) n",
        ),
        (
            set("{embedding,model}", "\"other\""),
            "select ai.reembed_vectorizer(v.name) from ai.vectorizer v",
        ),
    ]
}

fn hand_stage() -> Stage {
    let mut stage = Stage::new();
    stage.run(
        "create table t (id int primary key, body text); insert into t values (1, 'one'), (2, 'two');
         select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('m', 3), chunking => ai.chunking_none(),
           destination => ai.destination_table('e'))",
    );
    stage
}

#[test]
fn a_claim_that_was_planned_for_the_old_configuration_gets_nothing() {
    for (edit, renewal) in renewals() {
        let mut stage = hand_stage();
        let mut hand = Hand::new(stage.database.client(), 1);
        let claim = hand.until(is_claim);
        stage.run(&edit);
        stage.run(renewal);
        let rows = hand.run(claim).unwrap();
        assert!(rows.iter().all(|row| row[0].is_none()), "{rows:?}");
        assert_eq!(
            stage.number("select count(*) from ai._vectorizer_lease_1"),
            0
        );
    }
}

#[test]
fn a_claim_that_waits_for_the_new_record_gets_nothing_either() {
    for (edit, renewal) in renewals() {
        let mut stage = hand_stage();
        let mut hand = Hand::new(stage.database.client(), 1);
        hand.sql("set lock_timeout = 0");
        let pid = hand.pid();
        let claim = hand.until(is_claim);
        stage.run(&edit);
        let mut operator = stage.database.client();
        operator.batch_execute("begin").unwrap();
        operator.batch_execute(renewal).unwrap();
        let rows = std::thread::scope(|scope| {
            let waiting = scope.spawn(move || hand.run(claim).unwrap());
            stage.database.wait_until(
                &format!("exists (select from pg_locks where pid = {pid} and not granted)"),
                PATIENCE,
            );
            operator.batch_execute("commit").unwrap();
            waiting.join().unwrap()
        });
        assert!(rows.iter().all(|row| row[0].is_none()), "{rows:?}");
    }
}

#[test]
fn what_was_made_with_the_old_configuration_is_not_written_any_more() {
    for (edit, renewal) in renewals() {
        let mut stage = hand_stage();
        let mut hand = Hand::new(stage.database.client(), 1);
        let commit = hand.until(is_commit);
        stage.run(&edit);
        stage.run(renewal);
        let rows = hand.run(commit).unwrap();
        assert!(
            rows.iter().all(|row| row[1].as_deref() == Some("lost")),
            "{rows:?}"
        );
        assert_eq!(stage.number("select count(*) from e_store"), 0);
        assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 2);
    }
}

#[test]
fn embedding_all_rows_anew_leaves_no_old_vector_behind() {
    let mut stage = stage();
    stage.run(
        "create table referrer (chunk uuid references blog_store (embedding_uuid) on delete cascade);
         insert into referrer select embedding_uuid from blog_store;
         insert into ai._vectorizer_q_failed_1 (id) values (7)",
    );
    stage.run(&set("{embedding,model}", "\"other\""));
    stage.run("select ai.reembed_vectorizer('blog')");
    for gone in ["blog_store", "referrer", "ai._vectorizer_q_failed_1"] {
        assert_eq!(
            stage.number(&format!("select count(*) from {gone}")),
            0,
            "{gone}"
        );
    }
    let is_recorded = "select count(*) from ai.vectorizer v join ai.vectorizer_made_by m on m.vectorizer_id = v.id,
        ai._made_by(v.config) n where m.vectors = n.vectors and not m.assumed and m.embedding ->> 'model' = 'other'";
    assert_eq!(stage.number(is_recorded), 1);
    assert_eq!(stage.number("select count(*) from ai.vectorizer_resync"), 1);
}

#[test]
fn embedding_a_column_anew_clears_it_and_queues_nothing_by_itself() {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table t (id int primary key, body text); insert into t values (1, 'x'), (2, 'y');
         select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_column('vector'))"
    ));
    stage.once("worker");
    assert_eq!(stage.number("select count(vector) from t"), 2);
    stage.run(&set("{embedding,model}", "\"other\""));
    // A trigger that holds on to the old vectors is found.
    stage.run(
        "create function keep() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger keep before update on t for each row when (new.id = 2) execute function keep()",
    );
    let (message, _) = refusal(&mut stage, "select ai.reembed_vectorizer('v')");
    assert!(message.contains("a trigger on public.t"), "{message}");
    stage.run("drop trigger keep on t; select ai.reembed_vectorizer('v')");
    assert_eq!(stage.number("select count(vector) from t"), 0);
    assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 0);
}

#[test]
fn only_the_owner_embeds_anew_and_only_with_a_fresh_snapshot() {
    let mut stage = stage();
    stage.run(
        "do $$ begin create role made_by_stranger; exception when duplicate_object or unique_violation then null; end $$;
         select ai.grant_vectorizer_usage('made_by_stranger')",
    );
    stage.run("set role made_by_stranger");
    assert_eq!(
        refusal(&mut stage, "select ai.reembed_vectorizer('blog')").1,
        "42501"
    );
    let forged = "update ai.vectorizer_made_by set vectors = 'x'";
    assert_eq!(refusal(&mut stage, forged).1, "42501");
    stage.run("reset role");
    stage.run("begin isolation level repeatable read");
    let (message, _) = refusal(&mut stage, "select ai.reembed_vectorizer('blog')");
    assert!(
        message.contains("must see what others have just written"),
        "{message}"
    );
    stage.run("rollback");
    assert_eq!(
        refusal(&mut stage, "select ai.reembed_vectorizer('nobody')").1,
        "42704"
    );
    assert_eq!(
        refusal(&mut stage, "select ai.revert_embedding('nobody')").1,
        "42704"
    );
    stage.run("revoke all on all tables in schema ai from made_by_stranger");
}

#[test]
fn what_was_there_before_the_record_is_assumed_and_a_lost_record_is_written_again() {
    let mut stage = stage();
    stage.run("drop table ai.vectorizer_made_by cascade");
    stage.database.install();
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_made_by where assumed"),
        1
    );
    stage.run("delete from ai.vectorizer_made_by");
    stage.run("insert into blog values (3, 't', 'three')");
    stage.once("worker");
    assert_eq!(
        stage.number("select count(*) from ai.vectorizer_made_by where assumed"),
        1
    );
    stage.assert_true();
}

#[test]
fn other_texts_of_a_column_stop_the_vectorizer_because_nothing_is_left_to_compare() {
    let mut stage = Stage::new();
    stage.run(&format!(
        "create table t (id int primary key, body text); insert into t values (1, 'x');
         select ai.create_vectorizer('t', name => 'v', loading => ai.loading_column('body'),
           embedding => ai.embedding_ollama('stub', {DIMENSIONS}), chunking => ai.chunking_none(),
           destination => ai.destination_column('vector'))"
    ));
    stage.once("worker");
    stage.run(&set("{formatting,template}", "\"new $chunk\""));
    let worker = start(&stage, "worker");
    worker.wait_for_line("a column keeps no texts to compare with", PATIENCE);
    stage.run("select ai.reembed_vectorizer('v'); insert into t values (2, 'y')");
    stage
        .database
        .wait_until("(select vector is not null from t where id = 2)", PATIENCE);
    let inputs = stage.stub.inputs();
    assert!(
        inputs.contains(&"new y".to_owned()) && !inputs.contains(&"y".to_owned()),
        "{inputs:?}"
    );
}
