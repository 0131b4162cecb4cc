//! Turns documents into Markdown: PDF, office files, web pages, books, mail and text.
//!
//! [`parse`] finds the format of a file ([`Kind`]) and reads it. Libraries do the reading:
//! `pdf-inspector` (PDF), `anydoc` (office files, EPUB, CSV), `html-to-markdown-rs` (HTML),
//! `mail-parser` (mail) and `chardetng` (encodings of text). The modules here choose among them,
//! and do what they do not: AsciiDoc, the tables of a sheet, files whose table of contents is lost.
//!
//! A hostile file may make a library use much memory, take long, or end the process: call this in
//! a process of its own, with limits. `shell-common` has a pool of such processes.
//!
//! ```
//! use documents::{Hints, parse};
//!
//! let hints = Hints { name: Some("https://example.com/notes.adoc?version=2"), content_type: None };
//! let document = parse(b"= Notes\n\n== Ducks\n\n* a mallard", &hints)?;
//! assert_eq!(document.markdown, "# Notes\n\n## Ducks\n\n- a mallard\n");
//! assert_eq!(document.title.as_deref(), Some("Notes"));
//! # Ok::<(), documents::Error>(())
//! ```

#![cfg_attr(not(test), warn(clippy::too_many_lines))]

mod asciidoc;
mod error;
mod html;
mod kind;
mod mail;
mod office;
mod pdf;
mod text;

pub use error::{Error, Unsupported};
pub use kind::Kind;

/// What is known of a file besides its content.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints<'a> {
    /// Its path or its URL.
    pub name: Option<&'a str>,
    /// The Content-Type that a server gave it.
    pub content_type: Option<&'a str>,
}

/// A file as Markdown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Document {
    /// The text, with headings, lists, tables and code.
    pub markdown: String,
    /// The title: from the file's properties, or else its first heading.
    pub title: Option<String>,
    /// The pages, in order; empty if the format has none.
    pub pages: Vec<Page>,
}

/// The beginning of a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Page {
    /// The page's number; the first is 1. Pages without text are not named.
    pub number: u32,
    /// The byte of [`Document::markdown`] at which it begins.
    pub start: usize,
}

/// Reads a file.
///
/// # Errors
/// If the file gives no text: see [`Error`].
pub fn parse(bytes: &[u8], hints: &Hints<'_>) -> Result<Document, Error> {
    let kind = Kind::find(bytes, hints).ok_or(Error::Unknown)?;
    let mut document = match kind {
        Kind::AsciiDoc => Document::from(asciidoc::to_markdown(&text::decode(bytes, hints)?)),
        Kind::Csv
        | Kind::Doc
        | Kind::Docx
        | Kind::Epub
        | Kind::Odp
        | Kind::Ods
        | Kind::Odt
        | Kind::Ppt
        | Kind::Pptx
        | Kind::Rtf
        | Kind::Xlsx => office::parse(bytes, kind)?,
        Kind::Html => html::parse(&text::decode(bytes, hints)?)?,
        Kind::Json | Kind::Xml => Document::from(text::data(&text::decode(bytes, hints)?, kind)?),
        Kind::Mail => mail::parse(bytes)?,
        Kind::Pdf => pdf::parse(bytes)?,
        Kind::Markdown | Kind::Text => Document::from(text::decode(bytes, hints)?),
        Kind::Unsupported(unsupported) => return Err(Error::Unsupported(unsupported)),
    };
    document.drop_controls();
    if document.markdown.trim().is_empty() {
        return Err(Error::Empty { kind });
    }
    if document.title.is_none() && !matches!(kind, Kind::Json | Kind::Text | Kind::Xml) {
        document.title = first_heading(&document.markdown);
    }
    Ok(document)
}

impl From<String> for Document {
    fn from(markdown: String) -> Self {
        Self {
            markdown,
            ..Self::default()
        }
    }
}

impl Document {
    /// Removes control characters, which mean nothing in a text: PostgreSQL has no NUL, and a terminal
    /// obeys some. Pages move by what is removed before them.
    fn drop_controls(&mut self) {
        let is_control = |c: char| c.is_control() && c != '\n' && c != '\t';
        if !self.markdown.contains(is_control) {
            return;
        }
        let mut kept = String::with_capacity(self.markdown.len());
        let mut pages = self.pages.iter_mut().peekable();
        for (at, character) in self.markdown.char_indices() {
            while let Some(page) = pages.next_if(|page| page.start <= at) {
                page.start = kept.len();
            }
            if !is_control(character) {
                kept.push(character);
            }
        }
        for page in pages {
            page.start = kept.len();
        }
        self.markdown = kept;
    }
}

/// The text of the first heading of the highest level that comes first.
fn first_heading(markdown: &str) -> Option<String> {
    let is_heading = |line: &&str| {
        let level = line.chars().take_while(|c| *c == '#').count();
        (1..=6).contains(&level) && line[level..].starts_with(' ')
    };
    let line = markdown.lines().find(is_heading)?;
    let text = line.trim_start_matches('#').trim().trim_matches('*').trim();
    (!text.is_empty()).then(|| text.to_owned())
}
