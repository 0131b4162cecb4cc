//! The Debian package: built, unpacked, looked at and run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::{is_possible, path, read, run};

/// Whether there is what builds it.
pub(super) fn is_buildable() -> bool {
    let how = "cargo install --locked cargo-deb; apt-get install dpkg-dev";
    is_possible(&["cargo", "deb", "--version"], "PGAI_TEST_DEB", how)
}

/// Builds it into a directory and returns its path. It has the debug build: a release build takes minutes,
/// and has the same files.
pub(super) fn build(directory: &Path) -> String {
    // Two builds at a time would write the same manual pages.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut build = Command::new(path("deploy/debian/build.sh"));
    let printed = run(build.env("PROFILE", "dev").env("OUTPUT", directory));
    let package = printed.lines().find(|line| line.ends_with(".deb"));
    package.unwrap_or_else(|| panic!("{printed}")).to_owned()
}

#[test]
fn the_package_has_the_worker_its_service_and_its_manual() {
    if !is_buildable() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let package = &build(directory.path());

    let field = |name: &str| {
        let mut field = Command::new("dpkg-deb");
        run(field.args(["--field", package, name]))
            .trim()
            .to_owned()
    };
    assert_eq!(field("Package"), "pgai-worker");
    let version = field("Version");
    assert_eq!(version.split('-').next(), Some(env!("CARGO_PKG_VERSION")));
    let needed = field("Depends");
    assert!(
        needed.contains("libc6 (>= ") && needed.contains("ca-certificates"),
        "{needed}"
    );

    let control = directory.path().join("control");
    run(Command::new("dpkg-deb")
        .args(["--control", package])
        .arg(&control));
    let control = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    assert_eq!(control("conffiles").trim(), "/etc/default/pgai-worker");
    assert!(control("postinst").contains("deb-systemd-helper enable pgai-worker.service"));
    assert!(control("prerm").contains("pgai-worker.service"));

    run(Command::new("dpkg-deb")
        .args(["--extract", package])
        .arg(&root));
    let worker = root.join("usr/bin/pgai-worker");
    let says = run(Command::new(&worker).env_clear().arg("--version"));
    assert_eq!(
        says.trim(),
        format!("pgai-worker {}", env!("CARGO_PKG_VERSION"))
    );
    let file = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    assert_eq!(
        file("etc/default/pgai-worker"),
        read("deploy/systemd/pgai-worker.env")
    );
    let unit =
        ["usr/lib", "lib"].map(|lib| root.join(lib).join("systemd/system/pgai-worker.service"));
    let unit = unit.iter().find_map(|path| fs::read_to_string(path).ok());
    assert_eq!(unit.unwrap(), read("deploy/systemd/pgai-worker.service"));
    for manual in ["pgai-worker", "pgai-worker-status"] {
        let page = root.join(format!("usr/share/man/man1/{manual}.1.gz"));
        let text = run(Command::new("gzip")
            .args(["--decompress", "--stdout"])
            .arg(page));
        assert!(text.contains(".TH"), "{text}");
        assert!(text.contains(r"\-\-db\-url"), "{text}");
    }
}
