//! An answer is checked before it counts.

use std::fmt;
use std::sync::Arc;

/// Why an answer must not be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum BadAnswer {
    /// Another number of vectors than of texts.
    Count { wanted: usize, got: usize },
    /// Vectors of another length than the store's: the vectorizer's fault, or the model's.
    Dimensions { wanted: usize, got: usize },
    /// A vector with an infinite component or one that is no number.
    NotFinite,
    /// Two vectors for one text, or one for a text that was not sent.
    Order,
    /// A vector of zeros: it has no direction, so an index by cosine distance never finds it.
    Zero,
    /// Not what such a provider answers.
    Unreadable(String),
}

impl BadAnswer {
    pub(super) fn unreadable(error: &serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { wanted, got } => {
                write!(
                    f,
                    "the provider answered with {got} vectors for {wanted} texts"
                )
            }
            Self::Dimensions { wanted, got } => write!(
                f,
                "the model's vectors have {got} dimensions and the vectorizer's {wanted}: \
                 create it with dimensions => {got}, or with another model"
            ),
            Self::NotFinite => f.write_str("a vector holds NaN or infinity"),
            Self::Order => f.write_str("the provider's answer does not say which vector is whose"),
            Self::Zero => f.write_str(
                "the model's vector is all zeros, which no search by cosine distance finds: \
                 change the text, or use a model that has a vector for it",
            ),
            Self::Unreadable(reason) => write!(f, "the provider's answer cannot be read: {reason}"),
        }
    }
}

/// Checks the number of vectors, their dimensions, that every component is finite, and that no
/// vector is all zeros.
pub(super) fn check(
    vectors: Vec<Vec<f32>>,
    count: usize,
    dimensions: usize,
) -> Result<Vec<Arc<[f32]>>, BadAnswer> {
    if vectors.len() != count {
        return Err(BadAnswer::Count {
            wanted: count,
            got: vectors.len(),
        });
    }
    if let Some(other) = vectors.iter().find(|vector| vector.len() != dimensions) {
        return Err(BadAnswer::Dimensions {
            wanted: dimensions,
            got: other.len(),
        });
    }
    if vectors
        .iter()
        .flatten()
        .any(|component| !component.is_finite())
    {
        return Err(BadAnswer::NotFinite);
    }
    if vectors
        .iter()
        .any(|vector| vector.iter().all(|component| *component == 0.0))
    {
        return Err(BadAnswer::Zero);
    }
    Ok(vectors.into_iter().map(Arc::from).collect())
}
