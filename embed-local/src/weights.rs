//! The tensors of a safetensors file, read one at a time as float32.
//!
//! The file is not memory-mapped, which needs unsafe code, and not read as a whole. While a model
//! loads, memory contains the loaded tensors and one megabyte of the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::description::{OpenError, unreadable};

const FILE: &str = "model.safetensors";
/// The format's own limit for its header.
const HEADER_MAX: u64 = 100_000_000;
/// The maximum number of values in one tensor: eight gigabytes.
const NUMBERS_MAX: usize = 1 << 31;
/// The read size in bytes; divisible by the size of every element.
const PIECE: usize = 1 << 20;

/// An open file of weights.
pub(crate) struct Weights {
    /// The position in the file from which the header's offsets count.
    data: u64,
    /// The size of the whole file.
    size: u64,
    file: File,
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Deserialize)]
struct Tensor {
    data_offsets: (u64, u64),
    dtype: String,
    shape: Vec<usize>,
}

/// The types of numbers that can be made into float32 without loss.
#[derive(Clone, Copy)]
enum Element {
    Bf16,
    F16,
    F32,
}

impl Weights {
    pub(crate) fn open(directory: &Path) -> Result<Self, OpenError> {
        let failed = |source| unreadable(directory, FILE, source);
        let path = directory.join(FILE);
        let mut file = File::open(&path).map_err(failed)?;
        let malformed = |reason: String| OpenError::Malformed {
            path: path.clone(),
            reason,
        };
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(failed)?;
        let length = u64::from_le_bytes(length);
        let size = file.metadata().map_err(failed)?.len();
        if length > HEADER_MAX || length > size.saturating_sub(8) {
            return Err(malformed("it is not a safetensors file".to_owned()));
        }
        let mut header = Vec::new();
        (&mut file)
            .take(length)
            .read_to_end(&mut header)
            .map_err(failed)?;
        let mut entries: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&header).map_err(|error| malformed(error.to_string()))?;
        entries.remove("__metadata__");
        let tensors = entries
            .into_iter()
            .map(|(name, entry)| Ok((name, serde_json::from_value(entry)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self {
            data: 8 + length,
            size,
            file,
            path,
            tensors,
        })
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the tensor of this name, which must have this shape.
    pub(crate) fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, OpenError> {
        let malformed = |reason: String| OpenError::Malformed {
            path: self.path.clone(),
            reason,
        };
        let Some(tensor) = self.tensors.get(name) else {
            return Err(malformed(format!("it has no tensor {name}")));
        };
        if tensor.shape != shape {
            return Err(malformed(format!(
                "{name} has the shape {:?}, and config.json asks for {shape:?}",
                tensor.shape
            )));
        }
        let element = match tensor.dtype.as_str() {
            "BF16" => Element::Bf16,
            "F16" => Element::F16,
            "F32" => Element::F32,
            other => return Err(malformed(format!("{name} is of type {other}"))),
        };
        let count = shape
            .iter()
            .try_fold(1, |count: usize, side| count.checked_mul(*side))
            .filter(|count| *count <= NUMBERS_MAX);
        let (start, end) = tensor.data_offsets;
        let bytes = count.map(|count| (count * element.size()) as u64);
        let (Some(count), true) = (count, end.checked_sub(start) == bytes) else {
            return Err(malformed(format!("{name} has the wrong size")));
        };
        // Before memory is taken for it.
        if self.data.checked_add(end).is_none_or(|end| end > self.size) {
            return Err(malformed(format!("the file ends before {name} does")));
        }
        read_at(&mut self.file, self.data + start, count, element).map_err(|source| {
            OpenError::Unreadable {
                path: self.path.clone(),
                source,
            }
        })
    }
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

fn read_at(file: &mut File, start: u64, count: usize, element: Element) -> io::Result<Vec<f32>> {
    file.seek(SeekFrom::Start(start))?;
    let mut numbers = Vec::with_capacity(count);
    let mut piece = vec![0; PIECE.min(count * element.size())];
    while numbers.len() < count {
        let bytes = (count - numbers.len()) * element.size();
        let piece = &mut piece[..PIECE.min(bytes)];
        file.read_exact(piece)?;
        match element {
            Element::Bf16 => numbers.extend(halves(piece).map(bf16)),
            Element::F16 => numbers.extend(halves(piece).map(f16)),
            Element::F32 => {
                let (words, _) = piece.as_chunks::<4>();
                numbers.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
            }
        }
    }
    Ok(numbers)
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let (halves, _) = bytes.as_chunks::<2>();
    halves.iter().map(|half| u16::from_le_bytes(*half))
}

fn bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

fn f16(bits: u16) -> f32 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = ((bits >> 10) & 0x1f, f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (fraction / 1024.0 + 1.0) * 2f32.powi(i32::from(exponent) - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_become_long_ones() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, expect) in cases {
            assert_eq!(f16(bits), expect, "{bits:#06x}");
        }
        assert!(f16(0x7e00).is_nan());
        assert_eq!(bf16(0x3f80), 1.0);
        assert_eq!(bf16(0xc000), -2.0);
    }
}
