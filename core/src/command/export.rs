//! `export`: writes the chunks of a vectorizer and their embeddings as CSV.

use std::sync::Arc;

use super::table::grouped;
use super::{Answer, Ask, Steps, csv, named};
use crate::query::{Param, Rows};
use crate::settings::Settings;
use crate::vectorizer::{Maker, Profile};

/// The arguments of `export`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The vectorizer's name or id
    name: String,

    /// Write to this file, as Parquet if its name ends in .parquet; without it, to the standard output
    #[arg(long, value_name = "FILE")]
    to: Option<String>,
}

impl ExportArgs {
    pub(super) fn to(&self) -> Option<&str> {
        self.to.as_deref()
    }
}

/// About the bytes of one answer.
const PAGE_BYTES: usize = 2_000_000;
/// About the bytes of a component, and of all else of a chunk.
const COMPONENT_BYTES: usize = 12;
const CHUNK_BYTES: usize = 2_000;

pub(super) struct Export {
    args: ExportArgs,
    settings: Settings,
    found: Option<Found>,
    step: Step,
    chunks: u64,
}

/// The vectorizer.
struct Found {
    profile: Arc<Profile>,
    maker: Maker,
    /// Chunks in one answer.
    page: usize,
}

/// The place of the last chunk: its row's key, and its number.
#[derive(Clone, Debug)]
struct Place {
    key: Vec<Option<String>>,
    seq: i64,
}

/// What was asked for last, and what comes next.
#[derive(Clone, Debug)]
enum Step {
    Name,
    /// The chunks of the next rows.
    Page,
    /// The other chunks of the row that came last.
    Rest(Place),
    /// What came was written.
    Written(Option<Next>),
}

#[derive(Clone, Debug)]
enum Next {
    Page(Option<Place>),
    Rest(Place),
}

impl Export {
    pub(super) fn new(args: ExportArgs, settings: Settings) -> Self {
        Self {
            args,
            settings: named::without_secrets(settings),
            found: None,
            step: Step::Name,
            chunks: 0,
        }
    }

    fn found(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        definition.check_vectors()?;
        let profile = Profile::new(&definition, &self.settings)?;
        if profile.plan.transfer.is_none() {
            return Err(format!(
                "the vectorizer {} writes to a column of its source, which keeps no chunks: copy the column with \
                 the table",
                definition.name
            ));
        }
        let header = csv::header(definition.key(), profile.plan.has_location);
        let bytes = profile.plan.dimensions * COMPONENT_BYTES + CHUNK_BYTES;
        self.found = Some(Found {
            profile: Arc::new(profile),
            maker: definition.maker(),
            page: (PAGE_BYTES / bytes).clamp(16, 500),
        });
        Ok(self.write(header, Some(Next::Page(None))))
    }

    fn write(&mut self, text: String, next: Option<Next>) -> Ask {
        let is_last = next.is_none();
        self.step = Step::Written(next);
        Ask::Write { text, is_last }
    }

    fn ask(&mut self, next: Next) -> Result<Ask, String> {
        let found = self.found.as_ref().ok_or("the vectorizer is gone")?;
        let plan = &found.profile.plan;
        let mut params = vec![Param::Int(i64::try_from(found.page).unwrap_or(i64::MAX))];
        match next {
            Next::Page(after) => {
                let sql = plan.resync.exported(after.is_none(), plan.has_location);
                let key = after.map_or_else(Vec::new, |place| place.key);
                params.extend(key.into_iter().map(Param::Text));
                self.step = Step::Page;
                Ok(Ask::query(sql, params))
            }
            Next::Rest(place) => {
                let transfer = plan.transfer.as_ref().ok_or("the store is gone")?;
                params.push(Param::Int(place.seq));
                let key = place.key.iter().cloned();
                params.extend(key.map(|value| Param::Texts(vec![value])));
                let ask = Ask::query(transfer.rest.clone(), params);
                self.step = Step::Rest(place);
                Ok(ask)
            }
        }
    }

    /// Writes what came, and remembers where to go on.
    fn take(&mut self, rows: &Rows, of: Option<Place>) -> Result<Ask, String> {
        let found = self.found.as_ref().ok_or("the vectorizer is gone")?;
        let columns = found.profile.plan.key_columns;
        let mut text = String::new();
        for row in rows {
            csv::add(&mut text, row, &found.maker);
        }
        self.chunks += rows.len() as u64;
        let is_full = rows.len() >= found.page;
        let last = rows.last().map(|row| Place {
            key: row[..columns.min(row.len())].to_vec(),
            seq: super::field(row, columns).parse().unwrap_or_default(),
        });
        let next = match (last, of) {
            // The last row may have more chunks than fitted.
            (Some(last), _) if is_full => Some(Next::Rest(last)),
            (_, Some(of)) => Some(Next::Page(Some(of))),
            (_, None) => None,
        };
        Ok(self.write(text, next))
    }
}

impl Steps for Export {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        match (answer, self.step.clone()) {
            (Answer::Begin, _) => Ok(named::ask()),
            (Answer::Written(written), Step::Written(next)) => {
                written?;
                match (next, self.args.to.is_some()) {
                    (Some(next), _) => self.ask(next),
                    (None, true) => Ok(Ask::done(format!("{} chunks", grouped(self.chunks)))),
                    (None, false) => Ok(Ask::done("")),
                }
            }
            (answer, Step::Name) => self.found(&answer.rows()?),
            (answer, Step::Page) => self.take(&answer.rows()?, None),
            (answer, Step::Rest(of)) => self.take(&answer.rows()?, Some(of)),
            (_, Step::Written(_)) => Err("what was written is not known".to_owned()),
        }
    }
}
