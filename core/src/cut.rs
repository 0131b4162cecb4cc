//! Shortens user texts for messages, which go to logs and tables.

/// The number of characters of a pattern, a key or a text that a message shows.
pub(crate) const SHOWN: usize = 200;

/// The beginning of a text, with an ellipsis if something is left out.
pub(crate) fn cut(text: &str) -> String {
    cut_to(text, SHOWN)
}

/// The same with another length, in characters.
pub(crate) fn cut_to(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_characters_are_shown() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(cut(&"é".repeat(201)), format!("{}...", "é".repeat(200)));
    }
}
