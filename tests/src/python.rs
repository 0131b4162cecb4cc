//! A Python of the tests' own, with packages from PyPI, cached under `target/`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::postgres::target_directory;

/// The interpreter of a virtual environment with exactly these packages (and what they need), each
/// as `name==version`. It is made once.
///
/// # Errors
/// If there is no Python 3 with `venv`, or the packages cannot be fetched.
pub fn with(packages: &[&str]) -> Result<PathBuf> {
    let name = packages
        .join("+")
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let home = target_directory()?.join("python");
    fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
    let lock = File::create(home.join("lock")).context("making a lock file")?;
    lock.lock().context("waiting for the lock")?;
    let environment = home.join(name);
    let python = environment.join("bin/python");
    let ready = environment.join("ready");
    if !ready.exists() {
        let venv = Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment)
            .output();
        let venv = venv.context("python3 cannot be started: install Python 3 with venv and pip")?;
        ensure!(
            venv.status.success(),
            "python3 -m venv: {}",
            String::from_utf8_lossy(&venv.stderr)
        );
        let pip = Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(packages)
            .output();
        let pip = pip.context("starting pip")?;
        ensure!(
            pip.status.success(),
            "pip: {}",
            String::from_utf8_lossy(&pip.stderr)
        );
        File::create(&ready).context("marking the environment as ready")?;
    }
    Ok(python)
}

/// The files of a wheel from PyPI, `name==version`, without what it needs.
///
/// # Errors
/// If it cannot be fetched.
pub fn unpacked(package: &str) -> Result<PathBuf> {
    let name = package.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let home = target_directory()?.join("python");
    fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
    let lock = File::create(home.join("lock")).context("making a lock file")?;
    lock.lock().context("waiting for the lock")?;
    let files = home.join(format!("wheel-{name}"));
    let ready = files.join("ready");
    if !ready.exists() {
        let pip = Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--upgrade",
                "--target",
            ])
            .arg(&files)
            .arg(package)
            .output();
        let pip = pip.context("python3 cannot be started: install Python 3 with pip")?;
        ensure!(
            pip.status.success(),
            "pip: {}",
            String::from_utf8_lossy(&pip.stderr)
        );
        File::create(&ready).context("marking the files as ready")?;
    }
    Ok(files)
}
