//! How much one commit writes: as much as takes a moment only, because whoever changes one of its rows
//! meanwhile waits for its end.

use std::time::Duration;

/// A commit that takes longer is too large.
const LONG: Duration = Duration::from_millis(100);
/// One that takes no longer than this could have written twice as much.
const SHORT: Duration = Duration::from_millis(25);
/// Numbers in the vectors of one commit (a quarter of a MiB): more would only cost memory.
const NUMBERS_MAX: usize = 64 * 1024;
/// Times the first size, at most.
const GROWTH_MAX: usize = 8;

/// The size of a vectorizer's next commits, in chunks. A vector index makes a chunk a hundred times as
/// dear, so it is found out.
#[derive(Debug)]
pub(super) struct CommitSize {
    chunks: usize,
    first: usize,
    most: usize,
}

impl CommitSize {
    pub(super) fn new(first: usize, dimensions: usize) -> Self {
        let most = (NUMBERS_MAX / dimensions.max(1)).min(first * GROWTH_MAX);
        Self {
            chunks: first,
            first,
            most: most.max(first),
        }
    }

    pub(super) const fn chunks(&self) -> usize {
        self.chunks
    }

    /// A commit of so many chunks took this long, from the moment it was asked.
    pub(super) fn took(&mut self, chunks: usize, time: Duration) {
        if time > LONG {
            self.chunks = (self.chunks / 2).max(self.first / 8).max(1);
        } else if time <= SHORT && chunks * 2 > self.chunks {
            self.chunks = (self.chunks * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(first: usize, dimensions: usize, a_chunk: Duration) -> usize {
        let mut size = CommitSize::new(first, dimensions);
        for _ in 0..20 {
            let chunks = size.chunks();
            size.took(chunks, a_chunk * u32::try_from(chunks).unwrap());
        }
        size.chunks()
    }

    #[test]
    fn a_commit_is_as_large_as_takes_a_moment() {
        assert_eq!(settled(64, 768, Duration::from_micros(50)), 85);
        assert_eq!(settled(64, 3_072, Duration::from_micros(50)), 64);
        assert_eq!(settled(64, 4, Duration::from_micros(50)), 512);
        assert_eq!(
            settled(64, 768, Duration::from_millis(4)),
            16,
            "with a vector index"
        );
        assert_eq!(settled(64, 768, Duration::from_secs(1)), 8);
    }

    #[test]
    fn a_small_commit_says_nothing_of_a_large_one() {
        let mut size = CommitSize::new(64, 768);
        for _ in 0..20 {
            size.took(1, Duration::from_millis(1));
        }
        assert_eq!(size.chunks(), 64);
    }
}
