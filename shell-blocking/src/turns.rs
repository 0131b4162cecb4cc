//! Whose answer is read, and where it is read to.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One answer is read at a time: the others wait in the system's buffers, or at their servers, and cost
/// no memory here. All are read into the same buffer, which is not freed: the system's allocator would keep a free
/// one of this size for each thread.
#[derive(Debug)]
pub(crate) struct Turns {
    /// `None` while somebody reads.
    buffer: Mutex<Option<Vec<u8>>>,
    given_back: Condvar,
}

/// An answer that arrives slowly delays the next one by no more than this.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);

/// A larger buffer is freed.
const BUFFER_MAX: usize = 2 * 1024 * 1024;

impl Default for Turns {
    fn default() -> Self {
        Self {
            buffer: Mutex::new(Some(vec![])),
            given_back: Condvar::new(),
        }
    }
}

impl Turns {
    /// Waits for a turn, and goes on without one where the answer before arrives slowly.
    pub(crate) fn take(&self) -> Turn<'_> {
        let buffer = self.lock();
        let waited = self
            .given_back
            .wait_timeout_while(buffer, ANSWER_PATIENCE, |buffer| buffer.is_none());
        let (mut buffer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match buffer.take() {
            Some(buffer) => Turn {
                buffer,
                of: Some(self),
            },
            None => Turn {
                buffer: vec![],
                of: None,
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lasts until the answer has been read.
pub(crate) struct Turn<'a> {
    pub(crate) buffer: Vec<u8>,
    of: Option<&'a Turns>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(turns) = self.of {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            buffer.shrink_to(BUFFER_MAX);
            *turns.lock() = Some(buffer);
            turns.given_back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_into_the_same_buffer() {
        let turns = Turns::default();
        let mut turn = turns.take();
        turn.buffer.extend([7; 1000]);
        let place = turn.buffer.as_ptr();
        drop(turn);
        let turn = turns.take();
        assert!(turn.buffer.is_empty() && turn.buffer.capacity() >= 1000);
        assert_eq!(turn.buffer.as_ptr(), place);
    }

    #[test]
    fn an_answer_that_arrives_slowly_does_not_hold_up_the_next_one() {
        let turns = Turns::default();
        let mut slow = turns.take();
        slow.buffer.extend([7; 1000]);
        let mut next = turns.take();
        next.buffer.extend([7; 10]);
        drop(slow);
        drop(next);
        assert!(
            turns.take().buffer.capacity() >= 1000,
            "its own is not kept"
        );
    }

    #[test]
    fn a_large_buffer_is_not_kept() {
        let turns = Turns::default();
        turns.take().buffer.reserve(3 * BUFFER_MAX);
        let kept = turns.take().buffer.capacity();
        assert!(kept < 3 * BUFFER_MAX, "{kept}");
    }
}
