//! Finds the new chunks of a row that need a new vector. Unchanged chunks are not embedded
//! again.

use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::query::ChunkHash;

/// A chunk as it is to be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ChunkText {
    pub(crate) text: Arc<str>,
    /// Where it comes from, as [`crate::location`] writes it, if the store has a column for that.
    pub(crate) location: Option<Arc<str>>,
}

/// A chunk that is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct StoredChunk {
    /// Its position in the row.
    pub(crate) place: i32,
    pub(crate) hash: ChunkHash,
    /// The hash of its location, if the store has a column for that.
    pub(crate) location: Option<ChunkHash>,
}

/// How one chunk is handled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// It is stored at its position already.
    Keep(ChunkHash),
    /// It is stored at another position in the row, `from`; or at its own, and comes from elsewhere now.
    Move {
        chunk: ChunkText,
        from: i32,
        hash: ChunkHash,
    },
    /// It is new.
    New(ChunkText),
}

/// Compares a row's new chunks with its stored chunks.
pub(crate) fn compare(chunks: Vec<ChunkText>, stored: &[StoredChunk]) -> Vec<Piece> {
    if stored.is_empty() {
        return chunks.into_iter().map(Piece::New).collect();
    }
    let chunks = chunks.into_iter().zip(0..);
    chunks
        .map(|(chunk, place)| {
            let hash = hash(&chunk.text);
            let mut same = stored.iter().filter(|stored| stored.hash == hash);
            let here = same.clone().find(|stored| stored.place == place);
            match here.or_else(|| same.next()) {
                Some(stored) if stored.place == place && stored.comes_from(&chunk) => {
                    Piece::Keep(hash)
                }
                Some(stored) => Piece::Move {
                    chunk,
                    from: stored.place,
                    hash,
                },
                None => Piece::New(chunk),
            }
        })
        .collect()
}

impl StoredChunk {
    fn comes_from(&self, chunk: &ChunkText) -> bool {
        self.location == chunk.location.as_deref().map(hash)
    }
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

/// Parses `0:hash,1:hash,…` from the read statement; with locations, `0:hash:hash`.
pub(crate) fn parse_stored(text: Option<&str>) -> Vec<StoredChunk> {
    let entries = text.unwrap_or_default().split(',');
    entries
        .filter_map(|entry| {
            let mut fields = entry.split(':');
            let place = fields.next()?.parse().ok()?;
            let mut hash = || Some(ChunkHash(fields.next()?.to_owned()));
            Some(StoredChunk {
                place,
                hash: hash()?,
                location: hash(),
            })
        })
        .collect()
}

/// The stored chunks of a row as they are; `None` if some are missing, or there are none.
pub(crate) fn kept(stored: Option<&str>) -> Option<Vec<Piece>> {
    let stored = parse_stored(stored);
    let in_order = stored.iter().zip(0..).all(|(chunk, at)| chunk.place == at);
    let pieces = stored.into_iter().map(|chunk| Piece::Keep(chunk.hash));
    let pieces: Vec<_> = pieces.collect();
    (in_order && !pieces.is_empty()).then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(text: &str, location: Option<&str>) -> ChunkText {
        ChunkText {
            text: text.into(),
            location: location.map(Arc::from),
        }
    }

    fn chunks(texts: &[&str]) -> Vec<ChunkText> {
        texts.iter().map(|text| chunk(text, None)).collect()
    }

    fn stored(texts: &[&str]) -> Vec<StoredChunk> {
        let texts = texts.iter().zip(0..);
        texts
            .map(|(text, place)| StoredChunk {
                place,
                hash: hash(text),
                location: None,
            })
            .collect()
    }

    #[test]
    fn only_texts_that_stand_nowhere_in_the_row_are_new() {
        assert_eq!(
            compare(chunks(&["a", "c", "x"]), &stored(&["a", "b", "c"])),
            [
                Piece::Keep(hash("a")),
                Piece::Move {
                    chunk: chunk("c", None),
                    from: 2,
                    hash: hash("c")
                },
                Piece::New(chunk("x", None)),
            ]
        );
    }

    #[test]
    fn of_equal_texts_the_one_at_the_same_place_is_kept() {
        assert_eq!(
            compare(chunks(&["a", "a"]), &stored(&["a", "a"])),
            [Piece::Keep(hash("a")), Piece::Keep(hash("a"))]
        );
    }

    #[test]
    fn a_chunk_that_comes_from_elsewhere_is_written_with_its_vector() {
        let mut there = stored(&["a", "b"]);
        for (stored, location) in there.iter_mut().zip(["1", "2"]) {
            stored.location = Some(hash(location));
        }
        let now = vec![chunk("a", Some("1")), chunk("b", Some("3"))];
        assert_eq!(
            compare(now.clone(), &there),
            [
                Piece::Keep(hash("a")),
                Piece::Move {
                    chunk: now[1].clone(),
                    from: 1,
                    hash: hash("b")
                },
            ]
        );
    }

    #[test]
    fn stored_hashes_are_read_as_the_statement_writes_them() {
        assert_eq!(parse_stored(None), []);
        let text = format!("0:{},2:{}", hash("a").0, hash("b").0);
        let mut expected = stored(&["a", "b"]);
        expected[1].place = 2;
        assert_eq!(parse_stored(Some(&text)), expected);
        expected.truncate(1);
        expected[0].location = Some(hash("l"));
        let text = format!("0:{}:{}", hash("a").0, hash("l").0);
        assert_eq!(parse_stored(Some(&text)), expected);
        assert_eq!(
            hash("abc").0,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
