//! Rows whose chunks depend on vectors.

use std::sync::Arc;

use super::{Batch, PlanRows, Planned, RowState};
use crate::text::Vectors;

impl RowState {
    /// The inputs whose vectors the row needs.
    pub(super) fn inputs(&self) -> impl Iterator<Item = usize> {
        let (pieces, inputs) = match self {
            Self::Planned(pieces) => (pieces.as_slice(), &[][..]),
            Self::Undecided(_, inputs) => (&[][..], inputs.as_slice()),
            Self::Failed(_) | Self::Over | Self::Read | Self::Unread => (&[][..], &[][..]),
        };
        let pieces = pieces.iter().filter_map(|piece| match piece {
            Planned::Input(at, _) => Some(*at),
            Planned::Stored(_) => None,
        });
        pieces.chain(inputs.iter().copied())
    }
}

impl Batch {
    /// A row whose chunks can be decided now, because all vectors that it needs are there. It is alone, so
    /// that it is certainly planned: what it has cost is not lost.
    pub(in crate::worker) fn take_decided(&mut self) -> Option<PlanRows> {
        if self.draining || self.is_planning() {
            return None;
        }
        let has_vector = |at: usize| self.inputs[at].vector.is_some();
        let mut rows = self.rows.iter();
        let at = rows.position(|row| {
            matches!(row.state, RowState::Undecided(..)) && row.state.inputs().all(has_vector)
        })?;
        let state = std::mem::replace(&mut self.rows[at].state, RowState::Read);
        let RowState::Undecided(row, inputs) = state else {
            return None;
        };
        let known = inputs.iter().filter_map(|at| {
            let input = &self.inputs[*at];
            Some((Arc::clone(&input.text), Arc::clone(input.vector.as_ref()?)))
        });
        let vectors = Vectors::Known(known.collect());
        self.deciding = inputs;
        Some(PlanRows {
            profile: Arc::clone(&self.profile),
            vectors,
            rows: vec![(at, *row)],
            limits: self.limits,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::tests::{claimed_of, next, profile_with, read};
    use super::super::{Batch, Span, Step};
    use crate::query::{CommitChunk, Query};
    use crate::worker::accounts::Sizes;

    fn claimed(keys: &[&str]) -> Batch {
        let loading = json!({"implementation": "column", "column_name": "body", "retries": 1});
        let chunking = json!({"implementation": "semantic_chunker", "chunk_size": 100, "chunk_overlap": 0,
            "window_size": 1, "skip_window": 1, "max_aside_length": 100, "min_characters_per_sentence": 1});
        claimed_of(profile_with(&loading, &chunking), keys)
    }

    /// The next texts to be embedded. "b" is unlike the others.
    fn ask(batch: &mut Batch) -> Vec<String> {
        let mut asked = vec![];
        while let Some(at) = batch.next_span(true) {
            let span = batch.take_span(at, Sizes::default()).unwrap();
            let texts = batch.texts(&span);
            let vectors = texts.iter().map(|text| match text.contains('b') {
                true => Arc::from([0.0, 1.0]),
                false => Arc::from([1.0, 0.0]),
            });
            let vectors = vectors.collect();
            batch.back(&span);
            batch.fill(&span, vectors);
            asked.extend(texts.iter().map(|text| text.to_string()));
        }
        asked
    }

    fn decide(batch: &mut Batch) -> usize {
        let mut decided = 0;
        while let Some(plan) = batch.take_decided() {
            assert!(batch.is_planning());
            batch.plan_rows(plan.run(), Sizes::default());
            decided += 1;
        }
        decided
    }

    #[test]
    fn a_row_goes_back_to_its_chunks_with_the_vectors_that_they_depend_on() {
        let mut batch = claimed(&["1", "2", "3"]);
        // Two sentences in the middle are unlike the others.
        let text = "aa. ac. b. bb. ad. ae.";
        let texts = [text, "short", text];
        assert_eq!(read(&mut batch, &texts), 3);
        assert!(next(&mut batch, 0).is_none(), "vectors are still to come");
        assert_eq!(decide(&mut batch), 0);
        batch.fill(&Span::new(vec![0]), vec![Arc::from([1.0, 0.0])]);
        assert_eq!(decide(&mut batch), 0, "other vectors are still to come");
        let windows = ask(&mut batch);
        assert_eq!(windows.len(), 7, "six sentences and a chunk: {windows:?}");
        // The sentences are compared, and then the chunks around the aside.
        assert_eq!(decide(&mut batch), 2);
        assert_eq!(ask(&mut batch), ["aa. ac.", "ad. ae."]);
        assert_eq!(decide(&mut batch), 2);
        assert_eq!(ask(&mut batch), [text], "the aside is joined");
        let (step, query) = next(&mut batch, 0).unwrap();
        assert!(matches!(step, Step::Commit(_)));
        let Query::Commit { rows, .. } = query else {
            panic!("{query:?}");
        };
        let chunks = rows.iter().map(|row| {
            let texts = row.chunks.iter().map(|chunk| match chunk {
                CommitChunk::Write { text, .. } => text.to_string(),
                CommitChunk::Keep(_) | CommitChunk::Move { .. } => panic!("{chunk:?}"),
            });
            Vec::from_iter(texts)
        });
        let chunks = Vec::from_iter(chunks);
        assert_eq!(chunks, [[text], ["short"], [text]]);
    }

    #[test]
    fn a_refused_part_fails_its_row_only() {
        let mut batch = claimed(&["1", "2"]);
        read(&mut batch, &["aa. ac. b. ad.", "xa. xc. xd. xe."]);
        let mut span = batch.take_span(0, Sizes::default()).unwrap();
        batch.back(&span);
        let texts = batch.texts(&span);
        let bad = texts.iter().position(|text| text.contains('b')).unwrap();
        let others = span.clone();
        span.inputs = vec![span.inputs[bad]];
        batch.blame(&span, "too ugly");
        batch.spans.push_back(others);
        batch.forget_unneeded_inputs();
        let asked = ask(&mut batch);
        assert!(asked.iter().all(|text| text.contains('x')), "{asked:?}");
        assert_eq!(decide(&mut batch), 1);
        ask(&mut batch);
        decide(&mut batch);
        ask(&mut batch);
        let (_, query) = next(&mut batch, 0).unwrap();
        assert!(
            matches!(&query, Query::Commit { rows, .. } if rows.len() == 1 && rows[0].key.0 == ["2"])
        );
    }
}
