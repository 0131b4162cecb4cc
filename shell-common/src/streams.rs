//! What a command reads and writes piece by piece: files, or the standard input and output.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};

use pgai_core::Task;

/// The most bytes of one piece.
const PIECE: usize = 256 * 1024;

/// The input and the output of a command. They are opened when they are used first.
#[derive(Default)]
pub struct Streams {
    input: Option<Box<dyn Read + Send>>,
    output: Option<Box<dyn Write + Send>>,
    from: Option<String>,
    to: Option<String>,
}

/// Does not print what flows.
impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl Streams {
    /// Those of a command.
    #[must_use]
    pub fn of(task: &Task) -> Self {
        Self {
            from: task.input().map(str::to_owned),
            to: task.output().map(str::to_owned),
            ..Self::default()
        }
    }

    /// The next piece of the input; an empty one is its end.
    ///
    /// # Errors
    /// If it cannot be read. The message names it.
    pub fn read(&mut self) -> Result<Vec<u8>, String> {
        let name = self.from.as_deref().unwrap_or("the standard input");
        let fails = |error: io::Error| format!("cannot read {name}: {error}");
        let input = match (&mut self.input, &self.from) {
            (Some(input), _) => input,
            (none, Some(path)) => none.insert(Box::new(File::open(path).map_err(fails)?)),
            (none, None) => none.insert(Box::new(io::stdin())),
        };
        let mut piece = vec![];
        let most = PIECE as u64;
        input
            .by_ref()
            .take(most)
            .read_to_end(&mut piece)
            .map_err(fails)?;
        Ok(piece)
    }

    /// Writes a text. A file is written beside its place, and gets its name with the last text.
    ///
    /// # Errors
    /// If it cannot be written. The message names it.
    pub fn write(&mut self, text: &str, is_last: bool) -> Result<(), String> {
        let name = self.to.as_deref().unwrap_or("the standard output");
        let fails = |error: io::Error| format!("cannot write {name}: {error}");
        let partial = self.to.as_ref().map(|path| format!("{path}.partial"));
        let output = match (&mut self.output, &partial) {
            (Some(output), _) => output,
            (none, Some(path)) => none.insert(Box::new(File::create(path).map_err(fails)?)),
            (none, None) => none.insert(Box::new(io::stdout())),
        };
        output.write_all(text.as_bytes()).map_err(fails)?;
        if is_last {
            output.flush().map_err(fails)?;
            self.output = None;
            if let (Some(partial), Some(path)) = (&partial, &self.to) {
                fs::rename(partial, path).map_err(fails)?;
            }
        }
        Ok(())
    }
}
