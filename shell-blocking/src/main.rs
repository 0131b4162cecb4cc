//! `worker-blocking`: see `worker-blocking --help`.

use std::process::ExitCode;

use pgai_core::{Limits, Report, Settings, Summary, Task};
use shell_blocking::database;
use shell_common::console::{self, Console};
use shell_common::monitoring::Questions;
use shell_common::program::{Failure, Place, Program};
use shell_common::target::Target;

const SETUP: &str = include_str!("../../sql/setup.sql");

fn main() -> ExitCode {
    let limits = Limits {
        inputs: 64,
        requests: 4,
        works: 1,
        ..Limits::default()
    };
    let program = Program {
        name: "worker-blocking",
        version: env!("CARGO_PKG_VERSION"),
        limits,
        inquire,
        install,
        run,
        serve: None,
    };
    program.main()
}

fn run(
    place: &Place,
    settings: Settings,
    console: &Console,
    questions: Questions,
) -> Result<Summary, Failure> {
    shell_blocking::run(place.target()?, settings, console, questions)
}

fn inquire(place: &Place, task: Task) -> Result<Report, Failure> {
    Ok(shell_blocking::inquire(place.target()?, task))
}

fn install(url: &str) -> Result<String, Failure> {
    let warn = |message: &str| {
        let warning = format!("warning: {message}");
        console::print(&pgai_core::log::printable(&warning));
    };
    database::install(&Target::parse(url)?, SETUP, warn)
        .map_err(|error| Failure::Failed(error.explain()))
}
