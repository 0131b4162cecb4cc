//! Whether the database has the schema that this worker knows, and what to do if it does not.

use super::Worker;
use super::session::Schema;
use super::trouble::{Trouble, remedy};
use crate::event::Event;
use crate::query::{DbError, SchemaVersions};

/// The versions of our schema that this worker works with.
pub(crate) const SCHEMAS: &[&str] = &["1"];
const OLDER: &str = "the schema ai is older than this worker";
const NOT_INSTALLED: &str = "pgai is not installed in the database";

impl Worker {
    pub(super) fn schema_checked(&mut self, found: SchemaVersions) {
        let SchemaVersions { pgai, ours } = found;
        let program = &self.settings.program;
        if ours.as_deref().is_some_and(|ours| SCHEMAS.contains(&ours)) {
            (self.session.schema, self.session.lacks) = (Schema::Known, None);
            return;
        }
        self.not_installed(match (ours, pgai) {
            (Some(found), _) => format!(
                "this worker does not know version {found} of the schema ai: it knows {}; \
                 run `{program} install` of the newer of the two",
                SCHEMAS.join(", ")
            ),
            (None, Some(pgai)) => format!(
                "the schema ai is that of Python pgai {pgai}: run `{program} install`, \
                 or execute sql/setup.sql, to bring it up to date"
            ),
            (None, None) => self.missing(NOT_INSTALLED),
        });
    }

    pub(super) fn schema_missing(&mut self, trouble: Trouble, error: &DbError) {
        match trouble {
            Trouble::Outage | Trouble::Again => self.session.schema = Schema::Unknown,
            Trouble::Data | Trouble::Schema => match error.sqlstate.as_deref() {
                Some("3F000" | "42P01") => self.not_installed(self.missing(NOT_INSTALLED)),
                Some("42883") => self.not_installed(self.missing(OLDER)),
                _ => {
                    let reason = remedy(error);
                    self.not_installed(format!("the schema ai cannot be read: {reason}"));
                }
            },
        }
    }

    /// A table or a function is missing that this version has added.
    pub(super) fn outdated_schema(&self) -> String {
        self.missing(OLDER)
    }

    /// What is missing, and what to do.
    fn missing(&self, what: &str) -> String {
        let program = &self.settings.program;
        format!("{what}: run `{program} install`, or execute sql/setup.sql")
    }

    pub(super) fn not_installed(&mut self, reason: String) {
        self.session.schema = Schema::Unknown;
        self.session.lacks = Some(reason.clone());
        self.session.check_at = self.now + self.settings.poll_interval;
        // Nobody waits for a run that shall end by itself.
        if self.settings.exit_on_error || self.settings.once {
            self.summary.failure.get_or_insert_with(|| reason.clone());
            self.life.ask_to_end();
        }
        self.events.push_back(Event::NotInstalled { reason });
    }
}
