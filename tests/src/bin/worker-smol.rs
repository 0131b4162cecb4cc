//! A worker around the example of a shell, `tests::shell_smol`, for the conformance suite.

use std::process::ExitCode;

use pgai_core::{Limits, Settings, Summary};
use shell_common::console::Console;
use shell_common::monitoring::Questions;
use shell_common::program::{Failure, Place, Program, seed};

fn main() -> ExitCode {
    let program = Program {
        name: "worker-smol",
        version: env!("CARGO_PKG_VERSION"),
        limits: Limits::default(),
        inquire: |_, _| Err(Failure::Usage("this worker has no commands".to_owned())),
        install: |_| Err(Failure::Usage("this worker installs nothing".to_owned())),
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
    let tell = |event: &_| console.tell(event);
    let worker = tests::shell_smol::run(&place.url, settings, seed(), tell, questions);
    smol::block_on(worker).map_err(|error| Failure::Usage(format!("{error:#}")))
}
