//! Writes the manual pages of the worker, one for each command, from its options:
//! `cargo run -p pgai-core --example manual -- DIRECTORY`.

#![allow(
    clippy::disallowed_methods,
    reason = "a program beside the core, which has arguments"
)]

use std::path::PathBuf;
use std::{env, fs, io};

use pgai_core::Command;

fn main() -> io::Result<()> {
    let directory = env::args().nth(1).map(PathBuf::from);
    let directory = directory.ok_or_else(|| io::Error::other("which directory?"))?;
    fs::create_dir_all(&directory)?;
    let command = Command::definition("pgai-worker", env!("CARGO_PKG_VERSION"));
    clap_mangen::generate_to(command, directory)
}
