//! Counters since the worker's start, and the snapshot that shows them beside the state of the moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::StatusCode;

use super::Worker;
use super::batch::Report;
use super::trouble::Trouble;
use crate::call::Reply;
use crate::model::ModelError;
use crate::provider::Account;
use crate::request::RequestError;
use crate::snapshot::{
    AccountSnapshot, Counts, DocumentCounts, Histogram, Snapshot, VectorizerSnapshot,
};
use crate::time::Time;
use crate::vectorizer::Profile;

#[derive(Debug, Default)]
pub(super) struct Meters {
    vectorizers: BTreeMap<i64, Counts>,
    documents: BTreeMap<i64, DocumentCounts>,
    accounts: BTreeMap<Account, Requests>,
    /// By kind.
    database_errors: BTreeMap<&'static str, u64>,
}

/// The requests to an account.
#[derive(Debug, Default)]
struct Requests {
    outcomes: BTreeMap<&'static str, u64>,
    latency: Histogram,
}

/// Every outcome of a request, so that each is shown from the start.
const OUTCOMES: [&str; 9] = [
    ANSWERED,
    "bad_answer",
    "busy",
    "no_key",
    "refused",
    "server_error",
    "timeout",
    "unreachable",
    "broken",
];
pub(super) const ANSWERED: &str = "answered";

/// Every kind of a database's error.
const TROUBLES: [Trouble; 4] = [
    Trouble::Again,
    Trouble::Data,
    Trouble::Outage,
    Trouble::Schema,
];

impl Trouble {
    const fn name(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::Data => "data",
            Self::Outage => "outage",
            Self::Schema => "schema",
        }
    }
}

impl Meters {
    pub(super) fn trouble(&mut self, trouble: Trouble) {
        *self.database_errors.entry(trouble.name()).or_default() += 1;
    }

    /// Counts the rows that a statement finished or failed.
    pub(super) fn rows(&mut self, vectorizer: i64, report: &Report) {
        let counts = self.vectorizers.entry(vectorizer).or_default();
        let failures = report.failed.len() as u64;
        let retried = report.failed.iter().filter(|failed| failed.2.is_some());
        let retried = retried.count() as u64;
        counts.rows += report.rows;
        counts.retried += retried;
        counts.failed += failures - retried;
        counts.chunks_embedded += report.embedded;
        counts.chunks_reused += report.reused;
    }

    /// Counts what was done with documents.
    pub(super) fn documents(&mut self, vectorizer: i64, counts: DocumentCounts) {
        self.documents.entry(vectorizer).or_default().add(counts);
    }

    /// Counts a request and the tokens that it used.
    pub(super) fn request(
        &mut self,
        profile: &Profile,
        reply: &Reply,
        took: Duration,
        tokens: Option<u64>,
    ) {
        let Some(outcome) = outcome(reply) else {
            return;
        };
        let requests = self.accounts.entry(profile.provider.account()).or_default();
        *requests.outcomes.entry(outcome).or_default() += 1;
        if outcome == ANSWERED {
            requests.latency.add(took);
        }
        if let Some(tokens) = tokens {
            let counts = self.vectorizers.entry(profile.id).or_default();
            counts.tokens = counts.tokens.saturating_add(tokens);
            counts.dollars += profile.price.map_or(0.0, |price| price.dollars(tokens));
        }
    }
}

/// What came of a request; `None` for a call that is no request.
pub(super) fn outcome(reply: &Reply) -> Option<&'static str> {
    Some(match reply {
        Reply::Build(_) | Reply::Compute(_) | Reply::File(_) | Reply::Parse(_) => return None,
        Reply::Http(Ok(answer)) => match answer.response.status() {
            StatusCode::TOO_MANY_REQUESTS => "busy",
            status if status.is_server_error() => "server_error",
            status if !status.is_success() => "refused",
            _ if matches!(answer.vectors, Some(Err(_))) => "bad_answer",
            _ => ANSWERED,
        },
        Reply::Http(Err(error)) => match error {
            RequestError::Broken(_) => "broken",
            RequestError::Connect(_) => "unreachable",
            RequestError::Secret(_) => "no_key",
            RequestError::Timeout => "timeout",
        },
        Reply::Model(Ok(_)) => ANSWERED,
        Reply::Model(Err(ModelError::Input(_))) => "refused",
        Reply::Model(Err(ModelError::Broken(_) | ModelError::Model(_))) => "broken",
    })
}

impl Worker {
    /// What the worker does now and has done since its start.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> Snapshot {
        let now = self.now.max(now);
        let reason = self.unready(now);
        let count = |kind: Trouble| {
            let errors = self.meters.database_errors.get(kind.name());
            (kind.name(), errors.copied().unwrap_or(0))
        };
        let ids = self
            .vectorizers
            .keys()
            .chain(self.meters.vectorizers.keys());
        let ids: BTreeSet<i64> = ids.copied().collect();
        Snapshot {
            version: self.settings.version.clone(),
            uptime: now.since_start().as_secs_f64(),
            is_ready: reason.is_none(),
            reason,
            statements: self.asked.len(),
            database_errors: TROUBLES.map(count).into(),
            vectorizers: ids
                .into_iter()
                .map(|id| self.vectorizer_snapshot(id))
                .collect(),
            accounts: self.accounts_snapshot(now),
        }
    }

    /// Why the worker does not work, if it does not.
    fn unready(&self, now: Time) -> Option<String> {
        if !self.life.is_running() {
            return Some("the worker is stopping".to_owned());
        }
        if let Some((reason, retry_in)) = self.database.trouble(now) {
            let seconds = retry_in.as_secs_f64();
            return Some(format!("{reason} (next attempt in {seconds:.0} s)"));
        }
        if let Some(reason) = &self.session.lacks {
            return Some(reason.clone());
        }
        (!self.session.listed).then(|| "the vectorizers are not loaded yet".to_owned())
    }

    fn vectorizer_snapshot(&self, id: i64) -> VectorizerSnapshot {
        let known = self.vectorizers.get(&id);
        let batches = self.batches.values();
        VectorizerSnapshot {
            id,
            name: known.map_or_else(String::new, |known| known.name.clone()),
            reason: known.and_then(super::Vectorizer::why_it_rests),
            batches: batches.filter(|batch| batch.profile.id == id).count(),
            counts: self
                .meters
                .vectorizers
                .get(&id)
                .copied()
                .unwrap_or_default(),
            documents: {
                let profile = known.and_then(|known| known.profile.as_ref());
                let has_some = profile.is_some_and(|profile| profile.documents.is_some());
                let counts = self.meters.documents.get(&id).copied();
                counts.or_else(|| has_some.then(DocumentCounts::default))
            },
        }
    }

    fn accounts_snapshot(&self, now: Time) -> Vec<AccountSnapshot> {
        let accounts = self.meters.accounts.keys().chain(self.accounts.asked());
        let accounts: BTreeSet<&Account> = accounts.collect();
        let none = Requests::default();
        let snapshot = |account: &Account| {
            let requests = self.meters.accounts.get(account).unwrap_or(&none);
            let standing = self.accounts.standing(now, account);
            let count = |outcome: &'static str| {
                let count = requests.outcomes.get(outcome);
                (outcome, count.copied().unwrap_or(0))
            };
            AccountSnapshot {
                provider: account.provider.to_owned(),
                base_url: account.base_url.clone(),
                key: account.secret.clone(),
                in_flight: standing.in_flight,
                in_flight_max: standing.in_flight_max,
                opens_in: standing.opens_in.as_secs_f64(),
                reason: standing.reason,
                outcomes: OUTCOMES.map(count).into(),
                latency: requests.latency,
            }
        };
        accounts.into_iter().map(snapshot).collect()
    }
}
