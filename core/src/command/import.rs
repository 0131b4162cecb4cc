//! `import`: takes embeddings from a CSV file into the store of a vectorizer. Vectors are taken for rows that are
//! there, and a worker keeps those whose chunk is one of the row's text.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::table::grouped;
use super::{Answer, Ask, Steps, csv, explained, field, named};
use crate::query::{DbError, Param, Rows};
use crate::settings::Settings;
use crate::vectorizer::{Definition, Maker, Profile};
use crate::worker::is_passing;

/// The arguments of `import`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// The vectorizer's name or id
    name: String,

    /// Read this file, as Parquet if its name ends in .parquet; without it, the standard input
    #[arg(long, value_name = "FILE")]
    from: Option<String>,
}

impl ImportArgs {
    pub(super) fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }
}

/// Chunks in one statement. A row with more of them may need a few times as many.
const CHUNKS: usize = 200;
const CHUNKS_MAX: usize = 4 * CHUNKS;
/// And about their bytes.
const BYTES: usize = 4_000_000;

/// A statement that met a lock, or a deadlock, is sent again so often, after this pause.
const TRIES_MAX: u32 = 240;
const PAUSE: Duration = Duration::from_millis(250);

const RESYNC: &str = "select ai.resync_vectorizer($1::bigint::int)::text";

pub(super) struct Import {
    args: ImportArgs,
    settings: Settings,
    found: Option<Found>,
    columns: Option<Columns>,
    records: csv::Records,
    /// Read, and not imported yet.
    left: VecDeque<Vec<String>>,
    is_at_end: bool,
    batch: Vec<Chunk>,
    batch_bytes: usize,
    /// On its way.
    sent: Vec<Chunk>,
    /// Chunks that were taken out of `left`.
    line: u64,
    tries: u32,
    counts: Counts,
    step: Step,
}

struct Found {
    id: i64,
    name: String,
    profile: Arc<Profile>,
    maker: Maker,
    key: Vec<String>,
}

/// Where the file has its columns.
struct Columns {
    key: Vec<usize>,
    chunk: usize,
    embedding: usize,
    location: Option<usize>,
    maker: [usize; 3],
    digest: Option<usize>,
    count: usize,
}

struct Chunk {
    key: Vec<String>,
    chunk: String,
    embedding: String,
    location: Option<String>,
}

#[derive(Default)]
struct Counts {
    read: u64,
    with_row: u64,
    written: u64,
    rows: u64,
}

#[derive(Clone, Copy)]
enum Step {
    Name,
    File,
    Batch,
    Resync,
}

impl Columns {
    fn new(header: &[String], key: &[String]) -> Result<Self, String> {
        let place = |name: &str| header.iter().position(|column| column == name);
        let needed = |name: &str| {
            place(name).ok_or_else(|| {
                format!(
                    "the file has no column {name}: its header must name {}, {}, {}, {}, {} and {}, as `export` \
                     writes it",
                    key.join(", "),
                    csv::CHUNK,
                    csv::EMBEDDING,
                    csv::PROVIDER,
                    csv::MODEL,
                    csv::DIMENSIONS
                )
            })
        };
        Ok(Self {
            key: key
                .iter()
                .map(|name| needed(name))
                .collect::<Result<_, _>>()?,
            chunk: needed(csv::CHUNK)?,
            embedding: needed(csv::EMBEDDING)?,
            location: place(csv::LOCATION),
            maker: [
                needed(csv::PROVIDER)?,
                needed(csv::MODEL)?,
                needed(csv::DIMENSIONS)?,
            ],
            digest: place(csv::MADE_BY),
            count: header.len(),
        })
    }

    /// A chunk of a vectorizer whose vectors `maker` makes.
    fn chunk(&self, mut record: Vec<String>, maker: &Maker) -> Result<Chunk, String> {
        if record.len() != self.count {
            return Err(format!(
                "it has {} fields, and the header {}",
                record.len(),
                self.count
            ));
        }
        let [provider, model, dimensions] = self.maker.map(|at| record[at].as_str());
        maker.check(
            provider,
            model,
            dimensions,
            self.digest.map(|at| record[at].as_str()),
        )?;
        let embedding = &record[self.embedding];
        let components = embedding.split(',').count();
        if !embedding.starts_with('[') || components != maker.dimensions {
            return Err(format!(
                "its embedding is no vector of {} components, such as [0.1,0.2]",
                maker.dimensions
            ));
        }
        let mut take = |at: usize| std::mem::take(&mut record[at]);
        Ok(Chunk {
            chunk: take(self.chunk),
            embedding: take(self.embedding),
            location: self.location.map(&mut take).filter(|it| !it.is_empty()),
            key: self.key.iter().map(|at| take(*at)).collect(),
        })
    }
}

impl Import {
    pub(super) fn new(args: ImportArgs, settings: Settings) -> Self {
        Self {
            args,
            settings: named::without_secrets(settings),
            found: None,
            columns: None,
            records: csv::Records::new(),
            left: VecDeque::new(),
            is_at_end: false,
            batch: vec![],
            batch_bytes: 0,
            sent: vec![],
            line: 0,
            tries: 0,
            counts: Counts::default(),
            step: Step::Name,
        }
    }

    fn found(&mut self, rows: &Rows) -> Result<Ask, String> {
        let definition = named::find(rows, &self.args.name)?;
        definition.check_vectors()?;
        let profile = Profile::new(&definition, &self.settings)?;
        if profile.plan.transfer.is_none() {
            return Err(format!(
                "the vectorizer {} writes to a column of its source, which keeps no chunks to compare with",
                definition.name
            ));
        }
        self.found = Some(Found {
            id: definition.id,
            maker: definition.maker(),
            key: Definition::key(&definition).map(str::to_owned).collect(),
            name: definition.name,
            profile: Arc::new(profile),
        });
        self.step = Step::File;
        Ok(Ask::Read)
    }

    fn read(&mut self, piece: &[u8]) -> Result<Ask, String> {
        self.is_at_end = piece.is_empty();
        let records = self.records.read(piece);
        let mut records = records.map_err(|reason| self.at(self.line + 1, &reason))?;
        if self.columns.is_none() && !records.is_empty() {
            let found = self.found.as_ref().ok_or(GONE)?;
            let header = records.remove(0);
            self.columns = Some(Columns::new(&header, &found.key)?);
        }
        self.left.extend(records);
        self.go_on()
    }

    /// What is wrong with a chunk of the file.
    fn at(&self, line: u64, reason: &str) -> String {
        let done = grouped(self.counts.written);
        format!("chunk {line} of the file: {reason} ({done} chunks before it were imported)")
    }

    /// The next statement, or the next piece of the file.
    fn go_on(&mut self) -> Result<Ask, String> {
        while let Some(record) = self.left.pop_front() {
            self.line += 1;
            let (Some(found), Some(columns)) = (&self.found, &self.columns) else {
                return Err(GONE.to_owned());
            };
            let chunk = columns.chunk(record, &found.maker);
            let chunk = chunk.map_err(|reason| self.at(self.line, &reason))?;
            let is_of_the_same_row = self.batch.last().is_some_and(|last| last.key == chunk.key);
            let is_full = self.batch.len() >= CHUNKS && !is_of_the_same_row
                || self.batch.len() >= CHUNKS_MAX
                || self.batch_bytes >= BYTES;
            if is_full {
                self.sent = std::mem::take(&mut self.batch);
                self.batch_bytes = 0;
            }
            self.batch_bytes += chunk.chunk.len() + chunk.embedding.len();
            self.batch.push(chunk);
            if is_full {
                return self.send();
            }
        }
        if !self.is_at_end {
            self.step = Step::File;
            return Ok(Ask::Read);
        }
        if self.batch.is_empty() {
            return self.compare_the_rest();
        }
        self.sent = std::mem::take(&mut self.batch);
        self.send()
    }

    fn send(&mut self) -> Result<Ask, String> {
        let found = self.found.as_ref().ok_or(GONE)?;
        let transfer = found.profile.plan.transfer.as_ref().ok_or(GONE)?;
        self.step = Step::Batch;
        let texts = |of: &dyn Fn(&Chunk) -> Option<String>| {
            Param::Texts(self.sent.iter().map(of).collect())
        };
        let keys = 0..found.key.len();
        let mut params: Vec<Param> = keys
            .map(|at| texts(&|chunk| chunk.key.get(at).cloned()))
            .collect();
        params.push(texts(&|chunk| Some(chunk.chunk.clone())));
        params.push(texts(&|chunk| Some(chunk.embedding.clone())));
        params.push(texts(&|chunk| chunk.location.clone()));
        Ok(Ask::query(transfer.import.clone(), params))
    }

    fn written(&mut self, rows: Result<Rows, DbError>) -> Result<Ask, String> {
        let rows = match rows {
            Ok(rows) => rows,
            // The application holds a row, or a worker was faster.
            Err(error) if is_passing(&error) && self.tries < TRIES_MAX => {
                self.tries += 1;
                return Ok(Ask::Wait {
                    say: None,
                    pause: PAUSE,
                });
            }
            Err(error) => return Err(self.at(self.line, &explained(&error))),
        };
        let name = self.found.as_ref().map_or("", |found| &found.name);
        let row = rows.first().ok_or(GONE)?;
        if field(row, 0) != "true" {
            let reason = format!("the vectorizer {name} has another model by now");
            return Err(self.at(self.line, &reason));
        }
        let number = |at: usize| field(row, at).parse::<u64>().unwrap_or_default();
        self.counts.read += self.sent.len() as u64;
        self.counts.with_row += number(1);
        self.counts.written += number(2);
        self.counts.rows += number(3);
        self.tries = 0;
        self.sent.clear();
        self.go_on()
    }

    /// Rows that nothing was imported for are embedded as usual.
    fn compare_the_rest(&mut self) -> Result<Ask, String> {
        if self.columns.is_none() {
            return Err("the file is empty: it has no header".to_owned());
        }
        let found = self.found.as_ref().ok_or(GONE)?;
        self.step = Step::Resync;
        Ok(Ask::query(RESYNC, vec![Param::Int(found.id)]))
    }

    fn report(&self) -> Ask {
        let Counts {
            read,
            with_row,
            written,
            rows,
        } = self.counts;
        let mut lines = vec![format!(
            "{} chunks of {} rows imported",
            grouped(written),
            grouped(rows)
        )];
        for (count, what) in [
            (with_row.saturating_sub(written), "are there already"),
            (read.saturating_sub(with_row), "have no row"),
        ] {
            if count > 0 {
                lines.push(format!("{} chunks {what}", grouped(count)));
            }
        }
        lines.push("workers compare all rows, and embed what is missing: see `status`".to_owned());
        Ask::done(lines.join("\n"))
    }
}

const GONE: &str = "the vectorizer is gone";

impl Steps for Import {
    fn next(&mut self, answer: Answer) -> Result<Ask, String> {
        match (answer, self.step) {
            (Answer::Begin, _) => Ok(named::ask()),
            (Answer::Read(piece), _) => self.read(&piece?),
            (Answer::Waited, _) => self.send(),
            (Answer::Rows(rows), Step::Batch) => self.written(rows),
            (answer, Step::Name) => self.found(&answer.rows()?),
            (answer, Step::Resync) => answer.rows().map(|_| self.report()),
            (_, Step::Batch | Step::File) => Err("the file was not read".to_owned()),
        }
    }
}
