//! The stages between a read and the plan where rows name or hold documents: load, then parse.
//!
//! A few documents of a read are in work at a time; the other rows are left for another read, which bounds the
//! memory.

mod checks;
mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Batch, PlanRows, RowState};
use crate::call::Call;
use crate::document::{
    Document, DocumentError, FileError, FileRead, NotConverted, Parsed, Place, Source, from_base64,
};
use crate::packing::Packing;
use crate::query::{Found, ReadRow};
use crate::request::{Received, RequestError};
use crate::settings::DocumentSettings;
use crate::snapshot::DocumentCounts;
use crate::store::{Asked, Stores};
use crate::text::Vectors;
use crate::time::Time;
use crate::worker::failure::Failure;
use checks::Check;
use requests::{Judged, load, of_store, of_web};

/// So many addresses of one read are followed; the others are read again.
const LOADED_AT_ONCE: usize = 8;

/// How often a server has sent the worker elsewhere for a document, or an object store had to be asked again.
type Redirects = u32;
const REDIRECTS_MAX: Redirects = 5;
/// A store may be asked for two tokens first, has the bucket elsewhere, and finds the tokens run out.
const ASKED_MAX: Redirects = 8;

/// The documents of a read, by their rows' places in the batch; and what was done with them since somebody asked.
#[derive(Debug, Default)]
pub(super) struct Documents(BTreeMap<usize, InWork>, DocumentCounts);

#[derive(Debug)]
struct InWork {
    row: ReadRow,
    stage: Stage,
    check: Option<Check>,
}

impl InWork {
    /// The name of the document: its address without what a server is asked.
    fn name(&self) -> &str {
        let address = self.row.text.as_deref().unwrap_or_default().trim();
        let is_web = address
            .get(..4)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
        match address.find(['?', '#']) {
            Some(end) if is_web => &address[..end],
            _ => address,
        }
    }
}

#[derive(Debug)]
enum Stage {
    Load(Place, Redirects),
    /// With what was asked of an object store.
    Loading(Place, Redirects, Asked),
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
        source: &Source,
        settings: &DocumentSettings,
        plan: PlanRows,
    ) {
        let mut loads = 0;
        for (at, mut row) in plan.rows {
            let check = self.check(at, &mut row);
            self.rows[at].document = None;
            match stage(source, settings, &mut row) {
                Ok(Stage::Load(..)) if loads >= LOADED_AT_ONCE => {
                    self.rows[at].state = RowState::Unread;
                }
                Ok(stage) => {
                    loads += usize::from(matches!(stage, Stage::Load(..)));
                    self.documents.0.insert(at, InWork { row, stage, check });
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
            vectors: Vectors::default(),
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

    /// What was done with documents since the last time.
    pub(in crate::worker) fn take_document_counts(&mut self) -> DocumentCounts {
        std::mem::take(&mut self.documents.1)
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
        stores: &Stores,
        (now, timeout): (Time, Duration),
    ) -> Option<(usize, Call)> {
        loop {
            let at = self.documents.next(step)?;
            let document = self.documents.0.get_mut(&at)?;
            let (call, stage) = match std::mem::replace(&mut document.stage, Stage::Done) {
                Stage::Load(place, redirects) => {
                    let name = (document.name(), document.known());
                    match load(&place, name, settings, stores, (now, timeout)) {
                        Ok((asked, call)) => (call, Stage::Loading(place, redirects, asked)),
                        Err(reason) => {
                            self.document_failed(at, Failure::document_not_loaded(&reason));
                            continue;
                        }
                    }
                }
                Stage::Parse(file) => {
                    let call = match &self.profile.docling {
                        Some(server) => {
                            let boundary = format!("pgai-{:016x}-{at}", self.claim.0);
                            Call::from(server.request(&file, &boundary, timeout))
                        }
                        None => Call::Parse(file),
                    };
                    (call, Stage::Parsing)
                }
                Stage::Done | Stage::Loading(..) | Stage::Parsing => return None,
            };
            document.stage = stage;
            return Some((at, call));
        }
    }

    /// A file was read, or not. `wall` is the time since 1970.
    pub(in crate::worker) fn file_came(
        &mut self,
        at: usize,
        wall: Duration,
        read: Result<FileRead, FileError>,
    ) {
        match read {
            Ok(FileRead::Content(bytes, version)) => {
                let version = version.and_then(|version| version.stored(wall));
                self.document_loaded(at, bytes, (None, version));
            }
            Ok(FileRead::Unchanged) => self.document_unchanged(at),
            Err(FileError::Refused(reason) | FileError::Failed(reason)) => {
                self.document_failed(at, Failure::document_not_loaded(&reason));
            }
        }
    }

    /// A server has answered, or not. `wall` is the time since 1970.
    pub(in crate::worker) fn page_came(
        &mut self,
        at: usize,
        settings: &DocumentSettings,
        stores: &mut Stores,
        (now, wall): (Time, Duration),
        answer: Result<Received, RequestError>,
    ) {
        let Some(document) = self.documents.0.get_mut(&at) else {
            return;
        };
        let Stage::Loading(place, redirects, asked) = &document.stage else {
            return;
        };
        let (redirects, asked) = (*redirects, asked.clone());
        let known = (redirects, document.known());
        let judged = match place {
            Place::File(_) => return,
            Place::Store(object) => {
                let heard = stores.heard(object, asked, answer, now, wall);
                heard.and_then(|heard| of_store(heard, object, known, settings))
            }
            Place::Web { url, .. } => of_web(url, known, settings, answer),
        };
        match judged {
            Ok(Judged::Elsewhere(place)) => document.stage = Stage::Load(place, redirects + 1),
            Ok(Judged::Document {
                bytes,
                content_type,
                version,
            }) => self.document_loaded(at, bytes, (content_type, version)),
            Ok(Judged::Unchanged) => self.document_unchanged(at),
            Err(reason) => self.document_failed(at, Failure::document_not_loaded(&reason)),
        }
    }

    fn document_loaded(
        &mut self,
        at: usize,
        bytes: Vec<u8>,
        (content_type, version): (Option<String>, Option<String>),
    ) {
        if let Some(document) = self.documents.0.get_mut(&at) {
            self.documents.1.loaded += 1;
            self.documents.1.bytes += bytes.len() as u64;
            self.rows[at].document = document.checked(version);
            let name = document.name();
            let name = Packing::of(name)
                .map_or(name, |(_, inner)| inner)
                .to_owned();
            document.row.text = None;
            document.stage = Stage::Parse(Box::new(Document {
                bytes,
                name: Some(name),
                content_type,
            }));
        }
    }

    /// A document is the version that its stored chunks were made from.
    fn document_unchanged(&mut self, at: usize) {
        if let Some(document) = self.documents.0.get_mut(&at) {
            let known = document.known().map(str::to_owned);
            self.rows[at].document = document.checked(known);
            document.row.is_unchanged = true;
            document.stage = Stage::Done;
            self.documents.1.unchanged += 1;
        }
    }

    /// A server that parses documents has answered, or not. Returns why it converts none, if that is so.
    pub(in crate::worker) fn document_converted(
        &mut self,
        at: usize,
        answer: Result<Received, RequestError>,
    ) -> Option<String> {
        let server = self.profile.docling.clone()?;
        match server.text(answer) {
            Ok(parsed) => self.document_parsed(at, Ok(parsed)),
            Err(NotConverted::Document { reason, is_final }) => {
                let failure = Failure::document_not_parsed(&reason, is_final);
                self.document_failed(at, failure);
            }
            Err(NotConverted::Server(reason)) => return Some(reason),
        }
        None
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
                self.documents.1.parsed += 1;
            }
            Err(DocumentError::Document(reason)) => {
                self.document_failed(at, Failure::document_not_parsed(&reason, true));
            }
            Err(DocumentError::Machine(reason)) => {
                self.document_failed(at, Failure::document_not_parsed(&reason, false));
            }
        }
    }

    fn document_failed(&mut self, at: usize, mut failure: Failure) {
        let document = self.documents.0.remove(&at);
        let counts = &mut self.documents.1;
        match document.as_ref().map(|document| &document.stage) {
            Some(Stage::Parse(_) | Stage::Parsing) => counts.not_parsed += 1,
            Some(_) => counts.not_loaded += 1,
            None => {}
        }
        let check = document.and_then(|document| document.check);
        // Whether the document has changed is not known: what it was is better than nothing.
        failure.keeps_vector |= check.is_some_and(|check| check.is_due);
        if matches!(self.rows[at].state, RowState::Read) {
            self.rows[at].state = RowState::Failed(failure);
        }
    }
}

/// What is to be done for a row first.
fn stage(
    source: &Source,
    settings: &DocumentSettings,
    row: &mut ReadRow,
) -> Result<Stage, Failure> {
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
        Source::Address { role } => {
            let address = row.text.as_deref().unwrap_or_default();
            let place = Place::parse(address, role.as_deref(), settings).map_err(not_loaded)?;
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
