//! The spans of traces: what each batch went through. Housekeeping, such as heartbeats, is not traced.

use std::sync::Arc;

use super::Worker;
use super::batch::{Batch, DocumentStep, Step};
use super::calls::{Called, Purpose};
use super::meters::{ANSWERED, outcome};
use super::statements::Asked;
use crate::call::Reply;
use crate::query::{ClaimId, DbError, Rows};
use crate::span::{Attribute, Span, SpanKind};
use crate::time::Time;
use crate::vectorizer::Profile;

/// Spans that nobody has taken, at most; further ones are dropped.
const SPANS_MAX: usize = 4096;

/// The names of the attributes; those with a dot are of OpenTelemetry's semantic conventions.
const DATABASE_SYSTEM: &str = "db.system.name";
const OPERATION: &str = "gen_ai.operation.name";
const PROVIDER: &str = "gen_ai.provider.name";
const MODEL: &str = "gen_ai.request.model";
const SERVER: &str = "server.address";
const STATUS: &str = "http.response.status_code";
const INPUTS: &str = "pgai.inputs";
const ROWS: &str = "pgai.rows";
const VECTORIZER: &str = "pgai.vectorizer";
const VECTORIZER_ID: &str = "pgai.vectorizer.id";

impl Step {
    const fn name(&self) -> &'static str {
        match self {
            Self::Commit(_) => "commit",
            Self::Extend { .. } => "extend",
            Self::Fail(_) => "fail",
            Self::Read(_) => "read",
            Self::Release => "release",
        }
    }

    fn rows(&self) -> Option<usize> {
        match self {
            Self::Commit(rows) | Self::Extend { rows, .. } | Self::Read(rows) => Some(rows.len()),
            Self::Fail(rows) => Some(rows.len()),
            Self::Release => None,
        }
    }
}

fn of(profile: &Profile) -> Vec<(&'static str, Attribute)> {
    vec![
        (VECTORIZER, profile.name.as_str().into()),
        (VECTORIZER_ID, profile.id.into()),
    ]
}

impl Worker {
    /// What was done since the last time, if [`Settings::traces`](crate::Settings::traces) is set. Take
    /// them after each input: only the first 4,096 are kept.
    pub fn take_spans(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.spans)
    }

    fn span(&mut self, span: Span) {
        if self.spans.len() < SPANS_MAX {
            self.spans.push(span);
        }
    }

    /// A statement was answered.
    pub(super) fn trace_statement(&mut self, asked: &Asked, rows: &Result<Rows, DbError>) {
        if !self.settings.traces {
            return;
        }
        // Not PostgreSQL's message, which may repeat texts of the row.
        let error = rows.as_ref().err().map(|error| {
            let state = error.sqlstate.as_deref();
            state.map_or_else(
                || "no answer".to_owned(),
                |state| format!("SQLSTATE {state}"),
            )
        });
        match asked {
            // One that is answered begins a batch, or is housekeeping: see below.
            Asked::Claim { profile, asked, .. } if error.is_some() => {
                self.statement("claim", (profile, None), *asked, None, error);
            }
            Asked::Batch {
                number,
                step,
                asked,
            } => {
                let Some(batch) = self.batches.get(number) else {
                    return;
                };
                let (profile, claim) = (Arc::clone(&batch.profile), batch.claim);
                let of = (&*profile, Some(claim));
                self.statement(step.name(), of, *asked, step.rows(), error);
            }
            Asked::AcceptTexts(..)
            | Asked::AddUsage
            | Asked::Bell(_)
            | Asked::Change(_)
            | Asked::CheckSchema
            | Asked::Claim { .. }
            | Asked::Heartbeat(_)
            | Asked::Index(_)
            | Asked::LoadVectorizers
            | Asked::Records(_)
            | Asked::Refresh(_)
            | Asked::RefuseResync
            | Asked::Resync(_)
            | Asked::StartWorker
            | Asked::TakeBudget { .. }
            | Asked::TakeResync { .. }
            | Asked::Waiting(_) => {}
        }
    }

    /// A claim has got rows.
    pub(super) fn trace_claim(
        &mut self,
        profile: &Profile,
        claim: ClaimId,
        asked: Time,
        rows: usize,
    ) {
        if self.settings.traces {
            self.statement("claim", (profile, Some(claim)), asked, Some(rows), None);
        }
    }

    fn statement(
        &mut self,
        name: &'static str,
        (profile, batch): (&Profile, Option<ClaimId>),
        start: Time,
        rows: Option<usize>,
        error: Option<String>,
    ) {
        let mut attributes = of(profile);
        attributes.push((DATABASE_SYSTEM, "postgresql".into()));
        attributes.extend(rows.map(|rows| (ROWS, rows.into())));
        self.span(Span {
            name,
            kind: SpanKind::Database,
            batch,
            start,
            end: self.now,
            attributes,
            error,
        });
    }

    /// A call was answered.
    pub(super) fn trace_call(&mut self, called: &Called, reply: &Reply) {
        if !self.settings.traces {
            return;
        }
        let (name, number, inputs) = match &called.purpose {
            Purpose::Embed { batch, span, .. } => ("embed", Some(*batch), Some(span.inputs.len())),
            Purpose::Document { batch, step, .. } => {
                let name = match step {
                    DocumentStep::Load => "load",
                    DocumentStep::Parse => "parse",
                };
                (name, Some(*batch), None)
            }
            Purpose::Plan { batch } => ("chunk", Some(*batch), None),
            Purpose::Probe { .. } => ("probe", None, Some(1)),
            Purpose::Pull => ("pull", None, None),
            Purpose::Build
            | Purpose::Compare(_)
            | Purpose::Limits
            | Purpose::Token
            | Purpose::Tokenizer => return,
        };
        let batch = number.and_then(|number| self.batches.get(&number));
        let batch = batch.map(|batch| batch.claim);
        let mut attributes = of(&called.profile);
        let mut kind = SpanKind::Internal;
        let mut error = None;
        if let Some(outcome) = outcome(reply) {
            kind = SpanKind::Request;
            let provider = &called.profile.provider;
            let account = provider.account();
            attributes.extend([
                (OPERATION, "embeddings".into()),
                (PROVIDER, account.provider.into()),
                (MODEL, provider.model.as_str().into()),
                (SERVER, account.base_url.as_str().into()),
            ]);
            attributes.extend(inputs.map(|inputs| (INPUTS, inputs.into())));
            if let Reply::Http(Ok(answer)) = reply {
                let status = answer.response.status().as_u16();
                attributes.push((STATUS, i64::from(status).into()));
            }
            error = (outcome != ANSWERED).then(|| outcome.to_owned());
        }
        self.span(Span {
            name,
            kind,
            batch,
            start: called.at,
            end: self.now,
            attributes,
            error,
        });
    }

    /// Batches are over.
    pub(super) fn trace_batches(&mut self) {
        if !self.settings.traces {
            return;
        }
        let over = self.batches.values().filter(|batch| batch.is_over());
        let spans: Vec<Span> = over.map(|batch| ended(batch, self.now)).collect();
        for span in spans {
            self.span(span);
        }
    }
}

fn ended(batch: &Batch, now: Time) -> Span {
    let mut attributes = of(&batch.profile);
    attributes.push((ROWS, batch.size().into()));
    Span {
        name: "batch",
        kind: SpanKind::Batch,
        batch: Some(batch.claim),
        start: batch.asked,
        end: now,
        attributes,
        error: None,
    }
}
