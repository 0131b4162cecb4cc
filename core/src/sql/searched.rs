//! How the vectors of a vectorizer are stored and compared.

use super::{qualified, quoted};

/// How vectors are stored, and what a search compares: the expression that a vector index is on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Searched {
    /// Whether the column is a `halfvec`, and not a `vector`.
    stores_half: bool,
    /// Whether the index is on the column cast to `halfvec`.
    is_cast: bool,
    /// pgvector's operator for the distance.
    distance: &'static str,
}

/// The most dimensions of a `vector` that pgvector indexes, and of a `halfvec`.
const INDEXED_MAX: usize = 2000;
const HALF_INDEXED_MAX: usize = 4000;

impl Searched {
    /// From the `indexing` part of a vectorizer's configuration.
    pub(crate) fn new(stores_half: bool, indexing: &serde_json::Value, dimensions: usize) -> Self {
        let is_limited = matches!(
            indexing["implementation"].as_str(),
            Some("hnsw" | "ivfflat")
        );
        let distance = match indexing["opclass"].as_str() {
            Some("vector_ip_ops") => "<#>",
            Some("vector_l1_ops") => "<+>",
            Some("vector_l2_ops") => "<->",
            // Also the default of these functions, and the only one of diskann.
            _ => "<=>",
        };
        let is_halved = dimensions > INDEXED_MAX && dimensions <= HALF_INDEXED_MAX;
        Self {
            stores_half,
            is_cast: is_limited && is_halved && !stores_half,
            distance,
        }
    }

    /// The type of the column.
    const fn stored(self) -> &'static str {
        if self.stores_half {
            "halfvec"
        } else {
            "vector"
        }
    }

    /// The type of what is compared.
    const fn compared(self) -> &'static str {
        if self.stores_half || self.is_cast {
            "halfvec"
        } else {
            "vector"
        }
    }

    /// The values of these names in the statements of a vectorizer.
    pub(super) fn values(self, schema: &str, dimensions: usize) -> [(&'static str, String); 4] {
        let compared = qualified(schema, self.compared());
        let cast = if self.is_cast {
            format!("::{compared}({dimensions})")
        } else {
            String::new()
        };
        let distance = format!("operator({}.{})", quoted(schema), self.distance);
        [
            ("stored", qualified(schema, self.stored())),
            ("as compared", cast),
            ("compared", compared),
            ("distance", distance),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_search_uses_the_expression_of_the_index() {
        let hnsw = json!({"implementation": "hnsw", "opclass": "vector_l2_ops"});
        let none = json!({"implementation": "none"});
        let diskann = json!({"implementation": "diskann"});
        let check =
            |half: bool, indexing: &serde_json::Value, dimensions: usize, expect: [&str; 4]| {
                let searched = Searched::new(half, indexing, dimensions);
                let values = searched
                    .values("public", dimensions)
                    .map(|(_, value)| value);
                assert_eq!(values, expect);
            };
        let (vector, half) = (r#""public"."vector""#, r#""public"."halfvec""#);
        let (cosine, euclid) = (r#"operator("public".<=>)"#, r#"operator("public".<->)"#);
        check(false, &hnsw, 2000, [vector, "", vector, euclid]);
        let cast = r#"::"public"."halfvec"(2001)"#;
        check(false, &hnsw, 2001, [vector, cast, half, euclid]);
        check(false, &hnsw, 4001, [vector, "", vector, euclid]);
        check(false, &diskann, 3072, [vector, "", vector, cosine]);
        check(false, &none, 3072, [vector, "", vector, cosine]);
        check(true, &none, 3072, [half, "", half, cosine]);
    }
}
