//! From rows that were read to requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plan::{NewPiece, NewText, PlanRows, PlannedRows, RowPlan};
use super::{Batch, Input, Planned, RowState, Span, Taken, Truncated};
use crate::query::ReadRow;
use crate::reuse::{ChunkText, Piece};
use crate::text::Vectors;
use crate::worker::accounts::{Sizes, tokens_of};
use crate::worker::failure::Failure;

impl Batch {
    /// Takes rows that were read, which are to be planned now.
    pub(in crate::worker) fn read_rows(&mut self, asked: &[usize], rows: Vec<ReadRow>) -> PlanRows {
        let places = rows.into_iter().filter_map(|row| {
            let at = *asked.get(row.number.checked_sub(1)?)?;
            Some((at, row))
        });
        let rows: Vec<_> = places.collect();
        if self
            .rows
            .iter()
            .all(|row| row.state.inputs().next().is_none())
        {
            // Inputs of the rows before are of no more use, and no request points at them.
            self.inputs.clear();
            self.by_text.clear();
        }
        self.deciding.clear();
        for (at, _) in &rows {
            self.rows[*at].state = RowState::Read;
        }
        PlanRows {
            profile: Arc::clone(&self.profile),
            rows,
            vectors: Vectors::default(),
            limits: self.limits,
        }
    }

    /// Takes what the rows of a read became, and packs their new texts into requests.
    pub(in crate::worker) fn plan_rows(&mut self, planned: PlannedRows, sizes: Sizes) -> Taken {
        let first = self.inputs.len();
        for (at, pieces) in planned.rows {
            // It may have been given back, or be lost, since it was read.
            if !matches!(self.rows[at].state, RowState::Read) {
                continue;
            }
            self.rows[at].state = match pieces {
                Ok(RowPlan::Chunks(pieces)) => {
                    let pieces = pieces.into_iter().map(|piece| self.planned(piece));
                    RowState::Planned(pieces.collect())
                }
                Ok(RowPlan::Undecided(row, texts)) => {
                    // A second question comes with the answers to the first one.
                    let mut inputs = std::mem::take(&mut self.deciding);
                    inputs.extend(texts.into_iter().map(|text| self.input(text)));
                    RowState::Undecided(row, inputs)
                }
                Err(failure) => RowState::Failed(failure),
            };
        }
        for row in &mut self.rows {
            if matches!(row.state, RowState::Read) {
                row.state = RowState::Unread;
            }
        }
        self.pack_all(first, sizes);
        let mut truncated = Truncated::default();
        for input in &self.inputs[first..] {
            if let Some(cut) = &input.cut {
                truncated.inputs += 1;
                truncated.bytes += input.text.len().saturating_sub(cut.len());
            }
        }
        Taken {
            truncated,
            out_of_steps: planned.out_of_steps,
        }
    }

    fn planned(&mut self, piece: NewPiece) -> Planned {
        let NewPiece { piece, cut } = piece;
        let Piece::New(ChunkText { text, location }) = piece else {
            return Planned::Stored(piece);
        };
        Planned::Input(self.input(NewText { text, cut }), location)
    }

    /// The input of a text: that of an equal one that is embedded already or asked for.
    fn input(&mut self, text: NewText) -> usize {
        let NewText { text, cut } = text;
        if let Some(at) = self.by_text.get(&text) {
            return *at;
        }
        let at = self.inputs.len();
        self.by_text.insert(Arc::clone(&text), at);
        self.inputs.push(Input {
            cut,
            text,
            vector: None,
            failure: None,
        });
        at
    }

    /// Packs the inputs from `first` on into requests. Those of a row that has failed before go
    /// apart, so that it need not be searched for again.
    fn pack_all(&mut self, first: usize, sizes: Sizes) {
        let mut apart = vec![];
        let mut is_apart = BTreeSet::new();
        for row in self.rows.iter().filter(|row| row.is_suspect) {
            let new = row.state.inputs().filter(|at| *at >= first);
            apart.push(new.filter(|at| is_apart.insert(*at)).collect::<Vec<_>>());
        }
        let together = (first..self.inputs.len()).filter(|at| !is_apart.contains(at));
        let together: Vec<_> = together.collect();
        self.pack(&together, sizes);
        for row in apart {
            self.pack(&row, sizes);
        }
    }

    /// Packs inputs into requests of about the same size, within the provider's limits.
    fn pack(&mut self, of: &[usize], sizes: Sizes) {
        let provider = self.profile.provider.limits;
        let inputs_max = provider.inputs.min(sizes.inputs);
        let bytes_max = provider.bytes.min(sizes.bytes);
        let count = of.len();
        let requests = count.div_ceil(inputs_max).max(1);
        let each = count.div_ceil(requests).max(1);
        let (mut inputs, mut bytes) = (vec![], 0);
        for at in of.iter().copied() {
            let input = &self.inputs[at];
            if !inputs.is_empty()
                && (inputs.len() == each || bytes + input.sent().len() > bytes_max)
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

    /// How many inputs of the request at this place so many tokens are enough for.
    pub(in crate::worker) fn inputs_within(&self, at: usize, tokens: u64) -> usize {
        let inputs = self.spans.get(at).map_or(&[][..], |span| &span.inputs);
        let mut bytes = 0;
        let fits = |at: &&usize| {
            bytes += self.inputs[**at].sent().len();
            tokens_of(bytes) <= tokens
        };
        inputs.iter().take_while(fits).count()
    }

    /// The tokens of the first input of the request at this place, estimated.
    pub(in crate::worker) fn first_tokens(&self, at: usize) -> u64 {
        let first = self.spans.get(at).and_then(|span| span.inputs.first());
        tokens_of(first.map_or(0, |at| self.inputs[*at].sent().len()))
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
            self.by_text.remove(&self.inputs[*at].text);
        }
        for row in &mut self.rows {
            let failure = row
                .state
                .inputs()
                .find_map(|at| self.inputs[at].failure.as_ref());
            if let Some(reason) = failure {
                row.state = RowState::Failed(Failure::embedding(reason));
            }
        }
        self.forget_unneeded_inputs();
    }

    /// Does not ask for vectors that only failed rows would have used.
    pub(super) fn forget_unneeded_inputs(&mut self) {
        let mut needed = BTreeSet::new();
        for row in &self.rows {
            needed.extend(row.state.inputs());
        }
        for span in &mut self.spans {
            span.inputs.retain(|at| {
                let is_needed = needed.contains(at);
                if !is_needed {
                    self.by_text.remove(&self.inputs[*at].text);
                }
                is_needed
            });
        }
        self.spans.retain(|span| !span.inputs.is_empty());
    }
}

impl Input {
    pub(super) fn sent(&self) -> &Arc<str> {
        self.cut.as_ref().unwrap_or(&self.text)
    }
}
