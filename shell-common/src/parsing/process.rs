//! One child, from its parent's side.

use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::child::{READY, READY_AND_FILTERED};
use super::frames::{self, Answer};
use super::pool::{Failure, Fault, Options};
use super::{CHILD, Hints};

/// The part of a child's last words that is read.
const WORDS_MAX: u64 = 4 << 10;

/// The least time in which a child must have started.
const START: Duration = Duration::from_secs(10);

/// The signal at the limit on processor time.
const CPU_SIGNAL: i32 = 24;

/// Signals by which the kernel ends a process for what it did itself.
const OWN_SIGNALS: [(i32, &str); 5] = [
    (4, "an illegal instruction"),
    (6, "an abort"),
    (7, "a bus error"),
    (8, "an arithmetic error"),
    (11, "a memory access error, as by nesting that is too deep"),
];

/// A child. It ends with its owner.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// The files that it has parsed.
    pub(super) served: usize,
    /// Whether it ended by a limit on time: each file has the whole of it, so that another process
    /// would not get further.
    pub(super) is_spent: bool,
}

impl Process {
    /// Starts a child, and waits until it has limited itself.
    pub(super) fn start(options: &Options) -> Result<Self, Failure> {
        let machine = |error: io::Error| Failure {
            fault: Fault::Machine,
            reason: format!("starting a process for parsing: {error}"),
        };
        let mut child = Command::new(&options.program)
            .arg(CHILD)
            .args(options.limits().arguments())
            .env_clear()
            // A library may use threads; the parent uses the processors by several children.
            .env("RAYON_NUM_THREADS", "1")
            .current_dir("/")
            // Ctrl-C is for the parent, which ends its children when it has finished.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(machine)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(machine(io::ErrorKind::BrokenPipe.into()));
        };
        let mut process = Self {
            child,
            input,
            output,
            served: 0,
            is_spent: false,
        };
        let ready = process.timed(options.wall.max(START), |_, output| {
            frames::read_number(output)
        })?;
        match ready {
            Some(Ok(READY | READY_AND_FILTERED)) => Ok(process),
            Some(Ok(_)) | None => Err(machine(io::ErrorKind::InvalidData.into())),
            Some(Err(error)) => {
                let (_, words) = process.end();
                Err(Failure {
                    fault: Fault::Machine,
                    reason: format!("starting a process for parsing: {error} {words}"),
                })
            }
        }
    }

    /// Whether it can take another file.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Parses a file. After a failure that is not the answer of the child, it has ended.
    pub(super) fn parse(
        &mut self,
        bytes: &[u8],
        hints: &Hints<'_>,
        options: &Options,
    ) -> Result<Answer, Failure> {
        self.served += 1;
        let talked = self.timed(options.wall, |input, output| {
            frames::ask(input, hints.name, hints.content_type, bytes)?;
            frames::answered(output, options.output_max)
        })?;
        match talked {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                let (status, words) = self.end();
                self.is_spent = status.and_then(|status| status.signal()) == Some(CPU_SIGNAL);
                Err(ended(&error, status, &words, options))
            }
            None => {
                let _ = self.end();
                self.is_spent = true;
                Err(Failure {
                    fault: Fault::File,
                    reason: format!("parsing took longer than {:?}", options.wall),
                })
            }
        }
    }

    /// Runs a conversation. `None` if it took too long: the child is killed then.
    fn timed<T>(
        &mut self,
        most: Duration,
        talk: impl FnOnce(&mut ChildStdin, &mut ChildStdout) -> T,
    ) -> Result<Option<T>, Failure> {
        let Self {
            child,
            input,
            output,
            ..
        } = self;
        let (done, finished) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let watch = thread::Builder::new().spawn_scoped(scope, move || {
                let is_late = finished.recv_timeout(most) == Err(RecvTimeoutError::Timeout);
                if is_late {
                    // If it cannot be killed it has ended.
                    let _ = child.kill();
                }
                is_late
            });
            let watch = watch.map_err(|error| Failure {
                fault: Fault::Machine,
                reason: format!("starting a thread: {error}"),
            })?;
            let said = talk(input, output);
            drop(done);
            let is_late = watch.join().unwrap_or(true);
            Ok((!is_late).then_some(said))
        })
    }

    /// Ends the child, and returns how it ended and its last words.
    fn end(&mut self) -> (Option<ExitStatus>, String) {
        // A child that closed its output by ending is given the time to end.
        let mut status = None;
        for _ in 0..50 {
            status = self.child.try_wait().ok().flatten();
            if status.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let status = status.or_else(|| self.child.wait().ok());
        let mut words = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            let _ = stderr.take(WORDS_MAX).read_to_end(&mut words);
        }
        (status, String::from_utf8_lossy(&words).trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

/// The children of this program that have ended.
static ENDED: AtomicU64 = AtomicU64::new(0);

/// The children that have ended since the start of this program: after a crash, at a limit, or because they had parsed
/// enough files.
pub(crate) fn ended_processes() -> u64 {
    ENDED.load(Ordering::Relaxed)
}

/// Why a child ended without an answer.
fn ended(error: &io::Error, status: Option<ExitStatus>, words: &str, options: &Options) -> Failure {
    let file = |reason: String| Failure {
        fault: Fault::File,
        reason,
    };
    if words.contains("memory allocation of") || words.contains("Cannot allocate memory") {
        return file(format!(
            "parsing needs more than {} MB of memory",
            options.memory >> 20
        ));
    }
    if let Some(panic) = words.lines().find(|line| line.contains("panicked at")) {
        return file(format!("the parser failed: {panic}"));
    }
    match status.and_then(|status| status.signal()) {
        // Nobody but the kernel, short of memory, or an operator sends it: the parent did not.
        Some(9) => Failure {
            fault: Fault::Machine,
            reason: "the process that parses was killed".to_owned(),
        },
        Some(15) => Failure {
            fault: Fault::Machine,
            reason: "the process that parses was terminated".to_owned(),
        },
        Some(CPU_SIGNAL) => file(format!(
            "parsing took more than {:?} of processor time",
            options.cpu
        )),
        Some(signal) => {
            let known = OWN_SIGNALS.iter().find(|(number, _)| *number == signal);
            let name = known.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).into());
            file(format!("the parser ended by {name}"))
        }
        None if error.kind() == io::ErrorKind::InvalidData => {
            file(format!("the parser answered what is no answer: {error}"))
        }
        None => file(format!(
            "the parser ended without an answer: {error} {words}"
        )),
    }
}
