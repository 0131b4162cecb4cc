//! What parent and child say to each other: numbers of eight bytes, lowest first, and bytes of a
//! length that is said before.

use std::io::{self, Read, Write};

use documents::{Document, Page};

/// What the parent asks for.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Question {
    pub(super) name: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// What the child answers: a document, or what is wrong with the file.
pub(super) type Answer = Result<Document, String>;

/// Instead of a length: there is no text.
const NONE: u64 = u64::MAX;

/// The pages that an answer may have, and the bytes of a title or a message.
const PAGES_MAX: u64 = 1 << 20;
const TITLE_MAX: u64 = 64 << 10;

/// Writes a question, whose file is not copied.
pub(super) fn ask(
    to: &mut impl Write,
    name: Option<&str>,
    content_type: Option<&str>,
    bytes: &[u8],
) -> io::Result<()> {
    put(to, name.map(str::as_bytes))?;
    put(to, content_type.map(str::as_bytes))?;
    put(to, Some(bytes))?;
    to.flush()
}

/// Reads a question; `None` at the end of the input.
pub(super) fn asked(from: &mut impl Read) -> io::Result<Option<Question>> {
    let name = match get(from, NONE - 1) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        name => text(name?)?,
    };
    let content_type = text(get(from, NONE - 1)?)?;
    let bytes = get(from, NONE - 1)?.ok_or_else(|| wrong("no file"))?;
    Ok(Some(Question {
        name,
        content_type,
        bytes,
    }))
}

/// Writes an answer.
pub(super) fn answer(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    match answer {
        Ok(document) => {
            number(to, 1)?;
            put(to, Some(document.markdown.as_bytes()))?;
            let title = document.title.as_deref().map(str::as_bytes);
            put(
                to,
                title.map(|title| &title[..title.len().min(TITLE_MAX as usize)]),
            )?;
            let pages = document.pages.iter().take(PAGES_MAX as usize);
            number(to, pages.len() as u64)?;
            for page in pages {
                number(to, u64::from(page.number))?;
                number(to, page.start as u64)?;
            }
        }
        Err(reason) => {
            number(to, 0)?;
            put(
                to,
                Some(&reason.as_bytes()[..reason.len().min(TITLE_MAX as usize)]),
            )?;
        }
    }
    to.flush()
}

/// Reads an answer of a child that may have been taken over: its text is cut at no limit but
/// refused above it.
pub(super) fn answered(from: &mut impl Read, markdown_max: u64) -> io::Result<Answer> {
    match read_number(from)? {
        0 => Ok(Err(lossy(get(from, TITLE_MAX)?))),
        1 => {
            let markdown = text(get(from, markdown_max)?)?.ok_or_else(|| wrong("no text"))?;
            let title = get(from, TITLE_MAX)?.map(|title| lossy(Some(title)));
            let count = read_number(from)?;
            if count > PAGES_MAX {
                return Err(wrong("too many pages"));
            }
            let mut pages = Vec::new();
            for _ in 0..count {
                let page = u32::try_from(read_number(from)?).map_err(|_| wrong("a page"))?;
                let start = usize::try_from(read_number(from)?).map_err(|_| wrong("a page"))?;
                if !markdown.is_char_boundary(start) {
                    return Err(wrong("a page outside of the text"));
                }
                pages.push(Page {
                    number: page,
                    start,
                });
            }
            Ok(Ok(Document {
                markdown,
                title,
                pages,
            }))
        }
        _ => Err(wrong("neither a document nor an error")),
    }
}

fn number(to: &mut impl Write, number: u64) -> io::Result<()> {
    to.write_all(&number.to_le_bytes())
}

pub(super) fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn put(to: &mut impl Write, bytes: Option<&[u8]>) -> io::Result<()> {
    match bytes {
        None => number(to, NONE),
        Some(bytes) => {
            number(to, bytes.len() as u64)?;
            to.write_all(bytes)
        }
    }
}

fn get(from: &mut impl Read, max: u64) -> io::Result<Option<Vec<u8>>> {
    let length = read_number(from)?;
    if length == NONE {
        return Ok(None);
    }
    if length > max {
        return Err(wrong("too long"));
    }
    // Memory is taken as bytes come, not as they are announced.
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length {
        Ok(Some(bytes))
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn text(bytes: Option<Vec<u8>>) -> io::Result<Option<String>> {
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| wrong("no UTF-8"))
}

fn lossy(bytes: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document {
            markdown: "# Ä\n\nb".to_owned(),
            title: Some("Ä".to_owned()),
            pages: vec![
                Page {
                    number: 1,
                    start: 0,
                },
                Page {
                    number: 3,
                    start: 6,
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        ask(&mut bytes, Some("a.pdf"), None, b"%PDF").unwrap();
        let question = asked(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(
            (question.name.as_deref(), question.content_type),
            (Some("a.pdf"), None)
        );
        assert_eq!(question.bytes, b"%PDF");
        assert_eq!(asked(&mut [].as_slice()).unwrap(), None);
        for said in [Ok(document()), Err("damaged".to_owned())] {
            let mut bytes = Vec::new();
            answer(&mut bytes, &said).unwrap();
            assert_eq!(answered(&mut bytes.as_slice(), 100).unwrap(), said);
        }
    }

    #[test]
    fn a_wrong_answer_is_refused() {
        let mut good = Vec::new();
        answer(&mut good, &Ok(document())).unwrap();
        assert!(
            answered(&mut good.as_slice(), 3).is_err(),
            "longer than allowed"
        );
        for end in 0..good.len() {
            assert!(
                answered(&mut &good[..end], 100).is_err(),
                "cut off at {end}"
            );
        }
        let mut wrong = document();
        // In the middle of a letter.
        wrong.pages[1].start = 3;
        let mut bytes = Vec::new();
        answer(&mut bytes, &Ok(wrong)).unwrap();
        assert!(answered(&mut bytes.as_slice(), 100).is_err());
    }
}
