//! The chunks that one setting makes, alone or beside those of another.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::command::place::place;
use crate::command::table::{grouped, wrapped};
use crate::reuse::ChunkText;

/// The chunks of one setting.
pub(super) struct Side {
    pub(super) chunks: Vec<Shown>,
}

/// A chunk as it is shown.
pub(super) struct Shown {
    pub(super) text: Arc<str>,
    /// Where it comes from.
    location: Value,
    pub(super) tokens: Option<usize>,
}

/// The width of each column, in characters: two of them fit into 80.
const COLUMN: usize = 38;

impl Side {
    pub(super) fn new(texts: Vec<ChunkText>) -> Self {
        let chunks = texts.into_iter().map(|chunk| {
            let location = chunk.location.as_deref();
            let location = location.and_then(|text| serde_json::from_str(text).ok());
            Shown {
                text: chunk.text,
                location: location.unwrap_or_default(),
                tokens: None,
            }
        });
        Self {
            chunks: chunks.collect(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let chunks = self.chunks.iter().enumerate();
        let chunks = chunks.map(|(at, chunk)| {
            json!({"chunk_seq": at, "characters": chunk.characters(), "tokens": chunk.tokens,
                "location": chunk.location, "chunk": *chunk.text})
        });
        chunks.collect()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let chunks = self.chunks.iter().enumerate();
        let lines = chunks.flat_map(|(at, chunk)| {
            let parts = [chunk.size(), place(&chunk.location)];
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            let about = Vec::from_iter(parts).join(", ");
            [format!("-- chunk {at}: {about}"), chunk.text.to_string()]
        });
        lines.collect()
    }

    pub(super) fn total(&self, measure: &str) -> String {
        let number = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
        let characters = self.chunks.iter().map(Shown::characters).sum();
        let chunks = number(self.chunks.len());
        let mut total = format!("{chunks} chunks, {} characters", number(characters));
        let tokens: Option<usize> = self.chunks.iter().map(|chunk| chunk.tokens).sum();
        if let Some(tokens) = tokens {
            total.push_str(&format!(", {} tokens ({measure})", number(tokens)));
        }
        total
    }

    /// The lines of one column.
    fn column(&self, title: &str) -> Vec<Vec<String>> {
        let title = wrapped(title, "", COLUMN);
        let chunks = self.chunks.iter().enumerate().map(|(at, chunk)| {
            let lines = chunk.text.lines().flat_map(|line| match line.trim() {
                "" => vec![String::new()],
                _ => wrapped(line, "", COLUMN),
            });
            let mut block = vec![format!("-- chunk {at}: {}", chunk.size())];
            block.extend(lines);
            block
        });
        [title].into_iter().chain(chunks).collect()
    }
}

impl Shown {
    fn characters(&self) -> usize {
        self.text.chars().count()
    }

    fn size(&self) -> String {
        let tokens = self.tokens.map(|tokens| format!(", {tokens} tokens"));
        format!(
            "{} characters{}",
            self.characters(),
            tokens.unwrap_or_default()
        )
    }
}

/// Two settings side by side, each chunk beside the one of the same number.
pub(super) fn beside(left: &Side, right: &Side, now: &str, chunking: &str) -> Vec<String> {
    let (left, right) = (left.column(now), right.column(chunking));
    let nothing = vec![];
    let blocks = (0..left.len().max(right.len())).flat_map(|at| {
        let block = |side: &[Vec<String>]| side.get(at).unwrap_or(&nothing).clone();
        let (left, right) = (block(&left), block(&right));
        let lines = (0..left.len().max(right.len())).map(move |line| {
            let [left, right] =
                [&left, &right].map(|side| side.get(line).map_or("", String::as_str));
            format!("{left:<COLUMN$} | {right}").trim_end().to_owned()
        });
        Vec::from_iter(lines)
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(texts: &[&str]) -> Side {
        let texts = texts.iter().map(|text| ChunkText {
            text: (*text).into(),
            location: None,
        });
        Side::new(texts.collect())
    }

    #[test]
    fn chunks_of_the_same_number_are_side_by_side() {
        let lines = beside(
            &side(&["a b\n\nc", "d"]),
            &side(&["a"]),
            "docs",
            "ai.other()",
        );
        let gap = |left: &str, right: &str| format!("{left:<38} | {right}").trim_end().to_owned();
        assert_eq!(
            lines,
            [
                gap("docs", "ai.other()"),
                gap("-- chunk 0: 6 characters", "-- chunk 0: 1 characters"),
                gap("a b", "a"),
                gap("", ""),
                gap("c", ""),
                gap("-- chunk 1: 1 characters", ""),
                gap("d", ""),
            ]
        );
    }
}
