//! Calls that are in flight, and where their replies go.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::Worker;
use super::accounts::{RefusedParameter, bytes_of};
use super::batch::{Batch, DocumentStep, PlannedRows, Span};
use super::outage::silence;
use crate::call::{Call, Reply};
use crate::compute::{Done, Made, Work};
use crate::event::Event;
use crate::model::ModelAnswer;
use crate::provider::{IssuedToken, Refusal, Remaining, Verdict};
use crate::query::{ClaimId, DbError};
use crate::request::{Received, RequestError};
use crate::time::Time;
use crate::vectorizer::Profile;

/// One of several keys that was refused is not used for so long.
const KEY_REFUSED: Duration = Duration::from_secs(300);
/// Documents that are loaded at a time.
const LOADS_MAX: usize = 4;
/// With so many bytes of documents in memory, no further one is loaded.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// One that has too much to do, if the provider does not say for how long.
const KEY_BUSY: Duration = Duration::from_secs(10);

/// A call in flight: what it is for, and for which vectorizer, and so towards which account.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) profile: Arc<Profile>,
    pub(super) at: Time,
    /// Which of the account's keys it carries.
    pub(super) key: usize,
    pub(super) purpose: Purpose,
}

/// What a call is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A vector index is built.
    Build,
    /// Rows of a resync are compared.
    Compare(ClaimId),
    /// A document of a batch is loaded or parsed.
    Document {
        batch: u64,
        /// Its row.
        at: usize,
        step: DocumentStep,
    },
    /// Texts of a batch are embedded.
    Embed {
        batch: u64,
        span: Span,
        /// Estimated.
        tokens: u64,
        /// The optional parameters that the request has not.
        without: Vec<&'static str>,
    },
    /// Rows of a batch are planned.
    Plan { batch: u64 },
    /// Does the provider take anything at all of this vectorizer?
    Probe { without: Vec<&'static str> },
    /// The provider fetches its model.
    Pull,
    /// The server says how large requests may be.
    Limits,
    /// A token is issued, which requests then carry.
    Token,
    /// The model in this process gives its tokenizer.
    Tokenizer,
}

impl Worker {
    /// What to do next that is no statement.
    pub(super) fn next_call(&mut self) -> Option<(Called, Call)> {
        self.work_call()
            .or_else(|| self.document_call())
            .or_else(|| self.build_call())
            .or_else(|| self.token_call())
            .or_else(|| self.limits_call())
            .or_else(|| self.tokenizer_call())
            .or_else(|| self.embed_call())
            .or_else(|| self.probe_call())
            .or_else(|| self.pull_call())
    }

    /// Work, of the vectorizer that has the least in flight. A resync can wait for everybody's rows.
    fn work_call(&mut self) -> Option<(Called, Call)> {
        let at_work = |id: Option<i64>| -> usize {
            let works = self.called.values().filter(|called| {
                let is_work = matches!(called.purpose, Purpose::Compare(_) | Purpose::Plan { .. });
                is_work && id.is_none_or(|id| called.profile.id == id)
            });
            works.count()
        };
        if at_work(None) >= self.settings.limits.works {
            return None;
        }
        let batches = self.batches.iter();
        let batch = batches
            .filter(|(_, batch)| batch.work.is_some())
            .min_by_key(|(number, batch)| (at_work(Some(batch.profile.id)), **number))
            .map(|(number, _)| *number);
        let (profile, purpose, work) = match batch {
            Some(number) => {
                let batch = self.batches.get_mut(&number)?;
                let purpose = Purpose::Plan { batch: number };
                (Arc::clone(&batch.profile), purpose, batch.work.take()?)
            }
            None => {
                let (profile, claim, work) = self.resync.take_work()?;
                (profile, Purpose::Compare(claim), work)
            }
        };
        Some((self.calling(profile, purpose), Call::Compute(work)))
    }

    /// The next document to be parsed or else to be loaded, of the vectorizer that has the fewest in flight.
    fn document_call(&mut self) -> Option<(Called, Call)> {
        let loads_max = if self.has_room_for_documents() {
            LOADS_MAX
        } else {
            0
        };
        let out = |step: DocumentStep, id: Option<i64>| -> usize {
            let documents = self.called.values().filter(|called| {
                let is_one =
                    matches!(&called.purpose, Purpose::Document { step: it, .. } if *it == step);
                is_one && id.is_none_or(|id| called.profile.id == id)
            });
            documents.count()
        };
        let steps = [
            (DocumentStep::Parse, self.settings.limits.works),
            (DocumentStep::Load, loads_max),
        ];
        let (step, number) = steps.into_iter().find_map(|(step, most)| {
            let waiting = self
                .batches
                .iter()
                .filter(|(_, batch)| batch.has_document(step));
            let next = waiting
                .min_by_key(|(number, batch)| (out(step, Some(batch.profile.id)), **number))?;
            (out(step, None) < most).then_some((step, *next.0))
        })?;
        let batch = self.batches.get_mut(&number)?;
        let timeout = self.settings.request_timeout();
        let (settings, stores) = (&self.settings.documents, &self.stores);
        let (at, call) = batch.take_document(step, settings, stores, (self.now, timeout))?;
        let profile = Arc::clone(&batch.profile);
        let batch = number;
        let called = self.calling(profile, Purpose::Document { batch, at, step });
        Some((called, call))
    }

    /// Whether another document may be loaded. If the memory is full, batches go on with the documents that they
    /// have.
    fn has_room_for_documents(&mut self) -> bool {
        let held: usize = self.batches.values().map(Batch::document_bytes).sum();
        if held < DOCUMENT_BYTES_MAX {
            return true;
        }
        let batches = self.batches.iter_mut();
        let changed: Vec<u64> = batches
            .filter_map(|(number, batch)| batch.postpone_loads().then_some(*number))
            .collect();
        for number in changed {
            self.plan_texts(number);
        }
        false
    }

    /// A call that is on its way from now on.
    pub(super) const fn calling(&self, profile: Arc<Profile>, purpose: Purpose) -> Called {
        Called {
            profile,
            at: self.now,
            key: 0,
            purpose,
        }
    }

    /// Does work that takes a moment only; the rest is for [`work_call`](Self::work_call).
    pub(super) fn done_at_once(&self, work: Work) -> Result<Done, Box<Work>> {
        if work.is_long(self.settings.limits.inline_bytes) {
            Err(Box::new(work))
        } else {
            Ok(work.run())
        }
    }

    pub(super) fn replied(&mut self, called: Called, reply: Reply) {
        self.no_longer_in_flight(&called);
        self.metered(&called, &reply);
        self.trace_call(&called, &reply);
        self.heard(&called, &reply);
        let Called {
            profile,
            at: asked,
            key,
            purpose,
        } = called;
        let took = self.now.since(asked);
        match purpose {
            Purpose::Build => return self.built(built(reply)),
            Purpose::Compare(claim) => return self.rows_compared(claim, done(reply)),
            Purpose::Plan { batch } => return self.rows_planned(batch, done(reply)),
            Purpose::Document { batch, at, step } => {
                return self.document_came((batch, at), (step, took), reply);
            }
            Purpose::Token => return self.token_came(&profile, http(reply)),
            Purpose::Limits => return self.limits_came(&profile, http(reply)),
            // A definition that was fixed meanwhile is not paused for what the old one met.
            _ if !self.is_current(&profile) => return,
            Purpose::Embed { .. } | Purpose::Probe { .. } | Purpose::Pull | Purpose::Tokenizer => {}
        }
        match purpose {
            Purpose::Tokenizer => self.tokenizer_came(&profile, reply),
            Purpose::Pull => self.pulled(&profile, http(reply)),
            Purpose::Probe { without } => {
                if self.parameters_refused(&profile, &without, &reply) {
                    return self.probe_wanted(profile.id);
                }
                let verdict = self.judged(&profile, reply, 1);
                if self.key_refused(&profile, key, &verdict) {
                    return self.probe_wanted(profile.id);
                }
                self.probed(&profile, asked, verdict);
            }
            Purpose::Embed {
                batch,
                span,
                tokens,
                without,
            } => {
                if self.parameters_refused(&profile, &without, &reply) {
                    return self.put_back(batch, span);
                }
                let count = span.inputs.len();
                let verdict = self.judged(&profile, reply, count);
                if self.key_refused(&profile, key, &verdict) {
                    return self.put_back(batch, span);
                }
                if self.size_refused(&profile, (count, tokens), &verdict) {
                    return self.put_back(batch, span);
                }
                self.size_requests(profile.id, count, took, &verdict);
                self.embedded(batch, span, &profile, took, verdict);
            }
            Purpose::Build
            | Purpose::Compare(_)
            | Purpose::Document { .. }
            | Purpose::Limits
            | Purpose::Plan { .. }
            | Purpose::Token => {}
        }
    }

    /// Takes what the headers of a provider's answer say of its limits.
    fn heard(&mut self, called: &Called, reply: &Reply) {
        let is_document = matches!(called.purpose, Purpose::Document { .. });
        if let Reply::Http(Ok(answer)) = reply
            && !is_document
        {
            let account = called.profile.provider.account();
            let said = Remaining::of(&answer.response, self.wall());
            self.accounts.heard(self.now, &account, &said);
        }
    }

    /// The server has said its limits, or not.
    fn limits_came(&mut self, profile: &Arc<Profile>, answer: Result<Received, RequestError>) {
        let good = answer.ok();
        let good = good.filter(|answer| answer.response.status().is_success());
        let page = good
            .as_ref()
            .map(|answer| answer.response.body().as_slice());
        self.accounts.limits_came(&profile.provider, page);
    }

    /// A token was issued, or not.
    fn token_came(&mut self, profile: &Arc<Profile>, answer: Result<Received, RequestError>) {
        let issued = match &answer {
            Ok(answer) => IssuedToken::read(&answer.response, self.wall()),
            Err(error) => Err(silence(profile, error)),
        };
        let token = issued.as_ref().ok().cloned();
        self.accounts.token_came(self.now, &profile.provider, token);
        let Err(reason) = issued else {
            return;
        };
        let status = answer.as_ref().map(|answer| answer.response.status());
        let is_refused = match (&answer, status) {
            (Err(error), _) => matches!(error, RequestError::Secret(_)),
            (_, Ok(status)) => !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS,
            (Ok(_), Err(_)) => false,
        };
        if is_refused {
            self.account_refused(profile, &reason);
        } else {
            self.provider_failed(profile, None, &reason);
        }
    }

    /// Whether a request of so many texts and tokens was refused for its size, which is known from now on.
    fn size_refused(
        &mut self,
        profile: &Profile,
        (inputs, tokens): (usize, u64),
        verdict: &Result<Verdict, RequestError>,
    ) -> bool {
        let Ok(Verdict::Refused(Refusal::Inputs(reason))) = verdict else {
            return false;
        };
        let bytes = bytes_of(tokens);
        let provider = &profile.provider;
        self.accounts.size_refused(provider, reason, inputs, bytes)
    }

    /// Whether a request was refused for its key, and there is another key for it.
    fn key_refused(
        &mut self,
        profile: &Profile,
        key: usize,
        verdict: &Result<Verdict, RequestError>,
    ) -> bool {
        let (reason, after) = match verdict {
            Ok(Verdict::Refused(Refusal::Pause(reason))) => (reason, KEY_REFUSED),
            Ok(Verdict::Refused(Refusal::Retry { reason, after })) => {
                (reason, after.unwrap_or(KEY_BUSY))
            }
            _ => return false,
        };
        let provider = &profile.provider;
        if provider.wants_token() && after == KEY_REFUSED {
            self.accounts.token_refused(provider);
        }
        let until = self.now + after;
        if provider.keys < 2 || !self.accounts.key_refused(self.now, provider, key, until) {
            return false;
        }
        let (number, account) = (key + 1, provider.account());
        let seconds = after.as_secs();
        self.events.push_back(Event::Advice {
            message: format!(
                "{account}: key {number} of {} is not used for {seconds} s: {reason}",
                provider.keys
            ),
        });
        true
    }

    fn no_longer_in_flight(&mut self, called: &Called) {
        let tokens = match &called.purpose {
            Purpose::Build
            | Purpose::Compare(_)
            | Purpose::Document { .. }
            | Purpose::Plan { .. } => return,
            Purpose::Embed { tokens, .. } => *tokens,
            Purpose::Limits
            | Purpose::Probe { .. }
            | Purpose::Pull
            | Purpose::Token
            | Purpose::Tokenizer => 1,
        };
        let account = called.profile.provider.account();
        self.accounts.throttle(self.now, &account).back(tokens);
        if let Purpose::Embed { batch, span, .. } = &called.purpose
            && let Some(batch) = self.batches.get_mut(batch)
        {
            batch.back(span);
        }
    }

    /// Whether a reply refuses optional parameters, so that the request is to be sent again.
    fn parameters_refused(
        &mut self,
        profile: &Profile,
        without: &[&'static str],
        reply: &Reply,
    ) -> bool {
        let provider = &profile.provider;
        let Some(refused) = self.accounts.parameters_refused(provider, without, reply) else {
            return false;
        };
        for RefusedParameter { name, reason } in refused {
            self.events.push_back(Event::ParameterRefused {
                vectorizer: profile.id,
                parameter: name,
                reason,
            });
        }
        true
    }

    /// What a reply to a request for so many vectors means.
    fn judged(
        &mut self,
        profile: &Profile,
        reply: Reply,
        count: usize,
    ) -> Result<Verdict, RequestError> {
        if let Reply::Model(answer) = reply {
            if let Ok(ModelAnswer::Vectors { truncated, .. }) = answer {
                self.tell_truncated(profile.id, truncated, None);
            }
            return Ok(profile.provider.judge_model(answer, count));
        }
        let wall = self.wall();
        http(reply).map(|answer| profile.provider.judge(answer, count, wall))
    }

    /// The time since 1970.
    pub(super) fn wall(&self) -> Duration {
        self.settings.wall_start + self.now.since_start()
    }
}

/// What came of work. A shell that did something else has done nothing of it.
fn done(reply: Reply) -> Done {
    match reply {
        Reply::Compute(done) => *done,
        Reply::Build(_) | Reply::File(_) | Reply::Http(_) | Reply::Model(_) | Reply::Parse(_) => {
            Done(Made::Planned(PlannedRows::default()))
        }
    }
}

/// What came of a build.
fn built(reply: Reply) -> Result<(), DbError> {
    match reply {
        Reply::Build(result) => result,
        Reply::Compute(_) | Reply::File(_) | Reply::Http(_) | Reply::Model(_) | Reply::Parse(_) => {
            Err(DbError::unanswered("the statement was not sent"))
        }
    }
}

/// The answer to a request. A shell that did something else has not brought one.
fn http(reply: Reply) -> Result<Received, RequestError> {
    match reply {
        Reply::Http(answer) => answer,
        Reply::Build(_)
        | Reply::Compute(_)
        | Reply::File(_)
        | Reply::Model(_)
        | Reply::Parse(_) => Err(RequestError::Broken("the request was not sent".to_owned())),
    }
}
