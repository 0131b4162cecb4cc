//! The workers' binaries: found where cargo puts them, or built.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// The workers that the workspace builds: two for its users, and the example of how to write one.
pub const BINARIES: [&str; 3] = ["worker", "worker-blocking", "worker-smol"];

/// Another checkout, whose release binaries and SQL a bench measures instead of this one's: the value of
/// `PGAI_MEASURED_TREE`. `cargo build --release -p worker -p worker-blocking` must have built it.
pub fn measured_tree() -> Option<PathBuf> {
    std::env::var_os("PGAI_MEASURED_TREE").map(PathBuf::from)
}

/// Returns the path of one of [`BINARIES`], as the profile of this test builds it.
///
/// It is built by itself, as it is shipped: where cargo builds the whole workspace, each has the
/// features that any of the others wants. Where it is missing or older than its sources, cargo is
/// called once: a test of yesterday's worker would say nothing.
///
/// # Panics
///
/// If the binary is stale and cargo does not build it.
#[track_caller]
pub fn worker_path(binary: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    assert!(
        BINARIES.contains(&binary),
        "{binary} is none of {BINARIES:?}"
    );
    if let Some(tree) = measured_tree() {
        return tree.join("target/release").join(binary);
    }
    let mut all = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = all.entry(binary.to_owned()).or_insert_with(|| {
        let directory = profile_directory()?;
        let path = directory.join("shipped").join(binary);
        if !is_fresh(&path) {
            build(&directory, binary)?;
        }
        Ok(path)
    });
    match built {
        Ok(path) => path.clone(),
        Err(why) => panic!("no {binary} to test: {why}"),
    }
}

/// The files that one of [`BINARIES`] was made from, as cargo says, but for those of other
/// people's crates.
///
/// # Panics
///
/// If the binary is stale and cargo does not build it.
#[track_caller]
pub fn worker_sources(binary: &str) -> Vec<PathBuf> {
    let rule = worker_path(binary).with_extension("d");
    let rule = std::fs::read_to_string(rule).expect("cargo says what a binary is made from");
    prerequisites(&rule)
}

/// Goes up from `target/debug/deps/tests-0123`, with a target triple before the profile or not.
fn profile_directory() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let deps = exe
        .ancestors()
        .find(|path| path.file_name() == Some(OsStr::new("deps")));
    let profile = deps.and_then(Path::parent);
    profile
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} is in no deps/", exe.display()))
}

/// Tells whether the binary is newer than all that cargo says it was made from.
fn is_fresh(binary: &Path) -> bool {
    let modified = |path: &Path| {
        path.metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
    };
    let Some(built) = modified(binary) else {
        return false;
    };
    let Ok(sources) = std::fs::read_to_string(binary.with_extension("d")) else {
        return false;
    };
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let older = |time: Option<SystemTime>| time.is_some_and(|time| time <= built);
    older(modified(&lock))
        && prerequisites(&sources)
            .iter()
            .all(|path| older(modified(path)))
}

/// The files to the right of the colon in a rule for make, where a space in a name is `\ `.
fn prerequisites(rule: &str) -> Vec<PathBuf> {
    let sources = rule.lines().next().and_then(|line| line.split_once(": "));
    let sources = sources
        .map_or("", |(_, sources)| sources)
        .replace("\\ ", "\0");
    sources
        .split_whitespace()
        .map(|path| path.replace('\0', " ").into())
        .collect()
}

/// Builds a binary by itself, and puts it aside: the next build of the workspace writes over it.
fn build(directory: &Path, binary: &str) -> Result<(), String> {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name)
            .and_then(OsStr::to_str)
            .unwrap_or_default()
            .to_owned()
    };
    let profile = match name(Some(directory)).as_str() {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    };
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    command.args(["build", "--quiet", "--locked", "--profile", &profile]);
    let package = match binary {
        "worker-smol" => "tests",
        other => other,
    };
    command.args(["--package", package, "--bin", binary]);
    let parent = directory
        .parent()
        .ok_or("a profile without a target directory")?;
    let target = if parent.join("CACHEDIR.TAG").exists() {
        parent
    } else {
        command.arg("--target").arg(name(Some(parent)));
        parent
            .parent()
            .ok_or("a target triple without a target directory")?
    };
    command.arg("--target-dir").arg(target);
    // What cargo told this test about its package would make build scripts run again.
    for (variable, _) in std::env::vars_os() {
        let foreign = [
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_MANIFEST_",
            "CARGO_PKG_",
        ];
        let text = variable.to_string_lossy();
        if foreign.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&variable);
        }
    }
    let output = command
        .output()
        .map_err(|error| format!("cargo does not run: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{command:?}\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let shipped = directory.join("shipped");
    std::fs::create_dir_all(&shipped).map_err(|error| error.to_string())?;
    for file in [
        Path::new(binary).to_owned(),
        Path::new(binary).with_extension("d"),
    ] {
        // Under another name first: a worker of another test may be running.
        let aside = shipped.join(&file).with_extension("new");
        std::fs::copy(directory.join(&file), &aside)
            .and_then(|_| std::fs::rename(&aside, shipped.join(&file)))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_a_rule_for_make() {
        let rule = "/a/worker: /a/src/main.rs /a\\ b/lib.rs\n\n/a/src/main.rs:\n";
        assert_eq!(
            prerequisites(rule),
            [Path::new("/a/src/main.rs"), Path::new("/a b/lib.rs")]
        );
        assert!(prerequisites("").is_empty());
    }

    #[test]
    fn a_binary_is_stale_once_a_source_changes() {
        let directory = tempfile::tempdir().unwrap();
        let (source, binary) = (
            directory.path().join("main.rs"),
            directory.path().join("worker"),
        );
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        write(&source, String::new());
        assert!(!is_fresh(&binary));
        write(&binary, String::new());
        assert!(
            !is_fresh(&binary),
            "cargo has not said what it is made from"
        );
        write(
            &binary.with_extension("d"),
            format!("worker: {}\n", source.display()),
        );
        assert!(is_fresh(&binary));
        write(&source, "changed".to_owned());
        assert!(!is_fresh(&binary));
    }

    #[test]
    fn the_profile_of_this_test_is_found() {
        let directory = profile_directory().unwrap();
        assert!(directory.join("deps").is_dir());
        assert!(std::env::current_exe().unwrap().starts_with(directory));
    }
}
