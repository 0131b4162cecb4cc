//! Where a chunk comes from: what is stored in the column `location`.

use std::fmt::Write as _;
use std::ops::Range;

use crate::document::Parts;
use crate::text::Outline;

/// Writes the location of a chunk as PostgreSQL writes the same `jsonb`, so that both can be compared:
/// shorter keys first, and a space after each colon and comma.
///
/// * `page`: the page on which it begins, if the document has pages;
/// * `span`: the bytes of the text that it is;
/// * `headings`: the titles of the sections in which it begins, the outermost first.
///
/// A chunk without a place in the text has an empty location.
pub(crate) fn location(at: Option<&Range<usize>>, parts: &Parts, outline: &Outline) -> String {
    let mut written = "{".to_owned();
    let Some(at) = at else {
        return written + "}";
    };
    if let Some(page) = parts.page(at.start) {
        let _ = write!(written, "\"page\": {page}, ");
    }
    let _ = write!(written, "\"span\": [{}, {}]", at.start, at.end);
    let path = outline.path(at.start);
    if !path.is_empty() {
        // PostgreSQL's text has no zero bytes.
        let titles = path.into_iter().map(|title| json(&title.replace('\0', "")));
        let titles = Vec::from_iter(titles).join(", ");
        let _ = write!(written, ", \"headings\": [{titles}]");
    }
    written + "}"
}

/// A JSON string. PostgreSQL escapes the same characters in the same way.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_postgresql_writes_it() {
        let text = "# A \"b\"\n\nc\n";
        let parts = Parts {
            title: None,
            pages: vec![(1, 0), (3, 9)],
        };
        let outline = Outline::of(text);
        let at = text.find('c').unwrap();
        assert_eq!(
            location(Some(&(at..at + 1)), &parts, &outline),
            r#"{"page": 3, "span": [9, 10], "headings": ["A \"b\""]}"#
        );
        assert_eq!(
            location(Some(&(0..3)), &Parts::default(), &Outline::default()),
            r#"{"span": [0, 3]}"#
        );
        assert_eq!(location(None, &parts, &outline), "{}");
    }
}
