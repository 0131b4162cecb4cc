//! Documents are parsed in processes of their own: a hostile file ends such a process, and nothing
//! else.
//!
//! A child is this program again (`worker parse-child`, in no list of commands). Before it reads a
//! file it limits itself: memory, processor time, no core, no file, no network (`parsing/confine.rs`). It
//! has an empty environment. The parent limits the time and the size of the answer, and believes
//! nothing that the child says but text. Children are used again, and replaced if they end.

#[cfg(feature = "documents")]
mod child;
#[cfg(feature = "documents")]
mod command;
#[cfg(feature = "documents")]
mod confine;
#[cfg(feature = "documents")]
mod frames;
#[cfg(feature = "documents")]
mod pool;
#[cfg(feature = "documents")]
mod process;

use std::process::ExitCode;

use pgai_core::Parse;

use crate::program;

#[cfg(feature = "documents")]
pub(crate) use process::ended_processes;

/// Without the feature there are no children.
#[cfg(not(feature = "documents"))]
pub(crate) const fn ended_processes() -> u64 {
    0
}

#[cfg(feature = "documents")]
pub use {
    documents::{Document, Hints, Page},
    pool::{Failure, Fault, Options, Parsers},
};

/// The first argument of a child, which its limits follow.
pub(crate) const CHILD: &str = "parse-child";

/// Runs a child to its end: that of its input.
#[cfg(feature = "documents")]
pub(crate) fn child(limits: &[String]) -> ExitCode {
    child::main(limits)
}

/// Without the feature there are no children.
#[cfg(not(feature = "documents"))]
pub(crate) fn child(_limits: &[String]) -> ExitCode {
    ExitCode::FAILURE
}

/// `worker parse`: prints the Markdown of files.
#[cfg(feature = "documents")]
pub(crate) fn print(parse: &Parse) -> Result<ExitCode, program::Failure> {
    command::print(parse)
}

/// Without the feature it says so.
#[cfg(not(feature = "documents"))]
pub(crate) fn print(_parse: &Parse) -> Result<ExitCode, program::Failure> {
    Err(program::Failure::Usage(
        "this program was built without documents: build it with --features documents".to_owned(),
    ))
}
