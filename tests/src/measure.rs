//! What the benches measure with: a provider that costs nothing, texts, and what a process used.

mod provider;
mod usage;

pub use provider::Canned;
pub use usage::{Usage, until_end};

use std::time::Duration;

/// The value below which this share of the values lies.
///
/// # Panics
///
/// If there are none.
pub fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() - 1) * percent / 100]
}

/// A text of about this many characters: sentences of made-up words in paragraphs, another one for
/// every `number`.
pub fn text(number: u64, characters: usize) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |bound: u64| {
        // xorshift64: quick, and the same everywhere.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut text = String::with_capacity(characters + 16);
    while text.len() < characters {
        for _ in 0..2 + next(8) {
            let letter = b'a' + u8::try_from(next(26)).expect("a letter");
            text.push(letter.into());
        }
        text.push_str(match next(60) {
            0..=4 => ". ",
            5 => ".\n\n",
            _ => " ",
        });
    }
    text.truncate(characters);
    text
}
