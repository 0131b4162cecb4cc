//! From a source row's columns to the texts of its chunks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::document::Parts;
use crate::location::location;
use crate::reuse::ChunkText;
use crate::settings::Limits;
use crate::sql::{RENDERED_FACTOR, TemplateColumn};
use crate::text::{
    self, Chunk, ChunkError, Chunker, Outline, Steps, TemplateError, Vectors, neighbours,
};
use crate::vectorizer::{Format, Profile};

/// Why the texts of a row cannot be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TextError {
    Chunking(String),
    Formatting(String),
    /// A regex separator took too many steps: other rows are likely to fail in the same way.
    Steps(String),
    /// The chunker needs the vectors of these texts first.
    Vectors(Vec<Arc<str>>),
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
            Self::Vectors(texts) => ChunkError::NeedsVectors(texts.clone()).fmt(f),
        }
    }
}

impl Profile {
    /// The formatted chunks of a row. `columns` are the values of the template's columns, in the
    /// order in which a read returns them, `parts` what is known of the document that the text was, and
    /// `vectors` those that a chunker may need. An empty text has no chunks.
    pub(crate) fn texts(
        &self,
        text: &str,
        parts: &Parts,
        columns: &[Option<String>],
        vectors: &Vectors,
        bounds: &mut Bounds,
    ) -> Result<Vec<ChunkText>, TextError> {
        if text.is_empty() {
            return Ok(vec![]);
        }
        let values = match &self.format {
            Format::ChunkValue => BTreeMap::new(),
            Format::Template { columns: named, .. } => {
                rendered(named, columns, &self.time_zone, bounds.bytes)?
            }
        };
        self.texts_with(text, (parts, vectors), bounds, |name| {
            values.get(name).map(|value| value.as_str().into())
        })
    }

    /// The formatted chunks of a text without a row: the template's columns stay placeholders.
    pub(crate) fn texts_of_no_row(
        &self,
        text: &str,
        vectors: &Vectors,
        bounds: &mut Bounds,
    ) -> Result<Vec<ChunkText>, TextError> {
        let known = (&Parts::default(), vectors);
        self.texts_with(text, known, bounds, |name| Some(format!("${name}").into()))
    }

    fn texts_with<'a>(
        &self,
        text: &str,
        (parts, vectors): (&Parts, &Vectors),
        bounds: &mut Bounds,
        value: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Result<Vec<ChunkText>, TextError> {
        let chunks = self
            .chunker
            .chunk_within(text, vectors, bounds.bytes, &mut bounds.steps);
        let chunks = match chunks {
            Ok(chunks) => chunks,
            Err(ChunkError::NeedsVectors(texts)) => {
                self.check_count(texts.len(), bounds.bytes)?;
                return Err(TextError::Vectors(texts));
            }
            Err(error @ ChunkError::TooManySteps(_)) => {
                return Err(TextError::Steps(error.to_string()));
            }
            Err(
                error @ (ChunkError::CaptureGroup(_)
                | ChunkError::NeedsTokenizer
                | ChunkError::TooManyParts(_)
                | ChunkError::TooMuch(_)),
            ) => return Err(TextError::Chunking(error.to_string())),
        };
        self.check_count(chunks.len(), bounds.bytes)?;
        let outline = match self.has_headings() {
            true => Outline::within(text, bounds.bytes),
            false => Outline::default(),
        };
        let context = Context {
            text,
            parts,
            outline: &outline,
        };
        let mut bytes_left = bounds.bytes;
        let texts = chunks.into_iter().map(|chunk| {
            let location = self
                .has_location
                .then(|| location(chunk.at.as_ref(), parts, &outline).into());
            let text = match &self.format {
                Format::ChunkValue => Ok(chunk.text),
                Format::Template {
                    template,
                    is_contextual,
                    ..
                } => template.substitute_within(bounds.bytes, &mut bytes_left, |name| match name {
                    "chunk" => Some(chunk.text.as_str().into()),
                    name if *is_contextual => context.value(name, &chunk).or_else(|| value(name)),
                    name => value(name),
                }),
            }?;
            Ok(ChunkText {
                text: text.into(),
                location,
            })
        });
        let texts: Result<Vec<_>, TemplateError> = texts.collect();
        let mut texts = texts.map_err(|error| TextError::Formatting(error.to_string()))?;
        // Providers refuse an empty text.
        texts.retain(|chunk| !chunk.text.is_empty());
        Ok(texts)
    }

    /// Whether headings of its texts are used, and its texts are Markdown.
    fn has_headings(&self) -> bool {
        let is_markdown = self.documents.is_some() || matches!(self.chunker, Chunker::Markdown(_));
        match &self.format {
            Format::Template {
                is_contextual: true,
                ..
            } => true,
            Format::ChunkValue | Format::Template { .. } => self.has_location && is_markdown,
        }
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

/// What stands around a chunk, for a contextual template.
struct Context<'a> {
    text: &'a str,
    parts: &'a Parts,
    outline: &'a Outline,
}

impl Context<'_> {
    /// The value of a name that a contextual template knows in addition to columns. It is empty if there is
    /// nothing, or the chunk has no place in the text.
    fn value(&self, name: &str, chunk: &Chunk) -> Option<Cow<'static, str>> {
        let at = chunk.at.as_ref();
        let neighbours = || at.map(|at| neighbours(self.text, at)).unwrap_or_default();
        let value = match name {
            "document_title" => {
                let title = self.parts.title.as_deref();
                title
                    .or_else(|| self.outline.title())
                    .unwrap_or_default()
                    .to_owned()
            }
            // Without those that begin with the chunk, or in it: they are in its text.
            "headings" => {
                let before = at.and_then(|at| at.start.checked_sub(1));
                let path = before.map(|before| self.outline.path(before));
                path.unwrap_or_default().join(" > ")
            }
            "previous" => neighbours().0,
            "next" => neighbours().1,
            _ => return None,
        };
        Some(value.into())
    }
}

/// The names that a contextual template knows in addition to `chunk` and columns.
pub(crate) const CONTEXT_NAMES: [&str; 4] = ["document_title", "headings", "next", "previous"];

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
