//! Rows that may have killed their workers: others come first, and no config keeps them for ever.

use tests::stage::{PATIENCE, Stage};

use crate::SHELLS;

fn vectorizer(stage: &mut Stage, table: &str, retries: i64) {
    stage.run(&format!(
        "create table {table} (id int primary key, body text);
         select ai.create_vectorizer('{table}', name => '{table}',
           loading => ai.loading_column('body', retries => {retries}),
           embedding => ai.embedding_ollama('m', 8), chunking => ai.chunking_none(),
           destination => ai.destination_table('{table}_view'))"
    ));
}

/// Workers have claimed these rows so often and said nothing since.
fn claimed(stage: &mut Stage, vectorizer: i64, ids: &str, times: i64) {
    stage.run(&format!(
        "insert into ai._vectorizer_lease_{vectorizer} (id, _claim, _until, _attempts, _generation)
         select id, 1, now() - interval '1 second', {times}, _generation
         from ai._vectorizer_q_{vectorizer} where id in ({ids})"
    ));
}

#[test]
fn rows_claimed_twice_without_a_word_come_last_and_one_at_a_time() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        vectorizer(&mut stage, "first", 6);
        vectorizer(&mut stage, "second", 6);
        // The suspects have waited longest, and theirs is the first vectorizer.
        stage.run("insert into first select n, 'suspect ' || n from generate_series(1, 3) n");
        stage.run("insert into first select n, 'first ' || n from generate_series(4, 60) n");
        stage.run("insert into second select n, 'second ' || n from generate_series(1, 60) n");
        claimed(&mut stage, 1, "1, 2, 3", 2);
        stage.once(shell);
        let requests = stage.stub.requests();
        let inputs: Vec<&[String]> = requests.iter().map(|request| &request.inputs[..]).collect();
        let first = inputs
            .iter()
            .position(|texts| texts[0].starts_with("suspect"));
        let (others, suspects) = inputs.split_at(first.unwrap());
        println!("{shell}: {} requests, then {suspects:?}", others.len());
        assert_eq!(suspects, [["suspect 1"], ["suspect 2"], ["suspect 3"]]);
        assert_eq!(others.concat().len(), 117, "all others came before");
        assert_eq!(stage.number("select count(*) from first_view"), 60);
    }
}

#[test]
fn no_config_keeps_a_row_that_kills_workers_for_ever() {
    for shell in SHELLS {
        let mut stage = Stage::new();
        vectorizer(&mut stage, "patient", 1_000_000_000);
        stage.run("insert into patient values (1, 'a killer'), (2, 'another'), (3, 'good')");
        claimed(&mut stage, 1, "1", 7);
        claimed(&mut stage, 1, "2", 6);
        let worker = stage.once(shell);
        worker.wait_for_line("row failed for good", PATIENCE);
        let failed = stage
            .sql
            .query_one(
                "select id, failure_step, failure_reason from ai._vectorizer_q_failed_1",
                &[],
            )
            .unwrap();
        let (id, step, reason): (i32, String, String) =
            (failed.get(0), failed.get(1), failed.get(2));
        assert_eq!((id, step.as_str()), (1, "worker"), "{reason}");
        assert!(reason.contains("7 times"), "{reason}");
        assert_eq!(stage.number("select count(*) from patient_view"), 2);
        assert!(!stage.stub.inputs().contains(&"a killer".to_owned()));
    }
}
