//! The child: parses one file after the other.

use std::io::{self, BufWriter, Read as _, Write as _};
use std::process::ExitCode;

use documents::{Hints, parse};
use rustix::time::{ClockId, clock_gettime};

use super::confine;
use super::frames::{self, Answer};

/// What a child says when it is ready: whether the filter of system calls is installed.
pub(super) const READY: u64 = 0x7067_6169;
pub(super) const READY_AND_FILTERED: u64 = READY + 1;

/// The limits of a child, as its arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Seconds of processor time for one file.
    pub(super) cpu: u64,
    /// Bytes of an answer's text.
    pub(super) output: u64,
}

impl Limits {
    pub(super) fn arguments(self) -> [String; 3] {
        [
            self.memory.to_string(),
            self.cpu.to_string(),
            self.output.to_string(),
        ]
    }

    fn of(arguments: &[String]) -> Option<Self> {
        let [memory, cpu, output] = arguments else {
            return None;
        };
        Some(Self {
            memory: memory.parse().ok()?,
            cpu: cpu.parse().ok()?,
            output: output.parse().ok()?,
        })
    }
}

/// Runs a child until its input ends.
pub(super) fn main(arguments: &[String]) -> ExitCode {
    let Some(limits) = Limits::of(arguments) else {
        return ExitCode::from(2);
    };
    match serve(limits) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(limits: Limits) -> io::Result<()> {
    confine::limit(limits.memory)?;
    let ready = if confine::filter() {
        READY_AND_FILTERED
    } else {
        READY
    };
    let mut input = io::stdin().lock();
    let mut output = BufWriter::new(io::stdout().lock());
    output.write_all(&ready.to_le_bytes())?;
    output.flush()?;
    while let Some(question) = frames::asked(&mut input)? {
        let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
        confine::until(u64::try_from(used).unwrap_or(0).saturating_add(limits.cpu))?;
        let hints = Hints {
            name: question.name.as_deref(),
            content_type: question.content_type.as_deref(),
        };
        let parsed = parse(&question.bytes, &hints).map_err(|error| error.to_string());
        frames::answer(&mut output, &within(parsed, limits.output))?;
    }
    // Nothing follows a question that is cut off.
    let _ = input.read(&mut [0])?;
    Ok(())
}

fn within(answer: Answer, most: u64) -> Answer {
    match answer {
        Ok(document) if document.markdown.len() as u64 > most => Err(format!(
            "its text has {} bytes, and at most {most} are allowed; split it",
            document.markdown.len()
        )),
        other => other,
    }
}
