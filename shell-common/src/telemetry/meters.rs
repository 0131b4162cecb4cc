//! The metrics of `/metrics`, as OpenTelemetry's: the same names, from the same place.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter, MeterProvider as _};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use reqwest::blocking::Client;

use super::LAST_WORDS;
use crate::monitoring::{Asker, Inquirer, families};

/// The values are read anew this often; how often they are sent, `OTEL_METRIC_EXPORT_INTERVAL` says.
const EVERY: Duration = Duration::from_secs(5);

/// The latest values.
type Latest = Arc<Mutex<Vec<MetricFamily>>>;

/// Sends metrics from threads of its own.
#[derive(Debug)]
pub(super) struct Meters {
    provider: SdkMeterProvider,
}

impl Meters {
    pub(super) fn new(
        client: Client,
        resource: Resource,
        inquirer: Inquirer,
        asker: Asker,
    ) -> Result<Self, ExporterBuildError> {
        let exporter = MetricExporter::builder()
            .with_http()
            .with_http_client(client)
            .build()?;
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_periodic_exporter(exporter)
            .build();
        let meter = provider.meter("pgai-rs");
        let read = move || keep_reading(&meter, &inquirer, &asker);
        // It ends with the process; without it there is nothing to send.
        let thread = thread::Builder::new().name("telemetry".to_owned());
        thread
            .spawn(read)
            .map_err(|error| ExporterBuildError::InternalFailure(error.to_string()))?;
        Ok(Self { provider })
    }
}

impl Drop for Meters {
    fn drop(&mut self) {
        let _ = self.provider.shutdown_with_timeout(LAST_WORDS);
    }
}

/// Reads the values until the worker has ended.
fn keep_reading(meter: &Meter, inquirer: &Inquirer, asker: &Asker) {
    let latest = Latest::default();
    let mut known = BTreeSet::new();
    // Waits until the loop answers: it may be slow, and must not be asked again meanwhile.
    while let Ok(snapshot) = asker.ask().blocking_recv() {
        let status = inquirer.run(&["status", "--json"]);
        let now = families(&snapshot, status);
        for family in &now {
            if known.insert(family.name().to_owned()) {
                register(meter, family, &latest);
            }
        }
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = now;
        thread::sleep(EVERY);
    }
}

/// Lets a family of metrics be sent from now on.
fn register(meter: &Meter, family: &MetricFamily, latest: &Latest) {
    let (name, help) = (family.name().to_owned(), family.help().to_owned());
    match family.get_field_type() {
        MetricType::COUNTER => {
            let value = |metric: &Metric| metric.get_counter().get_value();
            let builder = meter.f64_observable_counter(name.clone());
            let observe = observer(latest, name, value);
            builder
                .with_description(help)
                .with_callback(observe)
                .build();
        }
        MetricType::GAUGE => {
            let value = |metric: &Metric| metric.get_gauge().get_value();
            let builder = meter.f64_observable_gauge(name.clone());
            let observe = observer(latest, name, value);
            builder
                .with_description(help)
                .with_callback(observe)
                .build();
        }
        // The library lets nobody hand over a histogram: its sum and its count are sent, which give the mean.
        MetricType::HISTOGRAM => {
            let sum = |metric: &Metric| metric.get_histogram().get_sample_sum();
            let builder = meter.f64_observable_counter(format!("{name}_sum"));
            let observe = observer(latest, name.clone(), sum);
            builder
                .with_description(help.clone())
                .with_callback(observe)
                .build();
            #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
            let count = |metric: &Metric| metric.get_histogram().get_sample_count() as f64;
            let builder = meter.f64_observable_counter(format!("{name}_count"));
            let observe = observer(latest, name, count);
            builder
                .with_description(help)
                .with_callback(observe)
                .build();
        }
        MetricType::SUMMARY | MetricType::UNTYPED => {}
    }
}

/// What tells the values of a family.
fn observer(
    latest: &Latest,
    name: String,
    value: impl Fn(&Metric) -> f64 + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<f64>) + Send + Sync + 'static {
    let latest = Arc::clone(latest);
    move |instrument| {
        let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
        let family = latest.iter().find(|family| family.name() == name);
        for metric in family.map_or(&[][..], |family| family.get_metric()) {
            let labels = metric.get_label().iter();
            let labels = labels
                .map(|label| KeyValue::new(label.name().to_owned(), label.value().to_owned()));
            let labels: Vec<KeyValue> = labels.collect();
            instrument.observe(value(metric), &labels);
        }
    }
}
