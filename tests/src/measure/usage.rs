//! What a process used, as `/proc` of Linux tells.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::Process;

/// What a process used until its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seen from outside, from before its start.
    pub wall: Duration,
    /// User and system, of all its threads.
    pub cpu: Duration,
    /// The most memory that was resident at any moment, in KiB.
    pub peak: u64,
}

impl Usage {
    /// What a running process has used so far; `None` where there is no such process, or no
    /// `/proc`. Its wall time is not known here.
    pub fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|line| line.split_whitespace().next()?.parse().ok());
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The name in parentheses may hold anything; `utime` and `stime` are the 14th and 15th.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some(Self {
            wall: Duration::ZERO,
            // A tick is a hundredth of a second, on every Linux that Rust runs on.
            cpu: Duration::from_millis(ticks * 10),
            peak: peak.unwrap_or_default(),
        })
    }
}

/// Waits for the end of a process that was started at `began`.
///
/// # Panics
///
/// If it takes more than ten minutes, or fails.
pub fn until_end(mut process: Process, began: Instant) -> Usage {
    let mut usage = Usage::default();
    while process.is_running() {
        if let Some(now) = Usage::of(process.id()).filter(|now| now.peak > 0) {
            usage = now;
        }
        assert!(began.elapsed() < Duration::from_secs(600), "it never ends");
        thread::sleep(Duration::from_millis(2));
    }
    usage.wall = began.elapsed();
    let status = process.wait(Duration::from_secs(1));
    assert!(status.success(), "{status}: {:?}", process.lines().last());
    usage
}
