//! From a source row's columns to the texts of its chunks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::settings::Limits;
use crate::sql::{RENDERED_FACTOR, TemplateColumn};
use crate::text::{self, ChunkError, Steps};
use crate::vectorizer::{Format, Profile};

/// Why the texts of a row cannot be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TextError {
    Chunking(String),
    Formatting(String),
    /// A regex separator took too many steps: other rows are likely to fail in the same way.
    Steps(String),
}

/// The limits of one row.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Bytes of its chunks, and of its formatted texts.
    pub(crate) bytes: usize,
    /// Steps of the search for separators.
    pub(crate) steps: Steps,
}

/// After this many steps of the search for separators (about a second), other rows and other
/// vectorizers continue.
pub(crate) const STEPS_AT_A_TIME: u64 = 100_000_000;

impl Bounds {
    pub(crate) fn new(text: &str, limits: Limits) -> Self {
        Self {
            bytes: limits.row_bytes,
            steps: Steps::for_text(text),
        }
    }
}

/// The vectors of one row may have this many times the bytes of its texts: with 1,536 dimensions
/// these are 85,000 chunks where `row_bytes` is 64 MB.
const VECTOR_BYTES_FACTOR: usize = 8;

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunking(reason) | Self::Formatting(reason) | Self::Steps(reason) => {
                f.write_str(reason)
            }
        }
    }
}

impl Profile {
    /// The formatted chunks of a row. `columns` are the values of the template's columns, in the
    /// order in which a read returns them. An empty text has no chunks.
    pub(crate) fn texts(
        &self,
        text: &str,
        columns: &[Option<String>],
        bounds: &mut Bounds,
    ) -> Result<Vec<String>, TextError> {
        if text.is_empty() {
            return Ok(vec![]);
        }
        let values = match &self.format {
            Format::ChunkValue => BTreeMap::new(),
            Format::Template { columns: named, .. } => {
                rendered(named, columns, &self.time_zone, bounds.bytes)?
            }
        };
        self.texts_with(text, bounds, |name| {
            values.get(name).map(|value| value.as_str().into())
        })
    }

    /// The formatted chunks of a text without a row: the template's columns stay placeholders.
    pub(crate) fn texts_of_no_row(
        &self,
        text: &str,
        bounds: &mut Bounds,
    ) -> Result<Vec<String>, TextError> {
        self.texts_with(text, bounds, |name| Some(format!("${name}").into()))
    }

    fn texts_with<'a>(
        &self,
        text: &str,
        bounds: &mut Bounds,
        value: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Result<Vec<String>, TextError> {
        let chunks = self
            .chunker
            .chunk_within(text, bounds.bytes, &mut bounds.steps)
            .map_err(|error| match error {
                ChunkError::TooManySteps(_) => TextError::Steps(error.to_string()),
                ChunkError::CaptureGroup(_) | ChunkError::TooMuch(_) => {
                    TextError::Chunking(error.to_string())
                }
            })?;
        self.check_count(chunks.len(), bounds.bytes)?;
        let mut bytes_left = bounds.bytes;
        let texts: Result<Vec<_>, _> = match &self.format {
            Format::ChunkValue => Ok(chunks),
            Format::Template { template, .. } => chunks
                .into_iter()
                .map(|chunk| {
                    template.substitute_within(bounds.bytes, &mut bytes_left, |name| match name {
                        "chunk" => Some(chunk.as_str().into()),
                        name => value(name),
                    })
                })
                .collect(),
        };
        let mut texts = texts.map_err(|error| TextError::Formatting(error.to_string()))?;
        // Providers refuse an empty text.
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    /// A row's vectors are written together, so they are all in memory at once.
    fn check_count(&self, chunks: usize, bytes: usize) -> Result<(), TextError> {
        let vector = self.plan.dimensions.saturating_mul(size_of::<f32>());
        let most = bytes.saturating_mul(VECTOR_BYTES_FACTOR) / vector.max(1);
        if chunks <= most.max(1) {
            return Ok(());
        }
        Err(TextError::Chunking(format!(
            "it has {chunks} chunks, and the vectors of at most {most} are held: choose a larger \
             chunk_size, or let the worker's operator raise --max-row-bytes"
        )))
    }
}

fn rendered<'a>(
    columns: &'a [TemplateColumn],
    fields: &[Option<String>],
    time_zone: &str,
    bytes_max: usize,
) -> Result<BTreeMap<&'a str, String>, TextError> {
    let values = columns.iter().zip(fields);
    values
        .map(|(column, value)| {
            let bytes = value.as_ref().map_or(0, String::len);
            if !column.is_text() && bytes > bytes_max / RENDERED_FACTOR {
                return Err(TextError::Formatting(format!(
                    "the value of the column {:?} has more than {} bytes, which is too long for a \
                     template: let the worker's operator raise --max-row-bytes",
                    column.name,
                    bytes_max / RENDERED_FACTOR
                )));
            }
            let text = text::python_text_in(value.as_deref(), &column.base_type, time_zone);
            Ok((column.name.as_str(), text.into_owned()))
        })
        .collect()
}
