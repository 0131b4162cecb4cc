//! Vectors that tell whose they are.

use sha2::{Digest, Sha256};

/// The vector that every stub and model provider gives to a text: it follows from the text alone,
/// is finite and has length 1, and two texts practically never share one.
#[must_use]
pub fn vector_of(text: &str, dimensions: usize) -> Vec<f32> {
    let hash = Sha256::digest(text.as_bytes());
    let mut state = hash
        .iter()
        .take(8)
        .fold(0_u64, |state, byte| state << 8 | u64::from(*byte));
    let mut vector: Vec<f32> = (0..dimensions)
        .map(|_| {
            // xorshift64* (Marsaglia 2003, Vigna 2014): fast, and never the same for two seeds.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            let number = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
            #[expect(clippy::cast_precision_loss, reason = "24 bits are exact in an f32")]
            let fraction = number as f32 / 16_777_216.0;
            fraction - 0.5
        })
        .collect();
    let length = vector
        .iter()
        .map(|component| component * component)
        .sum::<f32>()
        .sqrt();
    for component in &mut vector {
        *component /= length.max(f32::MIN_POSITIVE);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_follows_from_its_text_and_has_length_1() {
        let vector = vector_of("text", 768);
        assert_eq!(vector, vector_of("text", 768));
        assert_ne!(vector, vector_of("other", 768));
        let length: f32 = vector.iter().map(|component| component * component).sum();
        assert!((length - 1.0).abs() < 1e-3);
    }
}
