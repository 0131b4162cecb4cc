//! The HTTP server of a worker: health checks, metrics and a status page.
//!
//! It runs on a thread of its own, with a runtime of its own. What the worker itself knows it asks of the
//! worker's loop ([`Questions`]): so an answer shows that the loop goes round. What the database knows it
//! asks with the operator's commands, such as `status`.

mod access;
mod answers;
mod history;
mod inquirer;
mod metrics;
mod server;
mod state;

use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use pgai_core::Snapshot;
use pgai_core::log::Format;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::program::Failure;
pub(crate) use inquirer::Inquirer;
#[cfg(feature = "otel")]
pub(crate) use metrics::families;
use state::State;

/// The variable with the token that requests must carry, except health checks.
pub(crate) const TOKEN: &str = "PGAI_HTTP_TOKEN";

/// What is asked of a worker's loop. Without an [`Asker`] nobody asks anything.
#[derive(Debug)]
pub struct Questions(UnboundedReceiver<Question>);

/// Asks a worker's loop how the worker is.
#[derive(Clone, Debug)]
pub struct Asker(UnboundedSender<Question>);

/// Connects those who ask with a worker's loop.
#[must_use]
pub fn questions() -> (Asker, Questions) {
    let (sender, receiver) = unbounded_channel();
    (Asker(sender), Questions(receiver))
}

impl Asker {
    /// What the worker does now and has done so far; `None` when it has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        self.ask().await.ok()
    }

    /// Asks. The answer is an error if the loop has ended.
    #[must_use]
    pub fn ask(&self) -> oneshot::Receiver<Snapshot> {
        let (sender, answer) = oneshot::channel();
        // If the loop has ended, so does the wait for an answer: the question is dropped.
        let _ = self.0.send(Question(sender));
        answer
    }
}

/// Somebody wants to know how the worker is.
#[derive(Debug)]
pub struct Question(oneshot::Sender<Snapshot>);

impl Question {
    /// Answers.
    pub fn answer(self, snapshot: Snapshot) {
        // Whoever asked may have lost patience.
        let _ = self.0.send(snapshot);
    }
}

impl Questions {
    /// Waits for the next question, for ever if there is nobody to ask.
    pub async fn next(&mut self) -> Question {
        match self.0.recv().await {
            Some(question) => question,
            None => pending().await,
        }
    }

    /// The next question, if there is one.
    pub fn try_next(&mut self) -> Option<Question> {
        self.0.try_recv().ok()
    }
}

impl Default for Questions {
    fn default() -> Self {
        questions().1
    }
}

/// How the server listens, and who may do what.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    /// Without it, only this machine can reach the server.
    pub(crate) token: Option<String>,
    /// Whether the page may change something.
    pub(crate) has_actions: bool,
    /// For the lines that say who has changed what.
    pub(crate) log_format: Format,
}

impl Settings {
    /// # Errors
    /// If other machines could reach the server without a token.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let ip = self.address.ip();
        if self.token.is_none() && !ip.is_loopback() {
            return Err(Failure::Usage(format!(
                "--http {}: other machines can reach this address, so requests must carry a token: set \
                 {TOKEN}, or {TOKEN}_FILE to a file with it, or listen on {} only",
                self.address,
                self.address.port()
            )));
        }
        Ok(())
    }
}

/// Starts the server, and returns where it listens.
///
/// # Errors
/// If it cannot listen there, or would have to without a token.
pub(crate) fn start(
    settings: Settings,
    inquirer: Inquirer,
    asker: Asker,
) -> Result<SocketAddr, Failure> {
    settings.check()?;
    let address = settings.address;
    let refused =
        |error: std::io::Error| Failure::Failed(format!("listening on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(refused)?;
    // Port 0 lets the system choose one.
    let address = listener.local_addr().map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let state = Arc::new(State::new(settings, inquirer, asker));
    thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || server::run(listener, state))
        .map_err(|error| Failure::Failed(format!("starting a thread: {error}")))?;
    Ok(address)
}
