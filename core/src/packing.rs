//! Documents that are packed: by the end of their name, as the Python library smart_open goes by it.

use std::io::{self, Read};

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;

/// How a document is packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packing {
    /// bzip2: `.bz2`.
    Bzip2,
    /// gzip (RFC 1952): `.gz`.
    Gzip,
}

impl Packing {
    const ALL: [Self; 2] = [Self::Bzip2, Self::Gzip];

    const fn extension(self) -> &'static str {
        match self {
            Self::Bzip2 => ".bz2",
            Self::Gzip => ".gz",
        }
    }

    /// What its files begin with.
    const fn beginning(self) -> &'static [u8] {
        match self {
            Self::Bzip2 => b"BZh",
            Self::Gzip => &[0x1f, 0x8b],
        }
    }

    /// How a document with this name is packed, if it is; and its name without that.
    pub(crate) fn of(name: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|packing| {
            let end = packing.extension();
            let at = name.len().checked_sub(end.len())?;
            let (inner, extension) = name.split_at_checked(at)?;
            extension
                .eq_ignore_ascii_case(end)
                .then_some((packing, inner))
        })
    }

    /// Unpacks a document, truncated at `bytes_max`. One that does not begin like a packed one was unpacked on its
    /// way, and stays as it is.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn unpacked(self, bytes: Vec<u8>, bytes_max: usize) -> io::Result<Vec<u8>> {
        if !bytes.starts_with(self.beginning()) {
            return Ok(bytes);
        }
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        let mut unpacked = vec![];
        match self {
            Self::Bzip2 => MultiBzDecoder::new(&bytes[..])
                .take(limit)
                .read_to_end(&mut unpacked)?,
            Self::Gzip => MultiGzDecoder::new(&bytes[..])
                .take(limit)
                .read_to_end(&mut unpacked)?,
        };
        Ok(unpacked)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(vec![], bzip2::Compression::best());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Packing::Gzip => {
                let level = flate2::Compression::default();
                let mut encoder = flate2::write::GzEncoder::new(vec![], level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn the_name_says_how_a_document_is_packed() {
        for (name, found) in [
            ("a.txt.gz", Some((Packing::Gzip, "a.txt"))),
            ("s3://b/A.PDF.BZ2", Some((Packing::Bzip2, "s3://b/A.PDF"))),
            (".gz", Some((Packing::Gzip, ""))),
            ("ü", None),
            ("a.tgz", None),
            ("a.gz.txt", None),
        ] {
            assert_eq!(Packing::of(name), found, "{name}");
        }
    }

    #[test]
    fn packed_documents_are_unpacked_to_their_bound() {
        for packing in Packing::ALL {
            let text = b"A mallard is a duck. ".repeat(1000);
            let mut twice = packed(packing, &text);
            twice.extend(packed(packing, b"And so on."));
            let unpacked = packing.unpacked(twice.clone(), 1_000_000).unwrap();
            assert!(unpacked.starts_with(&text) && unpacked.ends_with(b"And so on."));
            // A bomb.
            let bomb = packed(packing, &vec![b'0'; 3_000_000]);
            assert!(bomb.len() < 10_000);
            let cut = packing.unpacked(bomb, 10_000).unwrap();
            assert_eq!(cut.len(), 10_000);
            assert!(cut.capacity() < 100_000);
            // Damaged, or not packed at all.
            twice.truncate(30);
            packing.unpacked(twice, 1_000_000).unwrap_err();
            assert_eq!(packing.unpacked(text.clone(), 9).unwrap(), text);
        }
    }
}
