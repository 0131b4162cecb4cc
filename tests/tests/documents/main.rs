//! Documents are parsed in processes that a hostile file may end: the pool lives, and says why. And
//! `worker parse`, as it is shipped.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod command;
mod confined;
mod corrupt;
mod files;
mod pool;

use std::path::{Path, PathBuf};
use std::time::Duration;

use shell_common::parsing::{Hints, Options, Parsers};
use tests::process::worker_path;

/// Limits for the tests, whose builds are slow.
fn options() -> Options {
    Options {
        program: worker_path("worker"),
        children_max: 1,
        wall: Duration::from_secs(120),
        cpu: Duration::from_secs(120),
        ..Options::default()
    }
}

fn parsers() -> Parsers {
    Parsers::new(options())
}

const MARKDOWN: Hints<'_> = Hints {
    name: Some("a.md"),
    content_type: None,
};

/// The children of this process that parse with this limit on memory, which each test chooses for
/// itself.
fn children(memory: u64) -> Vec<u32> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let read = |name: &str| std::fs::read_to_string(process(id).join(name)).unwrap_or_default();
        let line = read("cmdline");
        let status = read("status");
        if line.contains(&format!("parse-child\0{memory}\0"))
            && status.contains(&format!("PPid:\t{own}\n"))
            && !status.contains("State:\tZ")
        {
            found.push(id);
        }
    }
    found
}

fn process(id: u32) -> PathBuf {
    Path::new("/proc").join(id.to_string())
}
