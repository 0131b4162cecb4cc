//! The children that parse, each one file at a time.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::child::Limits;
use super::process::Process;
use super::{Document, Hints};

/// After so many files a child is replaced: what the parsers leave in memory does not add up.
const SERVED_MAX: usize = 200;

/// The limits on parsing.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program, which understands `parse-child`.
    pub program: PathBuf,
    /// The children at a time; a caller waits for one.
    pub children_max: usize,
    /// The bytes of memory of each, the program itself included.
    pub memory: u64,
    /// The processor time for one file, in whole seconds.
    pub cpu: Duration,
    /// The time for one file.
    pub wall: Duration,
    /// The bytes of a file.
    pub input_max: usize,
    /// The bytes of a file's Markdown.
    pub output_max: u64,
}

impl Default for Options {
    /// This program, and limits that real documents of hundreds of pages are far from.
    fn default() -> Self {
        // The link names the file that runs, also when an upgrade has put another one in its place.
        let link = PathBuf::from("/proc/self/exe");
        let program = if link.exists() {
            link
        } else {
            std::env::current_exe().unwrap_or(link)
        };
        Self {
            program,
            children_max: 2,
            memory: 1 << 30,
            cpu: Duration::from_secs(60),
            wall: Duration::from_secs(60),
            input_max: 100 << 20,
            output_max: 64 << 20,
        }
    }
}

impl Options {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            cpu: self.cpu.as_secs().max(1),
            output: self.output_max,
        }
    }
}

/// Whether the same file would fail again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The file is at fault: it fails each time.
    File,
    /// This machine is: it makes sense to try again.
    Machine,
}

/// Why a file was not parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What is at fault.
    pub fault: Fault,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

/// A pool of children. They start when they are needed, and end with it.
#[derive(Debug)]
pub struct Parsers {
    options: Options,
    room: Mutex<Room>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Room {
    idle: Vec<Process>,
    busy: usize,
}

impl Parsers {
    /// Creates a pool, which has no child yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            room: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Parses a file. Any thread may call this; it blocks until a child is free and has answered.
    ///
    /// # Errors
    /// If the file cannot be parsed within the limits, or no child can be started.
    pub fn parse(&self, bytes: &[u8], hints: &Hints<'_>) -> Result<Document, Failure> {
        if bytes.len() > self.options.input_max {
            let (size, most) = (bytes.len(), self.options.input_max);
            return Err(Failure {
                fault: Fault::File,
                reason: format!("the file has {size} bytes, and at most {most} are allowed"),
            });
        }
        let place = Place::take(self);
        let mut idle = self.room().idle.pop();
        // One that has ended meanwhile is replaced.
        let mut process = match idle.as_mut().is_some_and(Process::is_alive) {
            true => idle,
            false => None,
        };
        loop {
            let mut child = match process.take() {
                Some(child) => child,
                None => Process::start(&self.options)?,
            };
            let is_fresh = child.served == 0;
            match child.parse(bytes, hints, &self.options) {
                Ok(answer) => {
                    if child.served < SERVED_MAX {
                        self.room().idle.push(child);
                    }
                    drop(place);
                    return answer.map_err(|reason| Failure {
                        fault: Fault::File,
                        reason,
                    });
                }
                // What earlier files have left behind is not this file's fault.
                Err(_) if !is_fresh && !child.is_spent => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to use a child.
struct Place<'a>(&'a Parsers);

impl<'a> Place<'a> {
    fn take(parsers: &'a Parsers) -> Self {
        let most = parsers.options.children_max.max(1);
        let room = parsers
            .left
            .wait_while(parsers.room(), |room| room.busy >= most);
        room.unwrap_or_else(PoisonError::into_inner).busy += 1;
        Self(parsers)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.room().busy -= 1;
        self.0.left.notify_one();
    }
}
