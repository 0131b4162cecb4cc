//! Office files, books and CSV, as anydoc reads them.

mod render;
mod sheets;

use anydoc::{ConvertError, to_document};

use crate::Document;
use crate::error::Error;
use crate::kind::Kind;

/// Reads a file of one of anydoc's formats.
pub(crate) fn parse(bytes: &[u8], kind: Kind) -> Result<Document, Error> {
    let mut read = to_document(bytes, kind.office()).map_err(|error| named(error, kind))?;
    if matches!(kind, Kind::Csv | Kind::Ods | Kind::Xlsx) {
        read.blocks = sheets::divided(read.blocks);
    }
    Ok(Document::from(render::markdown(&read)))
}

fn named(error: ConvertError, kind: Kind) -> Error {
    match error {
        ConvertError::Encrypted => Error::Encrypted { kind },
        ConvertError::ResourceLimit { .. } => Error::TooLarge {
            kind,
            reason: error.to_string(),
        },
        other => Error::Broken {
            kind,
            reason: other.to_string(),
        },
    }
}
