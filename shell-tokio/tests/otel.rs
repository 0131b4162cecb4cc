//! A worker that sends its traces and metrics to a collector: what arrives there.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tests::process::{Process, Signal};
use tests::stage::{PATIENCE, Stage};

/// What a collector has received.
#[derive(Clone, Default)]
struct Collector {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
    keys: Arc<Mutex<BTreeSet<String>>>,
}

impl Collector {
    /// Starts one, and returns its URL, too.
    fn start() -> (Self, String) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let collector = Self::default();
        let router = Router::new()
            .route("/v1/traces", post(take_traces))
            .route("/v1/metrics", post(take_metrics))
            .layer(DefaultBodyLimit::disable())
            .with_state(collector.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        (collector, url)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.traces.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The sum of a metric over its labels, as it was sent last.
    fn metric(&self, name: &str) -> Option<f64> {
        let requests = self.metrics.lock().unwrap();
        let resources = requests
            .iter()
            .flat_map(|request| &request.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        let mut found = scopes
            .flat_map(|scope| &scope.metrics)
            .filter(|metric| metric.name == name);
        let data = found.next_back()?.data.as_ref()?;
        let points = if let metric::Data::Gauge(gauge) = data {
            &gauge.data_points
        } else if let metric::Data::Sum(sum) = data {
            &sum.data_points
        } else {
            panic!("{name}: {data:?}");
        };
        let values = points.iter().map(|point| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => value,
            other => panic!("{name}: {other:?}"),
        });
        Some(values.sum())
    }
}

async fn take_traces(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) {
    let key = headers.get("x-key").map(|key| key.to_str().unwrap());
    collector
        .keys
        .lock()
        .unwrap()
        .extend(key.map(str::to_owned));
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    collector.traces.lock().unwrap().push(request);
}

async fn take_metrics(State(collector): State<Collector>, body: Bytes) {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    collector.metrics.lock().unwrap().push(request);
}

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    let value = found.and_then(|attribute| attribute.value.clone());
    match value {
        Some(AnyValue {
            value: Some(any_value::Value::StringValue(text)),
        }) => text,
        Some(AnyValue {
            value: Some(any_value::Value::IntValue(number)),
        }) => number.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

fn blog() -> Stage {
    let mut stage = Stage::with_blog();
    stage.run(
        "insert into blog select n, 'title', 'one ' || n || E'\\n\\ntwo ' || n from generate_series(1, 120) n",
    );
    stage
}

fn worker(stage: &Stage, collector: &str, more: &[(&str, &str)]) -> Process {
    let ollama = stage.stub.url();
    let mut environment = vec![
        ("DB_URL", stage.worker_url.as_str()),
        ("OLLAMA_HOST", ollama.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
    ];
    environment.extend(more);
    Process::spawn(
        env!("CARGO_BIN_EXE_worker"),
        &["--no-env-file"],
        &environment,
    )
}

#[test]
fn a_batch_is_a_trace_and_the_metrics_are_those_of_prometheus() {
    let mut stage = blog();
    let (collector, url) = Collector::start();
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=k1");
    let mut worker = worker(&stage, &url, &[headers]);
    stage.wait_until_done();
    let rows = stage.number("select count(*) from blog");
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let wanted = rows as f64;
    let deadline = Instant::now() + PATIENCE;
    while collector.metric("pgai_rows_total") != Some(wanted) {
        assert!(
            Instant::now() < deadline,
            "{:?}",
            collector.metric("pgai_rows_total")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    // What the database knows is there, too.
    assert_eq!(collector.metric("pgai_queue_rows"), Some(0.0));
    assert!(collector.metric("pgai_request_duration_seconds_count") >= Some(1.0));
    worker.signal(Signal::Term);
    assert!(worker.wait(PATIENCE).success());

    let spans = collector.spans();
    let named = |name: &str| {
        spans
            .iter()
            .filter(|span| span.name == name)
            .collect::<Vec<_>>()
    };
    let batches = named("batch");
    let embedded: i64 = batches
        .iter()
        .map(|batch| text(&batch.attributes, "pgai.rows").parse::<i64>().unwrap())
        .sum();
    assert_eq!(embedded, rows);
    let roots: BTreeMap<_, _> = batches
        .iter()
        .map(|batch| (batch.trace_id.clone(), batch))
        .collect();
    assert_eq!(
        roots.len(),
        batches.len(),
        "each batch is a trace of its own"
    );
    for name in ["claim", "read", "embed", "commit"] {
        let children = named(name);
        assert!(!children.is_empty(), "{name}");
        for child in children {
            let root = roots[&child.trace_id];
            assert_eq!(child.parent_span_id, root.span_id, "{name}");
            assert!(
                child.start_time_unix_nano >= root.start_time_unix_nano,
                "{name}"
            );
            assert!(
                child.end_time_unix_nano >= child.start_time_unix_nano,
                "{name}"
            );
            assert!(
                child.end_time_unix_nano <= root.end_time_unix_nano,
                "{name}"
            );
        }
    }
    let embed = named("embed")[0];
    assert_eq!(
        text(&embed.attributes, "gen_ai.operation.name"),
        "embeddings"
    );
    assert_eq!(text(&embed.attributes, "http.response.status_code"), "200");
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!(ids.len(), spans.len());
    assert_eq!(
        *collector.keys.lock().unwrap(),
        BTreeSet::from(["k1".to_owned()])
    );
    let traces = collector.traces.lock().unwrap();
    let resource = traces[0].resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "pgai-worker");
}

#[test]
fn a_failed_request_is_a_span_with_its_reason_and_the_service_has_a_name() {
    let stage = blog();
    let (collector, url) = Collector::start();
    // Nobody listens there.
    let nobody = [
        ("OLLAMA_HOST", "http://127.0.0.1:9"),
        ("OTEL_SERVICE_NAME", "blog"),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    let mut worker = worker(&stage, &url, &nobody);
    let deadline = Instant::now() + PATIENCE;
    while collector.spans().is_empty() {
        assert!(Instant::now() < deadline, "no span has come");
        std::thread::sleep(Duration::from_millis(100));
    }
    worker.signal(Signal::Term);
    assert!(worker.wait(PATIENCE).success());
    let spans = collector.spans();
    let failed = spans
        .iter()
        .find(|span| matches!(span.name.as_str(), "embed" | "probe"));
    let status = failed.unwrap().status.as_ref().unwrap();
    assert_eq!(status.message, "unreachable");
    let traces = collector.traces.lock().unwrap();
    let resource = traces[0].resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "blog");
    assert_eq!(collector.metrics.lock().unwrap().len(), 0);
}

#[test]
fn a_collector_that_is_not_there_delays_nothing() {
    let stage = blog();
    let mut worker = worker(&stage, "http://127.0.0.1:9", &[]);
    stage.wait_until_done();
    worker.signal(Signal::Term);
    assert!(worker.wait(PATIENCE).success());
}

#[test]
fn a_wrong_variable_is_refused_at_the_start() {
    let stage = Stage::new();
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let mut worker = worker(&stage, "http://127.0.0.1:4317", &[grpc]);
    assert_eq!(worker.wait(PATIENCE).code(), Some(2));
    worker.wait_for_line("http/protobuf only", PATIENCE);
}
