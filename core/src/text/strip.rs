//! White space as Python sees it.

/// Tells whether Python's `str.isspace` holds for a character: what `str.strip` removes and `\s`
/// matches.
///
/// Rust's `char::is_whitespace` leaves out the four information separators (U+001C to U+001F).
pub(crate) fn is_space(character: char) -> bool {
    matches!(character, '\u{1c}'..='\u{1f}') || character.is_whitespace()
}

/// Does what Python's `str.strip` does.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Tells whether Python's `str.splitlines` ends a line at a character; a carriage return and the
/// line feed after it end one line together.
pub(crate) fn ends_line(character: char) -> bool {
    matches!(
        character,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

#[cfg(test)]
mod tests {
    use super::strip;

    #[test]
    fn information_separators_are_stripped_and_zero_width_spaces_are_not() {
        assert_eq!(
            strip("\u{1c}\u{1f}\u{a0}\u{3000} a\u{200b}\u{85}\n"),
            "a\u{200b}"
        );
    }
}
