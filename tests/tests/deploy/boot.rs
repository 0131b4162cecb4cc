//! The package in a new Debian that boots: its service starts with the machine, and embeds rows under all
//! the restrictions of its unit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::process::{Process, Signal};
use tests::stage::{DIMENSIONS, PATIENCE, Stage};

use super::package::{build, is_buildable};
use super::{is_possible, run};

/// A Debian with systemd and this package, as apt installs it there.
fn debian_with(package: &str, root: &Path) {
    let mut bootstrap = Command::new("mmdebstrap");
    bootstrap.args(["--variant=minbase", "--include=systemd"]);
    bootstrap.arg(format!(
        "--customize-hook=cp {package} \"$1/tmp/worker.deb\""
    ));
    bootstrap.arg("--customize-hook=chroot \"$1\" apt-get install --yes /tmp/worker.deb");
    let release = fs::read_to_string("/etc/os-release").unwrap();
    let release = release.lines();
    let codename = release.filter_map(|line| line.strip_prefix("VERSION_CODENAME="));
    run(bootstrap.args(codename).arg(root));
}

#[test]
fn the_service_starts_with_the_machine_and_embeds_rows() {
    // It takes minutes, and needs root: only where it is asked for.
    if std::env::var_os("PGAI_TEST_BOOT").is_none() {
        eprintln!("SKIPPED: PGAI_TEST_BOOT is not set");
        return;
    }
    let needed = ["mmdebstrap", "systemd-nspawn"];
    let how = "as root: apt-get install mmdebstrap systemd-container";
    let are_there = needed.map(|name| is_possible(&[name, "--version"], "PGAI_TEST_BOOT", how));
    assert!(is_buildable() && are_there == [true, true]);

    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    let root = directory.path().join("root");
    debian_with(&build(directory.path()), &root);
    let unit = root.join("etc/systemd/system/multi-user.target.wants/pgai-worker.service");
    assert!(unit.is_symlink(), "the service is enabled");

    let mut stage = Stage::with_blog();
    stage.run("insert into blog select i, 't', 'text ' || i from generate_series(1, 50) i");
    let secrets = root.join("etc/pgai-worker");
    fs::create_dir(&secrets).unwrap();
    let url = secrets.join("db-url");
    fs::write(&url, &stage.worker_url).unwrap();
    fs::set_permissions(&url, fs::Permissions::from_mode(0o600)).unwrap();
    let options = root.join("etc/default/pgai-worker");
    let example = fs::read_to_string(&options).unwrap();
    let ollama = format!("{example}\nOLLAMA_HOST={}\n", stage.stub.url());
    fs::write(&options, ollama).unwrap();

    // It shares the network of this machine, so it finds the server and the provider.
    let place = format!("--directory={}", root.display());
    let arguments = ["--boot", "--register=no", "--keep-unit", &place];
    let mut machine = Process::spawn("systemd-nspawn", &arguments, &[]);
    let done = format!(
        "(select count(*) from blog_store where vector_dims(embedding) = {DIMENSIONS}) = 50"
    );
    stage.database.wait_until(&done, 3 * PATIENCE);
    stage.run("insert into blog values (51, 't', 'one more')");
    let done = done.replace("= 50", "= 51");
    stage.database.wait_until(&done, PATIENCE);

    // The machine is switched off, and the worker gives everything back.
    machine.signal(Signal::Term);
    assert!(machine.wait(Duration::from_secs(120)).success());
    let leased = "select count(*) from ai._vectorizer_lease_1";
    assert_eq!(stage.number(leased), 0);
}
