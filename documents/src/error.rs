//! What keeps a file from being read, in sentences for the person who has the file.

use crate::kind::Kind;

/// Why a file gave no Markdown. The message says what is wrong and what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is damaged, cut off, or not what it says it is.
    #[error(
        "the {kind} file cannot be read: {reason}; it may be cut off or damaged: store it again"
    )]
    Broken {
        /// What the file looked like.
        kind: Kind,
        /// The words of the parser.
        reason: String,
    },
    /// The file was read, and has no text.
    #[error("the {kind} file has no text")]
    Empty {
        /// The format.
        kind: Kind,
    },
    /// The file needs a password.
    #[error("the {kind} file is encrypted: store a copy without a password")]
    Encrypted {
        /// The format.
        kind: Kind,
    },
    /// The pages are pictures.
    #[error(
        "the PDF has {pages} pages and no text that can be read (scanned, or in fonts without a \
         table of characters): store a copy with text, made by a program for OCR"
    )]
    NoText {
        /// The number of pages.
        pages: u32,
    },
    /// The file makes more text, nodes or cells than is allowed.
    #[error("the {kind} file is too large: {reason}; split it")]
    TooLarge {
        /// The format.
        kind: Kind,
        /// The words of the parser.
        reason: String,
    },
    /// The bytes are in no known format.
    #[error(
        "the format of the file is not known: it is neither text nor a PDF, an office file, a web \
         page, a book or mail; convert it to one of these"
    )]
    Unknown,
    /// Images, audio, video and archives have no text of their own.
    #[error("{0}")]
    Unsupported(Unsupported),
}

/// A file that has no text of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unsupported {
    /// A ZIP file or the like.
    #[error("the file is an archive: unpack it, and store each file in a row of its own")]
    Archive,
    /// A recording of sound.
    #[error(
        "the file is audio: store a transcript of it, made by a program for speech recognition"
    )]
    Audio,
    /// A picture.
    #[error(
        "the file is an image: store its text, made by a program for OCR, or a description of it"
    )]
    Image,
    /// Moving pictures.
    #[error("the file is a video: store its subtitles or a transcript of it")]
    Video,
}
