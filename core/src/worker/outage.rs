//! Providers that answer again, that are busy or down, and accounts that somebody has to do something
//! about.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Batch;
use super::{Worker, failure};
use crate::event::Event;
use crate::provider::{Account, brief};
use crate::request::RequestError;
use crate::vectorizer::Profile;

/// With `--once`, a provider that failed this often in a row is given up.
const FAILURES_MAX: u32 = 5;
/// With `--once`, a provider is not waited for any longer than this.
const ONCE_WAIT_MAX: Duration = Duration::from_secs(60);

impl Worker {
    pub(super) fn provider_answered(
        &mut self,
        profile: &Arc<Profile>,
        took: Duration,
        vectors: usize,
    ) {
        let account = profile.provider.account();
        let max = self.accounts.requests_max(&account);
        let now = self.now;
        let throttle = self.accounts.throttle(now, &account);
        if throttle.succeeded(now, took, vectors, max) {
            self.events.push_back(Event::Resumed {
                provider: account.to_string(),
            });
        }
    }

    /// The provider as a whole is busy or down.
    pub(super) fn provider_failed(
        &mut self,
        profile: &Arc<Profile>,
        after: Option<Duration>,
        reason: &str,
    ) {
        let account = profile.provider.account();
        let now = self.now;
        let throttle = self.accounts.throttle(now, &account);
        let tell = throttle.failed(now, after, reason, &mut self.random);
        let failures = throttle.failures;
        let is_closed = throttle.is_closed_for_long(now);
        let wait = throttle.opens(now).since(now);
        if let Some(retry_in) = tell {
            self.record(profile.id, failure::EMBEDDING, reason);
            let provider = account.to_string();
            self.events.push_back(Event::Paused {
                provider,
                reason: reason.to_owned(),
                retry_in,
            });
        }
        if is_closed {
            // Others may have more luck, and other vectorizers need the room. What is doubtful stays:
            // it may be a text of these that the provider does not survive.
            self.drain_where(&account, |batch| !batch.has_doubts());
        }
        if self.settings.once && (failures >= FAILURES_MAX || wait >= ONCE_WAIT_MAX) {
            self.give_up(&account, reason);
        } else if failures >= FAILURES_MAX {
            self.failed_as_a_whole(reason);
        }
    }

    /// Somebody has to do something about the account: nothing is sent for a while, and the rows
    /// go back to the queue as they were.
    pub(super) fn account_refused(&mut self, profile: &Arc<Profile>, reason: &str) {
        let account = profile.provider.account();
        let throttle = self.accounts.throttle(self.now, &account);
        let tell = throttle.paused(self.now, reason, &mut self.random);
        if let Some(retry_in) = tell {
            self.record(profile.id, failure::EMBEDDING, reason);
            let provider = account.to_string();
            self.events.push_back(Event::Paused {
                provider,
                reason: reason.to_owned(),
                retry_in,
            });
        }
        self.drain_account(&account);
        self.failed_as_a_whole(reason);
        if self.settings.once {
            self.give_up(&account, reason);
        }
    }

    /// Tells of long waits with rows in hand, each once. With `--once`, nobody waits that long for a
    /// provider; the operator's own limits are kept, however long that takes.
    pub(super) fn heed_waits(&mut self) {
        let now = self.now;
        let mut given_up = vec![];
        for batch in self.batches.values() {
            if batch.spans.is_empty() || batch.draining || batch.leaving {
                continue;
            }
            let (account, tokens) = (batch.profile.provider.account(), batch.tokens(0));
            let throttle = self.accounts.throttle(now, &account);
            let (until, why) = throttle.kept_back(now, tokens);
            if self.settings.once && until.since(now) >= ONCE_WAIT_MAX {
                given_up.push((account.clone(), why.to_owned()));
            }
            if let Some((retry_in, reason)) = throttle.untold_wait(now, tokens) {
                self.events.push_back(Event::Waiting {
                    provider: account.to_string(),
                    reason,
                    retry_in,
                });
            }
        }
        for (account, reason) in given_up {
            self.give_up(&account, &format!("{account}: {reason}"));
        }
    }

    pub(super) fn drain_account(&mut self, account: &Account) {
        self.drain_where(account, |_| true);
    }

    fn drain_where(&mut self, account: &Account, which: impl Fn(&Batch) -> bool) {
        for batch in self.batches.values_mut() {
            if batch.profile.provider.account() == *account && which(batch) {
                batch.drain();
            }
        }
    }

    /// With `--once`: the vectorizers of this account cannot be served in this run. Why was told
    /// when the account was paused.
    pub(super) fn give_up(&mut self, account: &Account, reason: &str) {
        let ids: Vec<_> = self
            .vectorizers
            .iter()
            .filter(|(_, vectorizer)| {
                let profile = vectorizer.profile.as_ref();
                profile.is_some_and(|profile| profile.provider.account() == *account)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.rest_vectorizer(id);
        }
        self.failed_as_a_whole(reason);
    }
}

/// Why there is no answer, and what to do where nobody is there to give one.
pub(super) fn silence(profile: &Profile, error: &RequestError) -> String {
    let reason = brief(&error.to_string());
    match error {
        RequestError::Connect(_) => format!("{reason}; {}", profile.provider.if_unreachable),
        RequestError::Broken(_) | RequestError::Secret(_) | RequestError::Timeout => reason,
    }
}
