//! The start and the end of a worker's process: command line, environment, exit code.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap_complete::Shell;
use pgai_core::{
    Command, Inquiry, Level, Limits, Options, Prices, Report, Settings, SettingsError, Summary,
    Task, log,
};

use crate::console::{self, Console};
use crate::env_file;

/// The differences between the workers.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The binary's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The limits on what it holds at a time.
    pub limits: Limits,
    /// Runs a command to its end.
    pub inquire: fn(url: &str, task: Task) -> Result<Report, Failure>,
    /// Runs `setup.sql` on the database at a URL, in one transaction, and returns the database's
    /// name.
    pub install: fn(url: &str) -> Result<String, Failure>,
    /// Runs the worker to its end.
    pub run: fn(url: &str, settings: Settings, console: &Console) -> Result<Summary, Failure>,
}

/// Why a process failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Failure {
    /// An operation failed: exit code 1.
    Failed(String),
    /// The command line was wrong: exit code 2.
    Usage(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) | Self::Usage(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Failure {}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl Program {
    /// Runs what the command line and the environment request.
    #[must_use]
    pub fn main(&self) -> ExitCode {
        let arguments: Vec<String> = std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        if let Err(failure) = env_file::read(&arguments) {
            complain(&format!("error: {failure}"));
            return ExitCode::from(2);
        }
        let environment = environment();
        let done = match Command::parse(arguments, &environment, self.version) {
            Ok(Command::Install(options)) => (self.install)(&options.db_url).map(|database| {
                let installed = format!("installed schema ai in {database}");
                console::print(&log::printable(&installed));
                ExitCode::SUCCESS
            }),
            Ok(Command::Complete { shell, mut command }) => complete(shell, &mut command),
            Ok(Command::Inquire(inquiry, options)) => self.report(*inquiry, &options, &environment),
            Ok(Command::Run(options)) => self.work(&options, &environment),
            Err(usage) if usage.code == 0 => {
                console::print(usage.text.trim_end());
                Ok(ExitCode::SUCCESS)
            }
            Err(usage) => {
                complain(usage.text.trim_end());
                Ok(ExitCode::from(usage.code))
            }
        };
        done.unwrap_or_else(|failure| {
            complain(&format!("error: {failure}"));
            ExitCode::from(match failure {
                Failure::Failed(_) => 1,
                Failure::Usage(_) => 2,
            })
        })
    }

    fn settings(
        &self,
        options: &Options,
        environment: &BTreeMap<String, String>,
    ) -> Result<Settings, Failure> {
        let version = format!("{} {}", self.name, self.version);
        let mut settings =
            options.settings(&version, environment, self.limits, console::wall_time());
        if let Some(path) = options.prices() {
            let prices = Prices::parse(&read(path)?);
            settings.prices =
                prices.map_err(|error| Failure::Usage(format!("the prices in {path}: {error}")))?;
        }
        Ok(settings)
    }

    fn report(
        &self,
        inquiry: Inquiry,
        options: &Options,
        environment: &BTreeMap<String, String>,
    ) -> Result<ExitCode, Failure> {
        for line in options.advice(environment) {
            complain(&format!("warning: {line}"));
        }
        let file = inquiry.file().map(read).transpose()?;
        let mut settings = self.settings(options, environment)?;
        settings.progress = io::stdout().is_terminal();
        let task = Task::new(inquiry, settings, file);
        let report = (self.inquire)(&options.db_url, task)?;
        if !report.text.is_empty() {
            console::print(&log::printable(&report.text));
        }
        match report.failure {
            Some(failure) => Err(Failure::Failed(failure)),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn work(
        &self,
        options: &Options,
        environment: &BTreeMap<String, String>,
    ) -> Result<ExitCode, Failure> {
        let console = Console::new(options);
        for line in options.advice(environment) {
            console.note(Level::Warning, &line);
        }
        let mut settings = self.settings(options, environment)?;
        settings.progress = console.draws_progress();
        let summary = (self.run)(&options.db_url, settings, &console)?;
        let failed = summary.failure.is_some() && options.exit_on_error();
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Prints the script that completes this command line in a shell.
fn complete(shell: &str, command: &mut clap::Command) -> Result<ExitCode, Failure> {
    let shell: Shell = shell.parse().map_err(Failure::Usage)?;
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, command, name, &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}

/// The seed of a worker, from the standard library's random keys for hash maps.
#[must_use]
pub fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// The exit code of a process that a second signal ended, as shells report it.
#[must_use]
pub const fn exit_code(signal: i32) -> i32 {
    128 + signal
}

/// Whether the process was started with SIGHUP ignored, as `nohup` does: then it stays so. Known on
/// Linux only.
#[must_use]
pub fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is number 1, the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Variables that are not UTF-8 are ignored: no option and no secret can be one of them.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn read(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Failed(format!("reading {path}: {error}")))
}

fn complain(text: &str) {
    // If stderr is closed, only the exit code reports the error.
    let _ = writeln!(io::stderr().lock(), "{}", log::printable(text));
}
