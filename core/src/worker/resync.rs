//! Resync: requests to compare a source with what is stored for it. A worker carries out one at a time,
//! under a lease; what is different goes to the queue, and from there the usual way.

mod compare;
mod pass;
mod piece;

use std::sync::Arc;

use super::Worker;
use super::statements::{Asked, HOUSEKEEPING};
use super::trouble::{Trouble, remedy};
use crate::compute::{Done, Made, Work};
use crate::document::Source;
use crate::event::Event;
use crate::query::{ClaimId, DbError, Query, Rows};
use crate::resync::{ResyncQuery, ResyncStanding, ResyncState, TakenRequest};
use crate::time::Time;
use crate::vectorizer::Profile;

pub(crate) use compare::{CompareRows, ComparedRows, is_current};
pub(super) use pass::Step;
use pass::{Pass, Progress};

/// What a worker has to do with resyncs.
#[derive(Debug, Default)]
pub(super) struct Resync {
    /// When to look for requests; they are told of as changes of the list of vectorizers are.
    look_at: Option<Time>,
    take_out: bool,
    /// A request may have been taken under this name: the answer was lost.
    take_again: Option<ClaimId>,
    /// The operator was told that requests cannot be read.
    is_told: bool,
    held: Option<Held>,
}

/// A request that is this worker's.
#[derive(Debug)]
enum Held {
    /// Its vectorizer cannot be used: that is all there is to say.
    Broken {
        vectorizer: i64,
        claim: ClaimId,
        reason: String,
        is_out: bool,
    },
    Pass(Box<Pass>),
}

impl Resync {
    /// Looks for requests, unless one is in work: then afterwards.
    pub(super) fn look(&mut self, now: Time) {
        self.look_at = Some(now);
    }

    /// Whether there is nothing to wait for with `--once`.
    pub(super) fn is_quiet(&self) -> bool {
        match &self.held {
            // With nothing else to do, what waits now waits for long.
            Some(Held::Pass(pass)) => pass.is_full(),
            Some(Held::Broken { .. }) => false,
            None => self.look_at.is_none() && !self.take_out,
        }
    }

    /// The vectorizer whose request is in work.
    pub(super) fn vectorizer(&self) -> Option<i64> {
        match self.held.as_ref()? {
            Held::Broken { vectorizer, .. } => Some(*vectorizer),
            Held::Pass(pass) => Some(pass.profile.id),
        }
    }

    /// Rows that wait to be compared, of which resync.
    pub(super) fn take_work(&mut self) -> Option<(Arc<Profile>, ClaimId, Box<Work>)> {
        let Some(Held::Pass(pass)) = &mut self.held else {
            return None;
        };
        let work = pass.work.take()?;
        Some((Arc::clone(&pass.profile), pass.claim, work))
    }

    pub(super) const fn holds_nothing(&self) -> bool {
        self.held.is_none()
    }
}

impl Worker {
    /// Gives up what is no longer this worker's.
    pub(super) fn settle_resync(&mut self) {
        // Nobody can have asked for anything. (Said here and not where it is asked: `--once` may end by it.)
        if self.known_to_resync().next().is_none() {
            self.resync.look_at = None;
        }
        let Some(Held::Pass(pass)) = &mut self.resync.held else {
            return;
        };
        let profile = Arc::clone(&pass.profile);
        if pass.is_lost(self.now) || !self.vectorizers.contains_key(&profile.id) {
            self.resync.held = None;
            self.resync.look(self.now);
            return;
        }
        let is_wanted = self.is_current(&profile) && self.life.is_running();
        if let Some(Held::Pass(pass)) = &mut self.resync.held
            && !is_wanted
        {
            pass.leave();
        }
    }

    pub(super) fn resync_query(&mut self) -> Option<(Asked, Query)> {
        if let Some(id) = self.resync.vectorizer() {
            let is_slow = self.vectorizers.get(&id).is_some_and(|known| known.is_slow);
            if !self.in_flight().has_room(id, is_slow) {
                return None;
            }
        }
        match &mut self.resync.held {
            Some(Held::Pass(pass)) => {
                let (step, query) = pass.next_query(self.now)?;
                Some((Asked::Resync(step), query))
            }
            Some(Held::Broken { is_out: true, .. }) => None,
            Some(Held::Broken {
                vectorizer,
                claim,
                reason,
                is_out,
            }) => {
                *is_out = true;
                let standing = ResyncStanding {
                    state: ResyncState::Failed,
                    reason: Some(reason.clone()),
                    ..ResyncStanding::default()
                };
                let query = ResyncQuery::Save {
                    vectorizer: *vectorizer,
                    claim: *claim,
                    lease: self.settings.lease,
                    standing,
                };
                Some((Asked::RefuseResync, Query::Resync(query)))
            }
            None => self.take_query(),
        }
    }

    fn take_query(&mut self) -> Option<(Asked, Query)> {
        let is_due = self.resync.look_at.is_some_and(|at| at <= self.now);
        if !is_due || self.resync.take_out || !self.life.is_running() {
            return None;
        }
        self.resync.look_at = None;
        let ids: Vec<i64> = self.known_to_resync().collect();
        if ids.is_empty() {
            return None;
        }
        let claim = self.resync.take_again.take();
        let claim = claim.unwrap_or_else(|| ClaimId(self.random.positive()));
        self.resync.take_out = true;
        let asked = Asked::TakeResync {
            claim,
            asked: self.now,
        };
        let lease = self.settings.lease;
        Some((
            asked,
            Query::Resync(ResyncQuery::Take { claim, lease, ids }),
        ))
    }

    /// The vectorizers whose requests this worker carries out, or refuses because they cannot run. Those whose tokenizer
    /// is still to come are left out: their texts can be compared then.
    fn known_to_resync(&self) -> impl Iterator<Item = i64> {
        let known = self.vectorizers.iter();
        known
            .filter(|(_, known)| known.profile.is_some() || known.broken.is_some())
            .filter(|(_, known)| !known.waits_for_tokenizer() || known.is_paused())
            .map(|(id, _)| *id)
    }

    pub(super) fn resync_wakes(&self) -> impl Iterator<Item = Time> {
        let (look_at, held) = match &self.resync.held {
            Some(Held::Pass(pass)) => (None, pass.wakes().to_vec()),
            Some(Held::Broken { .. }) => (None, vec![]),
            None => (self.resync.look_at, vec![]),
        };
        held.into_iter()
            .chain(look_at.filter(|_| self.life.is_running()))
    }

    pub(super) fn resync_taken(&mut self, claim: ClaimId, asked: Time, rows: Rows) {
        let taken = match TakenRequest::new(rows) {
            Ok(taken) => taken,
            Err(error) => return self.take_refused(claim, Trouble::Schema, &error.into()),
        };
        self.resync.take_out = false;
        self.resync.is_told = false;
        let Some(taken) = taken else {
            return;
        };
        let vectorizer = taken.vectorizer;
        let known = self.vectorizers.get(&vectorizer);
        let broken = known.and_then(|known| known.broken.clone());
        let profile = known.and_then(|known| known.profile.clone());
        // It was asked for when documents began to be checked, which this worker has not heard of yet: the lease of the
        // request runs out, and it is taken again.
        let is_address = |source: &Source| matches!(source, Source::Address { .. });
        if let Some(profile) = &profile
            && profile.documents.as_ref().is_some_and(is_address)
            && taken.refreshes
            && profile.plan.refresh.is_none()
        {
            return self.session.reload_soon(self.now);
        }
        self.resync.held = Some(match (profile, broken) {
            (Some(profile), _) => {
                self.events.push_back(Event::ResyncStarted {
                    vectorizer,
                    verifies_text: taken.verifies_text,
                });
                let (lease, limits) = (self.settings.lease, self.settings.limits);
                let pass = Pass::new(profile, claim, asked, lease, limits, taken);
                Held::Pass(Box::new(pass))
            }
            (None, Some(reason)) => Held::Broken {
                vectorizer,
                claim,
                reason,
                is_out: false,
            },
            // Disabled or dropped since it was asked for: its lease runs out.
            (None, None) => return,
        });
    }

    pub(super) fn take_refused(&mut self, claim: ClaimId, trouble: Trouble, error: &DbError) {
        self.resync.take_out = false;
        match trouble {
            // It may have been taken: ask again under the same name.
            Trouble::Outage => {
                self.resync.take_again = Some(claim);
                self.resync.look(self.now);
            }
            Trouble::Again => self.resync.look(self.now + HOUSEKEEPING),
            Trouble::Data | Trouble::Schema => {
                if !std::mem::replace(&mut self.resync.is_told, true) {
                    let reason = format!(
                        "requests for a resync cannot be read: {}; run `{} install` if an older \
                         version made the schema ai",
                        remedy(error),
                        self.settings.program
                    );
                    let retry_in = self.settings.poll_interval;
                    self.events
                        .push_back(Event::DatabaseTrouble { reason, retry_in });
                }
            }
        }
    }

    pub(super) fn resync_answered(&mut self, step: Step, rows: Rows) {
        let Some(Held::Pass(pass)) = &mut self.resync.held else {
            return;
        };
        let is_mine = !rows.is_empty();
        let progress = pass.answered(step, rows, self.now, &mut self.random);
        let claim = pass.claim;
        match progress {
            Err(error) => pass.fail(remedy(&error.into())),
            Ok(Progress::Over) => self.resync_over(is_mine),
            Ok(Progress::Queued) => {
                let id = pass.profile.id;
                if let Some(vectorizer) = self.vectorizers.get_mut(&id) {
                    vectorizer.pace.found(self.now);
                    vectorizer.exhausted = false;
                    vectorizer.claim_overtaken = true;
                }
            }
            Ok(Progress::Same) => {
                if let Some(work) = pass.work.take() {
                    match self.done_at_once(*work) {
                        Ok(done) => self.rows_compared(claim, done),
                        Err(work) => self.compare_later(claim, work),
                    }
                }
            }
        }
    }

    fn held_pass(&mut self, claim: ClaimId) -> Option<&mut Pass> {
        match &mut self.resync.held {
            Some(Held::Pass(pass)) if pass.claim == claim => Some(pass),
            Some(Held::Broken { .. } | Held::Pass(_)) | None => None,
        }
    }

    fn compare_later(&mut self, claim: ClaimId, work: Box<Work>) {
        if let Some(pass) = self.held_pass(claim) {
            pass.work = Some(work);
        }
    }

    /// Rows were compared for the resync of this claim, if that goes on.
    pub(super) fn rows_compared(&mut self, claim: ClaimId, done: Done) {
        if let Some(pass) = self.held_pass(claim) {
            pass.rows_compared(&match done.0 {
                Made::Compared(compared) => compared,
                // Nobody did it: the first row is queued, and the others are read again.
                Made::Planned(_) => ComparedRows::default(),
            });
        }
    }

    /// The last word was saved, or the request is somebody else's by now.
    fn resync_over(&mut self, is_mine: bool) {
        let Some(Held::Pass(pass)) = self.resync.held.take() else {
            return;
        };
        self.resync.look(self.now);
        if is_mine && pass.standing.state != ResyncState::Running {
            self.tell_resync(pass.profile.id, pass.standing);
        }
    }

    fn tell_resync(&mut self, vectorizer: i64, standing: ResyncStanding) {
        let failed = standing.state == ResyncState::Failed;
        if failed && self.settings.once {
            let reason = standing.reason.clone().unwrap_or_default();
            self.failed_as_a_whole(&format!(
                "the resync of vectorizer {vectorizer} failed: {reason}"
            ));
        }
        self.events.push_back(Event::ResyncEnded {
            vectorizer,
            failed,
            counts: standing.counts,
            reason: standing.reason,
        });
    }

    pub(super) fn resync_refused(&mut self, step: &Step, trouble: Trouble, error: &DbError) {
        let now = self.now;
        let Some(Held::Pass(pass)) = &mut self.resync.held else {
            return;
        };
        match trouble {
            Trouble::Outage => pass.unanswered(),
            Trouble::Again => {
                let was_cancelled = error.sqlstate.as_deref() == Some(super::statements::CANCELED);
                pass.again(now, was_cancelled, &mut self.random);
            }
            Trouble::Data | Trouble::Schema => {
                if matches!(step, Step::Save { .. }) {
                    // There is nowhere to say it but here.
                    let (vectorizer, reason) = (pass.profile.id, remedy(error));
                    self.resync.held = None;
                    let standing = ResyncStanding {
                        state: ResyncState::Failed,
                        reason: Some(reason),
                        ..ResyncStanding::default()
                    };
                    self.tell_resync(vectorizer, standing);
                } else if trouble != Trouble::Data || !pass.has_another_way(step) {
                    pass.unanswered();
                    pass.fail(remedy(error));
                }
            }
        }
    }

    /// That a request cannot be carried out has been said, or not: then it will be asked for again.
    pub(super) fn resync_refusal_saved(&mut self, is_saved: bool) {
        if let Some(Held::Broken {
            vectorizer, reason, ..
        }) = self.resync.held.take()
            && is_saved
        {
            self.tell_resync(
                vectorizer,
                ResyncStanding {
                    state: ResyncState::Failed,
                    reason: Some(reason),
                    ..ResyncStanding::default()
                },
            );
        }
        self.resync.look(self.now);
    }
}
