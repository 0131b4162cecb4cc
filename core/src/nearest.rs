//! The known name that is nearest to a misspelt one.

/// Returns the most similar of the known names, if one is similar enough to be meant.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distances = known
        .into_iter()
        .map(|name| (strsim::osa_distance(written, name), name));
    distances
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_name_is_meant() {
        let known = ["blog", "documents", "a"];
        for (written, meant) in [
            ("blgo", Some("blog")),
            ("Blog", Some("blog")),
            ("document", Some("documents")),
            ("dcuments", Some("documents")),
            ("nope", None),
            ("b", Some("a")),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
    }
}
