//! Office files, books and CSV, as anydoc reads them.

mod package;
mod render;
pub(crate) use render::table_of;
mod sheets;

use anydoc::model::{Block, Inline};
use anydoc::{ConvertError, to_document};
use package::Package;

use crate::Document;
use crate::error::Error;
use crate::kind::Kind;

/// Reads a file of one of anydoc's formats.
pub(crate) fn parse(bytes: &[u8], kind: Kind) -> Result<Document, Error> {
    let mut read = to_document(bytes, kind.office()).map_err(|error| named(error, kind))?;
    if matches!(kind, Kind::Csv | Kind::Ods | Kind::Xlsx) {
        read.blocks = sheets::divided(read.blocks);
    }
    let mut title = None;
    let is_package = matches!(kind, Kind::Docx | Kind::Pptx | Kind::Xlsx);
    if let Some(mut package) = Package::open(bytes).filter(|_| is_package) {
        title = package.title();
        if kind == Kind::Xlsx {
            complete(&mut read.blocks, &mut package);
        }
    }
    let mut document = Document::from(render::markdown(&read));
    document.title = title;
    Ok(document)
}

/// Adds the name of a workbook's only sheet, which anydoc writes where there are several, and
/// comments.
fn complete(blocks: &mut Vec<Block>, package: &mut Package<'_>) {
    let name = package.only_sheet().filter(|_| !blocks.is_empty());
    if let Some(name) = name {
        blocks.insert(0, Block::heading(2, vec![Inline::plain(name)]));
    }
    let comments = package.comments().into_iter();
    blocks.extend(comments.map(|text| Block::Paragraph(vec![Inline::plain(text)])));
}

fn named(error: ConvertError, kind: Kind) -> Error {
    let reason = error.to_string();
    if matches!(error, ConvertError::Encrypted) {
        Error::Encrypted { kind }
    } else if matches!(error, ConvertError::ResourceLimit { .. }) {
        Error::TooLarge { kind, reason }
    } else {
        Error::Broken { kind, reason }
    }
}
