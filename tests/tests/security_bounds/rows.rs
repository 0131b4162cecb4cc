//! A row that makes too much fails alone, with a message.

use std::time::Instant;

use tests::measure::until_end;
use tests::process::Process;
use tests::stage::{PATIENCE, Stage};

use crate::SHELLS;

/// What the rows below may make; by default it is 64 MB.
const ROW_BYTES: &str = "4MB";

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.run("create table blog (id int primary key, title text, body text, facts jsonb)");
    stage
}

fn vectorizer(stage: &mut Stage, name: &str, chunking: &str, template: &str) {
    stage.run(&format!(
        "select ai.create_vectorizer('blog', name => '{name}', loading => ai.loading_column('body', retries => 0),
           embedding => ai.embedding_ollama('m', 8), chunking => {chunking},
           formatting => ai.formatting_python_template({template}),
           destination => ai.destination_table('{name}'))"
    ));
}

fn once(stage: &Stage, shell: &str) -> Process {
    stage.worker_with(
        shell,
        &[
            "--once",
            "--exit-on-error=false",
            "--max-row-bytes",
            ROW_BYTES,
        ],
        &[],
    )
}

#[test]
fn a_row_that_makes_too_much_fails_alone() {
    let none = "ai.chunking_none()";
    let splitter = "ai.chunking_recursive_character_text_splitter(1000, 999, array[''])";
    for (what, chunking, template, row, step) in [
        (
            "overlap close to the size",
            splitter,
            "'$chunk'",
            "repeat('x', 100000)",
            "chunking",
        ),
        (
            "millions of chunks",
            "ai.chunking_character_text_splitter(1, 0, '')",
            "'$chunk'",
            "repeat('xy', 1000000)",
            "chunking",
        ),
        (
            "thousands of placeholders",
            none,
            "repeat('$chunk', 10000)",
            "repeat('x', 1000)",
            "formatting",
        ),
        (
            "a long text",
            none,
            "'$chunk'",
            "repeat('x', 5 * 1024 * 1024)",
            "loading",
        ),
    ] {
        for shell in SHELLS {
            let mut stage = stage();
            vectorizer(&mut stage, "v", chunking, template);
            stage.run(&format!(
                "insert into blog (id, body) values (1, ''), (2, {row}), (3, 'z')"
            ));
            let usage = until_end(once(&stage, shell), Instant::now());
            let rows =
                "select failure_step || ': ' || failure_reason from ai._vectorizer_q_failed_1";
            let failed = stage.sql.query(rows, &[]).unwrap();
            let reasons: Vec<String> = failed.iter().map(|row| row.get(0)).collect();
            println!("{shell}, {what}: {reasons:?}, {} KiB", usage.peak);
            assert_eq!(reasons.len(), 1, "{what}");
            assert!(reasons[0].starts_with(step), "{what}");
            assert!(reasons[0].contains("--max-row-bytes"), "{what}");
            // A process of 15 MiB, and some times the bound.
            assert!(
                usage.peak < 64 * 1024,
                "{shell}, {what}: {} KiB",
                usage.peak
            );
            assert_eq!(stage.number("select max(id)::bigint from v"), 3);
            assert_eq!(stage.number("select min(id)::bigint from v"), 3);
        }
    }
}

#[test]
fn long_values_of_the_template_are_counted() {
    for shell in SHELLS {
        for (column, value) in [
            ("title", "repeat('x', 5 * 1024 * 1024)"),
            ("facts", "to_jsonb(array_fill(0, array[1000000]))"),
        ] {
            let mut stage = stage();
            let template = format!("'${column} $chunk'");
            vectorizer(&mut stage, "v", "ai.chunking_none()", &template);
            stage.run(&format!(
                "insert into blog (id, body, {column}) values (1, 'a', {value}), (2, 'b', null)"
            ));
            until_end(once(&stage, shell), Instant::now());
            assert_eq!(
                stage.number("select id::bigint from ai._vectorizer_q_failed_1"),
                1
            );
            assert_eq!(stage.number("select id::bigint from v"), 2);
        }
    }
}

#[test]
fn a_regex_that_takes_too_many_steps_pauses_its_vectorizer_with_one_error() {
    for shell in SHELLS {
        let mut stage = stage();
        let separator = format!("(a+)+b{}", "x".repeat(1000));
        let hostile = format!(
            "ai.chunking_recursive_character_text_splitter(5, 0, array['{separator}'], true)"
        );
        vectorizer(&mut stage, "hostile", &hostile, "'$chunk'");
        vectorizer(&mut stage, "good", "ai.chunking_none()", "'$chunk'");
        stage.run(
            "insert into blog (id, body) select n, repeat('a', 40) from generate_series(1, 20) n",
        );
        let began = Instant::now();
        let mut worker = once(&stage, shell);
        // Three times 50 million steps take seconds, in a build without optimisation many of them.
        assert_eq!(worker.wait(5 * PATIENCE).code(), Some(0));
        println!("{shell}: 20 rows in {:?}", began.elapsed());
        let good = stage.number("select count(distinct id) from good");
        assert_eq!(good, 20, "others are served");
        // Three rows failed for good; the others wait, and nothing was tried a second time.
        assert_eq!(
            stage.number("select count(*) from ai._vectorizer_q_failed_1"),
            3
        );
        assert_eq!(stage.number("select count(*) from ai._vectorizer_q_1"), 17);
        let pauses =
            "select count(*) from ai.vectorizer_errors where id = 1 and not details ? 'key'";
        assert_eq!(stage.number(pauses), 1);
        // The separator has more than 1,000 characters, of which 200 are repeated.
        let longest =
            "select max(length(details->>'error_reason'))::bigint from ai.vectorizer_errors";
        assert!(stage.number(longest) < 400);
    }
}
