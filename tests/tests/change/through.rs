//! A change from the first row to the last, while rows and readers go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tests::stage::{DIMENSIONS, PATIENCE, Stage};

use super::{
    BEGIN, OTHER, SHELLS, assert_true, fails, stage, text, wait_for, wait_until_both_are_done,
};

const ROWS: i32 = 60;

/// Updates, deletes and inserts rows until it is told to stop.
fn writer(stage: &Stage, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let mut client = stage.database.client();
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let id = turn % ROWS + 1;
            client
                .execute(
                    "update blog set title = $1 where id = $2",
                    &[&format!("u{turn}"), &id],
                )
                .unwrap();
            if turn % 10 == 0 {
                client
                    .execute("delete from blog where id = $1", &[&id])
                    .unwrap();
                client
                    .execute("insert into blog values ($1, 'again', 'came back')", &[&id])
                    .unwrap();
            }
        }
    })
}

/// Reads the view that serves and those of the generations: no read fails, and each of the latter shows vectors of one
/// model. Returns how often it has read.
fn searcher(stage: &Stage, stop: &Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    let mut client = stage.database.client();
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        let mut reads = 0;
        while !stop.load(Ordering::Relaxed) {
            for (view, dimensions) in [
                ("blog_embedding", None),
                ("blog_embedding_1", Some(DIMENSIONS)),
                ("blog_embedding_2", Some(OTHER)),
            ] {
                let sql = format!("select distinct vector_dims(embedding) from {view}");
                let rows = client.simple_query(&sql).unwrap();
                let found: Vec<usize> = rows
                    .iter()
                    .filter_map(|row| {
                        let postgres::SimpleQueryMessage::Row(row) = row else {
                            return None;
                        };
                        row.get(0)?.parse().ok()
                    })
                    .collect();
                assert!(found.len() < 2, "{view}: {found:?}");
                if let (Some(wanted), [found]) = (dimensions, found.as_slice()) {
                    assert_eq!(*found, wanted, "{view}");
                }
                reads += 1;
            }
        }
        reads
    })
}

#[test]
fn rows_and_readers_go_on_while_the_model_changes() {
    for shell in SHELLS {
        let mut stage = stage(ROWS);
        let _worker = stage.worker(shell, &["--poll-interval", "1s"]);
        let stop = Arc::new(AtomicBool::new(false));
        let writer = writer(&stage, &stop);
        assert_eq!(text(&mut stage, BEGIN), "filling");
        let searcher = searcher(&stage, &stop);
        wait_for(&stage, "kept");
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(searcher.join().unwrap() > 0);
        wait_until_both_are_done(&stage);
        assert_true(&mut stage, "blog_embedding", OTHER);
        assert_true(&mut stage, "blog_embedding_2", OTHER);
        assert_true(&mut stage, "blog_embedding_1", DIMENSIONS);
        let status = "select change_state || ' ' || change_percent || ' ' || state from ai.vectorizer_status";
        assert_eq!(text(&mut stage, status), "kept 100.0 up_to_date");

        // The old one is followed, until it is dropped.
        stage.run("update blog set title = 'last'");
        wait_until_both_are_done(&stage);
        assert_true(&mut stage, "blog_embedding_1", DIMENSIONS);
        let nearest = "select count(*) from ai.search('blog', (select embedding from blog_embedding limit 1), 5)";
        assert_eq!(stage.number(nearest), 5);
        stage.run("select ai.finish_change('blog')");
        stage.run("update blog set title = 'after'");
        stage.wait_until_done();
        assert_true(&mut stage, "blog_embedding", OTHER);
        assert_eq!(stage.stub.complaints(), Vec::<String>::new());
        let leftovers = "select count(*) from pg_class where relname ~ '^_vectorizer_(q|lease|bell)_1$|^blog_store$|^blog_embedding_'";
        assert_eq!(stage.number(leftovers), 0);
    }
}

#[test]
fn one_run_to_the_end_switches_and_counts_what_was_used() {
    let mut stage = stage(5);
    stage.run(
        "select ai.alter_vectorizer('blog', embedding => ai.embedding_ollama('other', 12),
           chunking => ai.chunking_none(), indexing => ai.indexing_hnsw(min_rows => 100))",
    );
    stage.once("worker");
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_generation"),
        "kept"
    );
    let chunks = "select count(*) from blog_embedding where vector_dims(embedding) = 12";
    assert_eq!(stage.number(chunks), 5);
    let used = "select string_agg(vectorizer_id || ' ' || model, ', ' order by model) from ai.vectorizer_usage";
    assert_eq!(text(&mut stage, used), "1 other, 1 stub");
    // And a second change, back, from there.
    stage.run(&format!(
        "select ai.finish_change('blog');
         select ai.alter_vectorizer('blog', embedding => ai.embedding_ollama('stub', {DIMENSIONS}))"
    ));
    stage.once("worker-blocking");
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_generation"),
        "kept"
    );
    let names = "select target_table || ' ' || view from ai.vectorizer_status";
    assert_eq!(
        text(&mut stage, names),
        "public.blog_store_3 public.blog_embedding"
    );
}

#[test]
fn the_switch_can_wait_for_the_application() {
    let mut stage = stage(3);
    stage.run(
        "select ai.alter_vectorizer('blog', embedding => ai.embedding_ollama('other', 12), switches => false)",
    );
    stage.once("worker");
    assert_eq!(
        text(&mut stage, "select state from ai.vectorizer_generation"),
        "ready"
    );
    assert_true(&mut stage, "blog_embedding", DIMENSIONS);
    assert_true(&mut stage, "blog_embedding_2", OTHER);
    stage.run("select ai.switch_change('blog')");
    assert_true(&mut stage, "blog_embedding", OTHER);
    // Workers follow both, under the numbers that have changed places.
    stage.run("update blog set title = 'new' where id = 2; delete from blog where id = 3");
    stage.once("worker");
    assert_true(&mut stage, "blog_embedding", OTHER);
    assert_true(&mut stage, "blog_embedding_1", DIMENSIONS);
    stage.run("select ai.revert_change('blog')");
    stage.run("update blog set title = 'newer' where id = 2");
    stage.once("worker");
    assert_true(&mut stage, "blog_embedding", DIMENSIONS);
    assert_true(&mut stage, "blog_embedding_2", OTHER);
}

#[test]
fn a_reader_of_the_view_postpones_the_switch() {
    let mut stage = stage(2);
    let mut reader = stage.database.client();
    let mut open = reader.transaction().unwrap();
    open.batch_execute("select count(*) from blog_embedding")
        .unwrap();
    stage.run(BEGIN);
    let worker = stage.worker("worker", &["--poll-interval", "1s"]);
    stage.database.wait_until(
        "exists (select from ai.vectorizer_status where change_reason = 'others use what it replaces')",
        PATIENCE,
    );
    open.commit().unwrap();
    wait_for(&stage, "kept");
    worker.wait_for_line("change advanced", PATIENCE);
    assert_true(&mut stage, "blog_embedding", OTHER);
}

#[test]
fn commands_know_both_generations() {
    let mut stage = stage(3);
    stage.run(&BEGIN.replace("))", "), switches => false)"));
    let mut doctor = stage.worker("worker", &["doctor"]);
    doctor.wait(PATIENCE);
    let lines = doctor.lines().join("\n");
    let known = "3 lack chunks, and chunks of 0 keys are left over, such as of the key 1; a resync is in progress, or waits";
    assert!(lines.contains(known), "{lines}");
    stage.once("worker");
    for turn in ["before", "after"] {
        for arguments in [
            ["search", "blog", "words"].as_slice(),
            &["search", "blog", "--explain", "words"],
            &["status"],
            &["errors"],
            &["usage"],
        ] {
            let mut command = stage.worker("worker", arguments);
            let status = command.wait(PATIENCE);
            let lines = command.lines().join("\n");
            assert!(status.success(), "{turn}: {arguments:?}: {lines}");
            if arguments == ["status"] {
                assert!(lines.contains("another model: "), "{lines}");
            }
        }
        let mut doctor = stage.worker("worker", &["doctor"]);
        doctor.wait(PATIENCE);
        let lines = doctor.lines().join("\n");
        for said in [
            "belongs to no vectorizer",
            "is gone",
            "may not",
            "lack chunks",
        ] {
            assert!(!lines.contains(said), "{turn}: {lines}");
        }
        // Each generation can be asked for by its number, before the switch and after it.
        for (generation, dimensions) in [(1, DIMENSIONS), (2, OTHER)] {
            let vector = vec!["0.5"; dimensions].join(",");
            let found = format!(
                "select count(*) from ai.search('blog', '[{vector}]', 4, generation => {generation})"
            );
            assert_eq!(stage.number(&found), 4, "{turn}: {generation}");
        }
        if turn == "before" {
            stage.run("select ai.switch_change('blog')");
        }
    }
    stage.run("select ai.finish_change('blog')");
    let gone = fails(
        &mut stage,
        "select * from ai.search('blog', '[1]', 4, generation => 1)",
    );
    assert!(gone.contains("has no generation 1"), "{gone}");
}
