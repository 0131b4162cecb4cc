//! The start and the end of a worker's process: command line, environment, exit code.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap_complete::Shell;
use pgai_core::{
    Command, Inquiry, Level, Limits, Options, Prices, Report, Serve, Settings, SettingsError,
    Summary, Task, Tokens, log,
};

use crate::console::{self, Console};
use crate::documents::CAN_PARSE;
use crate::env_file;
use crate::models::set_threads;
use crate::monitoring::{self, Asker, Inquirer, Questions};
use crate::parsing;
use crate::target::Target;

/// Runs `serve` until it is told to stop.
pub type RunServe = fn(place: &Place, serving: Serving, console: Console) -> Result<(), Failure>;

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
    pub inquire: fn(place: &Place, task: Task) -> Result<Report, Failure>,
    /// Runs `setup.sql` on the database at a URL, in one transaction, and returns the database's
    /// name.
    pub install: fn(url: &str) -> Result<String, Failure>,
    /// Runs the worker to its end.
    pub run: Run,
    /// Serves until the process is stopped; `None` if this worker cannot.
    pub serve: Option<RunServe>,
}

/// What `serve` needs.
#[derive(Clone)]
pub struct Serving {
    /// The arguments.
    pub options: Serve,
    /// What requests are answered with.
    pub settings: Settings,
    /// Whose requests; empty if there is one caller, who needs no token.
    pub tokens: Tokens,
}

/// Does not print the settings.
impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Where a worker's database is.
#[derive(Clone)]
pub struct Place {
    /// The URL for statements.
    pub url: String,
    /// The URL for notifications, if that one leads through a pooler.
    pub listen_url: Option<String>,
    /// Whether it does, as the operator says: otherwise the worker finds out.
    pub is_pooled: bool,
}

impl Place {
    fn of(options: &Options) -> Self {
        Self {
            url: options.db_url.clone(),
            listen_url: options.listen_url().map(str::to_owned),
            is_pooled: options.pooler(),
        }
    }

    /// Parses the URLs.
    ///
    /// # Errors
    /// If one is wrong: see [`Target::parse`].
    pub fn target(&self) -> Result<Target, Failure> {
        let listener = self.listen_url.as_deref().map(Target::parse).transpose()?;
        Ok(Target {
            listener: listener.map(Arc::new),
            is_pooled: self.is_pooled,
            ..Target::parse(&self.url)?
        })
    }
}

/// Does not print the URLs, which may contain a password.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

/// Runs a worker to its end. It prints to the console, and answers the questions.
pub type Run = fn(
    place: &Place,
    settings: Settings,
    console: &Console,
    questions: Questions,
) -> Result<Summary, Failure>;

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
        // It reads no options and no environment: a hostile file may be on its way to it.
        if let [_, command, limits @ ..] = arguments.as_slice()
            && command == parsing::CHILD
        {
            return parsing::child(limits);
        }
        let done = env_file::read(&arguments)
            .map(|()| set_threads())
            .and_then(|()| with_files(environment(), read))
            .and_then(|environment| self.start(arguments, &environment));
        done.unwrap_or_else(|failure| {
            complain(&format!("error: {failure}"));
            ExitCode::from(match failure {
                Failure::Failed(_) => 1,
                Failure::Usage(_) => 2,
            })
        })
    }

    fn start(
        &self,
        arguments: Vec<String>,
        environment: &BTreeMap<String, String>,
    ) -> Result<ExitCode, Failure> {
        match Command::parse(arguments, environment, self.version) {
            Ok(Command::Install(options)) => (self.install)(&options.db_url).map(|database| {
                let installed = format!("installed schema ai in {database}");
                console::print(&log::printable(&installed));
                ExitCode::SUCCESS
            }),
            Ok(Command::Complete { shell, mut command }) => complete(shell, &mut command),
            Ok(Command::Inquire(inquiry, options)) => self.report(*inquiry, &options, environment),
            Ok(Command::Parse(parse)) => parsing::print(&parse),
            Ok(Command::Run(options)) => self.work(&options, environment),
            Ok(Command::Serve(serve, options)) => self.serve(*serve, &options, environment),
            Err(usage) if usage.code == 0 => {
                console::print(usage.text.trim_end());
                Ok(ExitCode::SUCCESS)
            }
            Err(usage) => {
                complain(usage.text.trim_end());
                Ok(ExitCode::from(usage.code))
            }
        }
    }

    fn settings(
        &self,
        options: &Options,
        environment: &BTreeMap<String, String>,
    ) -> Result<Settings, Failure> {
        let version = format!("{} {}", self.name, self.version);
        let mut settings =
            options.settings(&version, environment, self.limits, console::wall_time());
        settings.documents.can_parse = CAN_PARSE;
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
        let files: Vec<String> = inquiry
            .files()
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()?;
        let mut settings = self.settings(options, environment)?;
        settings.progress = io::stdout().is_terminal();
        let task = Task::new(inquiry, settings, files);
        let report = (self.inquire)(&Place::of(options), task)?;
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
        let mut console = Console::new(options);
        for line in options.advice(environment) {
            console.note(Level::Warning, &line);
        }
        let mut settings = self.settings(options, environment)?;
        settings.progress = console.draws_progress();
        let inquirer = self.inquirer(options, &settings);
        let (asker, questions) = monitoring::questions();
        console.send_to_collector(environment, &inquirer, &asker)?;
        settings.traces = console.wants_spans();
        serve(options, environment, inquirer, asker, &console)?;
        let summary = (self.run)(&Place::of(options), settings, &console, questions)?;
        let failed = summary.failure.is_some() && options.exit_on_error();
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn serve(
        &self,
        serve: Serve,
        options: &Options,
        environment: &BTreeMap<String, String>,
    ) -> Result<ExitCode, Failure> {
        let run = self
            .serve
            .ok_or_else(|| Failure::Usage(format!("{} does not serve: use worker", self.name)))?;
        let console = Console::new(options);
        // There the standard output belongs to the agent.
        let console = if serve.mcp {
            console.on_stderr()
        } else {
            console
        };
        for line in options.advice(environment) {
            console.note(Level::Warning, &line);
        }
        let serving = Serving {
            tokens: tokens(&serve, environment)?,
            settings: self.settings(options, environment)?,
            options: serve,
        };
        run(&Place::of(options), serving, console).map(|()| ExitCode::SUCCESS)
    }

    fn inquirer(&self, options: &Options, settings: &Settings) -> Inquirer {
        Inquirer {
            program: self.name,
            version: self.version,
            place: Place::of(options),
            settings: settings.clone(),
            inquire: self.inquire,
        }
    }
}

/// The tokens of `serve`: in a file, or in a variable.
fn tokens(serve: &Serve, environment: &BTreeMap<String, String>) -> Result<Tokens, Failure> {
    if serve.mcp {
        return Ok(Tokens::default());
    }
    let (place, text) = match (&serve.tokens, environment.get(SERVE_TOKENS)) {
        (Some(path), _) => (path.as_str(), read(path)?),
        (None, Some(text)) => (SERVE_TOKENS, text.clone()),
        (None, None) => {
            return Err(Failure::Usage(format!(
                "serve needs tokens: --tokens FILE, or {SERVE_TOKENS}, with lines of a token, a space, and the \
                 database URL of the role that it stands for"
            )));
        }
    };
    Tokens::parse(&text).map_err(|error| Failure::Usage(format!("{place}: {error}")))
}

/// Starts the HTTP server, if one is wanted.
fn serve(
    options: &Options,
    environment: &BTreeMap<String, String>,
    inquirer: Inquirer,
    asker: Asker,
    console: &Console,
) -> Result<(), Failure> {
    let Some(address) = options.http() else {
        return Ok(());
    };
    let token = environment.get(monitoring::TOKEN).map(|token| token.trim());
    let settings = monitoring::Settings {
        address,
        token: token.filter(|token| !token.is_empty()).map(str::to_owned),
        has_actions: options.http_actions(),
        log_format: options.log_format(),
    };
    let address = monitoring::start(settings, inquirer, asker)?;
    console.note(Level::Info, &format!("serving http://{address}/"));
    Ok(())
}

/// The settings that the environment of this process requests, for a worker that is a part of another program: the
/// options of `worker` as variables (`PGAI_VECTORIZER_WORKER_…`), and where the keys of providers are. `version` names
/// the program in the table of workers.
///
/// # Errors
/// If a variable has a wrong value.
pub fn settings(version: &str) -> Result<Settings, Failure> {
    let environment = environment();
    let line = ["worker".to_owned()];
    match Command::parse(line, &environment, env!("CARGO_PKG_VERSION")) {
        Ok(Command::Run(options)) => {
            let mut settings = options.settings(
                version,
                &environment,
                Limits::default(),
                console::wall_time(),
            );
            settings.documents.can_parse = CAN_PARSE;
            Ok(settings)
        }
        Ok(
            Command::Complete { .. }
            | Command::Inquire(..)
            | Command::Install(_)
            | Command::Parse(_)
            | Command::Serve(..),
        ) => Err(Failure::Usage("no options were read".to_owned())),
        Err(usage) => Err(Failure::Usage(usage.text)),
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

/// Variables whose values may be in files: a secret in a file is seen in no list of processes and variables.
const FROM_FILES: [&str; 3] = ["DB_URL", monitoring::TOKEN, SERVE_TOKENS];

/// The variable with the tokens of `serve`.
const SERVE_TOKENS: &str = "PGAI_SERVE_TOKENS";

/// Sets each of these variables to the content of the file that the variable with `_FILE` at its end names,
/// unless it is set.
fn with_files(
    mut environment: BTreeMap<String, String>,
    read: impl Fn(&str) -> Result<String, Failure>,
) -> Result<BTreeMap<String, String>, Failure> {
    for name in FROM_FILES {
        let file = format!("{name}_FILE");
        let set = |name: &str| {
            environment
                .get(name)
                .filter(|value| !value.trim().is_empty())
        };
        if let (None, Some(path)) = (set(name), set(&file)) {
            let value = read(path.trim())?.trim().to_owned();
            if value.is_empty() {
                return Err(Failure::Usage(format!("{file}: {} is empty", path.trim())));
            }
            environment.insert(name.to_owned(), value);
        }
    }
    Ok(environment)
}

fn read(path: &str) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Failed(format!("reading {path}: {error}")))
}

fn complain(text: &str) {
    // If stderr is closed, only the exit code reports the error.
    let _ = writeln!(io::stderr().lock(), "{}", log::printable(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(variables: &[(&str, &str)], file: &str) -> Result<Option<String>, Failure> {
        let variables = variables.iter();
        let environment = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read = |path: &str| {
            assert_eq!(path, "/run/url");
            Ok(file.to_owned())
        };
        with_files(environment.collect(), read)
            .map(|environment| environment.get("DB_URL").cloned())
    }

    #[test]
    fn the_url_comes_from_a_file_unless_it_is_set() {
        let file = ("DB_URL_FILE", "/run/url");
        let read = Ok(Some("postgres://h/file".to_owned()));
        assert_eq!(url(&[file], "postgres://h/file\n"), read);
        assert_eq!(url(&[file, ("DB_URL", " ")], "postgres://h/file\n"), read);
        let set = [file, ("DB_URL", "postgres://h/set")];
        assert_eq!(url(&set, "x"), Ok(Some("postgres://h/set".to_owned())));
        assert_eq!(url(&[("DB_URL_FILE", "")], "x"), Ok(None));
        assert!(matches!(url(&[file], "\n"), Err(Failure::Usage(_))));
    }
}
