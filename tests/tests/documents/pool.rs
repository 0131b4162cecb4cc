//! What the pool does with files that take too much, and with children that end.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use shell_common::parsing::{Fault, Hints, Options, Parsers};

use crate::files::{slow_pdf, small_pdf, wide_csv};
use crate::{MARKDOWN, children, options, parsers};

fn kill(id: u32) {
    let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    kill_process(id, Signal::KILL).unwrap();
}

#[test]
fn a_child_parses_one_file_after_the_other() {
    let memory = 801 << 20;
    let parsers = Parsers::new(Options {
        memory,
        ..options()
    });
    assert_eq!(
        children(memory),
        Vec::<u32>::new(),
        "none before the first file"
    );
    let document = parsers.parse(&small_pdf(), &Hints::default()).unwrap();
    assert!(document.markdown.starts_with("# Ducks\n"), "{document:?}");
    assert_eq!(document.title.as_deref(), Some("Ducks"));
    assert_eq!(document.pages.len(), 1);
    let first = children(memory);
    assert_eq!(first.len(), 1);
    let failed = parsers
        .parse(b"\x89PNG\r\n\x1a\n", &Hints::default())
        .unwrap_err();
    assert_eq!(failed.fault, Fault::File);
    assert!(failed.reason.contains("OCR"), "{failed}");
    assert_eq!(parsers.parse(b"# x", &MARKDOWN).unwrap().markdown, "# x");
    assert_eq!(
        children(memory),
        first,
        "a file that is refused ends no child"
    );
    drop(parsers);
    assert_eq!(
        children(memory),
        Vec::<u32>::new(),
        "they end with the pool"
    );
}

#[test]
fn a_file_that_takes_too_long_fails_and_the_next_is_parsed() {
    let wall = Duration::from_millis(700);
    let parsers = Parsers::new(Options { wall, ..options() });
    let began = Instant::now();
    let failed = parsers.parse(&slow_pdf(), &Hints::default()).unwrap_err();
    assert_eq!(failed.fault, Fault::File);
    assert!(failed.reason.contains("longer than 700ms"), "{failed}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
}

#[test]
fn processor_time_is_limited_for_each_file() {
    let parsers = Parsers::new(Options {
        cpu: Duration::from_secs(1),
        ..options()
    });
    let failed = parsers.parse(&slow_pdf(), &Hints::default()).unwrap_err();
    assert_eq!(failed.fault, Fault::File);
    assert!(failed.reason.contains("processor time"), "{failed}");
    assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
}

#[test]
fn memory_is_limited() {
    let parsers = Parsers::new(Options {
        memory: 400 << 20,
        ..options()
    });
    let csv = Hints {
        name: Some("a.csv"),
        content_type: None,
    };
    let failed = parsers.parse(&wide_csv(), &csv).unwrap_err();
    assert_eq!(failed.fault, Fault::File);
    assert!(
        failed.reason.contains("more than 400 MB of memory"),
        "{failed}"
    );
    assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
}

#[test]
fn files_and_texts_have_a_largest_size() {
    let parsers = Parsers::new(Options {
        input_max: 100,
        output_max: 50,
        ..options()
    });
    let failed = parsers.parse(&[b'x'; 101], &MARKDOWN).unwrap_err();
    assert!(failed.reason.contains("at most 100"), "{failed}");
    let failed = parsers.parse(&[b'x'; 60], &MARKDOWN).unwrap_err();
    assert!(failed.reason.contains("at most 50"), "{failed}");
    assert!(parsers.parse(&[b'x'; 50], &MARKDOWN).is_ok());
}

#[test]
fn a_child_that_is_killed_while_it_waits_is_replaced() {
    let memory = 802 << 20;
    let parsers = Parsers::new(Options {
        memory,
        ..options()
    });
    assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
    let first = children(memory);
    first.iter().copied().for_each(kill);
    assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
    assert_ne!(children(memory), first);
}

#[test]
fn a_child_that_is_killed_at_work_is_no_fault_of_the_file() {
    let memory = 803 << 20;
    let parsers = Parsers::new(Options {
        memory,
        ..options()
    });
    let failed = thread::scope(|scope| {
        let parsing = scope.spawn(|| parsers.parse(&slow_pdf(), &Hints::default()));
        let began = Instant::now();
        let busy = loop {
            assert!(began.elapsed() < Duration::from_secs(60), "no child");
            // It has read the file when it has used some time.
            let ids = children(memory);
            if let Some(id) = ids.first().filter(|id| ticks(**id) > 30) {
                break *id;
            }
            thread::sleep(Duration::from_millis(20));
        };
        kill(busy);
        parsing.join().unwrap().unwrap_err()
    });
    assert_eq!(failed.fault, Fault::Machine, "{failed}");
    assert!(failed.reason.contains("killed"), "{failed}");
    assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
}

/// The processor time of a process, in hundredths of a second.
fn ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(crate::process(id).join("stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    after
        .split_whitespace()
        .nth(11)
        .and_then(|ticks| ticks.parse().ok())
        .unwrap_or(0)
}

#[test]
fn a_program_that_is_missing_or_another_is_the_machines_fault() {
    for program in ["/nowhere/worker", "/bin/true", "/bin/cat"] {
        let wall = Duration::from_secs(1);
        let parsers = Parsers::new(Options {
            program: program.into(),
            wall,
            ..options()
        });
        let failed = parsers.parse(b"# x", &MARKDOWN).unwrap_err();
        assert_eq!(failed.fault, Fault::Machine, "{program}: {failed}");
        assert!(
            failed.reason.contains("starting a process"),
            "{program}: {failed}"
        );
    }
}

#[test]
fn any_thread_may_parse_and_no_more_children_than_allowed_run() {
    let memory = 804 << 20;
    let parsers = Parsers::new(Options {
        memory,
        children_max: 2,
        ..options()
    });
    let file = small_pdf();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert!(parsers.parse(&file, &Hints::default()).is_ok());
                }
            });
        }
    });
    assert_eq!(children(memory).len(), 2);
}

#[test]
fn nesting_that_overflows_the_stack_ends_no_more_than_a_child() {
    let parsers = parsers();
    for (open, name) in [
        ("<div>", "a.html"),
        ("{\\rtf1 ", "a.rtf"),
        ("[", "a.json"),
        ("> ", "a.md"),
    ] {
        let file = open.repeat(100_000);
        let hints = Hints {
            name: Some(name),
            content_type: None,
        };
        if let Err(failed) = parsers.parse(file.as_bytes(), &hints) {
            assert_eq!(failed.fault, Fault::File, "{failed}");
        }
        assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
    }
}
