//! What a chunker knows of the meaning of texts.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The vectors of texts, for chunkers that compare them.
#[derive(Clone, Debug)]
pub enum Vectors {
    /// There are none, and none can be had: sentences are packed without a look at their meaning.
    Absent,
    /// Those of these texts; a chunker asks for others.
    Known(BTreeMap<Arc<str>, Arc<[f32]>>),
}

impl Default for Vectors {
    fn default() -> Self {
        Self::Known(BTreeMap::new())
    }
}

impl Vectors {
    pub(super) const fn are_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// What they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Absent => 0,
            Self::Known(vectors) => vectors.values().map(|vector| size_of_val(&**vector)).sum(),
        }
    }

    fn of(&self, text: &str) -> Option<&[f32]> {
        match self {
            Self::Absent => None,
            Self::Known(vectors) => vectors.get(text).map(AsRef::as_ref),
        }
    }

    /// Whether the vector of this text need not be asked for. Providers refuse a text without content.
    pub(super) fn knows(&self, text: &str) -> bool {
        self.of(text).is_some() || text.trim().is_empty()
    }

    /// The cosine similarity of two texts; 0 if one of them has no vector.
    pub(super) fn similarity(&self, left: &str, right: &str) -> f32 {
        let both = self.of(left).zip(self.of(right));
        both.map_or(0.0, |(left, right)| cosine(left, right))
    }
}

/// The cosine of the angle between two vectors; 0 if one of them has no length, or other dimensions.
pub(crate) fn cosine(left: &[f32], right: &[f32]) -> f32 {
    if left.len() != right.len() {
        return 0.0;
    }
    let (mut product, mut of_left, mut of_right) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (left, right) in left.iter().zip(right) {
        product += left * right;
        of_left += left * left;
        of_right += right * right;
    }
    if of_left == 0.0 || of_right == 0.0 {
        return 0.0;
    }
    product / (of_left.sqrt() * of_right.sqrt())
}
