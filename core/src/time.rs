//! Time in the core: it is an input from the shell, and the core reads no clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// The time since the worker started, from the shell's monotonic clock.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Time(Duration);

impl Time {
    /// The start of the worker.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The time `since_start` after the start of the worker.
    #[must_use]
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The duration since the start of the worker.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The duration since `earlier`; zero if it is in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0.as_secs_f64())
    }
}
