//! The command line as clap knows it, for what is made from the options.

use clap::CommandFactory as _;

use super::{Command, CommandLine, environment};

impl Command {
    /// The options of a program of this name, for its manual pages (`core/examples/manual.rs`).
    #[must_use]
    pub fn definition(program: &'static str, version: &'static str) -> clap::Command {
        CommandLine::command().name(program).version(version)
    }

    /// The variable that sets an option of the worker, by the option's name in the code; `None` if none does.
    #[must_use]
    pub fn variable(option: &str) -> Option<String> {
        environment::variable(option)
    }
}
