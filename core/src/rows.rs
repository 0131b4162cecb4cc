//! From a source row's columns to the texts of its chunks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::reuse::{self, Piece};
use crate::sql::TemplateColumn;
use crate::text;
use crate::vectorizer::{Format, Profile};

/// Why a row has no texts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TextError {
    Chunking(String),
    Formatting(String),
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunking(reason) | Self::Formatting(reason) => f.write_str(reason),
        }
    }
}

impl Profile {
    /// The formatted chunks of a row: `columns` are the values of the template's columns, in the
    /// order in which a read brings them. An empty text has none.
    pub(crate) fn texts(
        &self,
        text: &str,
        columns: &[Option<String>],
    ) -> Result<Vec<String>, TextError> {
        if text.is_empty() {
            return Ok(vec![]);
        }
        let values = match &self.format {
            Format::ChunkValue => BTreeMap::new(),
            Format::Template { columns: named, .. } => rendered(named, columns, &self.time_zone),
        };
        self.texts_with(text, |name| {
            values.get(name).map(|value| value.as_str().into())
        })
    }

    /// Whether what is stored for a row is what its columns make: all chunks of its text, at their places,
    /// and no others. `fields` come from a read: the text, the template's columns, what is stored. A row
    /// whose texts cannot be made is not.
    pub(crate) fn is_current(&self, found: bool, fields: &[Option<String>]) -> bool {
        let field = |at: usize| fields.get(at).and_then(Option::as_deref);
        let stored = reuse::parse_stored(field(self.format.columns().len() + 1));
        let text = field(0).filter(|_| found).unwrap_or_default();
        let texts = self.texts(text, fields.get(1..).unwrap_or_default());
        texts.is_ok_and(|texts| {
            let pieces = reuse::compare(texts, &stored);
            let all = pieces.len() == stored.len();
            all && pieces.iter().all(|piece| matches!(piece, Piece::Keep(_)))
        })
    }

    /// The formatted chunks of a text that is no row's: the template's columns stay placeholders.
    pub(crate) fn texts_of_no_row(&self, text: &str) -> Result<Vec<String>, TextError> {
        self.texts_with(text, |name| Some(format!("${name}").into()))
    }

    fn texts_with<'a>(
        &self,
        text: &str,
        value: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Result<Vec<String>, TextError> {
        let chunks = self
            .chunker
            .chunk(text)
            .map_err(|error| TextError::Chunking(error.to_string()))?;
        let texts: Result<Vec<_>, _> = match &self.format {
            Format::ChunkValue => Ok(chunks),
            Format::Template { template, .. } => chunks
                .into_iter()
                .map(|chunk| {
                    template.substitute(|name| match name {
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
}

fn rendered<'a>(
    columns: &'a [TemplateColumn],
    fields: &[Option<String>],
    time_zone: &str,
) -> BTreeMap<&'a str, String> {
    let values = columns.iter().zip(fields);
    values
        .map(|(column, value)| {
            let text = text::python_text_in(value.as_deref(), &column.base_type, time_zone);
            (column.name.as_str(), text.into_owned())
        })
        .collect()
}
