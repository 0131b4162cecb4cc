//! The unit, as systemd reads it.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use tests::process::worker_path;

use super::{is_possible, path, read, run, try_to};

fn systemd_is_there() -> bool {
    is_possible(
        &["systemd-analyze", "--version"],
        "PGAI_TEST_SYSTEMD",
        "apt-get install systemd",
    )
}

/// The values of a setting of the unit.
fn values(name: &str) -> Vec<String> {
    let unit = read("deploy/systemd/pgai-worker.service");
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let named = lines.filter(|(setting, _)| *setting == name);
    named.map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    if !systemd_is_there() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("pgai-worker.service");
    let program = worker_path("worker").display().to_string();
    let text = read("deploy/systemd/pgai-worker.service");
    let verify = |text: &str| {
        fs::write(&unit, text).unwrap();
        let mut verify = Command::new("systemd-analyze");
        // The manual is in the package only.
        try_to(verify.args(["verify", "--man=no"]).arg(&unit))
    };
    let good = text.replace("/usr/bin/pgai-worker", &program);
    assert_eq!(verify(&good), (true, String::new()));
    let (_, complaint) = verify(&good.replace("ProtectHome", "ProtectHouse"));
    assert!(complaint.contains("ProtectHouse"), "{complaint}");
}

#[test]
fn the_service_is_hardened() {
    if !systemd_is_there() {
        return;
    }
    let mut security = Command::new("systemd-analyze");
    // Of 10; a service with no settings has 9.6. What is left: it uses the network.
    security.args(["security", "--offline=yes", "--no-pager", "--threshold=15"]);
    let report = run(security.arg(path("deploy/systemd/pgai-worker.service")));
    assert!(report.contains("Overall exposure level"), "{report}");
}

#[test]
fn the_worker_understands_every_variable_of_the_example() {
    let text = read("deploy/systemd/pgai-worker.env");
    let mut environment = BTreeMap::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some((name, value)) = line.split_once('=')
            && !name.contains(' ')
        {
            environment.insert(name.to_owned(), value.to_owned());
        }
    }
    assert!(environment.len() > 4, "{environment:?}");
    let parsed = |environment: &BTreeMap<String, String>| {
        pgai_core::Command::parse(["pgai-worker".to_owned()], environment, "1").is_ok()
    };
    assert!(parsed(&environment));
    for name in environment.keys() {
        if name.starts_with("PGAI_VECTORIZER_WORKER_") {
            // A value that no option takes is refused only where the variable is known.
            let wrong = BTreeMap::from([(name.clone(), "no such value".to_owned())]);
            assert!(!parsed(&wrong), "the worker does not know {name}");
        }
    }
}

#[test]
fn the_unit_names_the_files_of_the_package_and_of_the_manual() {
    let manual = read("docs/deploying.md");
    let package = read("shell-tokio/Cargo.toml");
    assert_eq!(values("ExecStart"), ["/usr/bin/pgai-worker"]);
    assert!(package.contains(r#""usr/bin/pgai-worker", "755""#));
    assert_eq!(values("EnvironmentFile"), ["-/etc/default/pgai-worker"]);
    assert!(package.contains(r#""etc/default/pgai-worker""#));
    let url = "/etc/pgai-worker/db-url";
    assert_eq!(values("ConditionPathExists"), [url]);
    assert_eq!(values("LoadCredential"), [format!("db-url:{url}")]);
    assert_eq!(values("Environment"), ["DB_URL_FILE=%d/db-url"]);
    assert!(manual.contains(url));
}
