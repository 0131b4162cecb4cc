//! The command line as clap knows it, for what is made from the options.

use clap::CommandFactory as _;

use super::{Command, CommandLine};

impl Command {
    /// The options of a program of this name, for its manual pages (`core/examples/manual.rs`).
    #[must_use]
    pub fn definition(program: &'static str, version: &'static str) -> clap::Command {
        CommandLine::command().name(program).version(version)
    }
}
