//! Chunks that are made up: vectors near a subspace, as those of models are, and words as frequent as in a language.

/// The vectors lie near a subspace of this many dimensions; pure noise has no neighbours.
const INNER: usize = 16;

/// A generator of random numbers (splitmix64), and what it makes.
pub(crate) struct Generated {
    state: u64,
    dimensions: usize,
    basis: Vec<f32>,
}

impl Generated {
    pub(crate) fn new(seed: u64, dimensions: usize) -> Self {
        // The basis is the same for every seed: questions and chunks have one distribution.
        let mut new = Self {
            state: 1,
            dimensions,
            basis: vec![],
        };
        new.basis = (0..INNER * dimensions).map(|_| new.normal()).collect();
        new.state = seed;
        new
    }

    /// From 0 to 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    }

    /// The sum of four uniform numbers is nearly normal.
    fn normal(&mut self) -> f32 {
        (0..4).map(|_| self.uniform()).sum::<f32>() - 2.0
    }

    /// A vector, as pgvector reads it.
    pub(crate) fn vector(&mut self) -> String {
        let mut vector = vec![0.0_f32; self.dimensions];
        for inner in 0..INNER {
            let weight = self.normal();
            let axis = &self.basis[inner * self.dimensions..][..self.dimensions];
            for (number, axis) in vector.iter_mut().zip(axis) {
                *number += weight * axis;
            }
        }
        let numbers = vector.into_iter().map(|number| {
            let number = number + 0.1 * self.uniform();
            format!("{number:.3}")
        });
        let numbers: Vec<String> = numbers.collect();
        format!("[{}]", numbers.join(","))
    }

    /// A word: the n-th most frequent one of 300,000 is found n times as rarely as the first (Zipf's law).
    pub(crate) fn word(&mut self) -> String {
        format!("w{}", (self.uniform() * 300_000_f32.ln()).exp() as u32)
    }

    pub(crate) fn words(&mut self, how_many: usize) -> String {
        let words: Vec<String> = (0..how_many).map(|_| self.word()).collect();
        words.join(" ")
    }
}
