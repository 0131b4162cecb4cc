//! Vectors that are a function of their text.

use sha2::{Digest, Sha256};

/// The vector that the stub gives to a text: finite, of length 1, and another one for every text
/// and every number of dimensions.
///
/// # Panics
///
/// If there are no dimensions.
pub fn vector_of(text: &str, dimensions: usize) -> Vec<f32> {
    assert!(dimensions > 0, "a vector has dimensions");
    let hash = Sha256::new()
        .chain_update(text)
        .chain_update(dimensions.to_le_bytes())
        .finalize();
    let mut seed = [0; 8];
    seed.copy_from_slice(&hash[..8]);
    // The hash tells texts apart; spreading it over the dimensions wants speed, not secrecy.
    let mut state = u64::from_le_bytes(seed);
    let raw: Vec<f64> = (0..dimensions).map(|_| component(&mut state)).collect();
    let length = raw.iter().map(|value| value * value).sum::<f64>().sqrt();
    raw.iter().map(|value| (value / length) as f32).collect()
}

/// Tells whether this is the vector of the text, up to the rounding of whoever stored it.
pub fn is_vector_of(text: &str, vector: &[f32]) -> bool {
    const ROUNDING_MAX: f32 = 1e-6;
    if vector.is_empty() {
        return false;
    }
    let expected = vector_of(text, vector.len());
    expected
        .iter()
        .zip(vector)
        .all(|(expected, value)| (expected - value).abs() <= ROUNDING_MAX)
}

/// Between -1 and 1, by SplitMix64; never 0, so that a vector of one dimension has a length.
fn component(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // An odd number of 53 bits is exact, and never the middle of the range.
    let odd = (mixed >> 11) | 1;
    odd as f64 / (1_u64 << 52) as f64 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_finite_of_length_one_and_always_the_same() {
        for dimensions in [1, 2, 3, 768, 3_072] {
            for text in ["", "a", "wings", "Flügel 🪽"] {
                let vector = vector_of(text, dimensions);
                assert_eq!(vector.len(), dimensions);
                assert!(vector.iter().all(|value| value.is_finite()));
                let length: f32 = vector.iter().map(|value| value * value).sum();
                assert!((length - 1.0).abs() < 1e-5, "{length}");
                assert_eq!(vector, vector_of(text, dimensions));
            }
        }
    }

    #[test]
    fn a_vector_belongs_to_one_text() {
        let vector = vector_of("wings", 768);
        assert!(is_vector_of("wings", &vector));
        assert!(!is_vector_of("wing", &vector));
        assert!(!is_vector_of("wings", &vector[..767]));
        assert!(!is_vector_of("wings", &[]));
        assert!(!is_vector_of("wings", &[f32::NAN; 768]));
        let rounded: Vec<f32> = vector.iter().map(|value| value + 5e-7).collect();
        assert!(is_vector_of("wings", &rounded));
    }

    #[test]
    fn components_spread_over_both_signs() {
        let vector = vector_of("wings", 1_000);
        let positive = vector.iter().filter(|value| **value > 0.0).count();
        assert!((400..600).contains(&positive), "{positive}");
    }

    /// A change here makes every store that tests have kept, and every recording, worthless.
    #[test]
    fn the_vectors_stay_what_they_are() {
        let vector = vector_of("wings", 4);
        assert_eq!(vector, [0.5716373, -0.04243076, -0.8149159, -0.08568886]);
    }
}
