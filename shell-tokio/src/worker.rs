//! The worker as a part of another program, such as a web application.

use pgai_core::{Event, Settings, Snapshot, Summary};
use shell_common::monitoring::{Asker, questions};
use shell_common::program::{Failure, seed};
use shell_common::target::Target;
use tokio::sync::mpsc::{Receiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinHandle;

use crate::{drive, unwrap};

/// Events that nobody has read yet are kept up to this number; further ones are dropped.
const EVENTS_MAX: usize = 1024;

/// A worker that runs as a task of the caller's tokio runtime. It listens for no signals, prints nothing, and ends
/// when [`stop`](Self::stop) is called or when this is dropped.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = shell_tokio::settings("my-application")?;
/// let (worker, mut events) = shell_tokio::Worker::start("postgres://localhost/app", settings)?;
/// while let Some(event) = events.recv().await {
///     println!("{}: {}", event.level().name(), event.message());
/// #   break;
/// }
/// let summary = worker.stop().await;
/// println!("{} rows are in sync", summary.rows);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    task: JoinHandle<Summary>,
    stop: UnboundedSender<()>,
    asker: Asker,
}

impl Worker {
    /// Starts a worker on the database at a URL, and returns its events, too. Where nobody reads them, those beyond
    /// the first thousand are dropped. After the last one the worker has ended.
    ///
    /// # Errors
    /// If the URL or a setting is wrong. All that goes wrong later is an event.
    ///
    /// # Panics
    /// If it is not called within a tokio runtime that has its timer and IO enabled.
    pub fn start(url: &str, settings: Settings) -> Result<(Self, Receiver<Event>), Failure> {
        let target = Target::parse(url)?;
        let worker = pgai_core::Worker::new(settings, seed())?;
        let (stop, stops) = unbounded_channel();
        let (asker, questions) = questions();
        let (sender, events) = channel(EVENTS_MAX);
        let tell = move |event| {
            // Nobody reads, or not fast enough: the work matters more.
            let _ = sender.try_send(event);
        };
        let task = tokio::spawn(drive(worker, target, (tell, |_| ()), questions, stops));
        let worker = Self { task, stop, asker };
        Ok((worker, events))
    }

    /// What the worker does now and has done so far: for health checks and metrics. `None` when it has ended.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        self.asker.snapshot().await
    }

    /// The same for other tasks, which may keep it.
    #[must_use]
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Stops the worker: it claims nothing more, finishes or gives back what it holds within the grace period of its
    /// [`Settings`], and ends.
    ///
    /// # Panics
    /// If the worker has panicked.
    pub async fn stop(mut self) -> Summary {
        // One that has ended by itself has nobody to be told.
        let _ = self.stop.send(());
        unwrap((&mut self.task).await)
    }

    /// Waits for the end of a worker that ends by itself, because of [`Settings::once`] or
    /// [`Settings::exit_on_error`].
    ///
    /// # Panics
    /// If the worker has panicked.
    pub async fn finish(mut self) -> Summary {
        unwrap((&mut self.task).await)
    }
}

/// One that is not stopped is asked to end, and nobody waits for that: its task goes on as long as the runtime does.
impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.stop.send(());
    }
}
