//! Tokens of OpenAI's embedding models (the encoding cl100k_base). They are counted for messages,
//! and to truncate texts that a model would reject.
//!
//! The encoder takes 25 MB of memory from its first use, so it is loaded only if a text may be
//! too long. Without the feature `tokens` it is missing, and nothing is truncated.

/// Texts are encoded in pieces of at most this many bytes, because the encoder's regular
/// expressions panic on a million white spaces in a row. So the count for a longer text may be
/// off by one token for each piece.
#[cfg(feature = "tokens")]
const PIECE_BYTES: usize = 256 * 1024;

/// Whether this build has the encoder.
pub(crate) const ARE_COUNTED: bool = cfg!(feature = "tokens");

/// Counts the tokens of a text; what looks like a special token is ordinary text.
#[cfg(feature = "tokens")]
pub(crate) fn count(text: &str) -> Option<usize> {
    let encoder = tiktoken_rs::cl100k_base_singleton();
    Some(
        pieces(text)
            .map(|piece| encoder.encode_ordinary(piece).len())
            .sum(),
    )
}

/// Returns the beginning of a text that has more than `max` tokens, truncated as in pgai: after
/// `max` tokens, with U+FFFD in place of an incomplete character.
#[cfg(feature = "tokens")]
pub(crate) fn cut(text: &str, max: usize) -> Option<String> {
    // Every token has at least one byte.
    if text.len() <= max {
        return None;
    }
    let encoder = tiktoken_rs::cl100k_base_singleton();
    let mut tokens = vec![];
    for piece in pieces(text) {
        tokens.extend(encoder.encode_ordinary(piece));
        if tokens.len() > max {
            tokens.truncate(max);
            let bytes = encoder.decode_bytes(&tokens).ok()?;
            return Some(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    None
}

#[cfg(feature = "tokens")]
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE_BYTES));
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(not(feature = "tokens"))]
pub(crate) const fn count(_text: &str) -> Option<usize> {
    None
}

#[cfg(not(feature = "tokens"))]
pub(crate) const fn cut(_text: &str, _max: usize) -> Option<String> {
    None
}

#[cfg(all(test, feature = "tokens"))]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_first_tokens() {
        let text = "hello world ".repeat(5000);
        let kept = cut(&text, 8191).unwrap();
        assert!(text.starts_with(&kept));
        assert_eq!(count(&kept), Some(8191));
        assert_eq!(cut(&kept, 8191), None);
        assert_eq!(cut("hello world ", 2).as_deref(), Some("hello world"));
    }

    #[test]
    fn what_looks_like_a_special_token_is_text() {
        // What tiktoken gives for encode_ordinary: "<", "|", "endo", "ft", "ext", "|", ">".
        assert_eq!(count("<|endoftext|>"), Some(7));
    }

    #[test]
    fn half_a_character_is_replaced() {
        // U+1F9FF has three tokens, of which the first is not a whole character.
        assert_eq!(count("\u{1F9FF}"), Some(3));
        assert_eq!(cut("\u{1F9FF}", 1).as_deref(), Some("\u{FFFD}"));
    }

    #[test]
    fn a_million_spaces_do_no_harm() {
        let text = format!("{}x", " ".repeat(1_000_000));
        assert!(count(&text).unwrap() < 10_000);
        assert_eq!(cut(&text, 8191), None);
        let text = format!("{}x", "\r\n".repeat(1_000_000));
        assert!(cut(&text, 8191).unwrap().len() < text.len());
    }
}
