//! What the model database writes down beside its tables, to see whether its statements keep the
//! protocol. It decides nothing, so a mutant of a statement does not touch it.
//!
//! All times are those of the database's clock. Where that clock is set forward, leases end sooner
//! than their workers believe: then two workers may believe in one row, and the rule that one does
//! speaks of the database's belief only. (The later commit of the two is fenced off.)

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::database::BACKOFF_MAX;
use super::provider::{OUTAGE, REFUSAL_OF_ALL};
use super::rules::Rule;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Who was given each key last, as long as it has not been given back.
    holders: BTreeMap<i64, Holder>,
    /// How many claims of a key ended without a word since its item changed or failed.
    silent: BTreeMap<i64, (i64, i64)>,
    /// Until when a failed key waits, and the generation that failed.
    waits: BTreeMap<i64, (i64, Duration)>,
    /// How many batches may still blame rows for what the provider refuses of everybody.
    mistakes_left: u32,
    /// The claims of those that did.
    mistaken: BTreeSet<i64>,
    /// How often the provider has been down.
    outages: u32,
    /// The claims of rows that were blamed for that.
    blamed_for_outages: BTreeSet<i64>,
    broken: Option<(Rule, String)>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    claim: i64,
    until: Duration,
}

/// A claim of one key, as it was granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) key: i64,
    pub(super) claim: i64,
    pub(super) generation: i64,
    pub(super) attempts: i64,
    pub(super) until: Duration,
}

impl Ledger {
    /// The first rule that was broken, once.
    pub(super) const fn take_broken(&mut self) -> Option<(Rule, String)> {
        self.broken.take()
    }

    /// The queue and the leases are gone, and with them all that was known of their rows.
    pub(super) fn tables_dropped(&mut self) {
        self.holders.clear();
        self.silent.clear();
        self.waits.clear();
    }

    pub(super) fn broke(&mut self, rule: Rule, how: String) {
        self.broken.get_or_insert((rule, how));
    }

    pub(super) fn granted(&mut self, now: Duration, granted: Granted) {
        let Granted {
            key,
            claim,
            generation,
            attempts,
            until,
        } = granted;
        let before = self.holders.insert(key, Holder { claim, until });
        let other = before.filter(|before| before.claim != claim);
        if let Some(other) = other.filter(|other| other.until > now) {
            let left = other.until.saturating_sub(now);
            let how = format!(
                "row {key} is given to claim {claim}, and claim {} holds it for {left:?} more",
                other.claim
            );
            self.broke(Rule::OneWorkerAtATime, how);
        }
        let silent = self.silent.entry(key).or_insert((generation, 0));
        if silent.0 != generation {
            *silent = (generation, 0);
        }
        silent.1 += i64::from(other.is_some());
        let allowed = silent.1 + 1;
        if attempts > allowed {
            let how = format!(
                "row {key} counts attempt {attempts}, and {} ended without a word",
                allowed - 1
            );
            self.broke(Rule::AttemptsAreThoseOfDeadWorkers, how);
        }
        // A wait that is longer than any can be says that the clock was set back: it is over.
        if let Some((failed, wait)) = self.waits.remove(&key)
            && failed == generation
            && (now < wait && wait <= now + BACKOFF_MAX)
        {
            let how = format!(
                "row {key} failed and should wait {:?} more",
                wait.saturating_sub(now)
            );
            self.broke(Rule::AFailedRowWaits, how);
        }
    }

    fn lets_go(&mut self, key: i64, claim: i64, what: &str) {
        let holder = self.holders.remove(&key);
        if holder.is_none_or(|holder| holder.claim != claim) {
            let how = format!("claim {claim} {what} row {key}, which {holder:?} holds");
            self.broke(Rule::OneWorkerAtATime, how);
        }
    }

    pub(super) fn committed(&mut self, key: i64, claim: i64) {
        self.lets_go(key, claim, "commits");
    }

    /// A failure was counted: `item` is the generation on the queue, `failed` the one that failed.
    pub(super) fn failed(
        &mut self,
        key: i64,
        claim: i64,
        item: i64,
        failed: i64,
        until: Option<Duration>,
    ) {
        self.lets_go(key, claim, "fails");
        self.silent.remove(&key);
        if item != failed {
            let how = format!("row {key} failed in generation {failed}, and is {item} by now");
            self.broke(Rule::AFailureCountsAgainstItsText, how);
        }
        if let Some(until) = until {
            self.waits.insert(key, (failed, until));
        }
    }

    /// The provider refuses everything from now on. What it took and refused just before and after
    /// may look as if a text were at fault, once for each worker. All rows of the batch that share
    /// the text are blamed for it, so it is batches that are counted, not rows.
    pub(super) const fn provider_turned(&mut self, workers: u32) {
        self.mistakes_left += workers;
    }

    /// The provider is down from now on.
    pub(super) const fn provider_went_down(&mut self) {
        self.outages += 1;
    }

    /// A row is blamed for what an outage said. A text is to blame that has failed once and then in two
    /// trials, each after other answers: so it may look where three outages began at the wrong moments,
    /// and each worker tries one text at a time.
    fn blamed_for_an_outage(&mut self, key: i64, claim: i64, reason: &str) {
        self.blamed_for_outages.insert(claim);
        if self.blamed_for_outages.len() as u64 > u64::from(self.outages.saturating_sub(1) / 2) * 2
        {
            let how = format!(
                "row {key} is blamed for {reason:?} after {} outages",
                self.outages
            );
            self.broke(Rule::AnOutageCostsNoAttempt, how);
        }
    }

    /// The failure's reason names a fault that is not the row's.
    pub(super) fn blamed(&mut self, key: i64, claim: i64, reason: &str, is_stumbling: bool) {
        if reason.contains(OUTAGE) && !is_stumbling {
            self.blamed_for_an_outage(key, claim, reason);
        }
        if !reason.contains(REFUSAL_OF_ALL) || !self.mistaken.insert(claim) {
            return;
        }
        if let Some(left) = self.mistakes_left.checked_sub(1) {
            self.mistakes_left = left;
        } else {
            let how = format!("row {key} is blamed for {reason:?}");
            self.broke(Rule::RowsAreGivenUpForAReasonOnly, how);
        }
    }

    /// A lease was given back, or a changed row's commit or failure ended it.
    pub(super) fn released(&mut self, key: i64, claim: i64) {
        if self
            .holders
            .get(&key)
            .is_some_and(|holder| holder.claim == claim)
        {
            self.holders.remove(&key);
        }
    }

    pub(super) fn extended(&mut self, key: i64, claim: i64, until: Duration) {
        match self.holders.get_mut(&key) {
            Some(holder) if holder.claim == claim => holder.until = until,
            other => {
                let how =
                    format!("claim {claim} is told that it holds row {key}, which {other:?} holds");
                self.broke(Rule::OneWorkerAtATime, how);
            }
        }
    }
}
