//! What a child may do, as the kernel sees it.

use shell_common::parsing::{Options, Parsers};

use crate::{MARKDOWN, children, options, process};

#[test]
fn a_child_may_compute_and_nothing_else() {
    let memory = 805 << 20;
    let parsers = Parsers::new(Options {
        memory,
        ..options()
    });
    assert!(parsers.parse(b"# x", &MARKDOWN).is_ok());
    let ids = children(memory);
    let [id] = ids.as_slice() else {
        panic!("{ids:?}")
    };
    let read = |name: &str| std::fs::read_to_string(process(*id).join(name)).unwrap();
    let line = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let limits = read("limits");
    assert_eq!(line(&limits, "Max open files"), "Max open files 3 3 files");
    assert_eq!(line(&limits, "Max file size"), "Max file size 0 0 bytes");
    assert_eq!(
        line(&limits, "Max core file size"),
        "Max core file size 0 0 bytes"
    );
    assert_eq!(
        line(&limits, "Max address space"),
        format!("Max address space {memory} {memory} bytes")
    );
    let status = read("status");
    assert_eq!(line(&status, "NoNewPrivs"), "NoNewPrivs: 1");
    assert_eq!(
        line(&status, "Seccomp:"),
        "Seccomp: 2",
        "a filter of system calls"
    );
    assert_eq!(read("environ"), "RAYON_NUM_THREADS=1\0");
    // Nothing of the worker's but standard input, output and error, and what the worker itself was
    // started with for its children.
    let open = |id: u32| {
        let entries = std::fs::read_dir(process(id).join("fd")).unwrap().flatten();
        let named = |name: &std::ffi::OsStr| name.to_str().and_then(|name| name.parse().ok());
        entries
            .filter_map(|entry| Some((named(&entry.file_name())?, entry.path().read_link().ok()?)))
            .filter(|(number, _): &(u32, _)| *number > 2)
            .collect::<Vec<_>>()
    };
    let own = open(std::process::id());
    let inherited = open(*id);
    assert!(
        inherited.iter().all(|one| own.contains(one)),
        "{inherited:?} {own:?}"
    );
}
