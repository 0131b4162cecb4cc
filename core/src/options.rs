//! The command line and the environment, the same for every worker. This module reads neither:
//! the shell passes in its arguments and its environment.

mod definition;
mod documents;
mod environment;
mod parse;
mod usage;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command::{self, Inquiry};
use crate::event::Level;
use crate::log::Format;
use crate::provider::variables;
use crate::serve::Serve;
use crate::settings::{AwsSource, Limits, Secrets, Settings, StoreSettings};
use documents::DocumentOptions;
use environment::{keys_in, of_aws};
pub use parse::Parse;
pub use usage::Usage;
pub(crate) use values::duration;
use values::{Ids, LogFormat, LogLevel, Shell, dollars, ids};
pub(crate) use values::{at_least_one, bytes, listening};

/// What the command line requests.
#[derive(Clone, Debug)]
pub enum Command {
    /// Print a script that completes the words of this command line in a shell.
    Complete {
        /// The shell's name, as `clap_complete` writes it.
        shell: &'static str,
        /// Its commands and options.
        command: Box<clap::Command>,
    },
    /// Run one of the operator's commands, and end.
    Inquire(Box<Inquiry>, Box<Options>),
    /// Create the schema `ai` in the database, or update it.
    Install(Box<Options>),
    /// Print the text of files as Markdown.
    Parse(Box<Parse>),
    /// Keep the vectorizers' embeddings in sync with their rows.
    Run(Box<Options>),
    /// Answer searches over HTTP or MCP.
    Serve(Box<Serve>, Box<Options>),
}

#[derive(Debug, Parser)]
#[command(
    about = "Keeps vector embeddings in PostgreSQL in sync with their rows",
    after_help = "Every option can be set in the environment: PGAI_VECTORIZER_WORKER_ and the \
                  option's name in capitals, such as PGAI_VECTORIZER_WORKER_POLL_INTERVAL. \
                  DB_URL is understood, too, and wins over PGAI_VECTORIZER_WORKER_DB_URL. Variables \
                  that are not set are read from a file .env, unless PGAI_NO_ENV_FILE=1."
)]
struct CommandLine {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put the schema `ai` into the database, or bring it up to date
    Install,
    /// Print the text of files (PDF, office files, web pages, mail …) as Markdown
    Parse(Parse),
    /// Keep all embeddings in sync until stopped; the same as without a command
    Run,
    /// Search and embed for others, over HTTP or MCP
    Serve(Serve),
    /// Print a script that completes commands and options in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    #[command(flatten)]
    Inquire(command::Subcommand),
}

/// The options of a worker.
#[derive(Args, Clone)]
pub struct Options {
    /// The name that the program was started with.
    #[arg(skip = "worker")]
    program: String,

    // The default is not shown: it may come from the environment and hold a password.
    /// The database, as a URL: postgres://user:password@host:port/name
    #[arg(
        short,
        long,
        global = true,
        hide_default_value = true,
        default_value = "postgres://postgres@localhost:5432/postgres",
        value_name = "URL"
    )]
    pub db_url: String,

    /// A URL that leads to the database directly, if --db-url leads through a pooler: the worker then
    /// learns of changes at once
    #[arg(long, hide_default_value = true, value_name = "URL")]
    listen_url: Option<String>,

    /// The URL leads through a pooler: without this, the worker finds out by itself
    #[arg(long, global = true)]
    pooler: bool,

    /// Run only the vectorizer with this id (may be given again)
    #[arg(
        short = 'i',
        long,
        value_name = "ID",
        conflicts_with = "vectorizer_ids"
    )]
    vectorizer_id: Vec<i64>,

    /// Run only the vectorizers with these ids, separated by commas or spaces
    #[arg(long, value_name = "IDS", value_parser = ids)]
    vectorizer_ids: Option<Ids>,

    /// The longest gap between two polls of the queue: seconds, or 500ms, 5m, 1h30m
    #[arg(long, default_value = "60", value_name = "DURATION", value_parser = duration)]
    poll_interval: Duration,

    /// Stop as soon as nothing is due
    #[arg(long)]
    once: bool,

    /// Batches in flight for each vectorizer
    #[arg(short, long, value_name = "N", value_parser = at_least_one)]
    concurrency: Option<usize>,

    /// The maximum number of requests per minute to each provider
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_requests_per_minute: Option<u64>,

    /// The maximum number of tokens per minute to each provider, estimated as a quarter of the
    /// bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_tokens_per_minute: Option<u64>,

    /// The most that an account (a provider, its address and a key) may cost in a day (in UTC), in
    /// US dollars
    #[arg(long, global = true, value_name = "DOLLARS", value_parser = dollars)]
    max_spend_per_day: Option<u64>,

    /// A file of prices, which go before the worker's own: lines of a model and US dollars for a
    /// million tokens
    #[arg(long, global = true, value_name = "FILE")]
    prices: Option<String>,

    /// Stop at the first failure that does not concern one row only [default: true with --once]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    exit_on_error: Option<bool>,

    /// The maximum size of one row's text, of its chunks and of its formatted texts: 64MB, 1GB
    #[arg(long, global = true, default_value = "64MB", value_name = "BYTES", value_parser = bytes)]
    max_row_bytes: usize,

    /// How long a worker holds its work if it is killed, before another worker takes over
    #[arg(long, default_value = "180", value_name = "DURATION", value_parser = duration)]
    lease: Duration,

    /// Environment variables that vectorizers may use as secrets; a leading * matches any
    /// beginning
    #[arg(
        long,
        global = true,
        default_values = Secrets::NAMES,
        value_delimiter = ',',
        value_name = "NAMES"
    )]
    secret_names: Vec<String>,

    /// A host to which secrets may be sent, also without TLS, in addition to the provider's own and
    /// this machine
    #[arg(long, global = true, value_delimiter = ',', value_name = "HOST")]
    allow_host: Vec<String>,

    /// A role whose vectorizers the worker may serve, in addition to those whose privileges it has (may be
    /// given again)
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAME")]
    owner: Vec<String>,

    /// Do not serve vectorizers of other owners, instead of a warning
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set)]
    require_trust: bool,

    /// Serve health checks, metrics and a status page over HTTP at this port of this machine, or at this
    /// address: 9187, 0.0.0.0:9187
    #[arg(long, value_name = "ADDR", value_parser = listening)]
    http: Option<SocketAddr>,

    /// Let the status page retry failed rows, and pause and resume vectorizers
    #[arg(long)]
    http_actions: bool,

    /// The directory of models that run in the worker process, each in a directory of its name
    #[arg(long, global = true, value_name = "PATH")]
    models_dir: Option<String>,

    #[command(flatten)]
    documents: DocumentOptions,

    /// Do not read a file .env of the working directory or of a directory above it
    #[arg(long, global = true)]
    no_env_file: bool,

    /// The lowest level of printed log lines
    #[arg(
        long,
        global = true,
        default_value = "info",
        ignore_case = true,
        value_name = "LEVEL"
    )]
    log_level: LogLevel,

    /// The format of log lines
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

impl Command {
    /// Parses a command line, with the program's name first. An option that is not on the
    /// command line is read from `environment`.
    ///
    /// # Errors
    /// The text to print and the exit code, if there is nothing to do.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        environment: &BTreeMap<String, String>,
        version: &'static str,
    ) -> Result<Self, Usage> {
        let mut arguments: Vec<String> = arguments.into_iter().collect();
        let program = arguments.first().map(String::as_str).unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        // `run` takes all options of the worker, which are those of no command.
        if arguments.get(1).is_some_and(|argument| argument == "run") {
            arguments.remove(1);
        }
        let command = CommandLine::command().name(name.clone()).version(version);
        let matches = environment::parse(&command, arguments, environment)?;
        let line = CommandLine::from_arg_matches(&matches).map_err(Usage::from)?;
        let mut options = Box::new(line.options);
        if !name.is_empty() {
            options.program.clone_from(&name);
        }
        Ok(match line.action {
            Some(Action::Inquire(inquiry)) => Self::Inquire(Box::new(Inquiry(inquiry)), options),
            Some(Action::Install) => Self::Install(options),
            Some(Action::Parse(parse)) => Self::Parse(Box::new(parse)),
            Some(Action::Completions { shell }) => Self::Complete {
                shell: match shell {
                    Shell::Bash => "bash",
                    Shell::Elvish => "elvish",
                    Shell::Fish => "fish",
                    Shell::Powershell => "powershell",
                    Shell::Zsh => "zsh",
                },
                command: Box::new(CommandLine::command().name(name)),
            },
            Some(Action::Run) | None => Self::Run(options),
            Some(Action::Serve(serve)) => Self::Serve(Box::new(serve), options),
        })
    }
}

impl Options {
    /// The lowest level of printed log lines.
    #[must_use]
    pub const fn log_level(&self) -> Level {
        match self.log_level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Error => Level::Error,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warning,
        }
    }

    /// The format of log lines.
    #[must_use]
    pub const fn log_format(&self) -> Format {
        match self.log_format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
        }
    }

    /// The path of the file with prices, if any: the shell reads it for
    /// [`Settings::prices`](crate::Settings::prices).
    #[must_use]
    pub fn prices(&self) -> Option<&str> {
        self.prices.as_deref()
    }

    /// Lines about environment variables whose names begin like ours, and that mean nothing.
    #[must_use]
    pub fn advice(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        environment::advice(environment, &self.secret_names)
    }

    /// The requested number of batches, if any.
    #[must_use]
    pub const fn concurrency(&self) -> Option<usize> {
        self.concurrency
    }

    /// Where the worker listens for notifications, if not at the database's URL.
    #[must_use]
    pub fn listen_url(&self) -> Option<&str> {
        self.listen_url.as_deref()
    }

    /// Whether the database's URL leads through a pooler, as the operator says.
    #[must_use]
    pub const fn pooler(&self) -> bool {
        self.pooler
    }

    /// Where the worker serves health checks, metrics and its status page, if at all.
    #[must_use]
    pub const fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Whether the status page may change something.
    #[must_use]
    pub const fn http_actions(&self) -> bool {
        self.http_actions
    }

    /// Whether to stop as soon as nothing is due.
    #[must_use]
    pub const fn once(&self) -> bool {
        self.once
    }

    /// Whether a failure that does not concern one row only ends the process with exit code 1.
    #[must_use]
    pub fn exit_on_error(&self) -> bool {
        self.exit_on_error.unwrap_or(self.once)
    }

    /// The settings of a worker that was started with these options in this environment.
    /// `wall_start` is the time since 1970.
    #[must_use]
    pub fn settings(
        &self,
        version: &str,
        environment: &BTreeMap<String, String>,
        limits: Limits,
        wall_start: Duration,
    ) -> Settings {
        let value = |name: &str| {
            environment
                .get(name)
                .filter(|value| !value.trim().is_empty())
                .cloned()
        };
        let present: BTreeSet<String> = environment
            .iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .flat_map(|(name, _)| [name.strip_suffix("_FILE"), Some(name)])
            .flatten()
            .map(str::to_owned)
            .chain(of_aws(value))
            .collect();
        // The environment can set the list only, so a flag of either kind wins over it.
        let ids = match (&self.vectorizer_ids, self.vectorizer_id.as_slice()) {
            (Some(ids), []) => ids.0.clone(),
            (_, given) => given.to_vec(),
        };
        Settings {
            program: self.program.clone(),
            vectorizer_ids: ids,
            poll_interval: self.poll_interval,
            once: self.once,
            exit_on_error: self.exit_on_error(),
            concurrency: self.concurrency,
            lease: self.lease,
            requests_per_minute: self.max_requests_per_minute,
            tokens_per_minute: self.max_tokens_per_minute,
            spend_per_day: self.max_spend_per_day,
            limits: Limits {
                row_bytes: self.max_row_bytes,
                ..limits
            },
            variables: variables()
                .filter_map(|name| Some((name.to_owned(), value(name)?)))
                .collect(),
            models_dir: self.models_dir.clone(),
            documents: self
                .documents
                .settings(StoreSettings::of(value, |name| present.contains(name))),
            owners: self.owner.clone(),
            require_trust: self.require_trust,
            secrets: Secrets {
                present,
                aws: AwsSource::of(value),
                keys: environment
                    .iter()
                    .map(|(name, value)| (name.clone(), keys_in(value)))
                    .filter(|(_, keys)| *keys > 1)
                    .collect(),
                names: self.secret_names.clone(),
                hosts: self.allow_host.clone(),
                ..Secrets::default()
            },
            wall_start,
            ..Settings::new(version)
        }
    }
}

/// Does not print the database's URL, which may contain a password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("once", &self.once)
            .field("poll_interval", &self.poll_interval)
            .finish_non_exhaustive()
    }
}

impl From<clap::Error> for Usage {
    fn from(error: clap::Error) -> Self {
        let code = u8::try_from(error.exit_code()).unwrap_or(2);
        Self {
            text: error.render().to_string(),
            code,
        }
    }
}

#[cfg(test)]
mod tests;
