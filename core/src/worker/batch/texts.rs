//! From source rows to requests: what a read brought is chunked, formatted, compared with what is
//! stored, and packed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Batch, Input, Planned, RowState, Span, Taken};
use crate::query::Rows;
use crate::reuse::{self, Piece};
use crate::rows::{Bounds, STEPS_AT_A_TIME, TextError};
use crate::settings::Limits;
use crate::text::CHUNK_BYTES;
use crate::vectorizer::Profile;
use crate::worker::failure::Failure;
use crate::worker::throttle::tokens_of;

impl Batch {
    /// Takes the answer to a read: chunks, formats and compares each row that came. Once these rows
    /// have made as many bytes of text as one row may make, or have taken their time, or one has run
    /// out of steps, the others are left for another read: meanwhile leases can be extended.
    pub(in crate::worker) fn handle_read(
        &mut self,
        asked: &[usize],
        answer: Rows,
        inputs_max: usize,
        limits: Limits,
    ) -> Taken {
        if !self
            .rows
            .iter()
            .any(|row| matches!(row.state, RowState::Planned(_)))
        {
            // Inputs of the rows before are of no more use, and no request points at them.
            self.inputs.clear();
            self.by_text.clear();
        }
        let first = self.inputs.len();
        let mut taken = Taken::default();
        let (mut bytes, mut steps) = (0_usize, 0_u64);
        for line in answer {
            if bytes >= limits.row_bytes || steps >= STEPS_AT_A_TIME || taken.out_of_steps.is_some()
            {
                break;
            }
            let mut fields = line.into_iter();
            let number = fields
                .next()
                .flatten()
                .and_then(|number| number.parse::<usize>().ok());
            let Some(at) = number.and_then(|number| asked.get(number - 1)).copied() else {
                continue;
            };
            let found = fields.next().flatten().unwrap_or_default();
            let fields: Vec<_> = fields.collect();
            let text = fields.first().and_then(Option::as_deref);
            let mut bounds = Bounds::new(text.unwrap_or_default(), limits);
            let planned = plan_row(&self.profile, &found, &fields, &mut bounds);
            steps = steps.saturating_add(bounds.steps.spent());
            self.rows[at].state = match planned {
                Ok(pieces) => {
                    let made: usize = pieces.iter().map(bytes_of).sum();
                    bytes = bytes.saturating_add(made);
                    let pieces = pieces.into_iter().map(|piece| self.planned(piece, first));
                    RowState::Planned(pieces.collect())
                }
                Err(Unplanned::OutOfSteps(reason)) => {
                    taken.out_of_steps = Some(reason.clone());
                    RowState::Failed(Failure::out_of_steps(&reason))
                }
                Err(Unplanned::Failed(failure)) => RowState::Failed(failure),
            };
        }
        self.pack_all(first, inputs_max);
        for input in &self.inputs[first..] {
            if let Some(cut) = &input.cut {
                taken.truncated.inputs += 1;
                taken.truncated.bytes += input.text.len().saturating_sub(cut.len());
            }
        }
        taken
    }

    /// The input of an equal text is taken if it has its vector, or is of this read (`first` and on):
    /// one of a read before without a vector was refused or given up, and nobody asks for it.
    fn planned(&mut self, piece: Piece, first: usize) -> Planned {
        let Piece::New(text) = piece else {
            return Planned::Stored(piece);
        };
        if let Some(at) = self.by_text.get(&text).copied()
            && (at >= first || self.inputs[at].vector.is_some())
        {
            return Planned::Input(at);
        }
        let at = self.inputs.len();
        self.by_text.insert(Arc::clone(&text), at);
        self.inputs.push(Input {
            cut: self.profile.provider.cut(&text).map(Arc::from),
            text,
            vector: None,
            failure: None,
        });
        Planned::Input(at)
    }

    /// Packs the inputs from `first` on into requests. Those of a row that has failed before go
    /// apart, so that it need not be searched for again.
    fn pack_all(&mut self, first: usize, inputs_max: usize) {
        let mut apart = vec![];
        let mut is_apart = BTreeSet::new();
        for row in self.rows.iter().filter(|row| row.is_suspect) {
            let RowState::Planned(pieces) = &row.state else {
                continue;
            };
            let new = pieces.iter().filter_map(|piece| match piece {
                Planned::Input(at) if *at >= first => Some(*at),
                Planned::Input(_) | Planned::Stored(_) => None,
            });
            apart.push(new.filter(|at| is_apart.insert(*at)).collect::<Vec<_>>());
        }
        let together = (first..self.inputs.len()).filter(|at| !is_apart.contains(at));
        let together: Vec<_> = together.collect();
        self.pack(&together, inputs_max);
        for row in apart {
            self.pack(&row, inputs_max);
        }
    }

    /// Packs inputs into requests of about the same size, within the provider's limits.
    fn pack(&mut self, of: &[usize], inputs_max: usize) {
        let provider = self.profile.provider.limits();
        let inputs_max = provider.inputs.min(inputs_max);
        let count = of.len();
        let requests = count.div_ceil(inputs_max).max(1);
        let each = count.div_ceil(requests).max(1);
        let (mut inputs, mut bytes) = (vec![], 0);
        for at in of.iter().copied() {
            let input = &self.inputs[at];
            if !inputs.is_empty()
                && (inputs.len() == each || bytes + input.sent().len() > provider.bytes)
            {
                self.spans.push_back(Span::new(std::mem::take(&mut inputs)));
                bytes = 0;
            }
            bytes += input.sent().len();
            inputs.push(at);
        }
        if !inputs.is_empty() {
            self.spans.push_back(Span::new(inputs));
        }
    }

    /// The tokens of the request at this place, estimated.
    pub(in crate::worker) fn tokens(&self, at: usize) -> u64 {
        let inputs = self.spans.get(at).map_or(&[][..], |span| &span.inputs);
        tokens_of(inputs.iter().map(|at| self.inputs[*at].sent().len()).sum())
    }

    pub(in crate::worker) fn texts(&self, span: &Span) -> Vec<Arc<str>> {
        span.inputs
            .iter()
            .map(|at| Arc::clone(self.inputs[*at].sent()))
            .collect()
    }

    pub(in crate::worker) fn fill(&mut self, span: &Span, vectors: Vec<Arc<[f32]>>) {
        for (at, vector) in span.inputs.iter().zip(vectors) {
            if let Some(input) = self.inputs.get_mut(*at) {
                input.vector = Some(vector);
            }
        }
    }

    /// The provider does not take this input: its rows fail.
    pub(in crate::worker) fn blame(&mut self, span: &Span, reason: &str) {
        for at in &span.inputs {
            self.inputs[*at].failure = Some(reason.to_owned());
        }
        for row in &mut self.rows {
            let RowState::Planned(pieces) = &row.state else {
                continue;
            };
            let failure = pieces.iter().find_map(|piece| match piece {
                Planned::Input(at) => self.inputs[*at].failure.as_ref(),
                Planned::Stored(_) => None,
            });
            if let Some(reason) = failure {
                row.state = RowState::Failed(Failure::embedding(reason));
            }
        }
        self.forget_unneeded_inputs();
    }

    /// Does not ask for vectors that only failed rows would have used.
    fn forget_unneeded_inputs(&mut self) {
        let mut needed = BTreeSet::new();
        for row in &self.rows {
            let RowState::Planned(pieces) = &row.state else {
                continue;
            };
            needed.extend(pieces.iter().filter_map(|piece| match piece {
                Planned::Input(at) => Some(*at),
                Planned::Stored(_) => None,
            }));
        }
        for span in &mut self.spans {
            span.inputs.retain(|at| needed.contains(at));
        }
        self.spans.retain(|span| !span.inputs.is_empty());
    }
}

impl Input {
    fn sent(&self) -> &Arc<str> {
        self.cut.as_ref().unwrap_or(&self.text)
    }
}

/// Why a row has no chunks.
enum Unplanned {
    Failed(Failure),
    OutOfSteps(String),
}

/// What a piece takes while its row is in work.
fn bytes_of(piece: &Piece) -> usize {
    CHUNK_BYTES
        + match piece {
            Piece::Keep(_) => 0,
            Piece::Move { text, .. } | Piece::New(text) => text.len(),
        }
}

/// One row from its source columns to the chunks that it shall have.
fn plan_row(
    profile: &Profile,
    found: &str,
    fields: &[Option<String>],
    bounds: &mut Bounds,
) -> Result<Vec<Piece>, Unplanned> {
    if found == "long" {
        let reason = format!(
            "the texts of the row's columns have more than {} bytes: shorten them, or let the \
             worker's operator raise --max-row-bytes",
            bounds.bytes
        );
        return Err(Unplanned::Failed(Failure::too_long(&reason)));
    }
    let value = |at: usize| fields.get(at).and_then(Option::as_deref);
    let columns = profile.format.columns();
    let stored = reuse::parse_stored(value(columns.len() + 1));
    // A row that is gone, or whose text is NULL or empty, has no chunks.
    let payload = if found == "true" {
        value(0).unwrap_or_default()
    } else {
        ""
    };
    let columns = fields.get(1..).unwrap_or_default();
    let texts = profile
        .texts(payload, columns, bounds)
        .map_err(|error| match error {
            TextError::Chunking(reason) => Unplanned::Failed(Failure::chunking(&reason)),
            TextError::Formatting(reason) => Unplanned::Failed(Failure::formatting(&reason)),
            TextError::Steps(reason) => Unplanned::OutOfSteps(reason),
        })?;
    Ok(reuse::compare(texts, &stored))
}
