//! Documents of rows: files are read, and parsed in processes of their own. Without the feature `documents` the core asks
//! for none.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

#[cfg(feature = "documents")]
use pgai_core::Parts;
use pgai_core::{Document, DocumentError, FileError, FileRequest, Parsed};

#[cfg(feature = "documents")]
use crate::parsing::{Fault, Hints, Options, Parsers};

/// Whether this program can parse documents.
pub const CAN_PARSE: bool = cfg!(feature = "documents");

/// Reads and parses documents. Both block the caller.
#[derive(Debug)]
pub struct Documents {
    #[cfg(feature = "documents")]
    parsers: Parsers,
}

impl Documents {
    /// With at most so many processes that parse.
    #[must_use]
    #[cfg_attr(
        not(feature = "documents"),
        expect(unused_variables, reason = "without the feature there are none")
    )]
    pub fn new(children_max: usize) -> Self {
        Self {
            #[cfg(feature = "documents")]
            parsers: Parsers::new(Options {
                children_max,
                ..Options::default()
            }),
        }
    }

    /// Turns a document into text.
    ///
    /// # Errors
    /// If it gives no text, or no process can be started for it.
    #[cfg(feature = "documents")]
    pub fn parse(&self, document: &Document) -> Result<Parsed, DocumentError> {
        let hints = Hints {
            name: document.name.as_deref(),
            content_type: document.content_type.as_deref(),
        };
        match self.parsers.parse(&document.bytes, &hints) {
            Ok(parsed) => Ok(Parsed {
                text: parsed.markdown,
                parts: Parts {
                    title: parsed.title,
                    pages: Vec::from_iter(
                        parsed.pages.iter().map(|page| (page.number, page.start)),
                    ),
                },
            }),
            Err(failure) => Err(match failure.fault {
                Fault::File => DocumentError::Document(failure.reason),
                Fault::Machine => DocumentError::Machine(failure.reason),
            }),
        }
    }

    /// Says that it cannot.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "documents"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    pub fn parse(&self, _: &Document) -> Result<Parsed, DocumentError> {
        Err(DocumentError::Machine(
            "this worker was built without documents".to_owned(),
        ))
    }
}

/// Reads a file below a directory.
///
/// # Errors
/// If it is not there, lies elsewhere, is no plain file or is too large.
pub fn read_file(request: &FileRequest) -> Result<Vec<u8>, FileError> {
    let refused = |reason: String| FileError::Refused(reason);
    let failed = |what: &str, error: &std::io::Error| {
        let kind = error.kind();
        if kind == ErrorKind::NotFound {
            FileError::Refused(format!("{what} does not exist"))
        } else if kind == ErrorKind::PermissionDenied {
            FileError::Refused(format!("{what} may not be read by this worker's user"))
        } else {
            FileError::Failed(format!("reading {what}: {error}"))
        }
    };
    let directory = Path::new(&request.directory).canonicalize();
    let directory =
        directory.map_err(|error| failed("the directory of --documents-dir", &error))?;
    // An absolute path replaces the directory; links are followed before the comparison.
    let path = directory.join(&request.path).canonicalize();
    let path = path.map_err(|error| failed("the file", &error))?;
    if !path.starts_with(&directory) {
        return Err(refused(
            "the file is outside of the directory of --documents-dir".to_owned(),
        ));
    }
    let metadata = path
        .metadata()
        .map_err(|error| failed("the file", &error))?;
    if !metadata.is_file() {
        return Err(refused("it is no plain file".to_owned()));
    }
    let most = u64::try_from(request.bytes_max).unwrap_or(u64::MAX);
    let file = std::fs::File::open(&path).map_err(|error| failed("the file", &error))?;
    let mut bytes = vec![];
    // It may grow meanwhile.
    let read = file.take(most.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|error| failed("the file", &error))?;
    if bytes.len() > request.bytes_max {
        return Err(refused(format!(
            "the file has more than {most} bytes: let the worker's operator raise --max-document-size"
        )));
    }
    request.unpacked(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_below_the_directory_only() {
        let place = std::env::temp_dir().join(format!("pgai-documents-{}", std::process::id()));
        let inside = place.join("inside");
        std::fs::create_dir_all(inside.join("deep")).expect("a directory");
        std::fs::write(inside.join("deep/a.txt"), "hello").expect("a file");
        std::fs::write(place.join("secret"), "secret").expect("a file");
        std::os::unix::fs::symlink(place.join("secret"), inside.join("link")).expect("a link");
        let read = |path: &str, bytes_max| {
            let directory = inside.display().to_string();
            read_file(&FileRequest {
                directory,
                path: path.to_owned(),
                bytes_max,
                packing: None,
            })
        };
        assert_eq!(read("deep/a.txt", 5), Ok(b"hello".to_vec()));
        assert_eq!(read("deep/../deep/a.txt", 5), Ok(b"hello".to_vec()));
        let absolute = inside.join("deep/a.txt").display().to_string();
        assert_eq!(read(&absolute, 5), Ok(b"hello".to_vec()));
        let outside = place.join("secret").display().to_string();
        for wrong in [
            "../secret",
            "link",
            &outside,
            "/etc/passwd",
            "deep",
            "nothing",
        ] {
            assert!(
                matches!(read(wrong, 100), Err(FileError::Refused(_))),
                "{wrong}"
            );
        }
        assert!(matches!(read("deep/a.txt", 4), Err(FileError::Refused(_))));
        std::fs::remove_dir_all(place).expect("removing it");
    }
}
