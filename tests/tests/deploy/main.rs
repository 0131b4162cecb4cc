//! What `deploy/` has for Kubernetes, systemd and Debian, against what reads it there: the schemas of
//! Kubernetes and of the two operators, systemd's own checks, dpkg, a database, and the worker.
//!
//! What needs programs of Debian is skipped without them, unless `CI` or a variable is set:
//! `PGAI_TEST_SYSTEMD` (package `systemd`), `PGAI_TEST_DEB` (`cargo install cargo-deb`, and `dpkg-dev`). The
//! boot of a whole Debian is tested only where `PGAI_TEST_BOOT` is set.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod boot;
mod kubernetes;
mod manual;
mod package;
mod scaling;
mod systemd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap().join(name)
}

fn read(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a program printed, both streams; it must succeed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let (is_good, printed) = try_to(command);
    assert!(is_good, "{command:?}: {printed}");
    printed
}

/// Whether a program succeeded, and what it printed.
#[track_caller]
fn try_to(command: &mut Command) -> (bool, String) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let printed = text(&output.stdout) + &text(&output.stderr);
    (output.status.success(), printed)
}

/// Whether a test that needs a program can run. It must where `CI` or this variable is set.
#[track_caller]
fn is_possible(probe: &[&str], variable: &str, how: &str) -> bool {
    let probed = Command::new(probe[0]).args(&probe[1..]).output();
    let is_possible = probed.is_ok_and(|output| output.status.success());
    let is_wanted = ["CI", variable]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    assert!(is_possible || !is_wanted, "no {}: {how}", probe[0]);
    if !is_possible {
        eprintln!("SKIPPED: {probe:?} does not run: {how}");
    }
    is_possible
}
