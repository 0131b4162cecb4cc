//! The one source of chance: bytes from proptest or a fuzzer, or a seed.

/// Bytes that decide everything.
#[derive(Clone, Debug)]
pub enum Entropy<'a> {
    /// As given, then zeroes.
    Bytes(&'a [u8]),
    /// As many as are wanted.
    Seed(u64),
}

impl Entropy<'_> {
    /// Whether all bytes were used. A seed never is.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        matches!(self, Self::Bytes([]))
    }

    fn byte(&mut self) -> u8 {
        match self {
            Self::Bytes(bytes) => match bytes.split_first() {
                Some((first, rest)) => {
                    *bytes = rest;
                    *first
                }
                None => 0,
            },
            Self::Seed(state) => {
                // Knuth's MMIX generator; its high bits are good enough for tests.
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (*state >> 56) as u8
            }
        }
    }

    /// A number below `bound`.
    pub fn number(&mut self, bound: u64) -> u64 {
        let bytes = match bound {
            0..=256 => 1,
            257..=65_536 => 2,
            _ => 8,
        };
        (0..bytes).fold(0_u64, |number, _| number << 8 | u64::from(self.byte())) % bound.max(1)
    }

    /// A place in something with `length` places.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.number(length as u64)).unwrap_or(0)
    }

    /// A number from 0 to below `bound`.
    pub fn signed(&mut self, bound: i64) -> i64 {
        self.number(bound.unsigned_abs()).cast_signed()
    }

    /// True once in `n` times.
    pub fn chance(&mut self, n: u64) -> bool {
        self.number(n) == n - 1
    }
}
