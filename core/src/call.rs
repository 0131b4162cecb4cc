//! Calls: what the core wants done beside statements, and what comes back.

use crate::compute::{Done, Work};
use crate::document::{Document, DocumentError, FileError, FileRead, FileRequest, Parsed};
use crate::index::IndexBuild;
use crate::model::{ModelAnswer, ModelError, ModelRequest};
use crate::query::DbError;
use crate::request::{Received, Request, RequestError, Response};

/// The handle that the reply to a [`Call`] must carry back. It cannot be copied, so a call is
/// answered at most once.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CallTicket(pub(crate) u64);

/// Something to be done off the thread that polls. [`Reply`] has a variant for each.
#[derive(Debug)]
#[must_use = "a dropped call is never answered, and the worker waits for it for ever"]
pub enum Call {
    /// Run this statement on a connection of its own, which is closed afterwards.
    Build(IndexBuild),
    /// Pure work of the core's own: run it with [`Work::run`], on any thread.
    Compute(Box<Work>),
    /// Read this file.
    File(FileRequest),
    /// Send this request.
    Http(Box<Request>),
    /// Let a model in this process work on these texts.
    Model(ModelRequest),
    /// Turn this document into text, in a process of its own: it may be hostile.
    Parse(Box<Document>),
}

/// What came of a [`Call`].
#[derive(Debug)]
pub enum Reply {
    /// Of [`Call::Build`].
    Build(Result<(), DbError>),
    /// Of [`Call::Compute`].
    Compute(Box<Done>),
    /// Of [`Call::File`].
    File(Result<FileRead, FileError>),
    /// Of [`Call::Http`].
    Http(Result<Received, RequestError>),
    /// Of [`Call::Model`].
    Model(Result<ModelAnswer, ModelError>),
    /// Of [`Call::Parse`]: its text, as Markdown.
    Parse(Result<Parsed, DocumentError>),
}

/// An answer that is still to be read.
impl From<Response> for Reply {
    fn from(answer: Response) -> Self {
        Self::Http(Ok(answer.into()))
    }
}

impl From<Request> for Call {
    fn from(request: Request) -> Self {
        Self::Http(Box::new(request))
    }
}
