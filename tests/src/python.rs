//! A Python of the tests' own, with packages from PyPI, cached under `target/`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::postgres::target_directory;

/// What applications reach PostgreSQL with, Alembic, and pytest.
pub const DRIVERS: &[&str] = &[
    "SQLAlchemy==2.1.9",
    "alembic==1.20.1",
    "asyncpg==0.32.0",
    "greenlet==3.5.6",
    "pg8000==1.31.6",
    "pgvector==0.5.1",
    "psycopg-binary==3.3.9",
    "psycopg2-binary==2.9.13",
    "psycopg==3.3.9",
    "pytest==9.2.0",
];

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

/// What the real `pgai.install()` of a version sends to a database with pgvector in schema `public`.
///
/// # Errors
/// If the package cannot be fetched.
pub fn pgai_sql(version: &str) -> Result<String> {
    let package = unpacked(&format!("pgai=={version}"))?;
    let script = fs::read_to_string(package.join("pgai/data/ai.sql")).context("reading ai.sql")?;
    Ok(script
        .replace("@extschema:vector@", "public")
        .replace("__version__", version))
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

/// The file that a manual shows: the fenced block of `manual` whose first line is a comment, of
/// Python, SQL or YAML, with the file's name.
///
/// # Errors
/// If there is no such block, or more than one.
pub fn block(manual: &str, name: &str) -> Result<String> {
    let named = |block: &&str| {
        let first = block.lines().next().unwrap_or_default();
        [first.strip_prefix("# "), first.strip_prefix("-- ")].contains(&Some(name))
    };
    let found: Vec<_> = blocks(manual).into_iter().map(|(_, block)| block).collect();
    let found: Vec<_> = found.into_iter().filter(named).collect();
    ensure!(found.len() == 1, "{} blocks are {name}", found.len());
    Ok(found[0].to_owned())
}

/// The fenced blocks of a manual, each with its language.
pub fn blocks(manual: &str) -> Vec<(&str, &str)> {
    let fences = manual.split("\n```").skip(1).step_by(2);
    fences.filter_map(|rest| rest.split_once('\n')).collect()
}

/// Runs a program with Python and returns what it printed.
///
/// # Errors
/// If it cannot be started, or fails: with what it said.
pub fn run(python: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(python).args(arguments).output();
    let output = output.with_context(|| format!("starting {}", python.display()))?;
    ensure!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("Python prints UTF-8")
}
