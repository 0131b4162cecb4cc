//! Documents on their way: what a shell does with a call for one.

use pgai_core::{Document, DocumentError, FileError, FileRead, FileRequest, Parsed, Parts, Reply};

use super::Around;
use crate::world::library::DocumentFault;
use crate::world::mutant::Mutant;

/// A call for a document.
pub(super) enum DocumentCall {
    Load {
        request: FileRequest,
        /// What it said when it was asked for.
        content: String,
    },
    Parse(Box<Document>),
}

impl DocumentCall {
    /// Whether this may be wrong with it.
    pub(super) const fn can_fail(&self, fault: DocumentFault) -> bool {
        match fault {
            DocumentFault::Missing => matches!(self, Self::Load { .. }),
            DocumentFault::ParserKilled | DocumentFault::Truncated => {
                matches!(self, Self::Parse(_))
            }
        }
    }

    pub(super) fn reply(
        self,
        fault: Option<DocumentFault>,
        mutant: Option<Mutant>,
        around: &mut Around<'_>,
    ) -> Reply {
        let reason = |fault: DocumentFault| fault.reason().to_owned();
        match (self, fault) {
            (Self::Load { .. }, Some(fault)) => Reply::File(Err(FileError::Refused(reason(fault)))),
            (Self::Load { request, content }, None) => {
                let path = request.path.as_str();
                let version = Some(around.library.file(path));
                let seems_so =
                    request.known.is_some() && mutant == Some(Mutant::FilesSeemUnchanged);
                if request.known == version || seems_so {
                    around.coverage.unchanged += 1;
                    return Reply::File(Ok(FileRead::Unchanged));
                }
                let content = match mutant {
                    Some(Mutant::VersionsAreReadLater) => content,
                    _ => around.library.content(path),
                };
                Reply::File(Ok(FileRead::Content(content.into_bytes(), version)))
            }
            (Self::Parse(_), Some(DocumentFault::ParserKilled)) => {
                let fault = DocumentFault::ParserKilled;
                Reply::Parse(Err(DocumentError::Machine(reason(fault))))
            }
            (Self::Parse(_), Some(fault)) => {
                Reply::Parse(Err(DocumentError::Document(reason(fault))))
            }
            (Self::Parse(file), None) => Reply::Parse(Ok(Parsed {
                text: String::from_utf8(file.bytes).expect("documents here are texts"),
                parts: Parts::default(),
            })),
        }
    }
}
