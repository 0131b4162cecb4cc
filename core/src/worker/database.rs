//! Whether the database answers at all, and what the operator is told of it: once when it does not, and once when it
//! does again.

use std::time::Duration;

use super::Worker;
use crate::event::Event;
use crate::query::DbError;
use crate::retry;
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) failures: u32,
    retry_at: Time,
    trouble: Option<Outage>,
}

/// The database as a whole cannot do what is asked of it.
#[derive(Debug)]
struct Outage {
    reason: String,
    since: Time,
    /// An answer before this moment does not mean that it is over.
    over_after: Time,
}

/// With `--exit-on-error` the worker gives up after this many failures in a row; an outage at the
/// very start is fatal at once.
const OUTAGES_MAX: u32 = 5;
/// A server whose disk is full still answers some statements. So such an outage is over only when there was no further
/// failure for this long: longer than the longest wait between two attempts.
const CALM: Duration = Duration::from_secs(10);

impl Database {
    pub(super) fn is_open(&self, now: Time) -> bool {
        now >= self.retry_at
    }

    pub(super) fn wakes(&self) -> Option<Time> {
        (self.failures > 0).then_some(self.retry_at)
    }

    /// Why the database cannot be used now, and when it is asked again.
    pub(super) fn trouble(&self, now: Time) -> Option<(&str, Duration)> {
        let outage = self.trouble.as_ref()?;
        Some((&outage.reason, self.retry_at.since(now)))
    }
}

/// Whether the server runs, but lacks a resource (disk, memory, connections), or its operating system fails it: SQLSTATE
/// classes 53 and 58.
fn is_lasting(error: &DbError) -> bool {
    let class = error.sqlstate.as_deref().and_then(|code| code.get(..2));
    matches!(class, Some("53" | "58"))
}

/// What an operator can do about an outage, where its SQLSTATE tells.
fn advice(error: &DbError) -> &'static str {
    match error.sqlstate.as_deref() {
        Some("28P01" | "28000") => {
            "; check user and password of the database's URL, and pg_hba.conf"
        }
        Some("3D000") => "; check the name in the database's URL",
        Some("53100") => {
            "; make room on the disk of the database's server: rows stay queued meanwhile"
        }
        Some("53200") => "; the database's server needs more memory, or less in use",
        Some("53300") => "; raise max_connections, or run fewer workers or a lower --concurrency",
        Some("25006") => {
            "; it accepts no writes: it is a standby, or default_transaction_read_only is on"
        }
        Some(_) | None => "",
    }
}

impl Worker {
    /// The database answered something.
    pub(super) fn database_answered(&mut self) {
        let Some(outage) = &self.database.trouble else {
            return;
        };
        if self.now < outage.over_after {
            return;
        }
        let after = self.now.since(outage.since);
        self.database = Database::default();
        self.events.push_back(Event::DatabaseBack { after });
    }

    /// The database as a whole does not answer: everything waits.
    pub(super) fn outage(&mut self, error: &DbError) {
        // Statements that were in flight together fail together: that is one failure.
        if !self.database.is_open(self.now) {
            return;
        }
        let now = self.now;
        let database = &mut self.database;
        database.failures += 1;
        let retry_in = retry::DATABASE.wait(database.failures, &mut self.random);
        database.retry_at = now + retry_in;
        let at_start = !self.session.is_checked();
        let reason = match &error.sqlstate {
            None if at_start => error.explain(),
            None => format!("unable to connect to database: {error}"),
            Some(_) => format!("the database is not available: {error}{}", advice(error)),
        };
        let over_after = if is_lasting(error) { now + CALM } else { now };
        match &mut database.trouble {
            Some(outage) => {
                outage.reason.clone_from(&reason);
                outage.over_after = over_after;
            }
            none @ None => {
                *none = Some(Outage {
                    reason: reason.clone(),
                    since: now,
                    over_after,
                });
                self.events.push_back(Event::DatabaseTrouble {
                    reason: reason.clone(),
                    retry_in,
                });
            }
        }
        if self.settings.exit_on_error && (at_start || self.database.failures >= OUTAGES_MAX) {
            self.summary.failure.get_or_insert(reason);
            self.life.ask_to_end();
        }
    }
}
