//! Spans of the core, as OpenTelemetry's.
//!
//! The ids are made from those of claims, so that nothing has to be remembered between the spans of a batch: the
//! trace of a batch begins with the id of its claim, which is also the id of its root span.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind as Kind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
};
use pgai_core::{Attribute, Span, SpanKind};
use reqwest::blocking::Client;

use super::LAST_WORDS;
use crate::program::seed;

/// Sends spans from a thread of its own.
#[derive(Debug)]
pub(super) struct Traces {
    processor: BatchSpanProcessor,
    /// The upper half of trace ids. Claims of other workers on other databases have other ids, and another half.
    half: u64,
    numbers: AtomicU64,
}

impl Traces {
    pub(super) fn new(client: Client, resource: &Resource) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .build()?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(resource);
        Ok(Self {
            processor,
            half: seed(),
            numbers: AtomicU64::new(seed() | 1),
        })
    }

    pub(super) fn send(&self, began: SystemTime, spans: Vec<Span>) {
        for span in spans {
            self.processor.on_end(self.data(began, span));
        }
    }

    fn data(&self, began: SystemTime, span: Span) -> SpanData {
        // Ids must not be zero; nor must they be those of claims.
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) | 1 << 63;
        let batch = span.batch.map(|claim| claim.0.unsigned_abs());
        let is_root = span.kind == SpanKind::Batch || batch.is_none();
        let id = batch.filter(|_| is_root).unwrap_or(number);
        let trace = u128::from(self.half) << 64 | u128::from(batch.unwrap_or(number));
        let parent = batch.filter(|_| !is_root).unwrap_or(0);
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(trace.to_be_bytes()),
                SpanId::from_bytes(id.to_be_bytes()),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: SpanId::from_bytes(parent.to_be_bytes()),
            parent_span_is_remote: false,
            span_kind: match span.kind {
                SpanKind::Batch => Kind::Consumer,
                SpanKind::Database | SpanKind::Request => Kind::Client,
                SpanKind::Internal => Kind::Internal,
            },
            name: span.name.into(),
            start_time: began + span.start.since_start(),
            end_time: began + span.end.since_start(),
            attributes: attributes(span.attributes),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("pgai-rs").build(),
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is not there keeps no worker from ending.
        let _ = self.processor.shutdown_with_timeout(LAST_WORDS);
    }
}

fn attributes(of: Vec<(&'static str, Attribute)>) -> Vec<KeyValue> {
    let attributes = of.into_iter().map(|(name, value)| {
        let value = match value {
            Attribute::Number(number) => Value::from(number),
            Attribute::Text(text) => Value::from(text),
        };
        KeyValue::new(name, value)
    });
    attributes.collect()
}
