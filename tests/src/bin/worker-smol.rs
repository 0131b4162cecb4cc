//! A worker around the example of a shell, `tests::shell_smol`, for the conformance suite.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgai_core::{Command, Event, Limits, log};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    let options = match Command::parse(std::env::args(), &environment, VERSION) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Inquire(..)) => return end("this worker has no commands", 2),
        Ok(Command::Install(_)) => return end("this worker installs nothing", 2),
        Err(usage) => return end(&usage.text, usage.code),
    };
    let version = format!("worker-smol {VERSION}");
    let settings = options.settings(&version, &environment, Limits::default(), wall_time());
    let tell = |event: &Event| {
        if event.level() >= options.log_level() {
            print(&log::line(event, wall_time(), options.log_format()));
        }
    };
    let seed = RandomState::new().hash_one(std::process::id());
    match smol::block_on(tests::shell_smol::run(
        &options.db_url,
        settings,
        seed,
        tell,
    )) {
        Ok(summary) => ExitCode::from(u8::from(
            summary.failure.is_some() && options.exit_on_error(),
        )),
        Err(error) => end(&format!("error: {error:#}"), 2),
    }
}

fn wall_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn end(text: &str, code: u8) -> ExitCode {
    print(text);
    ExitCode::from(code)
}

fn print(line: &str) {
    // A reader that has gone away is no reason to stop.
    let _ = writeln!(io::stdout().lock(), "{line}");
}
