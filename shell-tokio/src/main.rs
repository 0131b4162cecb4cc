//! `worker`: see `worker --help`.

use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use log::{LevelFilter, Log, Metadata, Record};
use pgai_core::{Limits, Report, Settings, Summary, Task};
use shell_common::console::{self, Console};
use shell_common::monitoring::Questions;
use shell_common::program::{Failure, Place, Program, Serving};
use shell_common::target::Target;
use shell_tokio::database;
use tokio::runtime::Builder;

const SETUP: &str = include_str!("../../sql/setup.sql");

fn main() -> ExitCode {
    let limits = Limits {
        works: available_parallelism().map_or(1, NonZero::get),
        ..Limits::default()
    };
    let program = Program {
        name: "worker",
        version: env!("CARGO_PKG_VERSION"),
        limits,
        inquire,
        install,
        run,
        serve: Some(serve),
    };
    program.main()
}

fn run(
    place: &Place,
    settings: Settings,
    console: &Console,
    questions: Questions,
) -> Result<Summary, Failure> {
    let target = possible(place.target()?)?;
    block_on(shell_tokio::run(target, settings, console, questions))?
}

/// Refuses what this worker cannot do.
fn possible(target: Target) -> Result<Target, Failure> {
    if target.wants_channel_binding() {
        return Err(Failure::Usage(
            "channel_binding=require cannot be used here: sqlx binds no channel; worker-blocking does"
                .to_owned(),
        ));
    }
    Ok(target)
}

fn inquire(place: &Place, task: Task) -> Result<Report, Failure> {
    let target = possible(place.target()?)?;
    block_on(shell_tokio::inquire(target, task))
}

fn serve(place: &Place, serving: Serving, console: Console) -> Result<(), Failure> {
    let targets = match serving.tokens.urls() {
        [] => vec![place.target()?],
        urls => urls
            .iter()
            .map(|url| Target::parse(url))
            .collect::<Result<_, _>>()?,
    };
    let targets = targets.into_iter().map(possible);
    let targets = targets.collect::<Result<_, _>>()?;
    block_on(shell_tokio::serve::serve(targets, serving, console))?
}

fn install(url: &str) -> Result<String, Failure> {
    let target = possible(Target::parse(url)?)?;
    // sqlx tells of a server's notices through the crate `log` only.
    if log::set_logger(&Notices).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
    block_on(database::install(&target, SETUP))?.map_err(|error| Failure::Failed(error.explain()))
}

/// One thread is enough, because it only waits.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("starting tokio: {error}")))?;
    let done = runtime.block_on(work);
    // Name resolution may still hold a thread: it is not waited for.
    runtime.shutdown_background();
    Ok(done)
}

/// Prints the warnings of the server.
struct Notices;

impl Log for Notices {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::postgres::notice" && metadata.level() <= LevelFilter::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let warning = format!("warning: {}", record.args());
            console::print(&pgai_core::log::printable(&warning));
        }
    }

    fn flush(&self) {}
}
