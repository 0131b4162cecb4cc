//! What the statements of `sql/parts/388_switch.sql` guarantee, and that the check would notice if they did not. (The
//! simulated world has a model of them; this is the real thing.)

use tests::stage::{DIMENSIONS, PATIENCE, Stage};
use tests::stub::is_vector_of;

use super::{BEGIN, OTHER, stage, text};

/// A fault built into the functions.
struct Mutant {
    what: &'static str,
    /// Before the change begins, when it has begun, and after the new generation serves.
    before: &'static str,
    begun: &'static str,
    after: &'static str,
    /// What the check says of it.
    dies_by: &'static str,
}

/// A function that says that a new generation is full, and has its index.
const FULL: &str = "create or replace function ai._change_waits_for
    (v ai.vectorizer, state text, out filled boolean, out indexed boolean, out reason text)
    language sql as 'select true, true, null'";

/// Triggers of so many a generation are made, and never fire.
const DEAF: &str = "create or replace function ai.deafen(number int) returns void language plpgsql as $$
    declare t record;
    begin
        for t in select tgname from pg_trigger where tgrelid = 'blog'::regclass and not tgisinternal
            and tgfoid in (select oid from pg_proc where proname ~ ('^_vectorizer_src_trg_' || number || '(_|$)'))
        loop
            execute format('alter table blog disable trigger %I', t.tgname);
        end loop;
    end $$;";

const MUTANTS: [Mutant; 5] = [
    Mutant {
        what: "nothing",
        before: "",
        begun: "",
        after: "",
        dies_by: "",
    },
    Mutant {
        what: "a switch before the rows are embedded",
        before: FULL,
        begun: "",
        after: "",
        dies_by: "it serves before it is full",
    },
    Mutant {
        what: "changes are missed during the fill",
        before: "",
        begun: "select ai.deafen(2)",
        after: "",
        dies_by: "blog_embedding_2 is not that of the rows",
    },
    Mutant {
        what: "the old generation is not followed after the switch",
        before: "",
        begun: "",
        after: "select ai.deafen(1)",
        dies_by: "blog_embedding is not that of the rows",
    },
    Mutant {
        what: "what is recorded of the two does not change places",
        before:
            "create or replace function ai._change_swap_records(one int, other int) returns void
            language sql as ''",
        begun: "",
        after: "",
        dies_by: "rows wait for ever",
    },
];

/// Whether a view holds the chunks of all rows, with vectors of so many dimensions.
fn is_true(stage: &mut Stage, view: &str, dimensions: usize) -> bool {
    let query = format!("select id, chunk_seq, chunk, embedding::real[] from {view} order by 1, 2");
    let rows = stage.sql.query(&query, &[]).unwrap();
    let stored: Vec<(i32, i32, String)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    let vectors = rows.iter().all(|row| {
        let vector: Vec<f32> = row.get(3);
        vector.len() == dimensions && is_vector_of(row.get::<_, &str>(2), &vector)
    });
    vectors && stored == stage.wanted()
}

/// Plays a change with all that may happen in it; says what is wrong in the end, if anything.
fn play(mutant: &Mutant) -> Result<(), String> {
    let mut stage = stage(6);
    stage.run(DEAF);
    stage.run(mutant.before);
    // The new model embeds nothing yet.
    let held = stage.stub.hold_where(|request| request.model() == "other");
    stage.run(BEGIN);
    stage.run(mutant.begun);
    let arguments = ["--poll-interval", "1s", "--exit-on-error=false"];
    let worker = stage.worker("worker", &arguments);
    stage.stub.wait_for_waiting(1, PATIENCE);
    stage.run("update blog set title = 'during' where id = 2; insert into blog values (9, 'nine', 'one'); delete from blog where id = 3");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let state = text(&mut stage, "select state from ai.vectorizer_generation");
    if state != "filling" {
        return Err("it serves before it is full".to_owned());
    }
    drop(held);
    super::wait_for(&stage, "kept");
    // Another worker knows only what is recorded.
    drop(worker);
    let worker = stage.worker("worker", &arguments);
    stage.run(mutant.after);
    stage.run("update blog set title = 'after' where id = 4; delete from blog where id = 5");
    let waits = "select (select sum(ai.vectorizer_queue_pending(id, true)) from ai.vectorizer)
        + (select sum(change_pending) from ai.vectorizer_progress) = 0";
    let began = std::time::Instant::now();
    while !stage.sql.query_one(waits, &[]).unwrap().get::<_, bool>(0) {
        if began.elapsed() > std::time::Duration::from_secs(15) {
            return Err("rows wait for ever".to_owned());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // (A DELETE takes chunks away at once; an update waits for a worker.)
    if !is_true(&mut stage, "blog_embedding_2", OTHER) {
        return Err("blog_embedding_2 is not that of the rows".to_owned());
    }
    stage.run("select ai.revert_change('blog')");
    if !is_true(&mut stage, "blog_embedding", DIMENSIONS) {
        return Err("blog_embedding is not that of the rows".to_owned());
    }
    drop(worker);
    Ok(())
}

#[test]
fn each_mutant_of_the_functions_is_noticed() {
    for mutant in &MUTANTS {
        let verdict = play(mutant).err().unwrap_or_default();
        assert_eq!(verdict, mutant.dies_by, "{}", mutant.what);
    }
}

#[test]
fn a_generation_whose_rows_could_not_be_compared_does_not_serve() {
    let mut stage = stage(3);
    stage.run(BEGIN);
    // As a worker says that it failed.
    stage.run(
        "update ai.vectorizer_resync set taken = 1, served = 1, state = 'failed', reason = 'no luck', finished_at = now()
         where vectorizer_id = 2",
    );
    stage.once("worker");
    let waits = "select state || ': ' || reason from ai.vectorizer_generation";
    let said = text(&mut stage, waits);
    assert!(
        said.starts_with("filling: its rows cannot be compared: no luck"),
        "{said}"
    );
    assert!(said.ends_with("select ai.resync_vectorizer(2)"), "{said}");
    stage.run("select ai.resync_vectorizer(2)");
    stage.once("worker");
    super::assert_true(&mut stage, "blog_embedding", OTHER);
}
