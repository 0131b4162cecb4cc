//! The real workers as processes: found or built, started, watched, signalled and killed.

mod binaries;

use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, kill_process};

pub use binaries::{BINARIES, measured_tree, worker_path, worker_sources};

/// What a running process can be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Runs on after `Stop`.
    Cont,
    /// As a terminal that is closed.
    Hup,
    /// As Ctrl-C.
    Int,
    /// Ends it at once; nothing in it can object.
    Kill,
    /// Freezes it, as a machine does that swaps or is migrated.
    Stop,
    /// As an orchestrator asks for the end.
    Term,
}

/// A running worker, or another program. It is killed when this is dropped, and what it wrote is
/// shown if the test is failing.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts one of [`BINARIES`] with these arguments and, but for `PATH` and `HOME`, only these
    /// environment variables.
    ///
    /// # Panics
    ///
    /// If it is neither built nor can be.
    #[track_caller]
    pub fn worker(binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(worker_path(binary), arguments, environment)
    }

    /// Starts any program in the same way.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn(
        program: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        // The last one lets coverage see the workers.
        const INHERITED: [&str; 3] = ["HOME", "PATH", "LLVM_PROFILE_FILE"];
        let program = program.as_ref();
        let inherited = INHERITED.map(|name| (name, std::env::var_os(name)));
        let inherited = inherited
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(inherited)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", program.display()));
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().map(|pipe| Output::fill(&output, pipe));
        let stderr = child.stderr.take().map(|pipe| Output::fill(&output, pipe));
        let name = Path::new(program)
            .file_name()
            .unwrap_or(program)
            .display()
            .to_string();
        let readers = stdout.into_iter().chain(stderr).collect();
        Self {
            child,
            name,
            output,
            readers,
        }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far, both streams in the order of arrival.
    pub fn lines(&self) -> Vec<String> {
        self.output.state().lines.clone()
    }

    /// Waits for a line that contains `text`, or returns one that is there, and returns it whole.
    ///
    /// # Panics
    ///
    /// If there is none after `patience`, or the process has ended without it.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str, patience: Duration) -> String {
        self.wait_for_line_from(0, text, patience).1
    }

    /// Like [`Process::wait_for_line`], from the line with this number on (counted from 0).
    /// Returns the number of the line after the found one, where the next search may begin.
    ///
    /// # Panics
    ///
    /// As [`Process::wait_for_line`].
    #[track_caller]
    pub fn wait_for_line_from(
        &self,
        from: usize,
        text: &str,
        patience: Duration,
    ) -> (usize, String) {
        match self.output.find(from, text, patience) {
            Ok(found) => found,
            Err(why) => panic!(
                "{} wrote no line with {text:?}: {why}\n{}",
                self.name,
                self.report()
            ),
        }
    }

    /// Sends a signal; a process that has ended does not mind.
    ///
    /// # Panics
    ///
    /// If the system refuses.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        // A process that was waited for has given its id back, maybe to somebody else.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let sent = kill_process(
            pid.expect("a process has a positive id"),
            match signal {
                Signal::Cont => rustix::process::Signal::CONT,
                Signal::Hup => rustix::process::Signal::HUP,
                Signal::Int => rustix::process::Signal::INT,
                Signal::Kill => rustix::process::Signal::KILL,
                Signal::Stop => rustix::process::Signal::STOP,
                Signal::Term => rustix::process::Signal::TERM,
            },
        );
        sent.unwrap_or_else(|error| panic!("sending {signal:?} to {}: {error}", self.name));
    }

    /// Waits for the end of the process, and for its last line.
    ///
    /// # Panics
    ///
    /// If it still runs after `patience`.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            let ended = self
                .child
                .try_wait()
                .expect("asking for the end of a process");
            if let Some(status) = ended {
                // A child of its own may hold the pipes open for longer: that is no reason to wait.
                self.output.wait_for_end(Duration::from_secs(1));
                return status;
            }
            let running = began.elapsed();
            assert!(
                running < patience,
                "{} still runs\n{}",
                self.name,
                self.report()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Tells whether the process runs, or is stopped by a signal.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn report(&self) -> String {
        let mut report = format!("--- {} ({}) wrote:\n", self.name, self.id());
        for line in &self.output.state().lines {
            writeln!(report, "{line}").expect("writing to a string");
        }
        report + "---"
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        self.output.wait_for_end(Duration::from_secs(1));
        if thread::panicking() {
            eprintln!("{}", self.report());
        }
        for reader in self.readers.drain(..).filter(JoinHandle::is_finished) {
            reader.join().ok();
        }
    }
}

/// The lines of a process, filled by two threads.
#[derive(Debug, Default)]
struct Output {
    changed: Condvar,
    state: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    streams_ended: u32,
}

impl Output {
    fn fill(output: &Arc<Self>, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let output = Arc::clone(output);
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(&line);
                output
                    .state()
                    .lines
                    .push(text.trim_end_matches(['\n', '\r']).to_owned());
                output.changed.notify_all();
                line.clear();
            }
            output.state().streams_ended += 1;
            output.changed.notify_all();
        })
    }

    fn find(&self, from: usize, text: &str, patience: Duration) -> Result<(usize, String), String> {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        let mut seen = from;
        loop {
            for line in state.lines.iter().skip(seen) {
                seen += 1;
                if line.contains(text) {
                    return Ok((seen, line.clone()));
                }
            }
            if state.streams_ended == 2 {
                return Err("it has ended".to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("waited {patience:?}"));
            }
            state = self.wait(state, left);
        }
    }

    fn wait_for_end(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while state.streams_ended < 2 && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            state = self.wait(state, left);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, Lines>, time: Duration) -> MutexGuard<'a, Lines> {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens on a free loopback port outside of the range that the system hands out by itself.
///
/// A port from that range may go to somebody's outgoing connection while its server is down; a
/// client that keeps trying to reconnect can even be given it, and then talks to itself.
pub(crate) fn listen() -> TcpListener {
    const PORTS: std::ops::Range<u64> = 20_000..32_000;
    loop {
        let random = RandomState::new().hash_one(SystemTime::now());
        let port = PORTS.start + random % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).expect("the range is one of ports");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener;
        }
    }
}

/// A port of this machine that nobody uses now.
///
/// # Panics
///
/// If the listener has no address.
pub fn free_port() -> u16 {
    let address = listen().local_addr();
    address.expect("a listener has an address").port()
}

#[cfg(test)]
mod tests;
