//! Documents of rows: files are read, and parsed in processes of their own. Without the feature `documents` the core asks
//! for none.

use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

#[cfg(feature = "documents")]
use pgai_core::Parts;
use pgai_core::{Document, DocumentError, FileError, FileRead, FileRequest, FileVersion, Parsed};

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
    pub fn parse(&self, _: &Document) -> Result<Parsed, DocumentError> {
        Err(DocumentError::Machine(
            "this worker was built without documents".to_owned(),
        ))
    }
}

/// Reads a file below a directory, unless it is the version that is known.
///
/// # Errors
/// If it is not there, lies elsewhere, is no plain file or is too large.
pub fn read_file(request: &FileRequest) -> Result<FileRead, FileError> {
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
    let version = version(&metadata);
    if version.is_some() && version == request.known {
        return Ok(FileRead::Unchanged);
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
    let bytes = request.unpacked(bytes)?;
    Ok(FileRead::Content(bytes, version))
}

/// The version of a file, where the system knows the time of its last change.
fn version(metadata: &std::fs::Metadata) -> Option<FileVersion> {
    let modified = metadata.modified().ok()?;
    Some(FileVersion {
        bytes: metadata.len(),
        modified: modified.duration_since(UNIX_EPOCH).ok()?,
    })
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
        let unless = |path: &str, bytes_max, known| {
            let directory = inside.display().to_string();
            read_file(&FileRequest {
                directory,
                path: path.to_owned(),
                bytes_max,
                packing: None,
                known,
            })
        };
        let read = |path: &str, bytes_max| unless(path, bytes_max, None);
        let version = |read| match read {
            Ok(FileRead::Content(bytes, version)) if bytes == b"hello" => version,
            other => panic!("{other:?}"),
        };
        let known = version(read("deep/a.txt", 5));
        assert!(known.is_some_and(|known| known.bytes == 5));
        assert_eq!(version(read("deep/../deep/a.txt", 5)), known);
        let absolute = inside.join("deep/a.txt").display().to_string();
        assert_eq!(version(read(&absolute, 5)), known);
        assert_eq!(unless("deep/a.txt", 5, known), Ok(FileRead::Unchanged));
        let other = known.map(|known| FileVersion { bytes: 4, ..known });
        assert_eq!(version(unless("deep/a.txt", 5, other)), known);
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
