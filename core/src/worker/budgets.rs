//! Ceilings of a day (in UTC): the tokens of a vectorizer, and the dollars of an account.
//!
//! All workers of a database share a ceiling. Before a request is sent, its estimated cost must be in the worker's hand:
//! the worker takes of the ceiling in blocks, in the database, and gives back what it has not spent when it stops. What
//! an answer cost more than its estimate is owed, and paid for out of the next block. So a ceiling is exceeded by no
//! more than what estimates miss on the requests in flight. A worker that is killed loses its block until the next day.

mod budget;

use std::sync::Arc;

use super::batch::Batch;
use super::session::MISSING_TABLE;
use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use super::usage::PROBE_TOKENS;
use super::vectorizers::Probe;
use super::{Worker, failure};
use crate::command::grouped;
use crate::event::Event;
use crate::provider::shown;
use crate::query::{BudgetTaken, DbError, Query};
use crate::time::Time;
use crate::vectorizer::Profile;
pub(super) use budget::{Budgets, Ceiling, Scope};

impl Worker {
    /// The ceilings over the requests of a vectorizer.
    fn ceilings(&self, profile: &Profile) -> Vec<Ceiling> {
        let tokens = profile
            .tokens_per_day
            .map(|tokens| Ceiling::of_tokens(profile.id, tokens));
        let spend = self.settings.spend_per_day.zip(profile.price);
        let dollars = spend
            .filter(|(_, price)| price.of_a_token() > 0)
            .map(|(micros, price)| Ceiling::of_dollars(profile.provider.account(), micros, price));
        tokens.into_iter().chain(dollars).collect()
    }

    /// How many inputs of a batch's request at this place may be sent. Where the ceiling has no more to give, it may be a
    /// part of the request.
    pub(super) fn affordable(&self, batch: &Batch, at: usize) -> usize {
        let mut inputs = usize::MAX;
        for ceiling in self.ceilings(&batch.profile) {
            let left = self.budgets.tokens_left(&ceiling);
            if batch.tokens(at) <= left {
                continue;
            }
            inputs = if self.budgets.is_used_up(&ceiling) {
                inputs.min(batch.inputs_within(at, left))
            } else {
                0
            };
        }
        inputs
    }

    /// Whether a probe may be sent.
    pub(super) fn affords_probe(&self, profile: &Profile) -> bool {
        let ceilings = self.ceilings(profile);
        let mut left = ceilings
            .iter()
            .map(|ceiling| self.budgets.tokens_left(ceiling));
        left.all(|left| left >= PROBE_TOKENS)
    }

    /// A request of so many tokens is on its way.
    pub(super) fn spend(&mut self, profile: &Profile, tokens: u64) {
        for ceiling in self.ceilings(profile) {
            self.budgets.sent(&ceiling, tokens);
        }
    }

    /// A request is no longer on its way.
    pub(super) fn settle_budgets(
        &mut self,
        profile: &Profile,
        day: u64,
        estimate: u64,
        spent: u64,
    ) {
        for ceiling in self.ceilings(profile) {
            self.budgets.settled(&ceiling, day, estimate, spent);
        }
    }

    /// Whether a vectorizer waits for the next day, or for a higher ceiling.
    pub(super) fn rests(&self, profile: &Profile) -> bool {
        let ceilings = self.ceilings(profile);
        ceilings
            .iter()
            .any(|ceiling| self.budgets.rests(&ceiling.scope))
    }

    pub(super) fn budget_wakes(&self) -> impl Iterator<Item = Time> {
        let is_running = self.life.is_running();
        self.budgets.wakes().filter(move |_| is_running)
    }

    /// Begins days, takes changed ceilings, and lets vectorizers rest whose ceiling is used up.
    pub(super) fn heed_budgets(&mut self) {
        let profiles = self.vectorizers.values();
        let profiles: Vec<Arc<Profile>> = profiles
            .filter_map(|known| known.profile.clone())
            .filter(|profile| {
                profile.tokens_per_day.is_some() || self.settings.spend_per_day.is_some()
            })
            .collect();
        let today = self.day_at(self.now);
        for profile in profiles {
            for ceiling in self.ceilings(&profile) {
                if self.budgets.know(&ceiling, today) {
                    self.go_on(&ceiling.scope);
                }
            }
        }
        if self.budgets.is_empty() {
            return;
        }
        while let Some((profile, ceiling, tokens)) = self.met_ceiling() {
            self.rest(&profile, &ceiling, tokens);
        }
    }

    /// Batches that have something to send, also if it waits for another reason, with the place of the next request.
    fn sending(&self) -> impl Iterator<Item = (&Batch, usize)> {
        let batches = self.batches.values();
        let sending = batches.filter(|batch| !batch.draining && !batch.leaving);
        sending.filter_map(|batch| Some((batch, batch.next_span(true)?)))
    }

    /// A ceiling that has no more to give, of which nothing can come back, and that leaves room for none of the requests
    /// that wait; with the tokens of the first of them.
    fn met_ceiling(&self) -> Option<(Arc<Profile>, Ceiling, u64)> {
        let short = |batch: &Batch, at: usize, ceiling: &Ceiling| {
            batch.inputs_within(at, self.budgets.tokens_left(ceiling)) == 0
        };
        let is_met = |ceiling: &Ceiling| {
            let of = |batch: &Batch| {
                let ceilings = self.ceilings(&batch.profile);
                ceilings.into_iter().find(|of| of.scope == ceiling.scope)
            };
            self.budgets.is_final(ceiling)
                && self
                    .sending()
                    .filter_map(|(batch, at)| Some((batch, at, of(batch)?)))
                    .all(|(batch, at, ceiling)| short(batch, at, &ceiling))
        };
        self.sending().find_map(|(batch, at)| {
            let mut ceilings = self.ceilings(&batch.profile).into_iter();
            let ceiling = ceilings.find(is_met)?;
            let tokens = batch.first_tokens(at);
            Some((Arc::clone(&batch.profile), ceiling, tokens))
        })
    }

    /// Nothing more is sent under this ceiling today.
    fn rest(&mut self, profile: &Arc<Profile>, ceiling: &Ceiling, tokens: u64) {
        let (tell, is_news) = self.budgets.rest(ceiling, tokens);
        let ids = self.under(&ceiling.scope);
        for batch in self.batches.values_mut() {
            if ids.contains(&batch.profile.id) {
                batch.drain();
            }
        }
        let reason = self.reason(profile, ceiling, tokens);
        if is_news {
            self.record(profile.id, failure::CEILING, &reason);
        }
        if tell {
            let tomorrow = self.beginning_of(self.day_at(self.now) + 1);
            self.events.push_back(Event::CeilingReached {
                vectorizer: profile.id,
                reason: reason.clone(),
                resumes_in: tomorrow.since(self.now),
            });
        }
        if self.settings.once {
            for id in ids {
                self.rest_vectorizer(id);
            }
        }
        self.failed_as_a_whole(&reason);
    }

    /// What the ceiling is, when it ends, and how to raise it.
    fn reason(&self, profile: &Profile, ceiling: &Ceiling, tokens: u64) -> String {
        let ends = date_of(self.day_at(self.now) + 1);
        let left = self.budgets.tokens_left(ceiling);
        let left = format!(
            "the next text takes about {} tokens, and {} are left",
            grouped(tokens),
            grouped(left)
        );
        match &ceiling.scope {
            Scope::Vectorizer(id) => format!(
                "vectorizer {} has reached its ceiling of {} tokens a day ({left}): it goes on at {ends} 00:00 UTC. \
                 To raise the ceiling: update ai.vectorizer set config = jsonb_set(config, \
                 '{{processing,max_tokens_per_day}}', '{}') where id = {id}",
                profile.name,
                grouped(ceiling.units),
                ceiling.units.saturating_mul(2),
            ),
            Scope::Account(account) => {
                let ceiling = ceiling.dollars();
                format!(
                    "{account} has reached its ceiling of {} a day ({left}): its vectorizers go on at {ends} 00:00 UTC. \
                     To raise the ceiling, start the worker with a higher --max-spend-per-day than {ceiling}",
                    shown(ceiling),
                )
            }
        }
    }

    /// The vectorizers under a ceiling.
    fn under(&self, scope: &Scope) -> Vec<i64> {
        let is_under = |profile: &Arc<Profile>| match scope {
            Scope::Account(account) => {
                profile.provider.account() == *account
                    && profile.price.is_some_and(|price| price.of_a_token() > 0)
            }
            Scope::Vectorizer(id) => profile.id == *id,
        };
        let vectorizers = self.vectorizers.iter();
        vectorizers
            .filter(|(_, known)| known.profile.as_ref().is_some_and(is_under))
            .map(|(id, _)| *id)
            .collect()
    }

    /// There is something to spend again.
    fn go_on(&mut self, scope: &Scope) {
        for id in self.under(scope) {
            if let Some(vectorizer) = self.vectorizers.get_mut(&id) {
                vectorizer.pace.again(self.now);
                vectorizer.stir();
            }
        }
    }

    /// Takes of a ceiling what the next requests need.
    pub(super) fn budget_query(&mut self) -> Option<(Asked, Query)> {
        if !self.life.is_running() || self.budgets.is_empty() {
            return None;
        }
        let batches = self
            .sending()
            .map(|(batch, at)| (Arc::clone(&batch.profile), batch.tokens(at)));
        let probes = self
            .vectorizers
            .iter()
            .filter(|(id, known)| match known.proof.probe {
                Probe::None => self.wants_evidence(**id),
                Probe::Out => false,
                Probe::Wanted => true,
            })
            .filter_map(|(_, known)| Some((Arc::clone(known.profile.as_ref()?), PROBE_TOKENS)));
        let needs: Vec<_> = batches.chain(probes).collect();
        for (profile, tokens) in needs {
            for ceiling in self.ceilings(&profile) {
                if let Some(wanted) = self.budgets.wants(&ceiling, self.now, tokens) {
                    return Some(self.take(&ceiling.scope, wanted));
                }
            }
        }
        let is_used = |scope: &Scope| !self.under(scope).is_empty();
        let (scope, wanted) = self.budgets.looks_again(self.now, is_used)?;
        Some(self.take(&scope, wanted))
    }

    fn take(&mut self, scope: &Scope, wanted: i64) -> (Asked, Query) {
        let (day, ceiling) = self.budgets.asked(scope);
        let taken = Asked::TakeBudget {
            scope: scope.clone(),
            day,
            wanted,
        };
        let query = Query::TakeBudget {
            scope: scope.to_string(),
            vectorizer: scope.vectorizer(),
            day,
            ceiling,
            wanted,
        };
        (taken, query)
    }

    /// Gives back what is left, before the worker stops.
    pub(super) fn give_back_query(&mut self) -> Option<(Asked, Query)> {
        let (scope, units) = self.budgets.give_back()?;
        Some(self.take(&scope, -units))
    }

    pub(super) fn budget_taken(
        &mut self,
        scope: &Scope,
        day: u64,
        wanted: i64,
        taken: BudgetTaken,
    ) {
        let look_at = self.beginning_of(self.day_at(self.now) + 1);
        let look_at = look_at.min(self.now + self.settings.poll_interval);
        if self.budgets.taken(scope, day, wanted, taken, look_at) {
            self.go_on(scope);
        }
    }

    /// Without an answer it may have been taken, and is lost: the ceiling holds all the same.
    pub(super) fn budget_refused(
        &mut self,
        scope: &Scope,
        wanted: i64,
        trouble: Trouble,
        error: &DbError,
    ) {
        self.budgets.refused(scope, self.now + HOUSEKEEPING);
        if wanted < 0 || matches!(trouble, Trouble::Again | Trouble::Outage) {
            return;
        }
        let reason = match error.sqlstate.as_deref() {
            Some(MISSING_TABLE | "42883") => self.outdated_schema(),
            _ => remedy(error),
        };
        for id in self.under(scope) {
            self.pause_vectorizer(id, failure::UNEXPECTED, &reason);
        }
    }
}

/// The date of a day since 1970.
fn date_of(day: u64) -> String {
    let seconds = i64::try_from(day.saturating_mul(24 * 60 * 60)).unwrap_or_default();
    let date = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    date.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests;
