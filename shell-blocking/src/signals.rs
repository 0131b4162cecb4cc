//! SIGTERM, SIGINT and SIGHUP: the first signal stops the worker, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shell_common::program::{Failure, exit_code, ignores_hangup};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether a signal has arrived.
pub(crate) struct Signals {
    came: Arc<AtomicBool>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        let came = Arc::new(AtomicBool::new(false));
        let hangup = (!ignores_hangup()).then_some(SIGHUP);
        for signal in [SIGTERM, SIGINT].into_iter().chain(hangup) {
            // In this order: the first signal finds the flag down, and then raises it. A second one
            // ends the process whatever it is doing.
            flag::register_conditional_shutdown(signal, exit_code(signal), Arc::clone(&came))
                .and_then(|_| flag::register(signal, Arc::clone(&came)))
                .map_err(|error| Failure::Failed(format!("listening for signals: {error}")))?;
        }
        Ok(Self { came })
    }

    pub(crate) fn ask_to_stop(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }
}
