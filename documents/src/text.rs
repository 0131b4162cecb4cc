//! Text of any encoding, and formats that are text already.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::Hints;
use crate::error::Error;
use crate::kind::Kind;

/// The bytes that are looked at to guess an encoding or a format.
const BEGINNING: usize = 64 << 10;

/// Decodes a text. The encoding comes from a byte order mark, then from the bytes if they are
/// UTF-8, then from what the file or its Content-Type says, then from the frequency of letters.
///
/// # Errors
/// [`Error::Unknown`] if the bytes are no text.
pub(crate) fn decode(bytes: &[u8], hints: &Hints<'_>) -> Result<String, Error> {
    let encoding = encoding(bytes, hints).ok_or(Error::Unknown)?;
    let (text, _, _) = encoding.decode(bytes);
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The beginning of a text; `None` if the bytes are no text.
pub(crate) fn beginning(bytes: &[u8]) -> Option<String> {
    let begin = &bytes[..bytes.len().min(BEGINNING)];
    let encoding = encoding(begin, &Hints::default())?;
    Some(encoding.decode(begin).0.into_owned())
}

fn encoding(bytes: &[u8], hints: &Hints<'_>) -> Option<&'static Encoding> {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return Some(encoding);
    }
    let begin = &bytes[..bytes.len().min(BEGINNING)];
    if begin.contains(&0) {
        return utf_16(begin);
    }
    if is_binary(begin) {
        return None;
    }
    if is_utf_8(bytes) {
        return Some(UTF_8);
    }
    let said = hints
        .content_type
        .and_then(charset)
        .or_else(|| declared(begin));
    if let Some(encoding) = said.filter(|encoding| *encoding != UTF_8) {
        return Some(encoding);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    Some(detector.guess(None, Utf8Detection::Allow))
}

/// Whether the bytes are UTF-8, but for a character that is cut off at the end.
fn is_utf_8(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    }
}

/// Text has no control characters other than these. One in a hundred is let through: old files
/// have form feeds and the like.
fn is_binary(begin: &[u8]) -> bool {
    let is_control = |byte: &&u8| **byte < 0x20 && !b"\t\n\r\x0c\x1b\x08".contains(*byte);
    begin.iter().filter(is_control).count() > begin.len() / 100
}

/// UTF-16 without a byte order mark: every other byte of most texts is zero.
fn utf_16(begin: &[u8]) -> Option<&'static Encoding> {
    let zeros = |odd: usize| {
        begin
            .iter()
            .skip(odd)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    let pairs = begin.len() / 2;
    if odd > pairs / 2 && even <= pairs / 50 {
        Some(UTF_16LE)
    } else if even > pairs / 2 && odd <= pairs / 50 {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// The charset of a Content-Type.
fn charset(content_type: &str) -> Option<&'static Encoding> {
    let lower = content_type.to_ascii_lowercase();
    let (_, value) = lower.split_once("charset=")?;
    let value = value.split(';').next().unwrap_or_default();
    Encoding::for_label(value.trim().trim_matches('"').as_bytes())
}

/// What `<meta charset="…">`, `<meta http-equiv=… content="…; charset=…">` or
/// `<?xml encoding="…"?>` says.
fn declared(begin: &[u8]) -> Option<&'static Encoding> {
    let begin = String::from_utf8_lossy(&begin[..begin.len().min(1024)]).to_ascii_lowercase();
    if !begin.trim_start().starts_with('<') {
        return None;
    }
    let after = ["charset=", "encoding="]
        .iter()
        .find_map(|name| begin.split_once(name));
    let value = after?.1.trim_start_matches(['"', '\'']);
    let end = value.find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c)));
    Encoding::for_label(&value.as_bytes()[..end.unwrap_or(value.len())])
}

/// A text in a block of code, whose fence is longer than any in the text.
pub(crate) fn fenced(text: &str, language: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_matches('\n'))
}

/// Data in a block of code: nothing of it is lost, and no word of it becomes Markdown.
pub(crate) fn data(text: &str, kind: Kind) -> Result<String, Error> {
    if text.trim().is_empty() {
        return Err(Error::Empty { kind });
    }
    Ok(fenced(
        text,
        if kind == Kind::Json { "json" } else { "xml" },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], content_type: Option<&str>, expect: &str) {
        let hints = Hints {
            name: None,
            content_type,
        };
        assert_eq!(decode(bytes, &hints).as_deref(), Ok(expect));
    }

    #[test]
    fn text_of_any_encoding_is_read() {
        check("Grüße\r\naus".as_bytes(), None, "Grüße\naus");
        check(b"\xef\xbb\xbfBOM", None, "BOM");
        check(b"\xff\xfeh\0i\0", None, "hi");
        check(b"h\0e\0l\0l\0o\0", None, "hello");
        check(b"\0h\0e\0l\0l\0o", None, "hello");
        check(
            b"Gr\xfc\xdfe",
            Some("text/plain; charset=ISO-8859-1"),
            "Grüße",
        );
        check(
            b"<meta charset='windows-1251'>\xcf\xf0",
            None,
            "<meta charset='windows-1251'>Пр",
        );
        let russian = "Привет, как дела? Это обычный русский текст для проверки.";
        let (koi8, _, _) = encoding_rs::KOI8_R.encode(russian);
        check(&koi8, None, russian);
        let japanese = "これは日本語の文章です。文字コードを推測します。";
        let (sjis, _, _) = encoding_rs::SHIFT_JIS.encode(japanese);
        check(&sjis, None, japanese);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let hints = Hints::default();
        assert_eq!(
            decode(b"\0\x01\x02\x03\xff\xfe", &hints),
            Err(Error::Unknown)
        );
        assert_eq!(decode(b"\x01\x02\x03\x04", &hints), Err(Error::Unknown));
    }

    #[test]
    fn a_fence_is_longer_than_those_in_the_text() {
        assert_eq!(
            fenced("a\n````\nb", "json"),
            "`````json\na\n````\nb\n`````\n"
        );
    }
}
