//! The format of a file: from its content, then its name, then its Content-Type.

use std::fmt;

use anydoc::Format;

use crate::Hints;
use crate::error::Unsupported;
use crate::text;

/// The format of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// AsciiDoc.
    AsciiDoc,
    /// Values separated by commas, semicolons, tabs or bars.
    Csv,
    /// Word 97 to 2003.
    Doc,
    /// Word.
    Docx,
    /// An electronic book.
    Epub,
    /// A web page.
    Html,
    /// JSON, or lines of JSON.
    Json,
    /// A message, as mail servers store it.
    Mail,
    /// Markdown.
    Markdown,
    /// A presentation in the OpenDocument format.
    Odp,
    /// A spreadsheet in the OpenDocument format.
    Ods,
    /// A text in the OpenDocument format.
    Odt,
    /// PDF.
    Pdf,
    /// PowerPoint 97 to 2003.
    Ppt,
    /// PowerPoint.
    Pptx,
    /// Rich Text Format.
    Rtf,
    /// Text without a format.
    Text,
    /// No document: it is refused.
    Unsupported(Unsupported),
    /// Excel, of any version.
    Xlsx,
    /// XML.
    Xml,
}

/// What a content says about its format.
enum Content {
    /// It has this format, whatever its name is.
    Is(Kind),
    /// It is a container of these formats: its name may tell which.
    Packed(Unsupported),
    /// It is text, and looks like this.
    Text(Kind),
    /// It is neither.
    Unknown,
}

impl Kind {
    /// Finds the format of a file. `None` if it is not known.
    #[must_use]
    pub fn find(bytes: &[u8], hints: &Hints<'_>) -> Option<Self> {
        let named = hints
            .name
            .and_then(extension)
            .and_then(|extension| Self::of_extension(&extension))
            .or_else(|| hints.content_type.and_then(Self::of_content_type));
        match content(bytes) {
            Content::Is(kind) => Some(kind),
            Content::Packed(packed) => Some(
                named
                    .filter(|kind| kind.is_packed())
                    .unwrap_or(Self::Unsupported(packed)),
            ),
            Content::Text(sniffed) => Some(named.filter(|kind| kind.is_text()).unwrap_or(sniffed)),
            Content::Unknown => None,
        }
    }

    /// The format that an extension stands for: in lower case, without a dot.
    fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "adoc" | "asc" | "asciidoc" => Self::AsciiDoc,
            "csv" | "tsv" | "tab" => Self::Csv,
            "doc" | "dot" => Self::Doc,
            "docm" | "docx" | "dotx" => Self::Docx,
            "epub" => Self::Epub,
            "htm" | "html" | "xhtml" => Self::Html,
            "geojson" | "json" | "jsonl" | "ndjson" => Self::Json,
            "eml" | "mbox" | "mht" | "mhtml" => Self::Mail,
            "markdown" | "md" | "mdown" | "mdx" | "mkd" | "qmd" | "rmd" => Self::Markdown,
            "odp" | "otp" => Self::Odp,
            "ods" | "ots" => Self::Ods,
            "odt" | "ott" => Self::Odt,
            "pdf" => Self::Pdf,
            "pot" | "pps" | "ppt" => Self::Ppt,
            "potx" | "ppsm" | "ppsx" | "pptm" | "pptx" => Self::Pptx,
            "rtf" => Self::Rtf,
            "log" | "text" | "txt" => Self::Text,
            "xls" | "xlsb" | "xlsm" | "xlsx" | "xlt" | "xltx" => Self::Xlsx,
            "rss" | "xml" | "xsd" | "xsl" => Self::Xml,
            _ => return None,
        })
    }

    /// The format that a Content-Type stands for. Servers often say `application/octet-stream`
    /// or `text/plain`, which say nothing.
    fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default();
        let essence = essence.trim().to_ascii_lowercase();
        let office = "application/vnd.openxmlformats-officedocument.";
        let open = "application/vnd.oasis.opendocument.";
        Some(match essence.as_str() {
            "text/asciidoc" | "text/x-asciidoc" => Self::AsciiDoc,
            "text/csv" | "text/tab-separated-values" => Self::Csv,
            "application/msword" => Self::Doc,
            "application/epub+zip" => Self::Epub,
            "application/xhtml+xml" | "text/html" => Self::Html,
            "application/json" | "application/x-ndjson" | "text/json" => Self::Json,
            "message/rfc822" | "multipart/related" => Self::Mail,
            "text/markdown" | "text/x-markdown" => Self::Markdown,
            "application/pdf" => Self::Pdf,
            "application/vnd.ms-powerpoint" => Self::Ppt,
            "application/rtf" | "text/rtf" => Self::Rtf,
            "application/vnd.ms-excel" => Self::Xlsx,
            "application/xml" | "text/xml" => Self::Xml,
            other => {
                let name = other
                    .strip_prefix(office)
                    .or_else(|| other.strip_prefix(open))?;
                match name.split('.').next().unwrap_or_default() {
                    "wordprocessingml" => Self::Docx,
                    "presentationml" => Self::Pptx,
                    "spreadsheetml" => Self::Xlsx,
                    "presentation" => Self::Odp,
                    "spreadsheet" => Self::Ods,
                    "text" => Self::Odt,
                    _ => return None,
                }
            }
        })
    }

    /// Whether it is a ZIP file or a compound file of OLE.
    const fn is_packed(self) -> bool {
        self.office().is_some() && !matches!(self, Self::Rtf | Self::Csv)
    }

    const fn is_text(self) -> bool {
        match self {
            Self::AsciiDoc
            | Self::Csv
            | Self::Html
            | Self::Json
            | Self::Mail
            | Self::Markdown
            | Self::Text
            | Self::Xml => true,
            Self::Doc
            | Self::Docx
            | Self::Epub
            | Self::Odp
            | Self::Ods
            | Self::Odt
            | Self::Pdf
            | Self::Ppt
            | Self::Pptx
            | Self::Rtf
            | Self::Unsupported(_)
            | Self::Xlsx => false,
        }
    }

    /// The format's name for anydoc, if anydoc reads it.
    pub(crate) const fn office(self) -> Option<Format> {
        Some(match self {
            Self::Csv => Format::Csv,
            Self::Doc => Format::Doc,
            Self::Docx => Format::Docx,
            Self::Epub => Format::Epub,
            Self::Odp => Format::Odp,
            Self::Ods => Format::Ods,
            Self::Odt => Format::Odt,
            Self::Ppt => Format::Ppt,
            Self::Pptx => Format::Pptx,
            Self::Rtf => Format::Rtf,
            Self::Xlsx => Format::Excel,
            Self::AsciiDoc
            | Self::Html
            | Self::Json
            | Self::Mail
            | Self::Markdown
            | Self::Pdf
            | Self::Text
            | Self::Unsupported(_)
            | Self::Xml => return None,
        })
    }
}

impl From<Format> for Kind {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Doc => Self::Doc,
            Format::Docx => Self::Docx,
            Format::Epub => Self::Epub,
            Format::Excel => Self::Xlsx,
            Format::Odp => Self::Odp,
            Format::Ods => Self::Ods,
            Format::Odt => Self::Odt,
            Format::Pdf => Self::Pdf,
            Format::Ppt => Self::Ppt,
            Format::Pptx => Self::Pptx,
            Format::Rtf => Self::Rtf,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsciiDoc => "AsciiDoc",
            Self::Csv => "CSV",
            Self::Doc => "DOC",
            Self::Docx => "DOCX",
            Self::Epub => "EPUB",
            Self::Html => "HTML",
            Self::Json => "JSON",
            Self::Mail => "mail",
            Self::Markdown => "Markdown",
            Self::Odp => "ODP",
            Self::Ods => "ODS",
            Self::Odt => "ODT",
            Self::Pdf => "PDF",
            Self::Ppt => "PPT",
            Self::Pptx => "PPTX",
            Self::Rtf => "RTF",
            Self::Text => "text",
            Self::Unsupported(Unsupported::Archive) => "archive",
            Self::Unsupported(Unsupported::Audio) => "audio",
            Self::Unsupported(Unsupported::Image) => "image",
            Self::Unsupported(Unsupported::Video) => "video",
            Self::Xlsx => "Excel",
            Self::Xml => "XML",
        })
    }
}

/// The extension of a path or of a URL's path, in lower case.
fn extension(name: &str) -> Option<String> {
    // A `?` may be a part of a file's name, but not of a URL's path.
    let path = match name.split_once("://") {
        Some((_, rest)) => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            // A host's name ends in no extension.
            rest.split_once('/').map_or("", |(_, path)| path)
        }
        None => name,
    };
    let file = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let (_, extension) = file.rsplit_once('.')?;
    Some(extension.to_ascii_lowercase())
}

/// Signatures at a file's beginning. ISO media and RIFF are told apart in [`media`].
const SIGNATURES: [(&[u8], Unsupported); 22] = [
    (b"\x1f\x8b", Unsupported::Archive),
    (b"7z\xbc\xaf\x27\x1c", Unsupported::Archive),
    (b"BZh", Unsupported::Archive),
    (b"Rar!\x1a\x07", Unsupported::Archive),
    (b"\xfd7zXZ\0", Unsupported::Archive),
    (b"\x28\xb5\x2f\xfd", Unsupported::Archive),
    (b"ID3", Unsupported::Audio),
    (b"OggS", Unsupported::Audio),
    (b"fLaC", Unsupported::Audio),
    (b"MThd\0", Unsupported::Audio),
    (b"\xff\xf3", Unsupported::Audio),
    (b"\xff\xfb", Unsupported::Audio),
    (b"8BPS\0", Unsupported::Image),
    (b"GIF87a", Unsupported::Image),
    (b"GIF89a", Unsupported::Image),
    (b"II*\0", Unsupported::Image),
    (b"MM\0*", Unsupported::Image),
    (b"\0\0\x01\0", Unsupported::Image),
    (b"\x89PNG\r\n\x1a\n", Unsupported::Image),
    (b"\xff\xd8\xff", Unsupported::Image),
    (b"\x1a\x45\xdf\xa3", Unsupported::Video),
    (b"FLV\x01", Unsupported::Video),
];

/// Images, audio and video whose signature is not at the beginning.
fn media(bytes: &[u8]) -> Option<Unsupported> {
    let at = |from: usize| bytes.get(from..from + 4);
    if at(0) == Some(b"RIFF") {
        return match at(8)? {
            b"WEBP" => Some(Unsupported::Image),
            b"WAVE" => Some(Unsupported::Audio),
            b"AVI " => Some(Unsupported::Video),
            _ => None,
        };
    }
    if at(4) == Some(b"ftyp") {
        return Some(match at(8)? {
            b"avif" | b"heic" | b"heix" | b"mif1" => Unsupported::Image,
            b"M4A " | b"M4B " => Unsupported::Audio,
            _ => Unsupported::Video,
        });
    }
    // "BM", the file's size, and four bytes that are zero.
    (bytes.starts_with(b"BM") && at(6) == Some(&[0; 4])).then_some(Unsupported::Image)
}

fn content(bytes: &[u8]) -> Content {
    let begin = &bytes[..bytes.len().min(1024)];
    if begin.windows(5).any(|five| five == b"%PDF-") {
        return Content::Is(Kind::Pdf);
    }
    if begin.starts_with(b"{\\rtf") {
        return Content::Is(Kind::Rtf);
    }
    let is_zip = begin.starts_with(b"PK\x03\x04") || begin.starts_with(b"PK\x05\x06");
    if is_zip || begin.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return match Format::from_bytes(bytes) {
            Some(format) => Content::Is(format.into()),
            None => Content::Packed(Unsupported::Archive),
        };
    }
    let signature = SIGNATURES.iter().find(|(sign, _)| bytes.starts_with(sign));
    if let Some(kind) = signature.map(|(_, kind)| *kind).or_else(|| media(bytes)) {
        return Content::Is(Kind::Unsupported(kind));
    }
    match text::beginning(bytes) {
        Some(text) => of_text(&text),
        None => Content::Unknown,
    }
}

/// What the beginning of a text says about its format.
fn of_text(text: &str) -> Content {
    let text = text.trim_start();
    let begins = |tag: &str| {
        let start = text.get(..tag.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(tag))
    };
    if begins("<!doctype html") || begins("<html") {
        return Content::Is(Kind::Html);
    }
    if begins("<svg") {
        return Content::Is(Kind::Unsupported(Unsupported::Image));
    }
    if begins("<?xml") {
        let lower = text.to_ascii_lowercase();
        return match (lower.contains("<html"), lower.contains("<svg")) {
            (true, _) => Content::Is(Kind::Html),
            (_, true) => Content::Is(Kind::Unsupported(Unsupported::Image)),
            _ => Content::Text(Kind::Xml),
        };
    }
    if begins("<head") || begins("<body") || begins("<!--") && text.contains("<html") {
        return Content::Text(Kind::Html);
    }
    if text.starts_with("{\"") || text.starts_with("[{\"") {
        return Content::Text(Kind::Json);
    }
    Content::Text(if is_mail(text) {
        Kind::Mail
    } else {
        Kind::Text
    })
}

/// Whether a text begins with at least two header fields that only mail has.
fn is_mail(text: &str) -> bool {
    const FIELDS: [&str; 8] = [
        "date:",
        "delivered-to:",
        "from:",
        "message-id:",
        "mime-version:",
        "received:",
        "return-path:",
        "subject:",
    ];
    let head = text.lines().take_while(|line| !line.trim().is_empty());
    let mut found = 0;
    for line in head {
        let lower = line.to_ascii_lowercase();
        let name = lower.split(':').next().unwrap_or_default();
        let continues = line.starts_with([' ', '\t']);
        if !continues && (name.is_empty() || name.contains(' ') || !lower.contains(':')) {
            return false;
        }
        found += usize::from(FIELDS.iter().any(|field| lower.starts_with(field)));
    }
    found >= 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(bytes: &[u8], name: &str, content_type: &str) -> Option<Kind> {
        let some = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
        let content_type: &'static str = Box::leak(content_type.to_owned().into_boxed_str());
        Kind::find(
            bytes,
            &Hints {
                name: some(name),
                content_type: some(content_type),
            },
        )
    }

    #[test]
    fn the_content_goes_before_the_name_and_the_name_before_the_type() {
        assert_eq!(find(b"%PDF-1.7\n", "a.docx", "text/html"), Some(Kind::Pdf));
        assert_eq!(find(b"a,b\n1,2\n", "a.csv", "text/html"), Some(Kind::Csv));
        assert_eq!(
            find(b"a,b\n1,2\n", "a", "text/csv; charset=x"),
            Some(Kind::Csv)
        );
        assert_eq!(find(b"<!DOCTYPE html><p>x", "a.txt", ""), Some(Kind::Html));
        assert_eq!(
            find(b"words", "a", "application/octet-stream"),
            Some(Kind::Text)
        );
        let mail = b"From: a@b.c\nTo: d@e.f\nSubject: x\nDate: y\n\nbody";
        assert_eq!(find(mail, "", ""), Some(Kind::Mail));
        assert_eq!(find(b"{\"a\": 1}", "", ""), Some(Kind::Json));
    }

    #[test]
    fn a_query_string_is_no_extension() {
        let url = "https://h.example/report?format=x.pdf";
        assert_eq!(find(b"# T", url, ""), Some(Kind::Text));
        let url = "https://h.example/a/read.MD?download=1.pdf#part.docx";
        assert_eq!(find(b"# T", url, ""), Some(Kind::Markdown));
        assert_eq!(find(b"# T", "https://h.md", ""), Some(Kind::Text));
        assert_eq!(find(b"= T", "what?.adoc", ""), Some(Kind::AsciiDoc));
    }

    #[test]
    fn what_has_no_text_is_named() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], Unsupported::Image),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Unsupported::Image),
            (b"RIFF\x10\0\0\0WAVEfmt ", Unsupported::Audio),
            (b"ID3\x03\0", Unsupported::Audio),
            (b"\0\0\0\x18ftypmp42", Unsupported::Video),
            (
                b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                Unsupported::Archive,
            ),
            (b"<svg xmlns='x'/>", Unsupported::Image),
        ] {
            assert_eq!(find(bytes, "a.txt", ""), Some(Kind::Unsupported(kind)));
        }
        assert_eq!(find(b"\x01\x02\x03\0\x04\x05", "a.txt", ""), None);
    }
}
