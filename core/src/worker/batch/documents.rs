//! The stages between a read and the plan where rows name or hold documents: load, then parse.
//!
//! A few documents of a read are in work at a time; the other rows are left for another read, which bounds the
//! memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::header::{CONTENT_TYPE, LOCATION};

use super::{Batch, PlanRows, RowState};
use crate::call::Call;
use crate::document::{
    Document, DocumentError, FileError, FileRequest, Parsed, Place, Source, from_base64,
};
use crate::query::{Found, ReadRow};
use crate::request::{Received, Request, RequestError};
use crate::settings::DocumentSettings;
use crate::worker::failure::Failure;

/// So many addresses of one read are followed; the others are read again.
const LOADED_AT_ONCE: usize = 8;

/// How often a server has sent the worker elsewhere for a document.
type Redirects = u32;
const REDIRECTS_MAX: Redirects = 5;

/// The documents of a read, by their rows' places in the batch.
#[derive(Debug, Default)]
pub(super) struct Documents(BTreeMap<usize, InWork>);

#[derive(Debug)]
struct InWork {
    row: ReadRow,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Load(Place, Redirects),
    Loading(Place, Redirects),
    Parse(Box<Document>),
    Parsing,
    /// The row has its text.
    Done,
}

/// What a call for a document is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::worker) enum DocumentStep {
    Load,
    Parse,
}

impl Documents {
    fn are_texts(&self) -> bool {
        let mut stages = self.0.values();
        stages.all(|document| matches!(document.stage, Stage::Done))
    }

    fn next(&self, step: DocumentStep) -> Option<usize> {
        let mut all = self.0.iter();
        let found = all.find(|(_, document)| {
            matches!(
                (step, &document.stage),
                (DocumentStep::Load, Stage::Load(..)) | (DocumentStep::Parse, Stage::Parse(_))
            )
        });
        found.map(|(at, _)| *at)
    }
}

impl Batch {
    /// Takes rows that were read, whose documents are to be loaded and parsed now.
    pub(in crate::worker) fn read_documents(
        &mut self,
        source: Source,
        settings: &DocumentSettings,
        plan: PlanRows,
    ) {
        let mut loads = 0;
        for (at, mut row) in plan.rows {
            match stage(source, settings, &mut row) {
                Ok(Stage::Load(..)) if loads >= LOADED_AT_ONCE => {
                    self.rows[at].state = RowState::Unread;
                }
                Ok(stage) => {
                    loads += usize::from(matches!(stage, Stage::Load(..)));
                    self.documents.0.insert(at, InWork { row, stage });
                }
                Err(failure) => self.rows[at].state = RowState::Failed(failure),
            }
        }
    }

    /// The rows that are to be planned, once all documents are texts.
    pub(in crate::worker) fn take_texts(&mut self) -> Option<PlanRows> {
        if self.documents.0.is_empty() || !self.documents.are_texts() {
            return None;
        }
        let all = std::mem::take(&mut self.documents.0).into_iter();
        Some(PlanRows {
            profile: Arc::clone(&self.profile),
            rows: all.map(|(at, document)| (at, document.row)).collect(),
            limits: self.limits,
        })
    }

    /// The bytes of its documents, and of those that are texts already.
    pub(in crate::worker) fn document_bytes(&self) -> usize {
        let all = self.documents.0.values();
        let bytes = all.map(|document| match &document.stage {
            Stage::Parse(file) => file.bytes.len(),
            Stage::Done => document.row.bytes(),
            Stage::Load(..) | Stage::Loading(..) | Stage::Parsing => 0,
        });
        bytes.sum()
    }

    /// Leaves the addresses that nobody follows yet for another read, if it has other documents: those need not wait
    /// for them. Says whether that changed anything.
    pub(in crate::worker) fn postpone_loads(&mut self) -> bool {
        let is_load = |document: &InWork| matches!(document.stage, Stage::Load(..));
        let mut all = self.documents.0.values();
        if all.clone().all(is_load) || !all.any(is_load) {
            return false;
        }
        let rows = &mut self.rows;
        self.documents.0.retain(|at, document| {
            let stays = !is_load(document);
            if !stays {
                rows[*at].state = RowState::Unread;
            }
            stays
        });
        true
    }

    /// Whether a document waits for this.
    pub(in crate::worker) fn has_document(&self, step: DocumentStep) -> bool {
        self.documents.next(step).is_some()
    }

    /// The call for the next document that waits for this, and its row's place.
    pub(in crate::worker) fn take_document(
        &mut self,
        step: DocumentStep,
        settings: &DocumentSettings,
        timeout: Duration,
    ) -> Option<(usize, Call)> {
        let at = self.documents.next(step)?;
        let document = self.documents.0.get_mut(&at)?;
        let (call, stage) = match std::mem::replace(&mut document.stage, Stage::Done) {
            Stage::Load(place, redirects) => (
                load(&place, settings, timeout),
                Stage::Loading(place, redirects),
            ),
            Stage::Parse(file) => (Call::Parse(file), Stage::Parsing),
            Stage::Done | Stage::Loading(..) | Stage::Parsing => return None,
        };
        document.stage = stage;
        Some((at, call))
    }

    /// A file was read, or not.
    pub(in crate::worker) fn file_came(&mut self, at: usize, read: Result<Vec<u8>, FileError>) {
        match read {
            Ok(bytes) => self.document_loaded(at, bytes, None),
            Err(FileError::Refused(reason) | FileError::Failed(reason)) => {
                self.document_failed(at, Failure::document_not_loaded(&reason));
            }
        }
    }

    /// A server has answered, or not.
    pub(in crate::worker) fn page_came(
        &mut self,
        at: usize,
        settings: &DocumentSettings,
        answer: Result<Received, RequestError>,
    ) {
        let Some(document) = self.documents.0.get_mut(&at) else {
            return;
        };
        let Stage::Loading(Place::Web { url, .. }, redirects) = &document.stage else {
            return;
        };
        let redirects = *redirects;
        match judged(url, redirects, settings, answer) {
            Ok(Judged::Elsewhere(place)) => document.stage = Stage::Load(place, redirects + 1),
            Ok(Judged::Document {
                bytes,
                content_type,
            }) => self.document_loaded(at, bytes, content_type),
            Err(reason) => self.document_failed(at, Failure::document_not_loaded(&reason)),
        }
    }

    fn document_loaded(&mut self, at: usize, bytes: Vec<u8>, content_type: Option<String>) {
        if let Some(document) = self.documents.0.get_mut(&at) {
            document.stage = Stage::Parse(Box::new(Document {
                bytes,
                name: document.row.text.take(),
                content_type,
            }));
        }
    }

    /// A document became text, or not.
    pub(in crate::worker) fn document_parsed(
        &mut self,
        at: usize,
        parsed: Result<Parsed, DocumentError>,
    ) {
        let Some(document) = self.documents.0.get_mut(&at) else {
            return;
        };
        match parsed {
            Ok(Parsed { text, parts }) => {
                document.row.text = Some(text);
                document.row.parts = parts;
                document.stage = Stage::Done;
            }
            Err(DocumentError::Document(reason)) => {
                self.document_failed(at, Failure::document_not_parsed(&reason, true));
            }
            Err(DocumentError::Machine(reason)) => {
                self.document_failed(at, Failure::document_not_parsed(&reason, false));
            }
        }
    }

    fn document_failed(&mut self, at: usize, failure: Failure) {
        self.documents.0.remove(&at);
        if matches!(self.rows[at].state, RowState::Read) {
            self.rows[at].state = RowState::Failed(failure);
        }
    }
}

/// What is to be done for a row first.
fn stage(source: Source, settings: &DocumentSettings, row: &mut ReadRow) -> Result<Stage, Failure> {
    // The plan deals with what is gone, empty, or too long.
    if row.found != Found::Row || row.text.as_ref().is_none_or(String::is_empty) {
        return Ok(Stage::Done);
    }
    let not_loaded = |reason: String| Failure::document_not_loaded(&reason);
    match source {
        Source::Bytes => {
            let text = row.text.take().unwrap_or_default();
            Ok(Stage::Parse(Box::new(Document {
                bytes: from_base64(&text).map_err(not_loaded)?,
                name: None,
                content_type: None,
            })))
        }
        Source::Address => {
            let address = row.text.as_deref().unwrap_or_default();
            let place = Place::parse(address, &settings.allowed).map_err(not_loaded)?;
            if matches!(place, Place::File(_)) && settings.directory.is_none() {
                return Err(Failure::document_not_loaded(
                    "this worker reads no files: let its operator name the directory that has them, with \
                     --documents-dir",
                ));
            }
            Ok(Stage::Load(place, 0))
        }
    }
}

/// The call that loads a document.
fn load(place: &Place, settings: &DocumentSettings, timeout: Duration) -> Call {
    match place {
        Place::File(path) => Call::File(FileRequest {
            directory: settings.directory.clone().unwrap_or_default(),
            path: path.clone(),
            bytes_max: settings.bytes_max,
        }),
        Place::Web { url, is_public } => {
            let mut http = http::Request::new(vec![]);
            *http.uri_mut() = url.clone();
            // One byte more than is allowed shows that there is more.
            let bytes_max = settings.bytes_max.saturating_add(1);
            let mut request = Request::new(http, timeout, bytes_max);
            request.is_public = *is_public;
            Call::from(request)
        }
    }
}

/// What a server's answer means.
enum Judged {
    Document {
        bytes: Vec<u8>,
        content_type: Option<String>,
    },
    Elsewhere(Place),
}

fn judged(
    url: &Uri,
    redirects: Redirects,
    settings: &DocumentSettings,
    answer: Result<Received, RequestError>,
) -> Result<Judged, String> {
    let host = url.host().unwrap_or_default();
    let received = answer.map_err(|error| format!("{host}: {error}"))?;
    let (parts, bytes) = received.response.into_parts();
    let status = parts.status;
    let header = |name| {
        let value = parts.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    if status.is_redirection()
        && let Some(to) = header(LOCATION)
    {
        if redirects >= REDIRECTS_MAX {
            return Err(format!("{host} redirects more than {REDIRECTS_MAX} times"));
        }
        return Place::redirected(url, &to, &settings.allowed).map(Judged::Elsewhere);
    }
    if !status.is_success() {
        let meaning = match status.as_u16() {
            401 | 403 => ": the document may not be read without a login",
            404 | 410 => ": there is no such document",
            _ => "",
        };
        return Err(format!("{host} answers {status}{meaning}"));
    }
    if bytes.len() > settings.bytes_max {
        return Err(format!(
            "the document has more than {} bytes: let the worker's operator raise --max-document-size",
            settings.bytes_max
        ));
    }
    Ok(Judged::Document {
        bytes,
        content_type: header(CONTENT_TYPE),
    })
}
