//! The operator's output: log lines on stdout and, with `--once` on a terminal, a progress bar.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use pgai_core::log::{self, Format};
use pgai_core::{Event, Level, Options, Span};

use crate::monitoring::{Asker, Inquirer};
use crate::program::Failure;
#[cfg(feature = "otel")]
use crate::telemetry::Telemetry;

/// The output of a worker.
#[derive(Debug)]
pub struct Console {
    level: Level,
    format: Format,
    bar: Option<Bar>,
    is_on_stderr: bool,
    #[cfg(feature = "otel")]
    pub(crate) telemetry: Option<Telemetry>,
}

impl Console {
    /// Creates a console with the format from the options. The progress bar is drawn on stderr,
    /// if that is a terminal.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let bar = options.once() && io::stderr().is_terminal();
        Self {
            level: options.log_level(),
            format: options.log_format(),
            bar: bar.then(Bar::new),
            is_on_stderr: false,
            #[cfg(feature = "otel")]
            telemetry: None,
        }
    }

    /// The same, but it prints on the standard error.
    #[must_use]
    pub fn on_stderr(self) -> Self {
        Self {
            is_on_stderr: true,
            ..self
        }
    }

    /// Whether [`Event::Progress`] is needed.
    #[must_use]
    pub const fn draws_progress(&self) -> bool {
        self.bar.is_some()
    }

    /// Prints an event of the core.
    pub fn tell(&self, event: &Event) {
        if let Some(bar) = &self.bar
            && let Event::Progress {
                done,
                waiting,
                chunks,
            } = event
        {
            bar.draw(*done, *waiting, *chunks);
        } else if event.level() >= self.level {
            self.print(&log::line(event, wall_time(), self.format));
        }
    }

    /// Sends traces and metrics to a collector, if the environment says so.
    ///
    /// # Errors
    /// If a variable is wrong.
    #[cfg(feature = "otel")]
    pub(crate) fn send_to_collector(
        &mut self,
        environment: &BTreeMap<String, String>,
        inquirer: &Inquirer,
        asker: &Asker,
    ) -> Result<(), Failure> {
        self.telemetry = Telemetry::start(environment, inquirer.version, inquirer, asker)?;
        Ok(())
    }

    /// Says that nothing can be sent to a collector, if the environment names one.
    #[cfg(not(feature = "otel"))]
    #[expect(
        clippy::unnecessary_wraps,
        clippy::needless_pass_by_ref_mut,
        reason = "with the feature it needs both"
    )]
    pub(crate) fn send_to_collector(
        &mut self,
        environment: &BTreeMap<String, String>,
        _: &Inquirer,
        _: &Asker,
    ) -> Result<(), Failure> {
        const NAMED: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        if environment
            .get(NAMED)
            .is_some_and(|value| !value.trim().is_empty())
        {
            let unable = format!(
                "{NAMED} is set, but this binary was built without the cargo feature otel of the package worker: \
                 nothing is sent"
            );
            self.note(Level::Warning, &unable);
        }
        Ok(())
    }

    /// Whether [`spans`](Self::spans) has a use for spans.
    #[must_use]
    pub(crate) fn wants_spans(&self) -> bool {
        #[cfg(feature = "otel")]
        let wants = self.telemetry.as_ref().is_some_and(Telemetry::wants_spans);
        #[cfg(not(feature = "otel"))]
        let wants = false;
        wants
    }

    /// Sends spans to where traces are collected, if that is wanted. `began` is the moment of
    /// [`Time::ZERO`](pgai_core::Time::ZERO).
    #[cfg_attr(
        not(feature = "otel"),
        expect(unused_variables, reason = "without the feature nothing is sent")
    )]
    pub fn spans(&self, began: SystemTime, spans: Vec<Span>) {
        #[cfg(feature = "otel")]
        if let Some(telemetry) = &self.telemetry {
            telemetry.spans(began, spans);
        }
    }

    /// Prints a message of the shell itself.
    pub fn note(&self, level: Level, message: &str) {
        if level >= self.level {
            self.print(&log::note(level, message, wall_time(), self.format));
        }
    }

    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.bar.suspend(|| print(line)),
            None if self.is_on_stderr => {
                let _ = writeln!(io::stderr().lock(), "{line}");
            }
            None => print(line),
        }
    }
}

/// Prints a line immediately. Errors are ignored: if the reader has closed its end, the worker
/// continues.
pub fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    // One write for the whole line, so that lines of several processes do not mix.
    let line = format!("{line}\n");
    let _ = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
}

/// The time since 1970; zero if the clock is before 1970.
#[must_use]
pub fn wall_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Rows done, rows waiting, chunks per second, time left.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    began: Instant,
}

impl Bar {
    fn new() -> Self {
        const LOOK: &str = "{bar:30} {pos} rows done, {msg}, {eta} left";
        let style = ProgressStyle::with_template(LOOK)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        // There is nothing to show until the first count.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden())
            .with_style(style)
            .with_finish(ProgressFinish::AndClear);
        Self {
            bar,
            began: Instant::now(),
        }
    }

    fn draw(&self, done: u64, waiting: u64, chunks: u64) {
        #[expect(clippy::cast_precision_loss, reason = "it is shown without decimals")]
        let rate = chunks as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(done.saturating_add(waiting));
        self.bar.set_position(done);
        self.bar
            .set_message(format!("{waiting} waiting, {rate:.0} chunks/s"));
    }
}
