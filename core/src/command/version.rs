//! `version`: shows the versions of the program, the schema and the server.

use super::{Answer, Ask, Steps, field};
use crate::settings::Settings;
use crate::worker::SCHEMAS;

/// Versions of pgai's interface, the schema, the server and pgvector.
const VERSIONS: &str = "\
select
  (select v.version from ai.pgai_lib_version v where v.name = 'ai'),
  (select v.version from ai.pgai_lib_version v where v.name = 'setup.sql'),
  current_setting('server_version'),
  (select extversion from pg_extension where extname = 'vector')";

#[derive(Debug)]
pub(super) struct Version {
    settings: Settings,
}

impl Version {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Steps for Version {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        if matches!(answer, Answer::Begin) {
            return Ok(Ask::query(VERSIONS, vec![]));
        }
        let version = &self.settings.version;
        // The program's version is of use without a database, too.
        let rows = answer
            .rows()
            .map_err(|error| format!("{version}; of the database nothing is known: {error}"))?;
        let row = rows.first().map_or(&[][..], Vec::as_slice);
        let or_none = |text: &str| if text.is_empty() { "none" } else { text }.to_owned();
        Ok(Ask::done(format!(
            "{version}\nschema ai {} (this program works with {}), interface of pgai {}\n\
             PostgreSQL {}, pgvector {}",
            or_none(field(row, 1)),
            SCHEMAS.join(", "),
            or_none(field(row, 0)),
            field(row, 2),
            or_none(field(row, 3)),
        )))
    }
}
