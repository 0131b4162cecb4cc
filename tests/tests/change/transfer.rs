//! `worker export` and `worker import`: an environment is cloned without paying.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::measure::Usage;
use tests::process::{Process, Signal};
use tests::stage::{DIMENSIONS, PATIENCE, Stage, paragraph};

use super::copied::{self, copied_in, copied_out};
use super::{SHELLS, stage, text};

/// A file that goes with its test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("pgai-{}-{name}.csv", process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// Runs a command, and returns whether it succeeded, and what it wrote.
fn command(stage: &Stage, shell: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = stage.worker(shell, arguments);
    let is_good = command.wait(PATIENCE).success();
    (is_good, command.lines().join("\n"))
}

#[track_caller]
fn succeeds(stage: &Stage, shell: &str, arguments: &[&str]) -> String {
    let (is_good, lines) = command(stage, shell, arguments);
    assert!(is_good, "{lines}");
    lines
}

#[track_caller]
fn fails(stage: &Stage, arguments: &[&str]) -> String {
    let (is_good, lines) = command(stage, "worker", arguments);
    assert!(!is_good, "{lines}");
    lines
}

/// Another database with the same rows, and a vectorizer for which nothing is queued.
fn copy_of(production: &mut Stage) -> Stage {
    let mut copy = Stage::new();
    copy.run("create table blog (id int primary key, title text, body text, views int default 0)");
    let rows = copied_out(production, "blog");
    copied_in(&mut copy, "blog", &rows);
    copy.run(copied::CREATE);
    copy
}

/// What the provider was asked to embed, in order.
fn inputs(stage: &Stage) -> Vec<String> {
    let mut inputs = stage.stub.inputs();
    inputs.sort_unstable();
    inputs
}

#[test]
fn only_what_differs_is_embedded() {
    for shell in SHELLS {
        let file = Place::new(shell);
        let mut production = stage(5);
        production.run("update blog set title = E'says \"a\", \\nb ' where id = 4");
        production.once(shell);
        let said = succeeds(&production, shell, &["export", "blog", "--to", file.path()]);
        assert_eq!(said, "10 chunks");
        // To the standard output it is the same.
        let said = succeeds(&production, shell, &["export", "blog"]);
        assert_eq!(
            format!("{said}\n"),
            fs::read_to_string(file.path()).unwrap()
        );

        let mut copy = copy_of(&mut production);
        copy.run(&format!(
            "update blog set title = 'newer' where id = 2; delete from blog where id = 3;
             update blog set body = body || E'\\n\\n' || '{}' where id = 1;
             truncate ai._vectorizer_q_1",
            paragraph("1 c")
        ));
        let import = ["import", "blog", "--from", file.path()];
        let said = succeeds(&copy, shell, &import);
        assert!(said.contains("8 chunks of 4 rows imported"), "{said}");
        assert!(said.contains("2 chunks have no row"), "{said}");
        copy.once(shell);
        copy.assert_true();
        let embedded = inputs(&copy);
        assert_eq!(embedded.len(), 3, "{embedded:?}");
        assert!(embedded[0].starts_with("newer: 2 a") && embedded[2].starts_with("t1: 1 c"));

        // Once more: what is there stays, and nothing is paid for.
        copy.stub.take_requests();
        let said = succeeds(&copy, shell, &import);
        assert!(said.contains("6 chunks are there already"), "{said}");
        copy.once(shell);
        copy.assert_true();
        assert_eq!(inputs(&copy), Vec::<String>::new());
    }
}

#[test]
fn copy_and_spreadsheets_read_the_file() {
    let file = Place::new("read");
    let production = stage(2);
    succeeds(&production, "worker", &["export", "1", "--to", file.path()]);
    let mut other = Stage::new();
    other.run(
        "create table chunks (id int, chunk_seq int, chunk text, embedding vector, embedding_provider text,
           embedding_model text, embedding_dimensions int, embedding_made_by text)",
    );
    copied_in(&mut other, "chunks", &fs::read(file.path()).unwrap());
    let made_by = "select string_agg(distinct concat_ws(' ', embedding_provider, embedding_model, embedding_dimensions,
        length(embedding_made_by), vector_dims(embedding)), ', ') || ': ' || count(*) from chunks";
    let wanted = format!("ollama stub {DIMENSIONS} 64 {DIMENSIONS}: 4");
    assert_eq!(text(&mut other, made_by), wanted);
}

#[test]
fn composite_keys_locations_and_long_rows_come_through() {
    let file = Place::new("keys");
    let create =
        "create table notes (tenant text, made timestamptz, body text, primary key (tenant, made))";
    let vectorizer = "select ai.create_vectorizer('notes', name => 'notes', loading => ai.loading_column('body'),
        embedding => ai.embedding_ollama('stub', 8), chunking => ai.chunking_character_text_splitter(8, 0, ' '),
        destination => ai.destination_table(target_table => 'notes_store', location => true), enqueue_existing => false)";
    let rows = "insert into notes values ('a,\"b', '2026-01-02 03:04:05.123456+01', (select string_agg('word' || n, ' ')
        from generate_series(1000, 2999) n)), ('é', '2026-01-01', 'short')";
    let mut production = Stage::new();
    production.run(create);
    production.run(vectorizer);
    production.run(rows);
    production.once("worker");
    let chunks = production.number("select count(*) from notes_store");
    assert!(chunks > 1000, "{chunks}");
    let arguments = ["export", "notes", "--to", file.path()];
    let said = succeeds(&production, "worker-blocking", &arguments);
    assert_eq!(said.replace(',', ""), format!("{chunks} chunks"));
    let mut copy = Stage::new();
    copy.run(create);
    copy.run(rows);
    copy.run(vectorizer);
    succeeds(&copy, "worker", &["import", "notes", "--from", file.path()]);
    copy.once("worker");
    assert_eq!(inputs(&copy), Vec::<String>::new());
    let stored = "select md5(string_agg(format('%s %s %s %s %s %s', tenant, made at time zone 'UTC', chunk_seq, chunk, embedding,
        location), E'\\n' order by tenant, made, chunk_seq)) from notes_store";
    assert_eq!(text(&mut copy, stored), text(&mut production, stored));
}

#[test]
fn other_vectors_are_refused() {
    let file = Place::new("refused");
    let mut production = stage(2);
    succeeds(
        &production,
        "worker",
        &["export", "blog", "--to", file.path()],
    );
    let rows = fs::read_to_string(file.path()).unwrap();
    let mut copy = copy_of(&mut production);
    let import = ["import", "blog", "--from", file.path()];
    let digest = text(&mut production, "select vectors from ai.vectorizer_made_by");
    for (what, with, said) in [
        (
            ",ollama,stub,8,",
            ",openai,stub,8,",
            "made by openai, model \"stub\", 8 dimensions, and those of the",
        ),
        (",ollama,stub,8,", ",ollama,other,8,", "model \"other\""),
        (",ollama,stub,8,", ",ollama,stub,12,", "12 dimensions"),
        (digest.as_str(), "abc", "another prompt or other options"),
        (",\"[", ",\"[0.5,", "no vector of 8 components"),
        ("embedding_model", "model", "has no column embedding_model"),
        ("id,chunk_seq", "key,chunk_seq", "has no column id"),
    ] {
        let changed = rows.replace(what, with);
        assert_ne!(changed, rows, "{what}");
        fs::write(file.path(), changed).unwrap();
        let lines = fails(&copy, &import);
        assert!(lines.contains(said), "{said}: {lines}");
        assert_eq!(lines.lines().count(), 1, "{lines}");
    }
    fs::write(file.path(), "").unwrap();
    assert!(fails(&copy, &import).contains("the file is empty"));
    let missing = fails(&copy, &["import", "blog", "--from", "/nowhere/at all"]);
    assert!(missing.contains("cannot read /nowhere/at all"), "{missing}");
    assert_eq!(copy.number("select count(*) from blog_store"), 0);
    // Without a digest, as from a pipeline of one's own, the names decide.
    let own = rows.replace(&digest, "");
    fs::write(file.path(), own).unwrap();
    succeeds(&copy, "worker", &import);
    copy.once("worker");
    copy.assert_true();
    assert_eq!(inputs(&copy), Vec::<String>::new());
}

#[test]
fn an_import_that_is_killed_or_cut_off_does_no_harm() {
    let file = Place::new("killed");
    let mut production = stage(30);
    succeeds(
        &production,
        "worker",
        &["export", "blog", "--to", file.path()],
    );
    let mut copy = copy_of(&mut production);
    let import = ["import", "blog", "--from", file.path()];
    // It waits for a row that the application holds, and is killed there.
    let mut client = copy.database.client();
    let mut open = client.transaction().unwrap();
    open.batch_execute("update blog set views = 1, title = 'held' where id = 30")
        .unwrap();
    let mut killed = copy.worker("worker", &import);
    thread::sleep(Duration::from_secs(2));
    assert!(killed.is_running());
    killed.signal(Signal::Kill);
    killed.wait(PATIENCE);
    open.commit().unwrap();
    // A file that ends in the middle.
    let rows = fs::read_to_string(file.path()).unwrap();
    let middle = rows[..rows.len() / 2].rfind('\n').unwrap() + 10;
    fs::write(file.path(), &rows[..middle]).unwrap();
    let lines = fails(&copy, &import);
    assert!(lines.contains("fields, and the header"), "{lines}");
    copy.once("worker");
    fs::write(file.path(), &rows).unwrap();
    succeeds(&copy, "worker", &import);
    copy.once("worker");
    copy.assert_true();
    let embedded = inputs(&copy);
    assert_eq!(embedded.len(), 2, "{embedded:?}");
    assert!(
        embedded.iter().all(|input| input.starts_with("held: ")),
        "{embedded:?}"
    );
}

#[test]
fn workers_and_writers_go_on_meanwhile() {
    for shell in SHELLS {
        let file = Place::new(&format!("beside-{shell}"));
        let mut production = stage(60);
        succeeds(&production, shell, &["export", "blog", "--to", file.path()]);
        let mut copy = copy_of(&mut production);
        let _worker = copy.worker(shell, &["--poll-interval", "1s"]);
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let mut client = copy.database.client();
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let id: i32 = turn % 60 + 1;
                    let title = format!("u{turn}");
                    let update = "update blog set title = $1 where id = $2";
                    client.execute(update, &[&title, &id]).unwrap();
                    if turn % 7 == 0 {
                        client
                            .execute("delete from blog where id = $1", &[&id])
                            .unwrap();
                        let insert = "insert into blog values ($1, 'again', 'came back')";
                        client.execute(insert, &[&id]).unwrap();
                    }
                }
            })
        };
        for _ in 0..3 {
            succeeds(&copy, shell, &["import", "blog", "--from", file.path()]);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        let resynced = "(select bool_and(served = requests) from ai.vectorizer_resync)";
        copy.database.wait_until(resynced, PATIENCE);
        copy.wait_until_done();
        copy.assert_true();
    }
}

#[test]
fn nothing_is_imported_for_a_model_that_has_changed_meanwhile() {
    let file = Place::new("stale");
    let mut production = stage(3);
    succeeds(
        &production,
        "worker",
        &["export", "blog", "--to", file.path()],
    );
    let mut copy = copy_of(&mut production);
    let mut client = copy.database.client();
    let mut open = client.transaction().unwrap();
    // As ai.reembed_vectorizer locks it.
    open.batch_execute("lock table ai._vectorizer_lease_1 in exclusive mode")
        .unwrap();
    let import = ["import", "blog", "--from", file.path()];
    let mut waiting = copy.worker("worker", &import);
    copy.database.wait_until(
        "exists (select from pg_locks where relation = 'ai._vectorizer_lease_1'::regclass and not granted)",
        PATIENCE,
    );
    open.batch_execute("update ai.vectorizer_made_by set vectors = 'another'")
        .unwrap();
    open.commit().unwrap();
    assert!(!waiting.wait(PATIENCE).success());
    let lines = waiting.lines().join("\n");
    assert!(lines.contains("has another model by now"), "{lines}");
    assert_eq!(copy.number("select count(*) from blog_store"), 0);
}

/// Waits for the end of a command, and returns its peak memory in KiB.
fn peak(mut command: Process) -> u64 {
    let mut peak = 0;
    while command.is_running() {
        peak = Usage::of(command.id()).map_or(peak, |usage| usage.peak.max(peak));
        thread::sleep(Duration::from_millis(20));
    }
    assert!(command.wait(PATIENCE).success(), "{:?}", command.lines());
    peak
}

/// Memory does not grow with the rows: `cargo test -p tests --test change -- --ignored --nocapture a_large_store`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "it tells what it measured")]
fn a_large_store_is_copied_in_little_memory() {
    for rows in [1_000, 200_000] {
        let file = Place::new("large");
        let fill = format!(
            "insert into blog select n, 't' || n, 'row ' || n || repeat('.', 25) from generate_series(1, {rows}) n"
        );
        let mut production = Stage::with_blog();
        production.run(&fill);
        production.run(
            "truncate ai._vectorizer_q_1;
             insert into blog_store (id, chunk_seq, chunk, embedding)
             select id, 0, title || ': ' || body, '[1,2,3,4,5,6,7,8]' from blog",
        );
        let began = Instant::now();
        let export = production.worker("worker", &["export", "blog", "--to", file.path()]);
        let exported = (peak(export), began.elapsed());
        let mut copy = Stage::new();
        copy.run(
            "create table blog (id int primary key, title text, body text, views int default 0)",
        );
        copy.run(&fill);
        copy.run(copied::CREATE);
        let began = Instant::now();
        let import = copy.worker("worker", &["import", "blog", "--from", file.path()]);
        let imported = (peak(import), began.elapsed());
        assert_eq!(copy.number("select count(*) from blog_store"), rows);
        println!("{rows} rows: export {exported:?}, import {imported:?} (KiB at the peak, time)");
    }
}
