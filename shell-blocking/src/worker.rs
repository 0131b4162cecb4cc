//! The worker as a part of another program that does not use an async runtime.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use pgai_core::{Event, Settings, Snapshot, Summary};
use shell_common::monitoring::{Asker, questions};
use shell_common::program::{Failure, seed};
use shell_common::target::Target;

use crate::drive;
use crate::errands::Errands;

/// Events that nobody has read yet are kept up to this number; further ones are dropped.
const EVENTS_MAX: usize = 1024;

/// A worker on threads of its own. It listens for no signals, prints nothing, and ends when [`stop`](Self::stop) is
/// called or when this is dropped.
///
/// ```no_run
/// use std::time::Duration;
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = shell_blocking::settings("my-program")?;
/// let (worker, events) = shell_blocking::Worker::start("postgres://localhost/app", settings)?;
/// while let Ok(event) = events.recv_timeout(Duration::from_secs(10)) {
///     println!("{}: {}", event.level().name(), event.message());
/// }
/// let summary = worker.stop();
/// println!("{} rows are in sync", summary.rows);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Worker {
    /// `None` while its end is waited for.
    thread: Option<JoinHandle<Summary>>,
    stop: Arc<AtomicBool>,
    asker: Asker,
}

impl Worker {
    /// Starts a worker on the database at a URL, and returns its events, too. Where nobody reads them, those beyond
    /// the first thousand are dropped. After the last one the worker has ended.
    ///
    /// # Errors
    /// If the URL or a setting is wrong, or a thread cannot be started. All that goes wrong later is an event.
    pub fn start(url: &str, settings: Settings) -> Result<(Self, Receiver<Event>), Failure> {
        let target = Target::parse(url)?;
        let requests = settings.limits.requests;
        let worker = pgai_core::Worker::new(settings, seed())?;
        let errands = Errands::start(requests, &target)?;
        let (asker, questions) = questions();
        let (sender, events) = sync_channel(EVENTS_MAX);
        let tell = move |event| {
            // Nobody reads, or not fast enough: the work matters more.
            let _ = sender.try_send(event);
        };
        let stop = Arc::new(AtomicBool::new(false));
        let is_stopped = {
            let stop = Arc::clone(&stop);
            move || stop.load(Ordering::Relaxed)
        };
        let thread = thread::Builder::new()
            .name("pgai-worker".to_owned())
            .spawn(move || drive(worker, target, errands, tell, questions, is_stopped))
            .map_err(|error| Failure::Failed(format!("starting a thread: {error}")))?;
        let worker = Self {
            thread: Some(thread),
            stop,
            asker,
        };
        Ok((worker, events))
    }

    /// What the worker does now and has done so far: for health checks and metrics. `None` when it has ended. It
    /// blocks until the loop has time, which a slow statement may delay.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        self.asker.ask().blocking_recv().ok()
    }

    /// Stops the worker: it claims nothing more, finishes or gives back what it holds within the grace period of its
    /// [`Settings`], and ends.
    ///
    /// # Panics
    /// If the worker has panicked.
    #[must_use]
    pub fn stop(mut self) -> Summary {
        self.stop.store(true, Ordering::Relaxed);
        self.ended()
    }

    /// Waits for the end of a worker that ends by itself, because of [`Settings::once`] or
    /// [`Settings::exit_on_error`].
    ///
    /// # Panics
    /// If the worker has panicked.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        self.ended()
    }

    fn ended(&mut self) -> Summary {
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            Some(Ok(summary)) => summary,
            Some(Err(panic)) => resume_unwind(panic),
            None => Summary::default(),
        }
    }
}

/// One that is not stopped is asked to end, and nobody waits for that.
impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
