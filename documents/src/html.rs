//! Web pages.

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
        markdown: without_properties(converted.content.unwrap_or_default()),
        title: converted
            .metadata
            .document
            .title
            .map(|title| title.trim().to_owned()),
        pages: Vec::new(),
    })
}

/// The text without the properties of the page that the library writes before it, as `name: value`
/// between lines of dashes: they are no part of what a reader sees.
fn without_properties(markdown: String) -> String {
    let Some(properties) = markdown.strip_prefix("---\n") else {
        return markdown;
    };
    // A rule is followed by an empty line.
    match properties.split_once("\n---\n") {
        Some((_, text)) if !properties.starts_with('\n') => text.trim_start().to_owned(),
        Some(_) | None => markdown,
    }
}

fn options() -> ConversionOptions {
    ConversionOptions {
        compact_tables: true,
        ..ConversionOptions::default()
    }
}
