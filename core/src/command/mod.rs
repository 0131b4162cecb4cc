//! The operator's commands. Each performs a few actions one after the other, and ends with a
//! report.
//!
//! A [`Task`] does for a command what [`Worker`](crate::Worker) does for the worker's run, but
//! strictly sequentially: [`Task::next`] takes the answer to its last request.

mod checks;
mod chunk;
pub mod csv;
mod doctor;
mod drift;
mod errors;
mod estimate;
mod evaluate;
mod export;
pub(crate) mod found;
mod import;
mod key;
pub(crate) mod named;
mod pause;
mod place;
pub(crate) mod question;
pub(crate) mod rerank;
mod resync;
mod retry;
mod search;
mod status;
mod table;
mod usage;
mod verify;
mod version;

use std::fmt;
use std::time::Duration;

use crate::call::{Call, Reply};
use crate::query::{DbError, Param, Query, Rows};
use crate::settings::Settings;

use chunk::ChunkArgs;
use doctor::DoctorArgs;
use errors::ErrorsArgs;
use estimate::EstimateArgs;
use evaluate::EvaluateArgs;
use export::ExportArgs;
use import::ImportArgs;
use pause::{PauseArgs, ResumeArgs};
use resync::ResyncArgs;
use retry::RetryArgs;
use search::SearchArgs;
use status::StatusArgs;
pub(crate) use table::grouped;
use usage::UsageArgs;

/// A command with its arguments.
#[derive(Clone, Debug)]
pub struct Inquiry(pub(crate) Subcommand);

#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Show how a vectorizer would chunk and format a row or a file
    Chunk(ChunkArgs),
    /// Check everything that a worker needs, and say how to fix what is wrong
    Doctor(DoctorArgs),
    /// Show the rows that failed and the latest errors
    Errors(ErrorsArgs),
    /// Show how many chunks, tokens and requests a full embedding takes, and what it costs
    Estimate(EstimateArgs),
    /// Measure how well a search finds what is known to answer some questions
    Evaluate(EvaluateArgs),
    /// Write the chunks of a vectorizer and their embeddings as CSV or Parquet
    Export(ExportArgs),
    /// Take embeddings that `export` wrote into a vectorizer of the same model
    Import(ImportArgs),
    /// Let workers leave a vectorizer alone, for some time or until `resume`
    Pause(PauseArgs),
    /// Let workers continue with a vectorizer that is paused
    Resume(ResumeArgs),
    /// Compare a source with what is stored for it, and queue what differs
    Resync(ResyncArgs),
    /// Put rows that failed back into the queue
    Retry(RetryArgs),
    /// Find the chunks nearest in meaning to some words
    Search(SearchArgs),
    /// Show the state of each vectorizer, and the live workers
    Status(StatusArgs),
    /// Show the same again every two seconds, until interrupted: `status --watch`
    Top,
    /// Show the requests and tokens of each vectorizer, model and day, and what they cost
    Usage(UsageArgs),
    /// Show the versions of this program, of the schema and of the server
    Version,
}

/// A command in progress.
pub struct Task {
    steps: Box<dyn Steps + Send>,
    /// The name that the program was started with.
    program: String,
    /// Whether the first statement has not been answered yet. The first statement of every
    /// command uses the schema `ai`.
    is_first: bool,
    /// The file that it reads, and the one that it writes.
    files: (Option<String>, Option<String>),
}

/// The next action of a command. [`Answer`] has a variant for each.
#[derive(Debug)]
#[must_use = "a command goes on only when its question is answered"]
#[allow(
    clippy::large_enum_variant,
    reason = "one at a time is on its way, and the shells take it apart"
)]
pub enum Ask {
    /// Do this.
    Call(Call),
    /// It is over.
    Done(Report),
    /// Run this statement.
    Query(Query),
    /// Read the next piece of the input: of [`Task::input`], or of the standard input.
    Read,
    /// Print a line, if there is one, and come back after a pause.
    Wait {
        /// For stdout: a line without its line end.
        say: Option<String>,
        /// The duration of the pause.
        pause: Duration,
    },
    /// Write to the output: to [`Task::output`], or to the standard output.
    Write {
        /// As it is, with line ends.
        text: String,
        /// Whether nothing follows: a file gets its name only now.
        is_last: bool,
    },
}

/// The result of an action, from the shell.
#[derive(Debug)]
pub enum Answer {
    /// No result: the command begins.
    Begin,
    /// A piece of the input; an empty one is its end.
    Read(Result<Vec<u8>, String>),
    /// The result of a call.
    Reply(Reply),
    /// The result of a statement.
    Rows(Result<Rows, DbError>),
    /// The pause is over.
    Waited,
    /// Whether the text was written.
    Written(Result<(), String>),
}

/// The report of a command.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// For stdout: whole lines, the last one without its line end.
    pub text: String,
    /// For stderr: an error message. The process ends with exit code 1.
    pub failure: Option<String>,
}

/// The steps of one command: returns the next action, given the answer to the last one.
trait Steps {
    fn next(&mut self, answer: Answer) -> Result<Ask, String>;
}

impl Inquiry {
    /// `status --json`.
    pub(crate) const fn status_in_json() -> Self {
        Self(Subcommand::Status(StatusArgs::json()))
    }

    /// The paths of what it reads and writes piece by piece.
    fn streams(&self) -> (Option<String>, Option<String>) {
        let owned = |path: Option<&str>| path.map(str::to_owned);
        if let Subcommand::Import(args) = &self.0 {
            (owned(args.from()), None)
        } else if let Subcommand::Export(args) = &self.0 {
            (None, owned(args.to()))
        } else {
            (None, None)
        }
    }

    /// The paths of the files that the command reads: the shell reads them.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        match &self.0 {
            Subcommand::Chunk(args) => args.file().into_iter().collect(),
            Subcommand::Evaluate(args) => args.files().to_vec(),
            Subcommand::Doctor(_)
            | Subcommand::Errors(_)
            | Subcommand::Estimate(_)
            | Subcommand::Export(_)
            | Subcommand::Import(_)
            | Subcommand::Pause(_)
            | Subcommand::Resume(_)
            | Subcommand::Resync(_)
            | Subcommand::Retry(_)
            | Subcommand::Search(_)
            | Subcommand::Status(_)
            | Subcommand::Top
            | Subcommand::Usage(_)
            | Subcommand::Version => vec![],
        }
    }
}

impl Task {
    /// Creates a command that has done nothing yet. `files` are the texts of [`Inquiry::files`].
    #[must_use]
    pub fn new(inquiry: Inquiry, settings: Settings, files: Vec<String>) -> Self {
        let program = settings.program.clone();
        let streams = inquiry.streams();
        let steps: Box<dyn Steps + Send> = match inquiry.0 {
            Subcommand::Chunk(args) => {
                Box::new(chunk::Chunk::new(args, settings, files.into_iter().next()))
            }
            Subcommand::Doctor(args) => Box::new(doctor::Doctor::new(args, settings)),
            Subcommand::Errors(args) => Box::new(errors::Errors::new(args, settings.program)),
            Subcommand::Estimate(args) => Box::new(estimate::Estimate::new(args, settings)),
            Subcommand::Evaluate(args) => Box::new(evaluate::Evaluate::new(args, settings, files)),
            Subcommand::Export(args) => Box::new(export::Export::new(args, settings)),
            Subcommand::Import(args) => Box::new(import::Import::new(args, settings)),
            Subcommand::Pause(args) => Box::new(pause::Pause::begin(args)),
            Subcommand::Resume(args) => Box::new(pause::Pause::end(args)),
            Subcommand::Resync(args) => Box::new(resync::Resync::new(args, settings)),
            Subcommand::Retry(args) => Box::new(retry::Retry::new(args)),
            Subcommand::Search(args) => Box::new(search::Search::new(args, settings)),
            Subcommand::Status(args) => Box::new(status::Status::new(args, settings)),
            Subcommand::Top => Box::new(status::Status::new(StatusArgs::top(), settings)),
            Subcommand::Version => Box::new(version::Version::new(settings)),
            Subcommand::Usage(args) => Box::new(usage::Usage::new(args, settings)),
        };
        Self {
            steps,
            program,
            is_first: true,
            files: streams,
        }
    }

    /// The path of the file that it reads piece by piece, if it is not the standard input.
    #[must_use]
    pub fn input(&self) -> Option<&str> {
        self.files.0.as_deref()
    }

    /// The path of the file that it writes, if it is not the standard output.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        self.files.1.as_deref()
    }

    /// Takes the answer to the last action ([`Answer::Begin`] at first), and returns the next
    /// action. It must not be called after [`Ask::Done`].
    pub fn next(&mut self, answer: Answer) -> Ask {
        let answer = match answer {
            Answer::Rows(rows) if std::mem::take(&mut self.is_first) => {
                Answer::Rows(rows.map_err(|error| not_installed(error, &self.program)))
            }
            answer @ (Answer::Begin
            | Answer::Read(_)
            | Answer::Reply(_)
            | Answer::Rows(_)
            | Answer::Waited
            | Answer::Written(_)) => answer,
        };
        self.steps.next(answer).unwrap_or_else(|failure| {
            Ask::Done(Report {
                text: String::new(),
                failure: Some(failure),
            })
        })
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

impl From<Call> for Ask {
    fn from(call: Call) -> Self {
        Self::Call(call)
    }
}

impl Ask {
    fn query(sql: impl Into<String>, params: Vec<Param>) -> Self {
        Self::Query(Query::Command {
            sql: sql.into(),
            params,
        })
    }

    fn done(text: impl Into<String>) -> Self {
        Self::Done(Report {
            text: text.into(),
            failure: None,
        })
    }
}

impl Answer {
    /// The rows of a statement, or an error message that says what to do.
    fn rows(self) -> Result<Rows, String> {
        match self {
            Self::Rows(Ok(rows)) => Ok(rows),
            Self::Rows(Err(error)) => Err(explained(&error)),
            Self::Begin | Self::Read(_) | Self::Reply(_) | Self::Waited | Self::Written(_) => {
                Err("a statement was not answered with rows".to_owned())
            }
        }
    }
}

/// Adds to an error that the schema is missing, or is older than this program.
fn not_installed(mut error: DbError, program: &str) -> DbError {
    let what = match error.sqlstate.as_deref() {
        Some("3F000" | "42P01") => "pgai is not installed in the database",
        Some("42883" | "42703") => "the schema ai is older than this worker",
        Some(_) | None => return error,
    };
    error.message = format!("{what}: run `{program} install` ({})", error.message);
    error
}

/// A database's error, with advice for common errors.
fn explained(error: &DbError) -> String {
    let hint = match error.sqlstate.as_deref() {
        None => return error.explain(),
        Some("42501") => "ask the database's owner for: select ai.grant_worker_usage('your role')",
        Some(_) => return error.to_string(),
    };
    format!("{error}: {hint}")
}

/// A field of a row; NULL reads as nothing.
fn field(row: &[Option<String>], at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}
