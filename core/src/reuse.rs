//! Finds the new chunks of a row that need a new vector. Unchanged chunks are not embedded
//! again.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::query::ChunkHash;

/// How one chunk is handled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// It is stored at its position already.
    Keep(ChunkHash),
    /// It is stored at another position in the row, `from`.
    Move {
        text: Arc<str>,
        from: i32,
        hash: ChunkHash,
    },
    /// It is new.
    New(Arc<str>),
}

/// Compares a row's new chunks with the positions and hashes of its stored chunks.
pub(crate) fn compare(texts: Vec<String>, stored: &[(i32, ChunkHash)]) -> Vec<Piece> {
    if stored.is_empty() {
        return texts
            .into_iter()
            .map(|text| Piece::New(text.into()))
            .collect();
    }
    texts
        .into_iter()
        .zip(0..)
        .map(|(text, place)| {
            let hash = hash(&text);
            let mut same = stored
                .iter()
                .filter(|(_, stored)| *stored == hash)
                .map(|(at, _)| *at);
            match same.clone().find(|at| *at == place).or_else(|| same.next()) {
                Some(at) if at == place => Piece::Keep(hash),
                Some(from) => Piece::Move {
                    text: text.into(),
                    from,
                    hash,
                },
                None => Piece::New(text.into()),
            }
        })
        .collect()
}

/// The sha256 of a text, as `encode(sha256(convert_to(…)), 'hex')` writes it.
pub(crate) fn hash(text: &str) -> ChunkHash {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // A formatter that writes to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    ChunkHash(digits)
}

/// Parses `0:hash,1:hash,…` from the read statement.
pub(crate) fn parse_stored(text: Option<&str>) -> Vec<(i32, ChunkHash)> {
    let entries = text.unwrap_or_default().split(',');
    entries
        .filter_map(|entry| {
            let (place, hash) = entry.split_once(':')?;
            Some((place.parse().ok()?, ChunkHash(hash.to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn only_texts_that_stand_nowhere_in_the_row_are_new() {
        let stored: Vec<_> = ["a", "b", "c"]
            .iter()
            .zip(0..)
            .map(|(text, at)| (at, hash(text)))
            .collect();
        assert_eq!(
            compare(texts(&["a", "c", "x"]), &stored),
            [
                Piece::Keep(hash("a")),
                Piece::Move {
                    text: "c".into(),
                    from: 2,
                    hash: hash("c")
                },
                Piece::New("x".into()),
            ]
        );
    }

    #[test]
    fn of_equal_texts_the_one_at_the_same_place_is_kept() {
        let stored = [(0, hash("a")), (1, hash("a"))];
        assert_eq!(
            compare(texts(&["a", "a"]), &stored),
            [Piece::Keep(hash("a")), Piece::Keep(hash("a"))]
        );
    }

    #[test]
    fn stored_hashes_are_read_as_the_statement_writes_them() {
        assert_eq!(parse_stored(None), []);
        let text = format!("0:{},2:{}", hash("a").0, hash("b").0);
        assert_eq!(parse_stored(Some(&text)), [(0, hash("a")), (2, hash("b"))]);
        assert_eq!(
            hash("abc").0,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
