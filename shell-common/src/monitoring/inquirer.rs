//! The operator's commands, for the server: what the database knows comes from them, so that the page and the
//! metrics say what `status` says.

use std::collections::BTreeMap;

use pgai_core::{Command, Report, Settings, Task};

use crate::program::{Failure, Place};

/// Runs commands on the worker's database.
#[derive(Clone, Debug)]
pub(crate) struct Inquirer {
    pub(crate) program: &'static str,
    pub(crate) version: &'static str,
    pub(crate) place: Place,
    pub(crate) settings: Settings,
    pub(crate) inquire: fn(place: &Place, task: Task) -> Result<Report, Failure>,
}

impl Inquirer {
    /// Runs a command with its arguments, and returns what it prints. It blocks.
    ///
    /// # Errors
    /// What the command reports.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let line = std::iter::once(self.program).chain(arguments.iter().copied());
        let command = Command::parse(line.map(str::to_owned), &BTreeMap::new(), self.version);
        let inquiry = match command {
            Ok(Command::Inquire(inquiry, _)) => *inquiry,
            Ok(
                Command::Complete { .. }
                | Command::Install(_)
                | Command::Parse(_)
                | Command::Run(_)
                | Command::Serve(..),
            ) => {
                return Err("no such command".to_owned());
            }
            Err(usage) => return Err(usage.text),
        };
        let task = Task::new(inquiry, self.settings.clone(), vec![]);
        let report = (self.inquire)(&self.place, task).map_err(|failure| failure.to_string())?;
        report.failure.map_or(Ok(report.text), Err)
    }
}
