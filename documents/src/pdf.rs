//! PDF files.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pdf_inspector::{
    MarkdownOptions, PdfError, PdfOptions, PdfProcessResult, extract_text_in_regions_mem,
    process_pdf_mem_with_options,
};

use crate::error::Error;
use crate::kind::Kind;
use crate::{Document, Page};

mod columns;
mod repair;

/// Reads a PDF.
pub(crate) fn parse(bytes: &[u8]) -> Result<Document, Error> {
    match read(bytes) {
        Ok(document) => Ok(document),
        Err(error @ (Error::Encrypted { .. } | Error::NoText { .. })) => Err(error),
        // Without its table of objects nothing says that a file is encrypted but this word.
        Err(_) if repair::find(bytes, b"/Encrypt").is_some() => {
            Err(Error::Encrypted { kind: Kind::Pdf })
        }
        // The table that says where the objects are may be lost: find them.
        Err(error) => repair::rebuilt(bytes)
            .and_then(|bytes| read(&bytes).ok())
            .ok_or(error),
    }
}

fn read(bytes: &[u8]) -> Result<Document, Error> {
    let markdown = MarkdownOptions {
        include_page_numbers: true,
        ..MarkdownOptions::default()
    };
    let options = PdfOptions::new().markdown(markdown);
    let result = process_pdf_mem_with_options(bytes, options).map_err(named)?;
    let mut pages = divided(result.markdown.as_deref().unwrap_or_default());
    columns::add_tables(bytes, &mut pages);
    add_hidden(bytes, &result, &mut pages);
    if pages.values().all(|text| text.trim().is_empty()) {
        return Err(Error::NoText {
            pages: result.page_count,
        });
    }
    let mut document = joined(&pages);
    document.title = result.title.map(|title| title.trim().to_owned());
    document.title = document.title.filter(|title| !title.is_empty());
    Ok(document)
}

fn named(error: PdfError) -> Error {
    let kind = Kind::Pdf;
    match error {
        PdfError::Encrypted => Error::Encrypted { kind },
        PdfError::InvalidStructure
        | PdfError::Io(_)
        | PdfError::NotAPdf(_)
        | PdfError::Parse(_) => Error::Broken {
            kind,
            reason: error.to_string(),
        },
    }
}

/// Divides the text at the marks that pdf-inspector puts between pages.
fn divided(markdown: &str) -> BTreeMap<u32, String> {
    let mut pages: BTreeMap<u32, String> = BTreeMap::new();
    let mut page = 1;
    for line in markdown.lines() {
        let mark = line
            .strip_prefix("<!-- Page ")
            .and_then(|rest| rest.strip_suffix(" -->"));
        if let Some(number) = mark.and_then(|number| number.parse().ok()) {
            page = number;
            continue;
        }
        let text = pages.entry(page).or_default();
        text.push_str(&bulleted(line));
        text.push('\n');
    }
    pages
}

/// Fonts of symbols have bullets in the private area of Unicode, or where letters are; pdf-inspector
/// keeps them, and makes a heading of an item that is alone on its line.
fn bulleted(line: &str) -> Cow<'_, str> {
    let text = line.trim_start_matches('#').trim_start();
    let is_bullet = |c: char| {
        matches!(
            c,
            '\u{f000}'..='\u{f0ff}' | '☐' | '☑' | '☒' | '•' | '▪' | '■'
        )
    };
    match text.strip_prefix(is_bullet) {
        Some(item) => Cow::Owned(format!("- {}", item.trim_start())),
        None => Cow::Borrowed(line),
    }
}

/// Adds the text of pages that have none that can be seen: programs for OCR put what they read
/// under the picture, invisibly.
fn add_hidden(bytes: &[u8], result: &PdfProcessResult, pages: &mut BTreeMap<u32, String>) {
    let is_empty = |page: &u32| pages.get(page).is_none_or(|text| text.trim().is_empty());
    let empty: Vec<u32> = result
        .pages_needing_ocr
        .iter()
        .copied()
        .filter(is_empty)
        .collect();
    if empty.is_empty() {
        return;
    }
    // Larger than any page: the numbers of a PDF are points.
    let whole = [-100_000.0, -100_000.0, 100_000.0, 100_000.0];
    let regions: Vec<_> = empty
        .iter()
        .map(|page| (page.saturating_sub(1), vec![whole]))
        .collect();
    let Ok(found) = extract_text_in_regions_mem(bytes, &regions) else {
        return;
    };
    for page in found {
        let text = page.regions.into_iter().map(|region| region.text);
        let text = text.collect::<Vec<_>>().join("\n");
        if text.chars().filter(|c| c.is_alphanumeric()).count() > 1 {
            pages.insert(page.page + 1, text);
        }
    }
}

fn joined(pages: &BTreeMap<u32, String>) -> Document {
    let mut document = Document::default();
    for (number, text) in pages {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        if !document.markdown.is_empty() {
            document.markdown.push('\n');
        }
        document.pages.push(Page {
            number: *number,
            start: document.markdown.len(),
        });
        document.markdown.push_str(text);
        document.markdown.push('\n');
    }
    document
}
