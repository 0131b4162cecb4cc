//! From the start to the end of a worker.

use std::time::Duration;

use super::Worker;
use super::statements::Asked;
use crate::event::Event;
use crate::query::Query;
use crate::time::Time;

#[derive(Debug)]
pub(super) enum Life {
    Running,
    /// Asked to stop, and not yet seen by a poll.
    Asked,
    /// The database is gone, or something else makes it pointless to finish anything.
    Ending,
    Stopping {
        deadline: Time,
    },
    Stopped,
}

/// After the grace period, this long for giving everything back and saying goodbye.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Life {
    pub(super) const fn ask_to_stop(&mut self) {
        if matches!(self, Self::Running) {
            *self = Self::Asked;
        }
    }

    /// Stop without finishing anything.
    pub(super) const fn ask_to_end(&mut self) {
        if !matches!(self, Self::Stopped) {
            *self = Self::Ending;
        }
    }

    pub(super) const fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    pub(super) fn wakes(&self, now: Time) -> Option<Time> {
        match self {
            Self::Stopping { deadline } if now < *deadline => Some(*deadline),
            Self::Stopping { deadline } => Some(*deadline + LAST_WORDS),
            Self::Asked | Self::Ending | Self::Running | Self::Stopped => None,
        }
    }
}

impl Worker {
    /// Brings the state up to date with the time and with what was recorded since the last poll.
    pub(super) fn settle(&mut self) {
        self.take_wakes();
        self.end_pauses();
        for batch in self.batches.values_mut() {
            batch.expire(self.now);
        }
        self.blame_doubtful();
        self.drop_batches();
        self.heed_waits();
        self.heed_budgets();
        self.settle_resync();
        self.settle_indexes();
        match self.life {
            Life::Running => {
                self.tell_news();
                if self.settings.once && self.nothing_is_due() {
                    self.session.recount();
                    self.life = Life::Stopping {
                        deadline: self.now + self.settings.grace,
                    };
                }
            }
            Life::Asked => {
                self.events.push_back(Event::Stopping {
                    batches: self.batches.len(),
                });
                for batch in self.batches.values_mut() {
                    batch.drain();
                }
                self.life = Life::Stopping {
                    deadline: self.now + self.settings.grace,
                };
            }
            Life::Ending => self.end(),
            Life::Stopping { deadline } => {
                if self.now >= deadline {
                    for batch in self.batches.values_mut() {
                        batch.leaving = true;
                    }
                    // A database that does not answer is not waited for.
                    if self.database.failures > 0 || self.now >= deadline + LAST_WORDS {
                        self.end();
                    }
                }
                if self.has_said_goodbye() {
                    self.end();
                }
            }
            Life::Stopped => {}
        }
    }

    pub(super) fn has_said_goodbye(&self) -> bool {
        let stopping = matches!(self.life, Life::Stopping { .. });
        stopping && self.session.goodbye_said && self.asked.is_empty() && self.batches.is_empty()
    }

    fn end(&mut self) {
        self.batches.clear();
        self.life = Life::Stopped;
        let waiting = self
            .settings
            .once
            .then(|| self.session.waiting_known())
            .flatten();
        self.events.push_back(Event::Stopped {
            rows: self.summary.rows,
            failed: self.summary.failed,
            waiting,
            failure: self.summary.failure.clone(),
        });
    }

    /// Something failed that is not one row's own.
    pub(super) fn failed_as_a_whole(&mut self, reason: &str) {
        self.summary
            .failure
            .get_or_insert_with(|| reason.to_owned());
        if self.settings.exit_on_error && !self.settings.once {
            self.life.ask_to_stop();
        }
    }

    /// The last words: what is left of budgets is given back, what still waits is counted, and the last heartbeat
    /// is sent.
    pub(super) fn goodbye_query(&mut self) -> Option<(Asked, Query)> {
        let quiet = self.asked.is_empty() && self.batches.is_empty() && self.records.is_empty();
        let quiet = quiet && self.resync.holds_nothing() && self.usage.is_written();
        let quiet = quiet && self.indexes.holds_nothing();
        if !matches!(self.life, Life::Stopping { .. }) || !quiet || self.session.goodbye_said {
            return None;
        }
        if let Some(query) = self.give_back_query() {
            return Some(query);
        }
        if self.settings.once
            && let Some(query) = self.count_waiting_query()
        {
            return Some(query);
        }
        self.session.goodbye_said = true;
        self.session.take_heartbeat().map(|heartbeat| {
            (
                Asked::Heartbeat(heartbeat.clone()),
                Query::Heartbeat(heartbeat),
            )
        })
    }
}
