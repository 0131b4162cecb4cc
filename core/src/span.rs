//! Spans of traces: what a batch of rows went through, step by step, and how long each step took.

use crate::query::ClaimId;
use crate::time::Time;

/// Something that has taken time, for a tracing system such as OpenTelemetry. A worker makes them if
/// [`Settings::traces`](crate::Settings::traces) is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What was done, in a word or two. It is one of few, so that tracing systems can group by it.
    pub name: &'static str,
    /// Who did it.
    pub kind: SpanKind,
    /// The claim of the batch that it belongs to; all spans of a batch make one trace.
    pub batch: Option<ClaimId>,
    /// When it began.
    pub start: Time,
    /// When it ended.
    pub end: Time,
    /// What else is known, by the names of OpenTelemetry's semantic conventions where there is one.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What a [`Span`] is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpanKind {
    /// A batch, from its claim to its end. The other spans of the batch are its children.
    Batch,
    /// A statement of the database.
    Database,
    /// Work of this process.
    Internal,
    /// A request to a provider.
    Request,
}

/// The value of an attribute of a [`Span`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Attribute {
    /// A count or an id.
    Number(i64),
    /// A name.
    Text(String),
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Attribute {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
