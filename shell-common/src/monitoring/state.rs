//! What the server knows: how the worker's loop answers, what the database said last, and what was before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgai_core::Snapshot;
use serde_json::Value;
use tokio::sync::{Mutex, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::history::History;
use super::inquirer::Inquirer;
use super::{Asker, Settings};

/// A request does not wait longer for the worker's loop.
const PATIENCE: Duration = Duration::from_secs(2);
/// A request does not wait longer for the database.
const DATABASE_PATIENCE: Duration = Duration::from_secs(10);
/// What the database said is used again for so long: however many ask, its load is bounded.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    inquirer: Arc<Inquirer>,
    asker: Asker,
    watched: Mutex<Watched>,
    status: Mutex<Option<Said>>,
    pub(super) history: Mutex<History>,
}

/// What the worker's loop has answered.
#[derive(Debug, Default)]
struct Watched {
    /// A question that has no answer yet, and since when it is out.
    pending: Option<(Instant, oneshot::Receiver<Snapshot>)>,
    latest: Option<Snapshot>,
}

/// What the database said, and when.
type Said = (Instant, Result<Value, String>);

/// How the worker is, as far as its loop says.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// The latest answer.
    pub(super) snapshot: Option<Snapshot>,
    /// Since the loop did not answer; zero if it just did.
    pub(super) silent_for: Duration,
}

impl State {
    pub(super) fn new(settings: Settings, inquirer: Inquirer, asker: Asker) -> Self {
        Self {
            settings,
            inquirer: Arc::new(inquirer),
            asker,
            watched: Mutex::default(),
            status: Mutex::default(),
            history: Mutex::default(),
        }
    }

    /// Asks the worker's loop.
    pub(super) async fn health(&self) -> Health {
        let mut watched = self.watched.lock().await;
        let pending = watched.pending.take();
        let (since, mut answer) = pending.unwrap_or_else(|| (Instant::now(), self.asker.ask()));
        let mut silent_for = Duration::ZERO;
        match timeout(PATIENCE, &mut answer).await {
            Ok(Ok(snapshot)) => watched.latest = Some(snapshot),
            Ok(Err(_)) | Err(_) => {
                silent_for = since.elapsed();
                watched.pending = Some((since, answer));
            }
        }
        Health {
            snapshot: watched.latest.clone(),
            silent_for,
        }
    }

    /// What `status` says.
    pub(super) async fn status(&self) -> Result<Value, String> {
        let mut known = self.status.lock().await;
        if let Some((_, said)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return said.clone();
        }
        let said = self.inquire(&["status", "--json"]).await;
        *known = Some((Instant::now(), said.clone()));
        said
    }

    /// Forgets what the database said: something was changed.
    pub(super) async fn forget(&self) {
        *self.status.lock().await = None;
    }

    /// Runs a command that prints JSON.
    pub(super) async fn inquire(&self, arguments: &[&str]) -> Result<Value, String> {
        let text = self.command(arguments).await?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    /// Runs a command, and returns what it prints.
    pub(super) async fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let inquirer = Arc::clone(&self.inquirer);
        let run = spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            inquirer.run(&arguments)
        });
        match timeout(DATABASE_PATIENCE, run).await {
            Ok(Ok(said)) => said,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "the database has not answered within {} s",
                DATABASE_PATIENCE.as_secs()
            )),
        }
    }
}
