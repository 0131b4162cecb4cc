//! What rows that were read become: their texts are chunked and formatted, and compared with what is
//! stored. Pure work, which may be run away from the thread that polls.

use std::sync::Arc;

use crate::query::{Found, ReadRow};
use crate::reuse::{self, Piece};
use crate::rows::{Bounds, STEPS_AT_A_TIME, TextError};
use crate::settings::Limits;
use crate::text::{CHUNK_BYTES, Vectors};
use crate::vectorizer::Profile;
use crate::worker::failure::Failure;

/// Rows to be planned.
#[derive(Debug)]
pub(crate) struct PlanRows {
    pub(super) profile: Arc<Profile>,
    /// With their places in the batch.
    pub(super) rows: Vec<(usize, ReadRow)>,
    /// Those that a chunker has asked for, by their texts.
    pub(super) vectors: Vectors,
    pub(super) limits: Limits,
}

/// Rows with their chunks, or why they have none. Rows that were to be planned and are not here are
/// left for another read.
#[derive(Debug, Default)]
pub(crate) struct PlannedRows {
    pub(super) rows: Vec<(usize, Result<RowPlan, Failure>)>,
    /// A row ran out of steps: why.
    pub(super) out_of_steps: Option<String>,
}

/// What a row becomes.
#[derive(Debug)]
pub(super) enum RowPlan {
    Chunks(Vec<NewPiece>),
    /// Its chunks depend on the vectors of these texts.
    Undecided(Box<ReadRow>, Vec<NewText>),
}

/// A text to be embedded, and what is sent in its place because it is longer than the model takes.
#[derive(Debug)]
pub(super) struct NewText {
    pub(super) text: Arc<str>,
    pub(super) cut: Option<Arc<str>>,
}

/// A piece, and what is sent in place of its text because that is longer than the model takes.
#[derive(Debug)]
pub(super) struct NewPiece {
    pub(super) piece: Piece,
    pub(super) cut: Option<Arc<str>>,
}

impl PlanRows {
    /// What the work is about, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let rows: usize = self.rows.iter().map(|(_, row)| row.bytes()).sum();
        rows + self.vectors.bytes()
    }

    /// Whether its time does not depend on the bytes alone.
    pub(crate) fn is_unpredictable(&self) -> bool {
        self.profile.chunker.is_slow()
    }

    /// Plans each row. Once these rows have made as many bytes of text as one row may make, or have
    /// taken their time, or one has run out of steps, the others are left out: so the work stays
    /// short, and what it makes small.
    pub(crate) fn run(self) -> PlannedRows {
        let (profile, limits) = (&self.profile, self.limits);
        let mut planned = PlannedRows::default();
        let (mut bytes, mut steps) = (0_usize, 0_u64);
        for (at, row) in self.rows {
            if bytes >= limits.row_bytes
                || steps >= STEPS_AT_A_TIME
                || planned.out_of_steps.is_some()
            {
                break;
            }
            let mut bounds = Bounds::new(row.text.as_deref().unwrap_or_default(), limits);
            let pieces = plan_row(profile, &row, &self.vectors, &mut bounds);
            steps = steps.saturating_add(bounds.steps.spent());
            let row = match pieces {
                Ok(pieces) => {
                    let made: usize = pieces.iter().map(bytes_of).sum();
                    bytes = bytes.saturating_add(made);
                    let pieces = pieces.into_iter().map(|piece| shortened(profile, piece));
                    Ok(RowPlan::Chunks(pieces.collect()))
                }
                Err(Unplanned::NeedsVectors(texts)) => {
                    let made: usize = texts.iter().map(|text| CHUNK_BYTES + text.len()).sum();
                    bytes = bytes.saturating_add(made).saturating_add(row.bytes());
                    let texts = texts.into_iter().map(|text| NewText {
                        cut: profile.provider.cut(&text).map(Arc::from),
                        text,
                    });
                    Ok(RowPlan::Undecided(Box::new(row), texts.collect()))
                }
                Err(Unplanned::OutOfSteps(reason)) => {
                    let failure = Failure::out_of_steps(&reason);
                    planned.out_of_steps = Some(reason);
                    Err(failure)
                }
                Err(Unplanned::Failed(failure)) => Err(failure),
            };
            planned.rows.push((at, row));
        }
        planned
    }
}

/// Why a row has no chunks.
enum Unplanned {
    Failed(Failure),
    NeedsVectors(Vec<Arc<str>>),
    OutOfSteps(String),
}

/// One row from its source columns to the chunks that it shall have.
fn plan_row(
    profile: &Profile,
    row: &ReadRow,
    vectors: &Vectors,
    bounds: &mut Bounds,
) -> Result<Vec<Piece>, Unplanned> {
    if row.is_unchanged {
        return Ok(reuse::kept(row.stored.as_deref()).unwrap_or_default());
    }
    // A row that is gone, or whose text is NULL or empty, has no chunks.
    let payload = match row.found {
        Found::Gone => "",
        Found::Row => row.text.as_deref().unwrap_or_default(),
        Found::TooLong => {
            let reason = format!(
                "the texts of the row's columns have more than {} bytes: shorten them, or let the \
                 worker's operator raise --max-row-bytes",
                bounds.bytes
            );
            return Err(Unplanned::Failed(Failure::too_long(&reason)));
        }
    };
    let texts = profile
        .texts(payload, &row.parts, &row.columns, vectors, bounds)
        .map_err(|error| match error {
            TextError::Chunking(reason) => Unplanned::Failed(Failure::chunking(&reason)),
            TextError::Formatting(reason) => Unplanned::Failed(Failure::formatting(&reason)),
            TextError::Steps(reason) => Unplanned::OutOfSteps(reason),
            TextError::Vectors(texts) => Unplanned::NeedsVectors(texts),
        })?;
    Ok(reuse::compare(
        texts,
        &reuse::parse_stored(row.stored.as_deref()),
    ))
}

fn shortened(profile: &Profile, piece: Piece) -> NewPiece {
    let cut = match &piece {
        Piece::New(chunk) => profile.provider.cut(&chunk.text).map(Arc::from),
        Piece::Keep(_) | Piece::Move { .. } => None,
    };
    NewPiece { piece, cut }
}

/// What a piece takes while its row is in work.
fn bytes_of(piece: &Piece) -> usize {
    CHUNK_BYTES
        + match piece {
            Piece::Keep(_) => 0,
            Piece::Move { chunk, .. } | Piece::New(chunk) => {
                chunk.text.len() + chunk.location.as_ref().map_or(0, |location| location.len())
            }
        }
}
