//! What a command reads and writes piece by piece: files, or the standard input and output. A file whose name ends in
//! `.parquet` is a Parquet file; the command sees CSV.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use pgai_core::Task;

#[cfg(feature = "parquet")]
use crate::parquet;

/// The most bytes of one piece.
const PIECE: usize = 256 * 1024;

/// The input and the output of a command. They are opened when they are used first.
#[derive(Default)]
pub struct Streams {
    input: Option<Input>,
    output: Option<Output>,
    from: Option<String>,
    to: Option<String>,
}

enum Input {
    Bytes(Box<dyn Read + Send>),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::Reader>),
}

enum Output {
    Bytes(Box<dyn Write + Send>),
    #[cfg(feature = "parquet")]
    Parquet(Box<parquet::Writer<File>>),
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
        let fails = |error: String| format!("cannot read {name}: {error}");
        let input = match &mut self.input {
            Some(input) => input,
            none => none.insert(Input::open(self.from.as_deref()).map_err(fails)?),
        };
        input.read().map_err(fails)
    }

    /// Writes a text. A file is written beside its place, and gets its name with the last text.
    ///
    /// # Errors
    /// If it cannot be written. The message names it.
    pub fn write(&mut self, text: &str, is_last: bool) -> Result<(), String> {
        let name = self.to.as_deref().unwrap_or("the standard output");
        let fails = |error: String| format!("cannot write {name}: {error}");
        let output = match &mut self.output {
            Some(output) => output,
            none => none.insert(Output::open(self.to.as_deref()).map_err(fails)?),
        };
        output.write(text).map_err(fails)?;
        if is_last && let Some(output) = self.output.take() {
            output.finish().map_err(fails)?;
            if let Some(path) = &self.to {
                let renamed = fs::rename(partial(path), path);
                renamed.map_err(|error| fails(error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl Input {
    fn open(path: Option<&str>) -> Result<Self, String> {
        let Some(path) = path else {
            return Ok(Self::Bytes(Box::new(io::stdin())));
        };
        let file = File::open(path).map_err(|error| error.to_string())?;
        if !is_parquet(path) {
            return Ok(Self::Bytes(Box::new(file)));
        }
        #[cfg(feature = "parquet")]
        return Ok(Self::Parquet(Box::new(parquet::Reader::new(file)?)));
        #[cfg(not(feature = "parquet"))]
        return Err(WITHOUT_PARQUET.to_owned());
    }

    fn read(&mut self) -> Result<Vec<u8>, String> {
        match self {
            Self::Bytes(input) => {
                let mut piece = vec![];
                let read = input.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                read.map_err(|error| error.to_string())?;
                Ok(piece)
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(input) => input.read(),
        }
    }
}

impl Output {
    fn open(path: Option<&str>) -> Result<Self, String> {
        let Some(path) = path else {
            return Ok(Self::Bytes(Box::new(io::stdout())));
        };
        #[cfg(not(feature = "parquet"))]
        if is_parquet(path) {
            return Err(WITHOUT_PARQUET.to_owned());
        }
        let file = File::create(partial(path)).map_err(|error| error.to_string())?;
        #[cfg(feature = "parquet")]
        if is_parquet(path) {
            return Ok(Self::Parquet(Box::new(parquet::Writer::new(file))));
        }
        Ok(Self::Bytes(Box::new(file)))
    }

    fn write(&mut self, text: &str) -> Result<(), String> {
        match self {
            Self::Bytes(output) => {
                let written = output.write_all(text.as_bytes());
                written.map_err(|error| error.to_string())
            }
            #[cfg(feature = "parquet")]
            Self::Parquet(output) => output.write(text),
        }
    }

    fn finish(self) -> Result<(), String> {
        match self {
            Self::Bytes(mut output) => output.flush().map_err(|error| error.to_string()),
            #[cfg(feature = "parquet")]
            Self::Parquet(output) => output.finish(),
        }
    }
}

#[cfg(not(feature = "parquet"))]
const WITHOUT_PARQUET: &str =
    "this program is built without Parquet: build it with --features parquet, or use a CSV file";

fn is_parquet(path: &str) -> bool {
    let extension = Path::new(path).extension();
    extension.is_some_and(|it| it.eq_ignore_ascii_case("parquet"))
}

/// Where a file is until it is complete.
fn partial(path: &str) -> String {
    format!("{path}.partial")
}
